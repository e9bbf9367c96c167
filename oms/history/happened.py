"""The order in which things happened: the same events, each at the time at which it did.

An event that the log got late has its place where it happened: an execution and what it cost at
IB's time of the execution, by its last correction, and not at all where it was busted; a completed
order at the time of its end; what an account held before the log knew it at the beginning. All
other events stay where they were recorded: IB gives their messages no time.

IB writes seconds, and its clock is not ours. So an execution that was recorded within two seconds
stays where it is, unless an earlier one was recorded after it; none happens after it was recorded,
and neither it nor the end of an order of ours before the order was intended.

What is kept here of each execution is small: when it happened, and which events are about it. Every
event that joins them can move it, and says from which snapshot on what had happened is to be folded
again (`Facts.changed_from`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

from oms.core import codec
from oms.core.events import (
    CashOpened,
    CommissionReceived,
    CommissionRestated,
    CompletedOrderReceived,
    Envelope,
    ExecutionReceived,
    NaturalKeyConflict,
    OpeningPositionRecorded,
)
from oms.core.fold.books import stem_and_revision
from oms.core.fold.records import Order, decode_record
from oms.history.side import Side, Unusable
from oms.history.snapshots import insert, microseconds, moment_of
from oms.store.archived import filled
from oms.store.backend import Connection
from oms.store.envelopes import SELECT_FACTS, envelope

#: IB's times are cut to the second, and a message takes a moment.
PROMPT_MICROSECONDS: Final = 2_000_000
#: In which a commission is reported that is known with its execution.
CHARGED_MICROSECONDS: Final = 10_000_000
#: Before everything.
_BEGINNING: Final = 0
_PAGE: Final = 400
#: Behind every event that was recorded at the same time.
_BEHIND: Final = 2**62

FACT_TABLES: Final = {
    "executions": "stem TEXT PRIMARY KEY, at BIGINT NOT NULL, recorded_at BIGINT NOT NULL,"
    " sequence BIGINT NOT NULL, prompt INTEGER NOT NULL, moved INTEGER NOT NULL,"
    " place BIGINT NOT NULL, facts TEXT NOT NULL",
    "moved": "sequence BIGINT PRIMARY KEY, at BIGINT NOT NULL, place BIGINT NOT NULL,"
    " name TEXT NOT NULL",
}
FACT_INDEXES: Final = (
    "CREATE INDEX executions_at ON {}executions (prompt, at)",
    "CREATE INDEX executions_moved ON {}executions (sequence) WHERE moved = 1",
    "CREATE INDEX executions_place ON {}executions (place) WHERE moved = 1",
    "CREATE INDEX moved_place ON {}moved (place)",
    "CREATE INDEX moved_name ON {}moved (name)",
)
#: Types of the columns of an execution.
_TYPES: Final = (str, int, int, int, int, int, int, str)
_COLUMNS: Final = "stem, at, recorded_at, sequence, prompt, moved, place, facts"


@dataclass(slots=True)
class Execution:
    """What is known of one execution: when it happened, and the events that are about it."""

    stem: str
    #: In microseconds, as all times here. 0 where only its commission is known.
    at: int = 0
    #: Of its first event.
    recorded_at: int = 0
    sequence: int = 0
    #: It was recorded when it happened, and in its order.
    prompt: bool = True
    #: Its place is another than that of its events in the log.
    moved: bool = False
    #: Where it belongs, where it was not prompt.
    place: int = 0
    #: Account -> revision, sequence and whether nothing is left, of its last correction.
    last: dict[str, tuple[int, int, bool]] = field(default_factory=dict)
    #: The events that say what it cost.
    charges: list[int] = field(default_factory=list)

    @property
    def is_busted(self) -> bool:
        """Say whether nothing of it is left."""
        return all(busted for _, _, busted in self.last.values())

    @property
    def sequences(self) -> list[int]:
        """Return the events that make it what it is known to be, in the order of the fold: what an
        execution cost is joined to it whatever session is up.
        """
        finals = [(sequence, busted) for _, sequence, busted in self.last.values()]
        if not finals or self.is_busted:
            return []
        return [*sorted(self.charges), *sorted(s for s, busted in finals if not busted)]

    def row(self) -> tuple[Any, ...]:
        """Return its row."""
        facts = json.dumps([self.last, self.charges], separators=(",", ":"))
        numbers = (int(self.prompt), int(self.moved), self.place)
        return (self.stem, self.at, self.recorded_at, self.sequence, *numbers, facts)

    @classmethod
    def of(cls, row: Sequence[Any]) -> Execution:
        """Return what a row says; raises `Unusable`."""
        stem, at, recorded_at, sequence, prompt, moved, place, facts = row
        try:
            last, charges = json.loads(facts)
            last = {a: (int(r), int(s), bool(b)) for a, (r, s, b) in last.items()}
            charges = [int(s) for s in charges]
        except (ValueError, TypeError, AttributeError) as error:
            raise Unusable(f"execution {stem} cannot be read: {error}") from error
        flags = (bool(prompt), bool(moved))
        return cls(stem, at, recorded_at, sequence, *flags, place, last, charges)


@dataclass(frozen=True, slots=True)
class Moved:
    """An event that has another place than in the log, and is no execution."""

    sequence: int
    at: int
    place: int
    #: What happened once only, however often it is told; "" for what is told once.
    name: str = ""


class Facts:
    """What is known of executions, and which other events are moved."""

    def __init__(self, side: Side | None, log: Connection) -> None:
        self._side = side
        self._log = log
        self._executions: dict[str, Execution] = {}
        self._changed: set[str] = set()
        self._moved: list[Moved] = []
        self._newest = self._newest_stored()
        #: The earliest place, as an event of the log and as a time, that got or lost something
        #: since `flush`; None where none did.
        self.first_event: int | None = None
        self.first_time: int | None = None

    def _newest_stored(self) -> int:
        if self._side is None:
            return 0
        query = "SELECT max(at) FROM {}executions WHERE prompt = 1"
        return int(self._side.rows((int | None,), query)[0][0] or 0)

    # ── what the log says ──

    def note(self, envelopes: Sequence[Envelope]) -> None:
        """Take what the next events of the log say."""
        stems = {stem for e in envelopes if (stem := stem_of(e)) is not None}
        self._load(stems - self._executions.keys())
        begun = self._begun(
            {
                e.event.order_ref
                for e in envelopes
                if isinstance(e.event, ExecutionReceived | CompletedOrderReceived)
            }
        )
        for one in envelopes:
            match one.event:
                case ExecutionReceived(order_ref=order_ref):
                    self._executed(one, begun.get(order_ref, 0))
                case CommissionReceived() | CommissionRestated() | NaturalKeyConflict():
                    stem = stem_of(one)
                    if stem is not None:
                        self._charged(stem, one)
                case OpeningPositionRecorded() | CashOpened():
                    self._move(one, _BEGINNING, "")
                case CompletedOrderReceived(perm_id=perm_id, status=status, order_ref=order_ref):
                    occurred_at = one.context.occurred_at
                    if occurred_at is not None:
                        at = max(microseconds(occurred_at), begun.get(order_ref, -1) + 1)
                        if microseconds(one.recorded_at) - at > PROMPT_MICROSECONDS:
                            self._move(one, at, f"{perm_id}:{at}:{status}")
                case _:
                    pass

    def _executed(self, envelope: Envelope, begun: int) -> None:
        event, recorded_at = envelope.event, microseconds(envelope.recorded_at)
        assert isinstance(event, ExecutionReceived)
        stem, revision = stem_and_revision(event.exec_id)
        known = self._executions.setdefault(stem, Execution(stem))
        before = replace(known)
        before.last = dict(known.last)
        if not known.sequence:
            occurred_at = envelope.context.occurred_at
            at = recorded_at if occurred_at is None else microseconds(occurred_at)
            # An order is sent before it is executed, whatever the two clocks say.
            known.at = min(max(at, begun + 1), recorded_at)
            known.recorded_at, known.sequence = recorded_at, envelope.sequence
            is_late = recorded_at - known.at > PROMPT_MICROSECONDS
            known.prompt = not is_late and known.at >= self._newest
            if known.prompt:
                self._newest = known.at
            else:
                known.moved, known.place = True, self._place(known.at)
        earlier = known.last.get(event.account)
        # The same revision is told again where the books lack the first one.
        if earlier is None or earlier[0] <= revision:
            known.last[event.account] = (revision, envelope.sequence, not event.quantity)
            is_corrected = earlier is not None and earlier[0] < revision
            known.moved = known.moved or is_corrected or not event.quantity
        self._note(before, known)

    def _charged(self, stem: str, envelope: Envelope) -> None:
        known = self._executions.setdefault(stem, Execution(stem))
        before = replace(known)
        known.charges.append(envelope.sequence)
        waited = microseconds(envelope.recorded_at) - known.recorded_at
        if known.sequence and waited > CHARGED_MICROSECONDS:
            known.moved = True
        self._note(before, known)

    def _note(self, before: Execution, known: Execution) -> None:
        self._changed.add(known.stem)
        if not known.moved:
            return
        if before.sequence and not before.moved:
            self._touch(event=before.sequence)
        if known.prompt:
            self._touch(event=known.sequence)
        else:
            self._touch(time=known.place)

    def _touch(self, *, event: int | None = None, time: int | None = None) -> None:
        if event is not None:
            self.first_event = min(event, self.first_event or event)
        if time is not None:
            self.first_time = time if self.first_time is None else min(time, self.first_time)

    def _move(self, envelope: Envelope, at: int, name: str) -> None:
        if name and (any(m.name == name for m in self._moved) or self._is_told(name)):
            return
        self._moved.append(Moved(envelope.sequence, at, at, name))
        self._touch(time=at)

    def _is_told(self, name: str) -> bool:
        if self._side is None:
            return False
        query = "SELECT 1 FROM {}moved WHERE name = ? LIMIT 1"
        return bool(self._side.rows((int,), query, (name,)))

    def _place(self, at: int) -> int:
        """Return where in time an execution belongs that was recorded late: behind every prompt one
        that had happened by then.
        """
        since = at - PROMPT_MICROSECONDS
        known = [
            e.recorded_at for e in self._executions.values() if e.prompt and since <= e.at <= at
        ]
        if self._side is not None:
            rows = self._side.rows(
                (int | None,),
                "SELECT max(recorded_at) FROM {}executions WHERE prompt = 1 AND at BETWEEN ? AND ?",
                (since, at),
            )
            known += [recorded_at for (recorded_at,) in rows if recorded_at is not None]
        return max(at, *known) if known else at

    def _begun(self, order_ids: set[str]) -> dict[str, int]:
        """Return when orders of ours were intended: the books have none of them before."""
        log, found = self._log, {}
        for part in _parts(sorted(order_ids - {""})):
            intents = {}
            for order_id, body in log.among("SELECT order_id, body FROM orders", "order_id", part):
                order = decode_record("orders", body)
                assert isinstance(order, Order)
                if order.origin == "ours":
                    intents[order.intent_sequence] = str(order_id)
            select = "SELECT sequence, recorded_at FROM events"
            for sequence, recorded_at in log.among(select, "sequence", list(intents)):
                found[intents[sequence]] = microseconds(datetime.fromisoformat(recorded_at))
        return found

    # ── what is stored ──

    def flush(self, side: Side) -> None:
        """Store what has changed. In a transaction of the caller."""
        rows = [self._executions[stem].row() for stem in sorted(self._changed)]
        updates = ", ".join(f"{c} = excluded.{c}" for c in _COLUMNS.split(", ")[1:])
        insert(
            side,
            f"INSERT INTO {{}}executions ({_COLUMNS})",
            rows,
            f"ON CONFLICT (stem) DO UPDATE SET {updates}",
        )
        moved = [(m.sequence, m.at, m.place, m.name) for m in self._moved]
        insert(side, "INSERT INTO {}moved (sequence, at, place, name)", moved)
        self._executions.clear()
        self._changed.clear()
        self._moved.clear()
        self.first_event = self.first_time = None

    def _load(self, stems: set[str]) -> None:
        if self._side is None:
            return
        for part in _parts(sorted(stems)):
            marks = ",".join("?" * len(part))
            rows = self._side.rows(
                _TYPES, f"SELECT {_COLUMNS} FROM {{}}executions WHERE stem IN ({marks})", part
            )
            for row in rows:
                self._executions[row[0]] = Execution.of(row)

    def _executions_where(
        self, condition: str, values: Sequence[int], holds: Callable[[Execution], bool]
    ) -> list[Execution]:
        """Return the executions that meet a condition, said for what is stored and for what is in
        memory.
        """
        found = {}
        if self._side is not None:
            rows = self._side.rows(
                _TYPES, f"SELECT {_COLUMNS} FROM {{}}executions WHERE {condition}", values
            )
            found = {row[0]: Execution.of(row) for row in rows}
        found.update(self._executions)
        return [one for one in found.values() if one.sequence and holds(one)]

    def _moved_between(self, after: int, until: int) -> list[Moved]:
        rows: list[tuple[Any, ...]] = []
        if self._side is not None:
            rows = self._side.rows(
                (int, int, int, str),
                "SELECT sequence, at, place, name FROM {}moved WHERE place > ? AND place <= ?",
                (after, until),
            )
        found = {row[0]: Moved(*row) for row in rows}
        found.update({m.sequence: m for m in self._moved if after < m.place <= until})
        return list(found.values())

    def _are_moved(self, sequences: Sequence[int]) -> set[int]:
        found = {m.sequence for m in self._moved} & set(sequences)
        if self._side is not None:
            for part in _parts(list(sequences)):
                marks = ",".join("?" * len(part))
                rows = self._side.rows(
                    (int,), f"SELECT sequence FROM {{}}moved WHERE sequence IN ({marks})", part
                )
                found.update(sequence for (sequence,) in rows)
        return found

    # ── the order in which it happened ──

    def between(self, window: Window, page: Sequence[Envelope]) -> list[Envelope]:
        """Return the events of a window in the order in which they happened, given those of its
        sequences.
        """
        stems = {stem for e in page if (stem := stem_of(e)) is not None}
        self._load(stems - self._executions.keys())
        stays = []
        movable = self._are_moved([e.sequence for e in page if isinstance(e.event, _MOVABLE)])
        for one in page:
            stem = stem_of(one)
            known = None if stem is None else self._executions.get(stem)
            if one.sequence not in movable and not (known is not None and known.moved):
                stays.append(one)
        placed = [(_place_of(e), e) for e in stays]
        placed += self._gathered(window, {e.sequence: e for e in page})
        placed.sort(key=lambda pair: pair[0])
        return [one for _, one in placed]

    def _gathered(
        self, window: Window, at_hand: dict[int, Envelope]
    ) -> list[tuple[tuple[int, int, int, int], Envelope]]:
        wanted: list[tuple[tuple[int, int, int, int], int, int | None]] = []
        for known in self._executions_in(window):
            key = (known.recorded_at, known.sequence)
            if not known.prompt:
                key = (known.place, _BEHIND)
            is_late = known.recorded_at - known.at > PROMPT_MICROSECONDS
            said_at = known.at if is_late else known.recorded_at
            for number, sequence in enumerate(known.sequences):
                place = (*key, known.at, number + (0 if known.prompt else known.sequence))
                wanted.append((place, sequence, said_at))
        for moved in self._moved_between(window.after_time, window.until_time):
            place = (moved.place, _BEHIND if moved.place else 0, moved.at, moved.sequence)
            wanted.append((place, moved.sequence, moved.at or None))
        for sequence in self._told_since(window):
            wanted.append(((window.until_time, _BEHIND, _BEHIND, sequence), sequence, None))
        missing = [sequence for _, sequence, _ in wanted if sequence not in at_hand]
        at_hand = {**at_hand, **self._read(missing)}
        return [(place, _told_at(at_hand[sequence], at)) for place, sequence, at in wanted]

    def _executions_in(self, window: Window) -> Iterator[Execution]:
        yield from self._executions_where(
            "moved = 1 AND sequence > ? AND sequence <= ?",
            (window.after, window.until),
            lambda e: e.moved and e.prompt and window.after < e.sequence <= window.until,
        )
        latest = window.until_time + (PROMPT_MICROSECONDS if window.is_open else 0)
        yield from self._executions_where(
            "moved = 1 AND place > ? AND place <= ?",
            (window.after_time, latest),
            lambda e: (
                e.moved
                and not e.prompt
                and window.after_time < e.place <= latest
                and e.at <= window.until_time
            ),
        )
        if window.is_open:
            # Recorded after the moment, and happened before it.
            yield from self._prompt_before(window, lambda e: e.sequence > window.until)

    def _told_since(self, window: Window) -> list[int]:
        """Return what was reported after the end of an open window of the executions before it."""
        if not window.is_open:
            return []
        known = self._prompt_before(window, lambda e: not e.moved and e.sequence <= window.until)
        return [s for e in known for s in e.sequences if s > window.until]

    def _prompt_before(self, window: Window, holds: Callable[[Execution], bool]) -> list[Execution]:
        end = window.until_time
        since = end - PROMPT_MICROSECONDS - CHARGED_MICROSECONDS
        return self._executions_where(
            "prompt = 1 AND at >= ? AND at <= ?",
            (since, end),
            lambda e: e.prompt and since <= e.at <= end and holds(e),
        )

    def _read(self, sequences: Sequence[int]) -> dict[int, Envelope]:
        found = {}
        for part in _parts(sequences):
            for row in filled(self._log, self._log.among(SELECT_FACTS, "sequence", part)):
                found[row[0]] = envelope(row)
        return found


@dataclass(frozen=True, slots=True)
class Window:
    """Some events of the log, and the time that they cover: from behind one of both to the other.

    An open one ends at a moment that is asked about, and not at a snapshot.
    """

    after: int
    until: int
    after_time: int
    until_time: int
    is_open: bool = False


_MOVABLE: Final = (OpeningPositionRecorded, CashOpened, CompletedOrderReceived)


def stem_of(envelope: Envelope) -> str | None:
    """Return what names the execution that an event is about, None where it is about none."""
    match envelope.event:
        case ExecutionReceived(exec_id=exec_id) | CommissionReceived(exec_id=exec_id):
            return stem_and_revision(exec_id)[0]
        case CommissionRestated(exec_id=exec_id):
            return stem_and_revision(exec_id)[0]
        case NaturalKeyConflict(type_name="CommissionReceived", payload=payload):
            told = codec.decode("CommissionReceived", 1, payload)
            assert isinstance(told, CommissionReceived)
            return stem_and_revision(told.exec_id)[0]
        case _:
            return None


def _place_of(envelope: Envelope) -> tuple[int, int, int, int]:
    return (microseconds(envelope.recorded_at), envelope.sequence, 0, 0)


def _told_at(envelope: Envelope, at: int | None) -> Envelope:
    """Return an event as if it had been recorded at a time."""
    return envelope if at is None else replace(envelope, recorded_at=moment_of(at))


def _parts(values: Sequence[Any]) -> Iterable[list[Any]]:
    for start in range(0, len(values), _PAGE):
        yield list(values[start : start + _PAGE])
