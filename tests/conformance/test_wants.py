"""Whatever has ended and left memory comes back for every event that names it.

Goal: no fold forgets a row that it needs. Every type of event there is, built from its own fields,
is played after a life in which everything has ended: after a restart, after all of it has left
memory, and after the records of one table have. The rows that the projector then writes must be
those of a fold that never forgot anything.
Method: one life is stored once; each event is folded and written by the real projector in a
savepoint that is rolled back. That the test is not blind is a test itself: with any one kind of row
taken out of any one fold's wants, it must see a difference.
"""

from __future__ import annotations

import shutil
import types
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin, get_type_hints

import pytest

from oms.core import codec
from oms.core.events import (
    EVENT_TYPES,
    AlarmCleared,
    AlarmRaised,
    BreakClosed,
    BreakOpened,
    CommissionReceived,
    Context,
    Envelope,
    Event,
    Finding,
    Pending,
    QueryAnswered,
    Question,
    ReconciliationStarted,
    Terms,
)
from oms.core.fold import apply as folds
from oms.core.fold.fold import Fold
from oms.core.fold.records import TABLES, encode_record
from oms.core.fold.wants import Want, Wants, nothing
from oms.core.members import members
from oms.core.values import Value
from oms.store.backend import Connection, connect, parse_url
from oms.store.projector import Projector
from oms.store.rows import Sums
from tests.conformance.conftest import Place
from tests.conformance.test_event_log import opened_log, rebuilt_equal
from tests.lives import ACCOUNT, CLIENT, START, Life, contract, number_of, perm_id_of, terms

Rows = dict[tuple[str, str], str]
Links = set[tuple[str, int]]

#: Orders by how they ended. G leaves the position flat; a commission came early, and one waits for
#: its execution; of the second contract there was never a fill; H had two permanent numbers, and
#: its row is found by the last; I is somebody else's, who wrote another name into orderRef; of J
#: only its number has joined all. K was refused, and IB has shown an order of somebody else under
#: its permanent number, which has fills; of L IB has shown the key before anybody sent with it; M
#: was refused as well, and nobody has claimed the fills of its permanent number.
LIFE: Final = """
    session
    A: intent BUY 100 LMT 10
    A: sent
    A: open Submitted
    A: fill 100 @ 10 exec=a.1.01
    A: commission a.1.01 1.5
    A: status Filled 100
    commission a.9.01 1.5
    B: intent BUY 100 LMT 10 con=2
    B: sent
    B: open Submitted con=2
    B: status Cancelled 0
    C: denied
    D: intent BUY 100 LMT 10
    D: not_sent
    E: intent BUY 100 LMT 10
    E: sent
    E: open Submitted
    commission e.1.01 1.5
    E: fill 50 @ 11 exec=e.1.01
    E: fill 100 @ 11 exec=e.1.02
    E: status Filled 100
    F: open Submitted client=1 id=6 ref=
    F: adopt Submitted client=1 id=6
    F: status Cancelled 0
    J: intent BUY 100 LMT 10
    J: sent
    J: fill 100 @ 11 exec=j.1.01 ref=
    J: status Filled 100
    G: intent SELL 300 LMT 10
    G: sent
    G: open Submitted
    G: fill 300 @ 12 exec=g.1.01
    G: status Filled 300
    H: intent BUY 100 LMT 10
    H: sent
    H: open Submitted
    H: open Submitted perm=2008
    H: status Cancelled 0
    H: status Cancelled 0 perm=2008
    I: adopt Submitted client=1 id=9 ref=strategy
    I: status Cancelled 0
    K: intent BUY 100 LMT 10
    K: sent
    K: notice 201
    K: open Submitted client=5 id=11 ref=other
    K: fill 100 @ 10 client=5 id=11 ref=other exec=k.1.01
    K: fill 100 @ 10 client=5 id=11 ref=other side=SELL exec=k.2.01
    L: open Submitted client=5 id=12
    L: fill 100 @ 10 client=5 id=12 exec=l.1.01
    L: fill 100 @ 10 client=5 id=12 side=SELL exec=l.2.01
    M: intent BUY 100 LMT 10
    M: sent
    M: notice 201
    M: fill 100 @ 10 client=5 id=13 ref= exec=m.1.01
    M: fill 100 @ 10 client=5 id=13 ref= side=SELL exec=m.2.01
    position 0 0
    position 0 0 con=2
    unreadable
"""
ORDERS: Final = "ABCDEFGHIJKLM"
#: What IB shows as the orderRef of an order whose id is another.
REFS: Final = {"I": "strategy"}
#: Executions of the life, their corrections, and new ones of every order.
EXECUTIONS: Final = (
    *("a.1.01", "a.1.02", "e.1.01", "e.1.02", "e.1.03"),
    *("a.9.01", "d.9.01", "f.9.01", "h.9.01", "i.9.01", "j.9.01"),
    *("k.9.01", "l.9.01", "m.9.01"),
)
#: What memory has when the event comes: the live rows only, all but what has ended, or all but what
#: has ended of one table. Rows of the others are needed alone.
MEMORIES: Final = ("restarted", "all has left", "orders", "fills", "positions")
#: What the names inside events stand for, where they are the same in every event.
NAMES: Final[dict[str, Any]] = {
    "account": ACCOUNT,
    "client_id": CLIENT,
    "alarm_id": "alarm",
    "break_id": "break",
    "run_id": "run",
    "query_id": "query",
    "message_id": "3",
    "next_broker_order_id": 1,
    "parent_broker_order_id": 0,
    "parent_order_id": None,
    "group_id": None,
    "process_id": 1,
    "type_name": CommissionReceived.__name__,
}
#: Fields that may be empty and, empty, would change nothing.
SAID: Final = ("contract", "adjustment", "commission")
#: Fields by which an event names an order, and what they hold where it does not.
ORDER_NAMES: Final[dict[str, Any]] = {
    "order_ref": "",
    "perm_id": 0,
    "broker_order_id": 0,
    "subject_id": 0,
    "correlation_id": None,
}


#: Rows of an answer: a position that nobody holds, and a value of the account.
_TOLD: Final = (f"portfolio:{ACCOUNT}:1", f"updates:{ACCOUNT}:text:")


# ── the life ─────────────────────────────────────────────────────────────────────────────────────


@cache
def ended_life() -> tuple[Envelope, ...]:
    """Return a life in which one of everything has ended."""
    life = Life().play(LIFE)
    key = f"message:{life.last}"
    finding = Finding(result="break", subject="message", key=key, order_id="A")
    for event in (
        AlarmRaised(alarm_id="alarm", kind="outage", subject="line", since=START, text="away"),
        AlarmCleared(alarm_id="alarm"),
        ReconciliationStarted(run_id="run", trigger="person"),
        BreakOpened(break_id="break", run_id="run", finding=finding),
        BreakClosed(break_id="break", reason="seen", how="resolve"),
        built(EVENT_TYPES["AccountValueReceived"], {}),
        _answered(came=_TOLD),
        built(EVENT_TYPES["ReconciliationCompleted"], {}),
    ):
        life.apply(event)
    return tuple(life.play("lost").envelopes)


def _answered(**told: tuple[str, ...]) -> QueryAnswered:
    question = Question(
        query_id="query",
        kind="account",
        account=ACCOUNT,
        outcome="complete",
        set_digest="text",
        asked_at=START,
        answered_at=START,
        asked_sequence=1,
    )
    return QueryAnswered(run_id="run", question=question.evolve(**told))


@dataclass(frozen=True)
class Story:
    """One more event after the life, and the rows of a fold that kept everything in memory."""

    envelope: Envelope
    rows: Rows
    links: Links


@cache
def stories(type_name: str) -> list[Story]:
    """Return every way in which an event of a type can name what has ended."""
    return [_story(event, context) for event, context in events_of(EVENT_TYPES[type_name])]


def _story(event: Event, context: Context) -> Story:
    life = ended_life()
    envelope = Envelope(len(life) + 1, event, context, START)
    books = folds.initial()
    for each in (*life, envelope):
        folds.apply(books, each)
    rows = {
        (table, key): encode_record(books.tables[table][key])
        for table, keys in books.touched().items()
        for key in keys
    }
    return Story(envelope, rows, set(books.links()))


# ── events of every type ─────────────────────────────────────────────────────────────────────────


def events_of(cls: type[Event]) -> Iterator[tuple[Event, Context]]:
    """Yield events that name each order and execution, in each way that the type has."""
    if cls is QueryAnswered:
        for told in ({}, {"gone": _TOLD}, {"gone": _TOLD[:1], "came": _TOLD[1:]}):
            yield _answered(**told), Context("daemon", session_epoch=1)
        return
    names = [n for n in ORDER_NAMES if n in members(cls) or n == "correlation_id"]
    executions = EXECUTIONS if {"exec_id", "payload"} & members(cls).keys() else ORDERS
    for execution in executions:
        order = execution[0].upper()
        full: dict[str, Any] = {
            "order_id": order,
            "order_ref": REFS.get(order, order),
            "perm_id": perm_id_of(order),
            "broker_order_id": number_of(order),
            "subject_id": number_of(order),
            "correlation_id": order,
            "exec_id": execution,
            "contract": contract(2 if order == "B" else 1),
            "payload": _commission_text(execution),
        }
        for one in (None, *names):
            said = full | {n: ORDER_NAMES[n] for n in names if one not in (None, n)}
            actor = "broker" if cls.__name__.endswith(("Received", "Conflict")) else "daemon"
            context = Context(actor, session_epoch=1, correlation_id=said["correlation_id"])
            yield built(cls, said), context


def _commission_text(exec_id: str) -> str:
    told = CommissionReceived(exec_id=exec_id, currency="USD", commission=Decimal(2))
    return codec.encode(told)


def built(cls: type[Value], said: dict[str, Any]) -> Any:
    """Return a value of a model: what is said by name, else something of each field's type."""
    hints = get_type_hints(cls, include_extras=False)
    values: dict[str, Any] = {}
    for name, field in members(cls).items():
        if name in said or name in NAMES:
            values[name] = said.get(name, NAMES.get(name))
        elif name == "request_id":
            values[name] = "request" if hints[name] is str else 1
        elif field.is_required or name in SAID:
            assert not name.endswith(("_id", "_ref")), f"{cls.__name__}: say what {name} names"
            values[name] = _something(hints[name], said)
    return cls(**values)


def _something(hint: Any, said: dict[str, Any]) -> Any:
    if get_origin(hint) in (Union, types.UnionType):
        return _something(get_args(hint)[0], said)
    if get_origin(hint) is Annotated:
        return _something(get_args(hint)[0], said)
    if get_origin(hint) is Literal:
        return get_args(hint)[0]
    if get_origin(hint) is tuple:
        return ()
    if hint is Terms:
        return terms("BUY 100 LMT 10")
    if issubclass(hint, Value):
        return built(hint, said)
    some: dict[Any, Any] = {
        str: "text",
        int: 1,
        bool: False,
        Decimal: Decimal(2),
        datetime: START,
    }
    return some[hint]


# ── the projector ────────────────────────────────────────────────────────────────────────────────


class Forgetful:
    """A projector over the rows of the life, whose memory lacks what a test says."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        first = Projector(connection)
        first.fold(ended_life())
        first.write()
        self._records = {
            table: list(rows.values()) for table, rows in first.books.tables.items() if rows
        }
        self.evictable = first.books.evictable()

    def forgets(self, story: Story) -> list[str]:
        """Return how memory can be so that the rows are not those of the story."""
        return [memory for memory in MEMORIES if not self._equal(story, memory)]

    def _equal(self, story: Story, memory: str) -> bool:
        projector = Projector(self._connection)
        sequence = len(ended_life())
        if memory == "restarted":
            projector.restore(sequence, Sums())
        else:
            books = projector.books
            books.sequence = sequence
            for table, records in self._records.items():
                for record in records:
                    books.restore(table, record)
            for table, key in self.evictable:
                if memory in ("all has left", table):
                    books.evict(table, key)
        self._connection.execute("SAVEPOINT story")
        projector.fold([story.envelope])
        projector.write()
        rows, links = self._rows()
        self._connection.execute("ROLLBACK TO story")
        return (rows, links) == (story.rows, story.links)

    def _rows(self) -> tuple[Rows, Links]:
        everything = " UNION ALL ".join(
            f"SELECT '{name}', {spec.key_name}, body FROM {name}" for name, spec in TABLES.items()
        )
        rows = {(name, key): body for name, key, body in self._connection.rows(everything)}
        links = self._connection.rows("SELECT order_id, sequence FROM order_events")
        return rows, {(order_id, sequence) for order_id, sequence in links}


@pytest.fixture(scope="module")
def forgetful(
    sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Forgetful]:
    path = tmp_path_factory.mktemp("wants") / "log.sqlite"
    shutil.copyfile(sqlite_template, path)
    with closing(connect(parse_url(str(path)))) as connection, connection.writing():
        yield Forgetful(connection)


# ── the tests ────────────────────────────────────────────────────────────────────────────────────


def test_in_the_life_a_record_of_every_kind_has_ended(forgetful: Forgetful) -> None:
    assert {table for table, _ in forgetful.evictable} == TABLES.keys() - {"system"}


@pytest.mark.sample(3)
@pytest.mark.parametrize("type_name", EVENT_TYPES)
def test_what_left_memory_comes_back_for_every_event_that_names_it(
    forgetful: Forgetful, type_name: str
) -> None:
    for story in stories(type_name):
        assert forgetful.forgets(story) == [], story.envelope


def _kinds(fold: Fold[Any]) -> set[tuple[str, str]]:
    """Return the kinds of rows that a fold asks for, over all its stories."""
    books = folds.initial()
    return {
        (want.table, want.column)
        for story in stories(fold.event_type.__name__)
        for want in fold.wants(story.envelope.event, story.envelope.context, books)
    }


_WITH_WANTS: Final = [fold for fold in folds.FOLDS.values() if fold.wants is not nothing]


@pytest.mark.sample(4)
@pytest.mark.parametrize("fold", _WITH_WANTS, ids=lambda fold: fold.event_type.__name__)
def test_fold_that_forgets_one_of_its_wants_is_found(
    forgetful: Forgetful, fold: Fold[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    kinds = _kinds(fold)
    assert kinds
    for kind in sorted(kinds):

        def forgetting(event: Event, *rest: Any, kind: tuple[str, str] = kind) -> Wants:
            return tuple(w for w in fold.wants(event, *rest) if (w.table, w.column) != kind)

        monkeypatch.setitem(folds.FOLDS, fold.event_type, replace(fold, wants=forgetting))
        found = any(forgetful.forgets(s) for s in stories(fold.event_type.__name__))
        assert found, f"no story shows that {fold.event_type.__name__} needs {kind}"


@pytest.mark.parametrize("table", ["orders", "positions"])
def test_fill_that_comes_back_alone_is_found(
    forgetful: Forgetful, table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    true_companions = folds.companions

    def forgetting(record: Any) -> tuple[Want, ...]:
        return tuple(w for w in true_companions(record) if w.table != table)

    monkeypatch.setattr(folds, "companions", forgetting)
    assert any(forgetful.forgets(story) for story in stories("CommissionReceived"))


async def test_log_that_forgets_everything_equals_its_rebuild(place: Place) -> None:
    """The same through the whole log: a restart, then every type of event, nothing kept."""
    async with opened_log(place) as log:
        for each in ended_life():
            await log.append(Pending(each.event, each.context))
    async with opened_log(place, resident_records_max=0) as log:
        for name in EVENT_TYPES:
            if name != "ProjectionsRebuilt":  # It makes the log load its books again.
                envelope = stories(name)[0].envelope
                await log.append(Pending(envelope.event, envelope.context))
    assert rebuilt_equal(place)
