"""An answer that comes from the index is the answer that a plain reading of the log gives.

Goal: whatever happened in the log, in however many steps the index took it, and whatever was asked,
`search` and `count` find exactly the events that a scan of all of them finds: executions and
commissions that came before their order, and a file that is behind, lost, damaged or of another
log, included.
Method: random lives of orders with random facts of every kind between, in a real log; the scan
shares no code with the index.
"""

from __future__ import annotations

import asyncio
import json
import random
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from oms.clock import ManualClock, SystemClock
from oms.core import codec
from oms.core.events import AlarmRaised, Context, Envelope, Event, Pending
from oms.core.fold.records import Alarm, BreakCase, Order
from oms.history import index, query
from oms.history.query import Query
from oms.history.side import Unusable, opened, path_of
from oms.service import past
from oms.store import schema
from oms.store.backend import connect, parse_url
from oms.store.log import EventLog
from oms.store.reader import Reader
from tests import strategies
from tests.benchmark.flow import pendings
from tests.lives import Life

FIELDS: Final = {
    "account": "account",
    "symbol": "symbol",
    "con_id": "con_id",
    "sec_type": "class",
    "break_class": "class",
    "side": "side",
    "code": "code",
}
INHERITED: Final = {"account", "symbol", "con_id", "class", "side", "strategy"}
Named = set[tuple[str, str]]


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an empty log, to be copied."""
    path = tmp_path_factory.mktemp("template") / "empty.sqlite"
    schema.upgrade(str(path))
    return path


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a short log have many blocks, and be indexed at all."""
    monkeypatch.setattr(index, "BLOCK", 16)
    monkeypatch.setattr(index, "TAIL_MAX", 3)
    monkeypatch.setattr(index, "_PAGE", 5)
    monkeypatch.setattr(query, "_NEAR_EVENTS", 7)


@settings(
    max_examples=8,
    deadline=None,
    # A smaller case is a file anew: that would take minutes.
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    lines=strategies.lives(),
    strange=st.lists(strategies.events(), max_size=12),
    seed=st.integers(0, 2**32),
)
def test_what_the_index_finds_is_what_a_scan_finds(
    empty: Path, lines: list[str], strange: list[Event], seed: int
) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "log.sqlite"
        shutil.copyfile(empty, path)
        asyncio.run(_play(path, lines, strange, random.Random(seed)))


async def _play(path: Path, lines: list[str], strange: list[Event], rnd: random.Random) -> None:
    clock = ManualClock(datetime(2026, 6, 1, tzinfo=UTC))
    log = await EventLog.open(str(path), clock=clock, lease=None)
    facts = _facts(lines, strange, rnd)
    while facts:
        for _ in range(min(len(facts), rnd.randrange(1, 20))):
            log.append(facts.pop(0))
            clock.advance(rnd.choice((0, 1, 3600)))
        await log.flush()
        if rnd.random() < 0.7:
            _take(path)
        if rnd.random() < 0.3:
            await _compare(path, rnd)
    await log.close()
    _spoil(path, rnd)
    await _compare(path, rnd)


def _facts(lines: list[str], strange: list[Event], rnd: random.Random) -> list[Pending]:
    life = Life().play("\n".join(["session", *lines]))
    facts = [Pending(one.event, one.context) for one in life.envelopes]
    for event in strange:
        actor = rnd.choice(("person:ann", "strategy:x", "daemon"))
        facts.insert(rnd.randrange(1, len(facts) + 1), Pending(event, Context(actor, 1)))
    return facts


def _take(path: Path) -> None:
    with (
        closing(connect(parse_url(str(path)), "read")) as log,
        opened(log, str(path), write=True) as side,
    ):
        index.catch_up(log, side, index.folded(log))


def _spoil(path: Path, rnd: random.Random) -> None:
    """Do to the file beside the log what may be done to it."""
    file = path_of(str(path))
    if not file.exists():
        return
    match rnd.randrange(5):
        case 0:
            file.unlink()
        case 1:
            file.write_bytes(rnd.randbytes(5000))
        case 2:
            content = bytearray(file.read_bytes())
            for _ in range(rnd.randrange(1, 8)):
                content[rnd.randrange(len(content))] ^= 1 << rnd.randrange(8)
            file.write_bytes(content)
        case 3:
            with (
                closing(connect(parse_url(str(path)), "read")) as log,
                opened(log, str(path), write=True) as side,
            ):
                side.execute("UPDATE {}about SET first = ?", (b"another log",))
        case _:
            pass


async def _compare(path: Path, rnd: random.Random) -> None:
    reader = await Reader.open(str(path))
    try:
        events = await reader.events(limit=100_000)
        known = {one.sequence: one for one in await _named(reader, events)}
        for _ in range(6):
            asked = _question(list(known.values()), events, rnd)
            expected = [n for n, one in known.items() if one.meets(asked)]
            if asked.reverse:
                expected.reverse()
            found = [e.sequence async for e in query.search(reader, asked)]
            assert found == expected[: asked.limit], asked
            few = asked.evolve(limit=rnd.randrange(2, 9))
            assert [e.sequence async for e in query.search(reader, few)] == expected[: few.limit]
            by = rnd.choice(query.KEYS)
            counted = await query.count(reader, asked, by)
            assert counted.total == len(expected), asked
            values = Counter(
                value
                for n in expected
                for value in ([v for k, v in known[n].named if k == by] or [""])
            )
            assert dict(counted.counts) == dict(values), (asked, by)
    finally:
        await reader.close()


class _Scanned:
    """An event with all that it can be found by, as a person would find it."""

    def __init__(
        self, envelope: Envelope, orders: list[Order], about: list[Any], kinds: set[str]
    ) -> None:
        self.sequence = envelope.sequence
        self.recorded_at = envelope.recorded_at
        self.states = {order.state.value for order in orders}
        self.named: Named = {("type", type(envelope.event).__name__)}
        self.named.add(("actor", envelope.context.actor))
        if envelope.context.session_epoch:
            self.named.add(("session", str(envelope.context.session_epoch)))
        self._strategy(envelope.context.actor)
        self.named |= set(_walk(json.loads(codec.encode(envelope.event))))
        self.named |= {("class", kind) for kind in kinds}
        for order in orders:
            self.named |= {
                ("account", order.account),
                ("symbol", order.contract.symbol.upper()),
                ("con_id", str(order.contract.con_id or "")),
                ("class", order.contract.sec_type),
                ("side", order.terms.side),
                *(("con_id", str(leg.con_id or "")) for leg in order.contract.legs),
            }
            self._strategy(order.actor)
        for row in about:
            self.named |= set(_walk(row))
        self.named = {(kind, value) for kind, value in self.named if value}

    def _strategy(self, actor: str) -> None:
        if actor.startswith("strategy:"):
            self.named.add(("strategy", actor.partition(":")[2]))

    def meets(self, asked: Query) -> bool:
        """Say whether every condition holds."""
        since, until = asked.since, asked.until
        return (
            all(
                any((kind, value) in self.named for value in values)
                for kind, values in asked.values.items()
            )
            and (not asked.state or bool(self.states & set(asked.state)))
            and (since is None or self._place(since) >= since)  # type: ignore[operator]
            and (until is None or self._place(until) < until)  # type: ignore[operator]
            and (asked.after is None or self.sequence > asked.after)
        )

    def _place(self, beside: object) -> object:
        return self.sequence if isinstance(beside, int) else self.recorded_at


async def _named(reader: Reader, events: list[Envelope]) -> list[_Scanned]:
    orders = {row.key: row for row in await reader.rows("orders") if isinstance(row, Order)}
    stories = {key: {e.sequence for e in await reader.order_events(key)} for key in orders}
    breaks = {row.key: row for row in await reader.rows("breaks") if isinstance(row, BreakCase)}
    alarms = {row.key: row for row in await reader.rows("alarms") if isinstance(row, Alarm)}
    found = []
    for envelope in events:
        mine = [orders[key] for key, story in stories.items() if envelope.sequence in story]
        about: list[Any] = []
        case = breaks.get(getattr(envelope.event, "break_id", "") or "-")
        if case is not None:
            shown = [json.loads(codec.encode(f)) for f in case.findings]
            waiting = case.waiting
            about += shown
            if waiting is not None:
                about.append(json.loads(codec.encode(waiting)))
        alarm = alarms.get(getattr(envelope.event, "alarm_id", "") or "-")
        if alarm is not None:
            about.append({"account": alarm.account, "symbol": alarm.symbol})
        raised = [one for one in (alarm, envelope.event) if isinstance(one, Alarm | AlarmRaised)]
        found.append(_Scanned(envelope, mine, about, {one.kind for one in raised}))
    return found


def _walk(value: Any, legs: bool = False) -> Iterator[tuple[str, str]]:
    if isinstance(value, list):
        for one in value:
            yield from _walk(one, legs)
    if not isinstance(value, dict):
        return
    for name, inner in value.items():
        if isinstance(inner, dict | list):
            yield from _walk(inner, legs or name == "legs")
        if name == "accounts":
            yield from (("account", one) for one in inner)
        elif name in FIELDS and inner and not (legs and name == "side"):
            kind = FIELDS[name]
            yield kind, str(inner).upper() if kind in {"symbol", "side"} else str(inner)


def _question(known: list[_Scanned], events: list[Envelope], rnd: random.Random) -> Query:
    conditions: dict[str, Any] = {}
    for kind, value in rnd.sample(sorted(rnd.choice(known).named), k=2):
        if rnd.random() < 0.7:
            field = "klass" if kind == "class" else kind
            number = kind in {"con_id", "code", "session"}
            conditions[field] = (int(value) if number else value,)
    if rnd.random() < 0.2:
        conditions["state"] = (rnd.choice(("WORKING", "FILLED", "CANCELLED")),)
    if rnd.random() < 0.4:
        at = rnd.choice(events)
        conditions["since"] = rnd.choice((at.sequence, at.recorded_at))
    if rnd.random() < 0.4:
        at = rnd.choice(events[1:] or events)
        until = at.recorded_at + timedelta(seconds=1)
        conditions["until"] = rnd.choice((at.sequence + 1, until))
    if rnd.random() < 0.3:
        conditions["after"] = rnd.randrange(len(events))
    if rnd.random() < 0.3:
        conditions["limit"] = rnd.randrange(1, 5)
    return Query(reverse=rnd.random() < 0.5, **conditions)


async def test_the_daemon_keeps_the_index_at_the_end_of_the_log(
    empty: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(past, "_LOOK_SECONDS", 0.02)
    monkeypatch.setattr(past, "_SHARE", 1)
    monkeypatch.setattr(index, "BLOCK", 65_536)
    monkeypatch.setattr(index, "_PAGE", 500)
    kept: asyncio.Queue[int] = asyncio.Queue()
    loop, keep_up = asyncio.get_running_loop(), index.keep_up

    def keep(url: str, rest: index.Rest) -> int:
        reached = keep_up(url, rest)
        loop.call_soon_threadsafe(kept.put_nowait, reached)
        return reached

    monkeypatch.setattr(index, "keep_up", keep)
    path = tmp_path / "log.sqlite"
    shutil.copyfile(empty, path)
    clock = ManualClock(datetime(2026, 6, 1, tzinfo=UTC))
    log = await EventLog.open(str(path), clock=clock, lease=None)
    for fact in pendings(1_100, open_orders=50):
        log.append(fact)
    await log.flush()
    maker = asyncio.create_task(past.PastMaker(log=log, url=str(path), clock=SystemClock()).serve())
    async with asyncio.timeout(60):
        assert await kept.get() == 1_100
    maker.cancel()
    await asyncio.gather(maker, return_exceptions=True)
    await log.close()
    assert _reached(path) == 1_100


def _reached(path: Path) -> int:
    try:
        with (
            closing(connect(parse_url(str(path)), "read")) as log,
            opened(log, str(path), write=False) as side,
        ):
            return side.mark(index.MARK)[0].sequence
    except Unusable:
        return 0
