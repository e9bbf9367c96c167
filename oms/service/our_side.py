"""Our side of a comparison, read from the rows that the last commits left.

Read from the store, not from the fold: the rows of one commit are complete, and reading them does
not stop the writer. All of it is read in one state of the database, beside the event loop. What
ended long ago is read only where an answer names it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Final, TypeVar, get_args

from oms.core.collector import collector_at_rest
from oms.core.compare.cases import break_ids_of, watched_by
from oms.core.compare.cash import explained_by
from oms.core.compare.positions import premiums_of
from oms.core.compare.rest import BREAKS_MAX
from oms.core.compare.run import compare
from oms.core.compare.sides import Answers, Beyond, OurSide, perm_index, ref_index
from oms.core.events import Finding
from oms.core.fold.books import stem_and_revision
from oms.core.fold.records import (
    Anomaly,
    AnomalyKind,
    AnyRecord,
    BreakCase,
    EarlyCommission,
    Fill,
    Order,
    Position,
    RunRecord,
    SystemRecord,
)

if TYPE_CHECKING:
    from oms.store.reader import Reader
    from oms.store.reading import Reading

_R = TypeVar("_R")
_Key = TypeVar("_Key", str, int)

#: Fills of the day that are held beside those that IB names, and how many are read at a time.
OTHER_FILLS_MAX: Final = 10_000
_PAGE: Final = 1_000


async def load_our_side(
    reader: Reader, answers: Answers | None = None, order_ids: Iterable[str] = ()
) -> OurSide:
    """Return live orders, positions and open anomalies, and what the answers name beside them.

    `order_ids` are orders that matter whether they live or not: a case about one that has ended
    meanwhile is only closed by a run that looked at it.
    """
    wanted = frozenset(order_ids)
    return await reader.ask(lambda reading: _our_side(reading, answers, wanted))


async def load_cases(
    reader: Reader, findings: Iterable[Finding], open_cases: Iterable[BreakCase]
) -> dict[str, BreakCase]:
    """Return the open cases, and those that the findings belong to, closed long ago or not."""
    cases = {c.break_id: c for c in open_cases}
    named = {n for f in findings if f.result == "break" for n in break_ids_of(f)} - set(cases)
    rows = await reader.ask(lambda reading: _any(reading, "breaks", "break_id", named))
    return cases | {case.break_id: case for case in _of(BreakCase, rows)}


#: Without the collector, which would walk both sides again and again, and stop the event loop each
#: time.
compare_at_rest: Final = collector_at_rest()(compare)


def _our_side(reading: Reading, answers: Answers | None, order_ids: frozenset[str]) -> OurSide:
    orders: dict[str, Order] = {}
    fills: dict[str, Fill] = {}
    beyond: list[Beyond] = []
    system = reading.one("system", "system")
    books = system if isinstance(system, SystemRecord) else SystemRecord()
    _add(orders, reading.rows("orders", {"live": True}))
    _add(orders, _any(reading, "orders", "order_id", order_ids - set(orders) - {""}))
    open_cases = _of(BreakCase, reading.rows("breaks", {"live": True}))
    watched = watched_by(open_cases)
    if answers is not None:
        _add_named_orders(reading, answers, orders)
        _add_named_fills(reading, answers, watched, fills)
        beyond += _add_other_fills(reading, answers, fills)
    anomalies = _anomalies(reading, watched, beyond)
    orphans = _orphans(reading, watched, beyond)
    _add_kin(reading, orders)
    # Of those that are flat, what they have done to cash.
    ever_held = _of(Position, reading.rows("positions", None if answers else {"live": True}))
    cash = explained_by(ever_held if answers else (), books.cash_adjusted)
    by_key = {p.key: p for p in ever_held if p.live}
    if answers is not None:
        named = {f"{r.event.account}:{r.event.contract.con_id}" for r in answers.positions}
        # Flat by now, those of open cases are live no more.
        shown = [f for c in open_cases for f in c.findings]
        named |= {f.thing for f in shown if f.subject in _HOLDINGS}
        by_key |= {p.key: p for p in ever_held if p.key in named}
    last_run = reading.one("runs", books.last_run_id) if books.last_run_id else None
    sequences = [o.last_sequence for o in orders.values()]
    sequences += [p.last_sequence for p in by_key.values()]
    return OurSide(
        sequence=max(sequences, default=0),
        orders=orders,
        fills=fills,
        positions=by_key,
        anomalies=anomalies,
        opened_accounts=books.opened_accounts,
        by_perm_id=perm_index(orders.values()),
        by_order_ref=ref_index(orders.values()),
        orphans=orphans,
        beyond=tuple(beyond),
        cash=cash,
        premiums=premiums_of(ever_held if answers else ()),
        cash_openings=books.cash_openings,
        watched=watched,
        reported_sequence=last_run.sequence if isinstance(last_run, RunRecord) else 0,
    )


_HOLDINGS: Final = frozenset({"position", "cost"})


def _orphans(
    reading: Reading, watched: frozenset[str], beyond: list[Beyond]
) -> tuple[EarlyCommission, ...]:
    """Return charges without an execution, and those of open cases; of too many, a number."""
    live = {"live": True}
    rows = _of(EarlyCommission, reading.rows("early_commissions", live, limit=BREAKS_MAX))
    watching = {key.removeprefix("commission:") for key in watched if key.startswith("commission:")}
    cased = _of(
        EarlyCommission,
        _any(reading, "early_commissions", "exec_id", watching - {row.exec_id for row in rows}),
    )
    if len(rows) == BREAKS_MAX:
        left = reading.count("early_commissions", live) - len(rows)
        left -= sum(one.live for one in cased)
        if left:
            beyond.append(
                Beyond(
                    subject="commission",
                    break_class="orphan_commission",
                    severity="medium",
                    account="",
                    count=left,
                    last_sequence=0,
                )
            )
    return (*rows, *cased)


def _anomalies(
    reading: Reading, watched: frozenset[str], beyond: list[Beyond]
) -> tuple[Anomaly, ...]:
    """Return what must not be passed over; of too many, a number for each kind."""
    live = {"live": True}
    rows = _of(Anomaly, reading.rows("anomalies", live, limit=BREAKS_MAX))
    if len(rows) < BREAKS_MAX:
        return tuple(rows)
    shown = {key.rpartition(":")[2] for key in watched if key.startswith("message:")}
    rows += _of(
        Anomaly, _any(reading, "anomalies", "anomaly_key", shown - {one.key for one in rows})
    )
    held: Counter[AnomalyKind] = Counter(one.kind for one in rows if one.live)
    for kind in get_args(AnomalyKind):
        left = reading.count("anomalies", {**live, "kind": kind}) - held[kind]
        if left > 0:
            beyond.append(
                Beyond(
                    subject="message",
                    break_class=kind,
                    severity="high",
                    account="",
                    count=left,
                    last_sequence=0,
                )
            )
    return tuple(rows)


def _add_named_orders(reading: Reading, answers: Answers, orders: dict[str, Order]) -> None:
    refs: set[str] = set()
    perm_ids: set[int] = set()
    for row in answers.order_rows():
        refs.add(row.event.order_ref)
        perm_ids.add(row.event.perm_id)
    known = perm_index(orders.values())
    _add(orders, _any(reading, "orders", "order_id", refs - set(orders) - {""}))
    _add(orders, _any(reading, "orders", "order_ref", refs - {""}))
    _add(orders, _any(reading, "orders", "perm_id", perm_ids - set(known) - {0}))


def _add_kin(reading: Reading, orders: dict[str, Order]) -> None:
    """Add the entries and the other exits of those that IB works in another size than asked, or of
    whose group one is filled.
    """
    watched = [o for o in orders.values() if o.rival_filled or (o.live and o.asked_sizes)]
    parents = {o.parent_order_id for o in watched} - {""}
    named = (parents | {o.rival_filled for o in watched}) - set(orders) - {""}
    _add(orders, _any(reading, "orders", "order_id", named))
    _add(orders, _any(reading, "orders", "parent_order_id", parents))


def _add_named_fills(
    reading: Reading, answers: Answers, watched: frozenset[str], fills: dict[str, Fill]
) -> None:
    keys = {
        key.partition(":")[2] for key in watched if key.startswith(("execution:", "commission:"))
    }
    for row in answers.executions:
        stem, _ = stem_and_revision(row.event.exec_id)
        keys.add(f"{row.event.account}:{stem}")
    for fill in _of(Fill, _any(reading, "fills", "fill_key", keys)):
        fills[fill.key] = fill


def _add_other_fills(reading: Reading, answers: Answers, fills: dict[str, Fill]) -> list[Beyond]:
    """Add the newest fills, until one is older than the answer can reach: those that IB should have
    named. Where there are too many, return how many of the others it has not named.
    """
    question = answers.questions.get("executions")
    if question is None or question.reaches_back_to is None:
        return []
    below = reading.head().sequence + 1
    for _ in range(OTHER_FILLS_MAX // _PAGE):
        rows = _of(Fill, reading.highest("fills", "booked_sequence", below, limit=_PAGE))
        for fill in rows:
            fills.setdefault(fill.key, fill)
        if len(rows) < _PAGE:
            return []
        below, oldest = rows[-1].booked_sequence, rows[-1].happened_by
        if oldest is not None and oldest < question.reaches_back_to:
            return []
    if question.outcome != "complete":
        return []
    since = reading.first_since(question.reaches_back_to)
    # What was booked while the answer was under way is newer than it.
    until = min(below - 1, question.asked_sequence)
    named = Counter(f.account for f in fills.values() if since <= f.booked_sequence <= until)
    counts = reading.tally("fills", "account", "booked_sequence", since, until)
    return [
        Beyond(
            subject="execution",
            break_class="extra_fill",
            severity="high",
            account=account,
            count=count - named[account],
            last_sequence=last,
        )
        for account, count, last in counts
        if count > named[account]
    ]


def _any(reading: Reading, table: str, column: str, values: Collection[_Key]) -> list[AnyRecord]:
    """Return the rows whose column has one of some values."""
    return reading.rows(table, {column: sorted(values)}) if values else []


def _add(orders: dict[str, Order], rows: Iterable[AnyRecord]) -> None:
    for order in _of(Order, rows):
        orders[order.order_id] = order


def _of(kind: type[_R], rows: Iterable[AnyRecord]) -> list[_R]:
    return [r for r in rows if isinstance(r, kind)]
