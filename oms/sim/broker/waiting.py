"""What keeps an order from working, other than its price: times, hours, conditions, its parent."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from functools import partial

from oms.sim.broker.accounts import accounting
from oms.sim.broker.books.ledger import ZERO
from oms.sim.broker.books.orders import ConditionKind, Order
from oms.sim.broker.exchange.market import Quote
from oms.sim.broker.floor import Floor
from oms.sim.broker.open_markets import OpenMarkets
from oms.sim.broker.rules import checks, conditions, matching
from oms.sim.clock import order_time


def waits(floor: Floor, markets: OpenMarkets, order: Order) -> bool:
    """Say whether something other than the price keeps an order from working."""
    if order.waits_for_parent or order.status == "Inactive":
        return True
    after = order_time(str(order.terms.get("goodAfterTime", "")), floor.zone)
    if after is not None and after > floor.clock.now():
        return True
    if order.kind in matching.AT_CLOSE or order.tif == "OPG":
        return True
    if not markets.is_open(order):
        return True
    if not order.terms.get("conditions") or order.flag("conditionsCancelOrder"):
        return False
    return not conditions_hold(floor, order)


def has_run_out(floor: Floor, order: Order) -> bool:
    """Say whether the good-till time of an order has come, or its minutes are over."""
    if order.tif == checks.MINUTES and order.placed_at is not None:
        return order.placed_at + checks.MINUTES_LONG <= floor.clock.now()
    until = order_time(str(order.terms.get("goodTillDate", "")), floor.zone)
    return order.tif == "GTD" and until is not None and until <= floor.clock.now()


def cancelled_by_conditions(floor: Floor, order: Order) -> bool:
    """Say whether an order has conditions that are to cancel it, and they hold."""
    cancels = order.terms.get("conditions") and order.flag("conditionsCancelOrder")
    return bool(cancels) and conditions_hold(floor, order)


def times_to_look(floor: Floor, order: Order) -> Iterator[datetime]:
    """Yield the moments at which an order may change by itself."""
    texts = [order.terms.get("goodAfterTime", ""), order.terms.get("goodTillDate", "")]
    texts += [one.get("time", "") for one in order.terms.get("conditions", ())]
    for text in texts:
        moment = order_time(str(text), floor.zone) if text else None
        if moment is not None:
            yield moment
    if order.tif == checks.MINUTES and order.placed_at is not None:
        yield order.placed_at + checks.MINUTES_LONG


def conditions_hold(floor: Floor, order: Order) -> bool:
    """Say whether the conditions of an order hold now."""
    wanted = order.terms["conditions"]
    total = accounting.totals(floor, order.account)
    cushion = ZERO
    if total.net:
        cushion = (total.net - total.maintenance_margin) * 100 / total.net

    executed: set[str] = set()
    if any(condition["condType"] == ConditionKind.EXECUTION for condition in wanted):
        # Only what was executed since the order came counts; times have whole seconds.
        since = (order.placed_at or floor.day_start()).replace(microsecond=0)
        rows = floor.books.executions(max(since, floor.day_start()))
        executed = {floor.contract(row.con_id).symbol for row in rows}
    sight = conditions.Sight(
        floor.clock.now(), floor.zone, partial(_quote, floor), cushion, frozenset(executed)
    )
    return conditions.hold(wanted, sight)


def _quote(floor: Floor, con_id: int) -> Quote | None:
    contract = floor.catalogue.by_id(con_id)
    return floor.market.quote(contract) if contract is not None else None
