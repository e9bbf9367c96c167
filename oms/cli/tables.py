"""Records as rows of a table, one function each; `oms.report.record_json` has them for programs."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

from oms.cli.ids import short
from oms.cli.listing import Listing
from oms.cli.terminal import table
from oms.clock import SystemClock
from oms.core.contracts import Contract
from oms.core.fold.records import Alarm, BreakCase, Fill, Order, Position, RunRecord
from oms.core.money import plain
from oms.core.words import describe_disputed, describe_origin, duration
from oms.report.sentences import describe_terms, name_of
from oms.report.words import BREAKS, shown_price, trigger_words

#: IB's code for "the order is cancelled", which the state says already.
_CANCELLED: Final = 202


# ── small parts ──────────────────────────────────────────────────────────────────────────────────


def price(value: Decimal | None) -> str:
    """Return a price as tables show it; "" for None."""
    return "" if value is None else plain(shown_price(value))


def clock(at: datetime | None) -> str:
    """Return a time as tables show it, in UTC: of today the time, else the date and the minute."""
    if at is None:
        return ""
    at = at.astimezone(UTC)
    today = SystemClock().now().date()
    return f"{at:%H:%M:%S}" if at.date() == today else f"{at:%m-%d %H:%M}"


def costs(amounts: Iterable[tuple[str, Decimal]]) -> str:
    """Return amounts by currency as tables show them."""
    return ", ".join(f"{plain(amount)} {currency}" for currency, amount in amounts)


# ── orders ───────────────────────────────────────────────────────────────────────────────────────


def orders_table(orders: Iterable[Order]) -> Listing:
    """Return orders for a person."""
    made = table(
        *("order", "account", "what", "state", "filled", "average", "changed", "note"),
        right=("filled", "average"),
        wrap=("note",),
    )
    for order in orders:
        made.add_row(
            short(order.order_id),
            order.account,
            describe_terms(order.terms, order.contract),
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
    if order.disputed:
        return describe_disputed(order)
    # A plain cancel needs no explanation; every other code of an ended order does.
    if order.code and not order.live and order.code != _CANCELLED:
        return f"{order.code}: {order.text}"
    words = order.text if order.denied else order.refusal or order.rule_warning or order.warning
    if not words and order.origin != "ours":
        words = f"adopted: {describe_origin(order.origin, order.client_id)}"
    return words


def contract_words(contract: Contract) -> str:
    """Return a contract in few words; a stock is its symbol."""
    return contract.symbol if contract.sec_type == "STK" else str(contract)


# ── fills and positions ──────────────────────────────────────────────────────────────────────────


def fills_table(fills: Iterable[Fill]) -> Listing:
    """Return fills for a person."""
    made = table(
        *("time", "account", "what", "commission", "order", "execution", "learnt"),
        right=("commission",),
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
            _what(fill),
            commission,
            short(fill.order_id),
            fill.exec_id,
            "backfilled" if fill.backfilled else "pushed",
        )
    return made


def _what(fill: Fill) -> str:
    name = name_of(fill.contract)
    return f"{fill.side} {plain(fill.quantity)} {name} @ {plain(fill.price)}"


def positions_table(positions: Iterable[Position], now: datetime) -> Listing:
    """Return positions for a person."""
    made = table(
        *("account", "contract", "quantity", "average", "currency", "realised", "commissions"),
        *("at IB", "IB said", "age"),
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


# ── breaks and runs ──────────────────────────────────────────────────────────────────────────────


def breaks_table(cases: Iterable[BreakCase], now: datetime) -> Listing:
    """Return breaks for a person."""
    made = table(
        *("break", "status", "severity", "age", "seen", "what", "ours", "theirs", "evidence"),
        right=("age", "seen"),
        wrap=("what", "ours", "theirs", "evidence"),
    )
    for case in cases:
        finding = case.finding
        title = BREAKS[finding.break_class].title if finding.break_class else finding.subject
        what = f"{title}: {finding.symbol} {finding.account}".rstrip(": ")
        notes = (
            what,
            f"closed: {case.close_reason}" if case.close_reason else "",
            f"explained: {case.explanation}" if case.explanation else "",
            f"with {case.assignee}" if case.assignee else "",
            f"{case.waiting.action} waits for a second person" if case.waiting else "",
        )
        made.add_row(
            case.break_id,
            case.status,
            finding.severity or "",
            age(case.opened_at, now),
            str(case.seen),
            "\n".join(note for note in notes if note),
            "\n".join(one.ours for one in case.findings),
            "\n".join(one.theirs for one in case.findings),
            " ".join(f"#{number}" for one in case.findings for number in one.evidence),
        )
    return made


def alarms_table(alarms: Iterable[Alarm], now: datetime) -> Listing:
    """Return alarms for a person."""
    made = table(
        *("kind", "age", "account", "symbol", "order", "what it says", "raised", "over", "event"),
        right=("age", "raised", "event"),
        wrap=("what it says",),
    )
    for alarm in alarms:
        made.add_row(
            alarm.kind.replace("_", " "),
            age(alarm.since, alarm.cleared_at or now),
            alarm.account,
            alarm.symbol,
            short(alarm.order_id),
            alarm.text,
            f"{alarm.times} ×",
            clock(alarm.cleared_at),
            f"#{alarm.raised_sequence}",
        )
    return made


def runs_table(runs: Iterable[RunRecord]) -> Listing:
    """Return reconciliation runs for a person."""
    made = table(
        *("run", "started", "took", "why", "verdict", "match", "break", "unknown", "event"),
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


def age(at: datetime | None, now: datetime) -> str:
    """Return how long ago something was, in words."""
    return "" if at is None else duration(max(now - at, now - now))
