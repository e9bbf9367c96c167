"""Fills and positions: what happened, and what it adds up to, ours beside IB's."""

from __future__ import annotations

from typing import Final, Literal, cast

from oms.core.fold.records import AccountValue, Fill, Position
from oms.core.portfolio import Holding, accounts_of
from oms.history import records
from oms.history.clocks import around_fills
from oms.report.clock import clock_json
from oms.report.record_json import account_value_json, figure_json, fill_json, position_json
from oms.web.counting import counted_records, counts_json
from oms.web.page import Page, Visit
from oms.web.past import PAST
from oms.web.query import RECORD_FILTERS, conditions
from oms.web.words import Badge

FILLS_SHOWN_MAX: Final = 200
POSITIONS_SHOWN_MAX: Final = 1_000

FILL_FILTERS: Final = ("order_id", "exec_id", *RECORD_FILTERS, *PAST)
POSITION_FILTERS: Final = ("show", *RECORD_FILTERS, *PAST)

#: The values of an account that an operator looks at, in this order; the log has them all.
ACCOUNT_VALUES: Final = (
    "NetLiquidation",
    "TotalCashValue",
    "AvailableFunds",
    "BuyingPower",
    "InitMarginReq",
    "MaintMarginReq",
    "GrossPositionValue",
)

Agreement = Literal["agrees", "differs", "unknown"]
AGREEMENTS: Final[dict[Agreement, Badge]] = {
    "agrees": Badge("agrees", "✓", "clean"),
    "differs": Badge("differs", "✕", "broken"),
    "unknown": Badge("IB has not said", "?", "unknown"),
}


async def build_fills(visit: Visit) -> Page:
    """Return the newest fills that meet the filters."""
    query = visit.query
    limit = min(query.number("limit", FILLS_SHOWN_MAX, low=1) or 1, 2_000)
    # The names that these filters had before there was one language.
    where = conditions(order_id=query.text("order_id"), exec_id=query.text("exec_id"))
    asked = query.asked(visit.settings.day_zone, limit=limit, reverse=True)
    found = await records.find(visit.reader, "fills", asked, where, visit.past)
    total = await records.total(visit.books, "fills", asked, where, found)
    counted = await counted_records(visit, "fills", asked, where)
    is_sorted = query.text("sort") or query.text("after")
    fills = cast("list[Fill]", found if is_sorted else found[::-1])
    clocks = await around_fills(visit.reader, fills)
    return Page(
        title="Fills",
        template="fills",
        kind="fills",
        values={
            "fills": fills,
            "total": total,
            "counts_by": counted,
            "clock": clocks.worst(fills),
        },
        json={
            "filters": query.values(),
            "total": total,
            "fills": [
                {**fill_json(fill), "broker_clock": clock_json(clocks.of_fill(fill))}
                for fill in fills
            ],
            **counts_json(counted),
        },
    )


async def build_positions(visit: Visit) -> Page:
    """Return what is held, by our books and by IB's word."""
    query = visit.query
    show = query.choice("show", ("held", "all"), "held")
    where: dict[str, object] = {"live": 1} if show == "held" else {}
    asked = query.asked(visit.settings.day_zone, sort=query.text("sort") or "symbol")
    found = await records.find(visit.reader, "positions", asked, where, visit.past)
    total = len(found)
    positions = cast("list[Position]", found[:POSITIONS_SHOWN_MAX])
    counted = await counted_records(visit, "positions", asked, where)
    said = await _account_values(visit)
    values = _shown_values(said)
    worth = {
        f"{holding.account}:{holding.contract.con_id}": holding
        for account in accounts_of(positions, said)
        for holding in account.holdings
    }
    return Page(
        title="Positions",
        template="positions",
        kind="positions",
        values={
            "positions": [
                (position, agreement(position), worth.get(position.key)) for position in positions
            ],
            "agreements": AGREEMENTS,
            "total": total,
            "show": show,
            "account_values": values,
            "counts_by": counted,
        },
        json={
            "filters": {**query.values(), "show": show},
            "total": total,
            "positions": [
                {
                    **position_json(position),
                    "agreement": agreement(position),
                    **_worth_json(worth.get(position.key)),
                }
                for position in positions
            ],
            "account_values": [account_value_json(value) for value in values],
            **counts_json(counted),
        },
    )


def agreement(position: Position) -> Agreement:
    """Return whether IB's last word is ours; the two were not said at the same moment."""
    if position.broker_quantity is None:
        return "unknown"
    return "agrees" if position.quantity == position.broker_quantity else "differs"


async def _account_values(visit: Visit) -> list[AccountValue]:
    account = visit.query.text("account")
    where: dict[str, object] = {"account": account} if account else {}
    return cast("list[AccountValue]", await visit.books.rows("account_values", where))


def _shown_values(said: list[AccountValue]) -> list[AccountValue]:
    shown = [value for value in said if value.name in ACCOUNT_VALUES]
    return sorted(shown, key=lambda row: (row.account, ACCOUNT_VALUES.index(row.name)))


def _worth_json(holding: Holding | None) -> dict[str, object]:
    """Return what a position is worth; nothing of one that never was more than a row of IB's."""
    names = ("last_price", "unrealised_pnl", "unrealised_pnl_base", "realised_pnl_base", "rate")
    if holding is None:
        return dict.fromkeys((f"{name}_figure" for name in names), None)
    return {f"{name}_figure": figure_json(getattr(holding, name)) for name in names}
