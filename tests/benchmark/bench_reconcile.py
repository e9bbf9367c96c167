"""P11: comparing 10,000 open orders, 5,000 positions and 50,000 executions.

Ours is `compare` over both sides, loaded, and what the report and the cases take from it; beside it
the time that ib_async needs to decode the same answers. The messages are those of the simulator,
taken from a log, with other ids. Each variant runs in a process of its own, so that the memory is
its own.

    python -m tests.benchmark reconcile
"""

from __future__ import annotations

import asyncio
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, get_args

import ib_async

from oms.core.codec import encode
from oms.core.compare.cases import case_events
from oms.core.compare.run import verdict_of
from oms.core.compare.sides import Answers, OurSide, Row, Scope, perm_index, ref_index
from oms.core.contracts import Contract
from oms.core.events import (
    Event,
    ExecutionReceived,
    Finding,
    OpenOrderReceived,
    PositionReceived,
    QueryKind,
    Question,
    ReconciliationCompleted,
    Terms,
)
from oms.core.fold.records import Fill, Order, OrderState, Position
from oms.service.our_side import compare_at_rest
from tests.benchmark.measure import Figures, Result, measure, print_table
from tests.benchmark.measure import Row as TableRow
from tests.precision.schedule import ACCOUNTS, World

ORDERS, POSITIONS, EXECUTIONS = 10_000, 5_000, 50_000
NOW = datetime(2026, 3, 9, 12, 0, tzinfo=UTC)
ROWS = (
    TableRow("P11", "compare", "compare s", "decode s", "ib_async decodes", "s", at_most=0.05),
    TableRow("P11", "memory of comparing", "compare MB", "decode MB", "ib_async", "MB", at_most=1),
)


def contract(number: int) -> Contract:
    """Return one of the contracts."""
    return Contract(con_id=number + 1, symbol=f"S{number}", exchange="SMART")


def sides() -> tuple[OurSide, Answers, Scope]:
    """Return books and answers that agree, but for one position."""
    orders, open_rows = {}, []
    for n in range(ORDERS):
        terms = Terms(
            side="BUY", quantity=Decimal(100), order_type="LMT", limit_price=Decimal("10.5")
        )
        orders[f"o{n}"] = Order(
            order_id=f"o{n}",
            origin="ours",
            account="DU1",
            contract=contract(n % POSITIONS),
            terms=terms,
            actor="strategy:bench",
            state=OrderState.WORKING,
            sent=True,
            acknowledged=True,
            perm_ids=(n + 1,),
            order_ref=f"o{n}",
        )
        event = OpenOrderReceived(
            broker_order_id=n,
            client_id=1,
            perm_id=n + 1,
            order_ref=f"o{n}",
            account="DU1",
            contract=contract(n % POSITIONS),
            side="BUY",
            quantity=Decimal(100),
            order_type="LMT",
            limit_price=Decimal("10.5"),
            tif="DAY",
            status="Submitted",
        )
        open_rows.append(Row(event, n))
    fills, executed = _executions()
    positions, held = {}, []
    for n in range(POSITIONS):
        position = Position(account="DU1", contract=contract(n), quantity=Decimal(n + 1))
        positions[position.key] = position
        told = Decimal(n + 1 if n else 7)
        held.append(Row(PositionReceived(account="DU1", contract=contract(n), quantity=told), n))
    ours = OurSide(
        sequence=1,
        orders=orders,
        fills=fills,
        positions=positions,
        by_perm_id=perm_index(orders.values()),
        by_order_ref=ref_index(orders.values()),
    )
    answers = _answers({"open_orders": open_rows, "executions": executed, "positions": held})
    return ours, answers, Scope(1, (), NOW, timedelta(0), "R1", started_sequence=200_000)


def _answers(rows: dict[QueryKind, list[Row[Event]]]) -> Answers:
    answers = Answers()
    for kind in get_args(QueryKind):
        question = Question(
            query_id=kind,
            kind=kind,
            outcome="complete",
            asked_at=NOW,
            answered_at=NOW,
            asked_sequence=100_000,
        )
        answers = answers.with_answer(question, rows.get(kind, []))
    return answers


def _executions() -> tuple[dict[str, Fill], list[Row[Event]]]:
    fills, rows = {}, []
    for n in range(EXECUTIONS):
        event = ExecutionReceived(
            broker_order_id=n % ORDERS,
            client_id=1,
            perm_id=n % ORDERS + 1,
            order_ref=f"o{n % ORDERS}",
            account="DU1",
            contract=contract(n % POSITIONS),
            exec_id=f"0000e0d5.{n:08x}.01.01",
            side="BUY",
            quantity=Decimal(1),
            price=Decimal("10.5"),
            venue="ISLAND",
            time_text="20260309 11:00:00 UTC",
        )
        fill = Fill(
            account="DU1",
            stem=event.exec_id[:-3],
            exec_id=event.exec_id,
            revision=1,
            order_id=f"o{n % ORDERS}",
            contract=event.contract,
            side="BUY",
            quantity=Decimal(1),
            price=Decimal("10.5"),
            venue="ISLAND",
            time_text=event.time_text,
            occurred_at=NOW,
            perm_id=event.perm_id,
            client_id=1,
            broker_order_id=event.broker_order_id,
            order_ref=event.order_ref,
            liquidation=False,
            backfilled=False,
            booked_sequence=n,
            last_sequence=n,
            commission=Decimal(1),
            commission_currency="USD",
        )
        fills[fill.key] = fill
        rows.append(Row(event, n))
    return fills, rows


def compared(_: object) -> tuple[float, float, int]:
    """Compare, and make of it what the log gets; return seconds, MB, and the report's bytes."""
    ours, answers, scope = sides()
    before = _memory()
    began = time.perf_counter()
    found = compare_at_rest(ours, ours, answers, scope)
    listed, counts = found.listed()
    news = case_events({}, found.findings, found.matches, run_id="R1", complete=True)
    report = _report(listed, counts, found.findings)
    seconds = time.perf_counter() - began
    assert (report.verdict, len(news)) == ("broken", 1)
    return seconds, _memory() - before, len(encode(report))


def _report(listed: list[Finding], counts: Any, findings: list[Finding]) -> ReconciliationCompleted:
    return ReconciliationCompleted(
        run_id="R1",
        trigger="bench",
        verdict=verdict_of(findings),
        started_at=NOW,
        finished_at=NOW,
        books_sequence=1,
        questions=(),
        findings=tuple(listed),
        matches=counts,
    )


def decoded(wires: dict[str, tuple[str, ...]]) -> tuple[float, float, int]:
    """Let ib_async decode as many messages of each kind; return seconds and MB."""
    counts = {"11": EXECUTIONS, "5": ORDERS, "3": ORDERS, "61": POSITIONS}
    messages = [
        [field.replace("@", str(n + 1)) for field in wires[kind]]
        for kind, count in counts.items()
        for n in range(count)
    ]
    ib = ib_async.IB()
    decoder = ib.client.decoder
    decoder.serverVersion = 178
    ib.wrapper.clientId = 7
    before = _memory()
    began = time.perf_counter()
    for fields in messages:
        decoder.interpret(fields)
    return time.perf_counter() - began, _memory() - before, 0


def _memory() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


async def _wires() -> dict[str, tuple[str, ...]]:
    """Return one message of each kind as the simulator wrote it, with @ where ids stand."""
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder) / "world"
        here.mkdir()
        world = World(here, 1)
        async with world.running():
            await world.bought("AAPL", 10, ACCOUNTS[0])
            ticket = await world.resting("AAPL")
            await world.reconcile()
            found: dict[str, tuple[str, ...]] = {}
            for envelope in await world.oms.reader.events(limit=10_000):
                if envelope.wire is not None:
                    found[envelope.wire[0]] = envelope.wire
            ids = {str(ticket.order.perm_id), str(ticket.order.broker_order_id)}
            rows = await world.oms.reader.rows("fills")
            ids |= {f.exec_id for f in rows if isinstance(f, Fill)}
            ids |= {str(f.perm_id) for f in rows if isinstance(f, Fill)} | {ticket.order_id}
            return {
                kind: (wire[0], *("@" if field in ids else field for field in wire[1:]))
                for kind, wire in found.items()
            }


def _apart(work: Callable[[Any], tuple[float, float, int]], given: Any) -> tuple[float, float, int]:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(work, (given,))


def main() -> list[Result]:
    """Print the table."""
    wires = asyncio.run(_wires())
    size = 0

    def round_() -> Figures:
        nonlocal size
        ours, theirs = _apart(compared, None), _apart(decoded, wires)
        size = ours[2]
        return {
            "compare s": ours[0],
            "compare MB": ours[1],
            "decode s": theirs[0],
            "decode MB": theirs[1],
        }

    results = print_table(ROWS, measure(round_, 3))
    print(f"\n{ORDERS + POSITIONS + EXECUTIONS:,} things; the report is {size / 1000:.1f} kB")
    return results
