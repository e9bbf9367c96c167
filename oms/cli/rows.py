"""Records as rows of a table and as JSON values, one function each, so that both say the same.

Money and quantities are text in plain notation, times ISO 8601 in UTC; what is absent is null.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from oms.cli.find import short
from oms.cli.frame import table
from oms.core.contracts import Contract
from oms.core.events import Finding
from oms.core.money import plain
from oms.core.records import BreakCase, Fill, Order, Position, RunRecord

if TYPE_CHECKING:
    from rich.table import Table

#: Digits after the point of a computed price, in tables; JSON has all of them.
_PRICE_STEP: Final = Decimal("0.000001")

Json = dict[str, Any]


# ── small parts ──────────────────────────────────────────────────────────────────────────────────


def number(value: Decimal | None) -> str | None:
    """Return a number as JSON carries it."""
    return None if value is None else plain(value)


def price(value: Decimal | None) -> str:
    """Return a price as tables show it: computed ones have endless digits."""
    if value is None:
        return ""
    exponent = value.as_tuple().exponent
    if isinstance(exponent, int) and exponent < -6:
        value = value.quantize(_PRICE_STEP)
    return plain(value)


def time(at: datetime | None) -> str | None:
    """Return a time as JSON carries it."""
    return None if at is None else at.astimezone(UTC).isoformat(timespec="microseconds")


def clock(at: datetime | None) -> str:
    """Return a time as tables show it, in UTC."""
    return "" if at is None else f"{at.astimezone(UTC):%m-%d %H:%M:%S}"


def costs(amounts: Iterable[tuple[str, Decimal]]) -> str:
    """Return amounts by currency as tables show them."""
    return ", ".join(f"{plain(amount)} {currency}" for currency, amount in amounts)


def _costs_json(amounts: Iterable[tuple[str, Decimal]]) -> Json:
    return {currency: plain(amount) for currency, amount in amounts}


def contract_json(contract: Contract) -> Json:
    """Return a contract as JSON values."""
    return {
        "con_id": contract.con_id,
        "symbol": contract.symbol,
        "sec_type": contract.sec_type,
        "currency": contract.currency,
        "exchange": contract.exchange,
        "local_symbol": contract.local_symbol,
        "expiry": contract.expiry,
        "strike": number(contract.strike),
        "right": contract.right,
        "multiplier": number(contract.multiplier),
    }


# ── orders ───────────────────────────────────────────────────────────────────────────────────────


def orders_table(orders: Iterable[Order]) -> Table:
    """Return orders for a person."""
    made = table(
        *("order", "account", "contract", "side", "quantity", "type", "limit", "stop", "tif"),
        *("state", "filled", "average", "changed (UTC)", "note"),
        right=("quantity", "limit", "stop", "filled", "average"),
    )
    for order in orders:
        terms = order.terms
        made.add_row(
            short(order.order_id),
            order.account,
            contract_words(order.contract),
            terms.side,
            plain(terms.quantity),
            terms.order_type,
            price(terms.limit_price),
            price(terms.stop_price),
            terms.tif,
            order.state.value,
            plain(order.filled),
            price(order.average_price),
            clock(order.updated_at),
            note(order),
        )
    return made


def note(order: Order) -> str:
    """Return what a person must know beside an order's state, most urgent first."""
    if order.doubt:
        return order.doubt
    if order.code and not order.live:
        return f"{order.code}: {order.text}"
    words = order.text if order.denied else order.refusal or order.warning
    if not words and order.origin != "ours":
        words = f"adopted: {order.origin.replace('_', ' ')}"
    return words


def contract_words(contract: Contract) -> str:
    """Return a contract in few words; a stock is its symbol."""
    return contract.symbol if contract.sec_type == "STK" else str(contract)


def order_json(order: Order) -> Json:
    """Return an order as JSON values."""
    terms = order.terms
    return {
        "order_id": order.order_id,
        "account": order.account,
        "contract": contract_json(order.contract),
        "side": terms.side,
        "quantity": number(terms.quantity),
        "order_type": terms.order_type,
        "limit_price": number(terms.limit_price),
        "stop_price": number(terms.stop_price),
        "tif": terms.tif,
        "state": order.state.value,
        "live": order.live,
        "filled": number(order.filled),
        "remaining": number(order.remaining),
        "average_price": number(order.average_price),
        "commissions": _costs_json(order.commissions),
        "doubt": order.doubt,
        "code": order.code,
        "text": order.text,
        "refusal": order.refusal,
        "warning": order.warning,
        "origin": order.origin,
        "actor": order.actor,
        "reason": order.reason,
        "parent_order_id": order.parent_order_id or None,
        "group_id": order.group_id or None,
        "perm_id": order.perm_id or None,
        "client_id": order.client_id,
        "broker_order_id": order.broker_order_id,
        "broker_status": order.status,
        "created_at": time(order.created_at),
        "updated_at": time(order.updated_at),
        "ended_at": time(order.ended_at),
        "intent_sequence": order.intent_sequence or None,
        "last_sequence": order.last_sequence,
    }


# ── fills and positions ──────────────────────────────────────────────────────────────────────────


def fills_table(fills: Iterable[Fill]) -> Table:
    """Return fills for a person."""
    made = table(
        *("time (UTC)", "account", "contract", "side", "quantity", "price", "commission"),
        *("venue", "order", "execution", "learnt"),
        right=("quantity", "price", "commission"),
    )
    for fill in fills:
        commission = (
            ""
            if fill.commission is None
            else f"{plain(fill.commission)} {fill.commission_currency}"
        )
        made.add_row(
            clock(fill.occurred_at),
            fill.account,
            contract_words(fill.contract),
            fill.side,
            plain(fill.quantity),
            price(fill.price),
            commission,
            fill.venue,
            short(fill.order_id),
            fill.exec_id,
            "backfilled" if fill.backfilled else "pushed",
        )
    return made


def fill_json(fill: Fill) -> Json:
    """Return a fill as JSON values."""
    return {
        "exec_id": fill.exec_id,
        "revision": fill.revision,
        "superseded": list(fill.superseded),
        "order_id": fill.order_id or None,
        "account": fill.account,
        "contract": contract_json(fill.contract),
        "side": fill.side,
        "quantity": number(fill.quantity),
        "price": number(fill.price),
        "venue": fill.venue,
        "commission": number(fill.commission),
        "commission_currency": fill.commission_currency,
        "realised_pnl": number(fill.realised_pnl),
        "perm_id": fill.perm_id or None,
        "occurred_at": time(fill.occurred_at),
        "time_text": fill.time_text,
        "backfilled": fill.backfilled,
        "liquidation": fill.liquidation,
        "booked_sequence": fill.booked_sequence,
        "last_sequence": fill.last_sequence,
    }


def positions_table(positions: Iterable[Position], now: datetime) -> Table:
    """Return positions for a person."""
    made = table(
        *("account", "contract", "quantity", "average", "currency", "realised", "commissions"),
        *("at IB", "IB said (UTC)", "age"),
        right=("quantity", "average", "realised", "commissions", "at IB", "age"),
    )
    for row in positions:
        made.add_row(
            row.account,
            contract_words(row.contract),
            plain(row.quantity),
            price(row.average_price),
            row.contract.currency,
            price(row.realised_pnl),
            costs(row.commissions),
            plain(row.broker_quantity),
            clock(row.broker_at),
            age(row.broker_at, now),
        )
    return made


def position_json(row: Position) -> Json:
    """Return a position as JSON values."""
    return {
        "account": row.account,
        "contract": contract_json(row.contract),
        "quantity": number(row.quantity),
        "average_price": number(row.average_price),
        "realised_pnl": number(row.realised_pnl),
        "commissions": _costs_json(row.commissions),
        "opening_quantity": number(row.opening_quantity),
        "fill_count": row.fill_count,
        "broker_quantity": number(row.broker_quantity),
        "broker_average_cost": number(row.broker_average_cost),
        "broker_at": time(row.broker_at),
        "updated_at": time(row.updated_at),
        "last_sequence": row.last_sequence,
    }


# ── breaks and runs ──────────────────────────────────────────────────────────────────────────────


def breaks_table(cases: Iterable[BreakCase], now: datetime) -> Table:
    """Return breaks for a person."""
    from oms.report.words import BREAKS

    made = table(
        *("break", "status", "severity", "age", "seen", "account", "symbol", "class"),
        *("ours", "theirs", "evidence", "why closed"),
        right=("age", "seen"),
    )
    for case in cases:
        finding = case.finding
        made.add_row(
            case.break_id,
            case.status,
            finding.severity or "",
            age(case.opened_at, now),
            str(case.seen),
            finding.account,
            finding.symbol,
            BREAKS[finding.break_class].title if finding.break_class else "",
            finding.ours,
            finding.theirs,
            " ".join(f"#{sequence}" for sequence in finding.evidence),
            case.close_reason,
        )
    return made


def break_json(case: BreakCase) -> Json:
    """Return a break as JSON values."""
    return {
        "break_id": case.break_id,
        "status": case.status,
        **_finding_json(case.finding),
        "seen": case.seen,
        "reopened": case.reopened,
        "opened_at": time(case.opened_at),
        "opened_sequence": case.opened_sequence,
        "updated_at": time(case.updated_at),
        "closed_at": time(case.closed_at),
        "close_reason": case.close_reason,
        "closed_by_person": case.closed_by_person,
    }


def _finding_json(finding: Finding) -> Json:
    return {
        "class": finding.break_class,
        "severity": finding.severity,
        "subject": finding.subject,
        "account": finding.account,
        "con_id": finding.con_id,
        "symbol": finding.symbol,
        "order_id": finding.order_id or None,
        "ours": finding.ours,
        "theirs": finding.theirs,
        "text": finding.text,
        "evidence": list(finding.evidence),
    }


def runs_table(runs: Iterable[RunRecord]) -> Table:
    """Return reconciliation runs for a person."""
    from oms.report.words import duration, trigger_words

    made = table(
        *("run", "started (UTC)", "took", "why", "verdict", "match", "break", "unknown", "event"),
        right=("took", "match", "break", "unknown", "event"),
    )
    for run in runs:
        took = "" if run.finished_at is None else duration(run.finished_at - run.started_at)
        made.add_row(
            run.run_id,
            clock(run.started_at),
            took,
            trigger_words(run.trigger),
            run.verdict or "under way",
            str(run.matches),
            str(run.breaks),
            str(run.unknowns),
            f"#{run.sequence}" if run.sequence else "",
        )
    return made


def run_json(run: RunRecord) -> Json:
    """Return a reconciliation run as JSON values."""
    return {
        "run_id": run.run_id,
        "trigger": run.trigger,
        "started_at": time(run.started_at),
        "finished_at": time(run.finished_at),
        "verdict": run.verdict or None,
        "matches": run.matches,
        "breaks": run.breaks,
        "unknowns": run.unknowns,
        "sequence": run.sequence or None,
    }


def age(at: datetime | None, now: datetime) -> str:
    """Return how long ago something was, in words."""
    from oms.report.words import duration

    return "" if at is None else duration(max(now - at, now - now))


def age_seconds(at: datetime | None, now: datetime) -> float | None:
    """Return how long ago something was, as JSON carries it; not below zero."""
    return None if at is None else round(max((now - at).total_seconds(), 0.0), 3)
