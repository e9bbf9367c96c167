"""Why: from an event, an order, a position or a break back to what led to it.

What an event names itself is followed as it stands; what names nothing of ours is followed through
the order that the fold has counted it to, and is marked as attributed (`core.causes`). Every event
that is shown has its hash checked by the reader.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Final, cast

from oms.core.answer_rows import line_of, set_digest_of
from oms.core.causes import REQUESTS, Link, attributions, role_of, stated
from oms.core.codec import execution_key
from oms.core.events import (
    AlarmCleared,
    AlarmRaised,
    BooksAdjusted,
    BreakAssigned,
    BreakClosed,
    BreakExplained,
    BreakOpened,
    BreakUpdated,
    CaseActionProposed,
    CaseRequestDenied,
    CaseRequested,
    Envelope,
    OpeningPositionRecorded,
    QueryAnswered,
    Question,
    ReconciliationCompleted,
)
from oms.core.fold import positions
from oms.core.fold.books import stem_and_revision
from oms.core.fold.records import (
    AdjustmentMade,
    BreakCase,
    Fill,
    Order,
    Position,
    RunRecord,
)
from oms.core.members import members
from oms.core.money import ZERO, plain
from oms.core.sought import Sought, sought
from oms.core.words import counted
from oms.errors import NotFound
from oms.history.clocks import clock_at
from oms.history.names import find_order
from oms.history.query import Query, search
from oms.report.clock import UNMEASURED, ClockBound
from oms.report.sentences import name_of, sentence
from oms.report.story import tell
from oms.report.why import Answered, Moved, Movement, Step, Why
from oms.report.words import shown_price
from oms.store.answers import whole_answer
from oms.store.reader import Reader
from oms.store.tables import EVENT_COLUMNS

#: Events that one answer shows at most.
STEPS_MAX: Final = 2_000
#: Events after another that are looked at for what it caused, beside those that share its order or
#: its correlation.
LOOKED_AFTER_MAX: Final = 2_000
#: Events after another among which the line, runs and alarms may hang on it.
SOUGHT_AFTER_MAX: Final = 200
_PAGE: Final = 500


async def why(reader: Reader, subject: str) -> Why:
    """Return why something is as it is: the sequence of an event, the number of a break, an account
    and a contract (`ACCOUNT:CONID`), an execution, an alarm, a request, or any name of an order.

    Raises `NotFound`, and `InvalidRequest` where a name means several.
    """
    if subject.isascii() and subject.isdecimal() and len(subject) <= 18:
        head = (await reader.head()).sequence
        if 1 <= int(subject) <= head:
            return await of_event(reader, int(subject))
        # No event has this number; IB's permanent numbers are as long.
    elif await reader.one("breaks", subject) is not None:
        return await of_break(reader, subject)
    elif await reader.one("positions", subject) is not None:
        return await of_position(reader, subject)
    elif await reader.one("alarms", subject) is not None:
        return await of_alarm(reader, subject)
    elif await reader.one("orders", subject) is None and (
        fills := await _fills_named(reader, subject)
    ):
        return await of_execution(reader, subject, fills)
    try:
        return await of_order(reader, (await find_order(reader, subject)).order_id)
    except NotFound:
        begun = await reader.keys("breaks", subject, limit=2) if subject else []
        if len(begun) == 1:
            return await of_break(reader, begun[0])
        asked = await _asked_under(reader, subject)
        if asked is not None:
            return await of_event(reader, asked)
        raise NotFound(
            f"nothing is called {subject!r}",
            hint="name an event by its sequence, an order by any of its names, a position by"
            " ACCOUNT:CONID (`oms positions --json` shows both), a break by its id"
            " (`oms breaks --all`), an execution, an alarm or a request by its id (`oms fills`,"
            " `oms alarms --json`, `oms requests --json`)",
        ) from None


async def of_event(reader: Reader, sequence: int) -> Why:
    """Return what led to an event, back to where nothing names a cause, and what it caused."""
    walk = _Walk(reader)
    await walk.follow([sequence])
    own = walk.envelopes[sequence]
    clock = await clock_at(reader, own)
    return Why(
        kind="event",
        subject=str(sequence),
        headline=sentence(own),
        steps=walk.steps(),
        consequences=await _caused_by(reader, walk, own),
        answers=await _answers(reader, own),
        clock=clock,
        notes=(*walk.notes(), *_unmeasured(clock)),
    )


async def _answers(reader: Reader, own: Envelope) -> tuple[Answered, ...]:
    """Return the whole answers that an event tells of; of an earlier version, which stored every
    row and names none, the question alone.
    """
    if not isinstance(own.event, QueryAnswered):
        return ()
    found: list[Answered] = []
    for question in own.event.questions:
        try:
            kind, account = question.kind, question.account
            told = partial(whole_answer, sequence=own.sequence, kind=kind, account=account)
            whole = await reader.ask(told)
        except NotFound:
            found.append(Answered(question))
            continue
        rows, proven = tuple(whole.rows), None
        if question.set_digest:
            stored = await _stored_lines(reader, [one.sequence for one in rows])
            proven = set_digest_of(stored) == question.set_digest
        found.append(Answered(question, rows, proven))
    return tuple(found)


async def _stored_lines(reader: Reader, sequences: Sequence[int]) -> list[str]:
    """Return the lines of some events from their stored text, which no version changes."""
    kind, payload = EVENT_COLUMNS.index("type"), EVENT_COLUMNS.index("payload") - 1
    found: list[str] = []
    for start in range(0, len(sequences), _PAGE):
        rows = await reader.stored(sequences[start : start + _PAGE])
        found += [line_of(row[kind], row[payload]) for row in rows]
    return found


async def of_order(reader: Reader, order_id: str) -> Why:
    """Return every event of an order with what led to it."""
    order = await reader.one("orders", order_id)
    walk = _Walk(reader)
    story = await walk.story(order_id)
    if not story:
        raise NotFound(f"there is no order {order_id}", hint="`oms orders --all` lists them")
    await walk.follow([one.sequence for one in story])
    known = order if isinstance(order, Order) else None
    clock = await clock_at(reader, story[-1])
    return Why(
        kind="order",
        subject=order_id,
        headline=tell(order_id, story, known).headline,
        steps=walk.steps(),
        clock=clock,
        notes=(*walk.notes(), *_unmeasured(clock), *_unproven(known)),
    )


async def of_execution(reader: Reader, exec_id: str, fills: Sequence[Fill]) -> Why:
    """Return what an execution became: each of its revisions, its commission, and its order."""
    said_at = await _said_at(reader, fills)
    walk = _Walk(reader)
    about = {*said_at.values(), *(fill.booked_sequence for fill in fills)}
    charged = {fill.commission_sequence for fill in fills} - {0}
    await walk.follow(sorted(about | charged))
    words = [_execution_words(fill) for fill in fills]
    clock = await clock_at(reader, walk.envelopes[max(about)])
    return Why(
        kind="execution",
        subject=exec_id,
        headline="; ".join(words),
        steps=walk.steps(),
        clock=clock,
        notes=(*walk.notes(), *_unmeasured(clock)),
    )


def _execution_words(fill: Fill) -> str:
    what = f"{fill.side} {plain(fill.quantity)} {name_of(fill.contract)} at {plain(fill.price)}"
    if not fill.quantity:
        what = f"taken back: {fill.side} {name_of(fill.contract)} at {plain(fill.price)}"
    earlier = f", in the place of {', '.join(fill.superseded)}" if fill.superseded else ""
    commission = (
        f"{plain(fill.commission)} {fill.commission_currency}"
        if fill.commission is not None
        else "not known yet"
    )
    owner = f"order {fill.order_id}" if fill.order_id else "no order has claimed it"
    return f"{what} in {fill.account}{earlier}; commission {commission}; {owner}"


async def of_alarm(reader: Reader, alarm_id: str) -> Why:
    """Return each time an alarm was raised and was over, with what led to it."""
    names = (AlarmRaised.__name__, AlarmCleared.__name__)
    about = [
        one
        async for one in search(reader, Query(type=names))
        if getattr(one.event, "alarm_id", "") == alarm_id
    ]
    walk = _Walk(reader)
    await walk.follow([one.sequence for one in about])
    clock = await clock_at(reader, about[-1])
    return Why(
        kind="alarm",
        subject=alarm_id,
        headline=sentence(about[-1]),
        steps=walk.steps(),
        clock=clock,
        notes=(*walk.notes(), *_unmeasured(clock)),
    )


async def of_position(reader: Reader, key: str) -> Why:
    """Return the fills, corrections, transfers and adjustments that make a position."""
    position = await reader.one("positions", key)
    if not isinstance(position, Position):
        raise NotFound(
            f"there is no position {key!r}",
            hint="it is ACCOUNT:CONID; `oms positions --json` shows both",
        )
    fills = cast("list[Fill]", await reader.rows("fills", {"position_key": key}))
    said_at = await _said_at(reader, fills)
    opening = await _opening_of(reader, position)
    movements = tuple(_movements(position, fills, said_at, opening))
    walk = _Walk(reader)
    shown = [one.sequence for one in movements if one.sequence][-STEPS_MAX // 4 :]
    await walk.follow(shown)
    movements = tuple(_in_words(one, walk.envelopes.get(one.sequence)) for one in movements)
    held = f"{plain(position.quantity)} {name_of(position.contract)} in {position.account}"
    average = f" at {plain(shown_price(position.average_price))}" if position.quantity else ""
    notes = [*walk.notes()]
    if len(shown) < len(movements):
        notes.append(f"the causes of the last {len(shown):,} movements are shown")
    last = movements[-1] if movements else None
    if last is not None and (last.held, last.average) != (
        position.quantity,
        position.average_price,
    ):
        # Cannot be while the rows are a fold of the log.
        notes.append("what these movements make is not what the books hold: run `oms verify`")
    clock = None
    if last is not None and last.sequence:
        clock = await clock_at(reader, await reader.event(last.sequence))
        notes += _unmeasured(clock)
    if position.broker_sequence:
        said = "unknown" if position.broker_quantity is None else plain(position.broker_quantity)
        notes.append(f"IB last said {said}, in event {position.broker_sequence}")
    return Why(
        kind="position",
        subject=key,
        headline=f"{held}{average}, by {counted(len(movements), 'movement')}",
        steps=walk.steps(),
        movements=movements,
        clock=clock,
        notes=tuple(notes),
    )


async def of_break(reader: Reader, break_id: str) -> Why:
    """Return what was compared with what, what showed it, and who did what about it."""
    case = await reader.one("breaks", break_id)
    if not isinstance(case, BreakCase):
        raise NotFound(f"there is no break {break_id!r}", hint="`oms breaks --all` lists them")
    about = await about_break(reader, case)
    walk = _Walk(reader)
    await walk.follow([one.sequence for one in about])
    clock = await clock_at(reader, await reader.event(case.opened_sequence))
    finding = case.finding
    sides = f"ours: {finding.ours or 'nothing'}; theirs: {finding.theirs or 'nothing'}"
    return Why(
        kind="break",
        subject=break_id,
        headline=f"{case.status}: {finding.text or finding.subject} ({sides})",
        steps=walk.steps(),
        questions=await _questions(reader, about),
        clock=clock,
        notes=(*walk.notes(), *_unmeasured(clock)),
    )


# ── the walk ─────────────────────────────────────────────────────────────────────────────────────


class _Walk:
    """Events that were reached, and the links between them."""

    def __init__(self, reader: Reader) -> None:
        self.envelopes: dict[int, Envelope] = {}
        self._reader = reader
        #: The orders that an event is counted to, as far as they were looked at, in their order.
        self._orders: dict[int, dict[str, None]] = {}
        self._stories: dict[str, list[Envelope]] = {}
        #: By order, then by sequence.
        self._attributed: dict[str, dict[int, Link]] = {}
        #: What events hang on that they do not name, by both sequences.
        self._sought: dict[int, dict[int, Link]] = {}
        self._cut = False

    async def story(self, order_id: str) -> list[Envelope]:
        """Return the events of an order, read once."""
        if order_id not in self._stories:
            found = await self._reader.order_events(order_id)
            self._stories[order_id] = found
            self._attributed[order_id] = attributions(found)
            for one in found:
                self._orders.setdefault(one.sequence, {})[order_id] = None
        return self._stories[order_id]

    async def follow(self, sequences: Sequence[int]) -> None:
        """Take events in, and then their causes, until none is new."""
        waiting = list(sequences)
        while waiting:
            if len(self.envelopes) + len(waiting) > STEPS_MAX and self.envelopes:
                self._cut = True
                return
            found = await self.read(waiting)
            for one in found:
                await self.seek(one)
            self.envelopes.update({one.sequence: one for one in found})
            causes = {link.sequence for one in found for link in self.causes(one)}
            waiting = sorted(causes - self.envelopes.keys())

    async def read(self, sequences: Sequence[int]) -> list[Envelope]:
        """Read events, with the orders that they are counted to and their stories."""
        found: list[Envelope] = []
        for start in range(0, len(sequences), _PAGE):
            page = sequences[start : start + _PAGE]
            found += await self._reader.envelopes(page)
            for sequence, order_id in await self._reader.links(page):
                await self.story(order_id)
                self._orders.setdefault(sequence, {})[order_id] = None
        return found

    async def seek(self, envelope: Envelope) -> None:
        """Find what an event hangs on that it does not name."""
        for wanted in sought(envelope):
            found = await self._found(wanted, envelope)
            if found is not None:
                link = Link(found.sequence, wanted.how, f"{wanted.text}{_in_force(found, wanted)}")
                self._sought.setdefault(envelope.sequence, {})[found.sequence] = link

    async def _found(self, wanted: Sought, own: Envelope) -> Envelope | None:
        """Return the newest event before another that is meant."""
        if wanted.order_id:
            story = await self.story(wanted.order_id)
            earlier = (one for one in reversed(story) if one.sequence < own.sequence)
            return next((e for e in earlier if type(e.event).__name__ in wanted.types), None)
        query = Query(
            type=wanted.types,
            code=() if wanted.code is None else (wanted.code,),
            # `until` is not part of the range.
            until=None if wanted.by is None else wanted.by + timedelta(microseconds=1),
            before=own.sequence,
            reverse=True,
            limit=wanted.among,
        )
        async for one in search(self._reader, query):
            if wanted.is_meant(one.event):
                return one
        return None

    def named(self, envelope: Envelope) -> tuple[Link, ...]:
        """Return what an event names, and what was found that it hangs on."""
        found = self._sought.get(envelope.sequence, {})
        named = stated(envelope)
        known = {link.sequence for link in named}
        return (*named, *(link for number, link in found.items() if number not in known))

    def causes(self, envelope: Envelope) -> tuple[Link, ...]:
        """Return what an event names, and what it hangs on in the story of its order."""
        named = self.named(envelope)
        found = {link.sequence: link for link in named}
        # Our own facts say their causes; a message of IB's does not say which order it means.
        if not named or envelope.context.actor == "broker":
            for order_id in self._orders.get(envelope.sequence, ()):
                link = self._attributed[order_id].get(envelope.sequence)
                if link is not None:
                    found.setdefault(link.sequence, link)
        return tuple(sorted(found.values(), key=lambda link: -link.sequence))

    def step(self, envelope: Envelope) -> Step:
        """Return an event as a step."""
        ids = tuple(self._orders.get(envelope.sequence, ()))
        return Step(envelope, role_of(envelope), self.causes(envelope), ids)

    def steps(self) -> tuple[Step, ...]:
        """Return what was reached, in the order of the log."""
        return tuple(self.step(self.envelopes[number]) for number in sorted(self.envelopes))

    def notes(self) -> tuple[str, ...]:
        """Say what was left out."""
        if not self._cut:
            return ()
        return (f"more than {STEPS_MAX:,} events led to this: the walk back was cut",)


async def _caused_by(reader: Reader, walk: _Walk, own: Envelope) -> tuple[Step, ...]:
    """Return the events that are there because of one, as far as they are near it: in its orders,
    under its correlation, or soon after it.
    """
    found: set[int] = set()
    for order_id in walk.step(own).order_ids:
        story = (one for one in await walk.story(order_id) if one.sequence > own.sequence)
        found.update(s.envelope.sequence for s in map(walk.step, story) if _follows(s, own))
    near = set(range(own.sequence + 1, own.sequence + 1 + LOOKED_AFTER_MAX))
    if own.context.correlation_id:
        near.update(await reader.sequences_correlated(own.context.correlation_id))
    after = sorted(number for number in near if number > own.sequence)
    for start in range(0, len(after), _PAGE):
        for one in await reader.envelopes(after[start : start + _PAGE]):
            may_hang = any(type(own.event).__name__ in wanted.types for wanted in sought(one))
            if may_hang and one.sequence <= own.sequence + SOUGHT_AFTER_MAX:
                await walk.seek(one)
            if own.sequence in {link.sequence for link in walk.named(one)}:
                found.add(one.sequence)
    return tuple(walk.step(one) for one in await walk.read(sorted(found)))


def _in_force(start: Envelope, wanted: Sought) -> str:
    """Say what a start has written down about the settings that are meant."""
    written = getattr(start.event, "settings", ())
    values = {one.name: one.value for one in written if one.name in wanted.settings}
    words = [f"OMS_{name.upper()} was {value or 'empty'}" for name, value in values.items()]
    return f": {' and '.join(words)}" if words else ""


def _follows(step: Step, own: Envelope) -> bool:
    """Say whether an event is there because of another, and not by a decision about its order."""
    how = {link.how for link in step.causes if link.sequence == own.sequence}
    is_decided = step.role in {"request", "intent"}
    return "named" in how if is_decided else bool(how)


def _unmeasured(clock: ClockBound | None) -> Iterable[str]:
    if clock is None:
        yield UNMEASURED


def _unproven(order: Order | None) -> Iterable[str]:
    if order is None:
        return
    if order.doubt:
        yield f"the order is in doubt: {order.doubt}"
    if order.concluded:
        yield "its end is our conclusion from what is shown here, not IB's word for the order"
    if order.status_filled is not None and order.status_filled > order.filled:
        missing = plain(order.status_filled - order.filled)
        yield (
            f"IB's statuses claim {missing} more than the executions that came: only executions are"
            " booked, the rest is presumed and waits for them"
        )


async def _fills_named(reader: Reader, exec_id: str) -> list[Fill]:
    """Return the fills that an execution id names: one an account, where a login has several."""
    stem, _ = stem_and_revision(exec_id)
    found = cast("list[Fill]", await reader.beginning("fills", "exec_id", stem)) if exec_id else []
    return [one for one in found if exec_id in {one.exec_id, *one.superseded}]


async def _asked_under(reader: Reader, request_id: str) -> int | None:
    """Return the request that has an id; None for no request."""
    names = tuple(one.__name__ for one in REQUESTS if "request_id" in members(one))
    async for one in search(reader, Query(type=names)):
        if request_id and getattr(one.event, "request_id", "") == request_id:
            return one.sequence
    return None


# ── positions ────────────────────────────────────────────────────────────────────────────────────


async def _said_at(reader: Reader, fills: Sequence[Fill]) -> dict[str, int]:
    """Return where each revision of some fills was said, by its natural key."""
    keys = [
        execution_key(fill.account, exec_id)
        for fill in fills
        for exec_id in (fill.exec_id, *fill.superseded)
    ]
    found: dict[str, int] = {}
    for start in range(0, len(keys), _PAGE):
        found |= await reader.sequences_keyed(keys[start : start + _PAGE])
    return found


async def _opening_of(reader: Reader, position: Position) -> Envelope | None:
    if not position.opening_quantity:
        return None
    query = Query(
        type=(OpeningPositionRecorded.__name__,),
        account=(position.account,),
        con_id=(position.contract.con_id,),
    )
    return next(iter([one async for one in search(reader, query)][-1:]), None)


def _movements(
    position: Position,
    fills: Iterable[Fill],
    said_at: Mapping[str, int],
    opening: Envelope | None,
) -> Iterable[Movement]:
    """Yield what moved a position, folded by the same rules as the books."""
    now = positions.as_opened(position)
    if position.opening_quantity:
        yield Movement(
            sequence=0 if opening is None else opening.sequence,
            what="opening",
            text="held before the log knew the account, as IB said",
            quantity=position.opening_quantity,
            price=position.opening_average_price,
            held=now.quantity,
            average=now.average_price,
            realised_pnl=ZERO,
            at=None if opening is None else opening.recorded_at,
        )
    booked = [one for one in fills if positions.is_booked(one)]
    ordered: list[Fill | AdjustmentMade] = sorted(
        [*booked, *position.adjustments],
        key=lambda one: one.booked_sequence if isinstance(one, Fill) else one.sequence,
    )
    for one in ordered:
        before = now
        if isinstance(one, Fill):
            now = now.evolve(**positions.booked(now, (one,)))
            yield _of_fill(one, before, now, said_at)
        else:
            now = now.evolve(**positions.moved_by(now, one))
            yield Movement(
                sequence=one.sequence,
                what="adjustment",
                text=one.ratio.words if one.ratio is not None else "books adjusted",
                quantity=now.quantity - before.quantity,
                price=one.price,
                held=now.quantity,
                average=now.average_price,
                realised_pnl=now.realised_pnl,
                at=None,
            )


def _in_words(movement: Movement, envelope: Envelope | None) -> Movement:
    """Return an adjustment with what its event says: cause, reason and who approved it."""
    if movement.what != "adjustment" or envelope is None:
        return movement
    return replace(movement, text=sentence(envelope), at=envelope.recorded_at)


def _of_fill(fill: Fill, before: Position, now: Position, said_at: Mapping[str, int]) -> Movement:
    text = f"{fill.side} {plain(fill.quantity)} at {plain(fill.price)} on {fill.venue}"
    what: Moved = "fill"
    if positions.is_conversion(fill):
        what = "conversion"
    elif fill.superseded:
        what = "correction" if fill.quantity else "bust"
        text += f", in the place of {', '.join(fill.superseded)}"
    earlier = (said_at.get(execution_key(fill.account, one), 0) for one in fill.superseded)
    return Movement(
        sequence=said_at.get(execution_key(fill.account, fill.exec_id), fill.booked_sequence),
        what=what,
        text=f"{text} ({fill.exec_id})",
        quantity=now.quantity - before.quantity,
        price=fill.price,
        held=now.quantity,
        average=now.average_price,
        realised_pnl=now.realised_pnl,
        at=fill.happened_by,
        order_id=fill.order_id,
        revisions=tuple(sorted(number for number in earlier if number)),
        commission_sequence=fill.commission_sequence,
    )


# ── breaks ───────────────────────────────────────────────────────────────────────────────────────

#: What is said about a case, by the case's id.
_ABOUT_CASES: Final = (
    BreakOpened,
    BreakUpdated,
    BreakClosed,
    BreakAssigned,
    BreakExplained,
    CaseActionProposed,
    CaseRequested,
    CaseRequestDenied,
    BooksAdjusted,
)


async def about_break(reader: Reader, case: BreakCase) -> list[Envelope]:
    """Return every event about a case."""
    names = tuple(cls.__name__ for cls in _ABOUT_CASES)
    return [
        one
        async for one in search(reader, Query(type=names))
        if getattr(one.event, "break_id", "") == case.break_id
    ]


async def _questions(reader: Reader, about: Iterable[Envelope]) -> tuple[Question, ...]:
    """Return the questions of the last run that said something about a case."""
    runs = [getattr(one.event, "run_id", "") for one in about]
    for run_id in reversed([run for run in runs if run]):
        run = await reader.one("runs", run_id)
        if isinstance(run, RunRecord) and run.sequence:
            event = (await reader.event(run.sequence)).event
            if isinstance(event, ReconciliationCompleted):
                return event.questions
    return ()
