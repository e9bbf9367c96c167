"""Reading the log and its projections, from any number of programs, while the daemon writes.

Connections are read-only and every question is one short transaction, so that no writer waits for a
reader, and a question sees one state. All its statements run in one thread, handed over once: on a
busy machine each hand-over costs more than what SQLite does for a statement.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import wraps
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

from oms.core.fold.records import AnyRecord
from oms.errors import StoreCutOff, StoreError
from oms.store import schema
from oms.store.backend import Connection, connect, parse_url
from oms.store.loss import tolerable_loss
from oms.store.reading import Reading
from oms.store.soundness import check_complete

#: Questions at one time: a screen asks a few. Each has a thread and a connection while it is asked.
_QUESTIONS_MAX: Final = 8
#: Between two questions to a server that does not answer.
_PAUSE_SECONDS: Final = 0.25

_Said = ParamSpec("_Said")
_Found = TypeVar("_Found")


def _asked(
    read: Callable[Concatenate[Reading, _Said], _Found],
) -> Callable[Concatenate[Reader, _Said], Coroutine[Any, Any, _Found]]:
    """Return a question of `Reading` as one that an event loop awaits."""

    @wraps(read)
    async def ask(reader: Reader, /, *said: _Said.args, **named: _Said.kwargs) -> _Found:
        return await reader.ask(lambda reading: read(reading, *said, **named))

    return ask


class Reader:
    """Asynchronous reads of one database. Open it with `Reader.open`, close it when done."""

    def __init__(self, url: str, *, checked: bool = True, cut_off_seconds_max: float = 0) -> None:
        self.url = url
        self._checked = checked
        self._cut_off_seconds_max = cut_off_seconds_max
        self._threads = ThreadPoolExecutor(_QUESTIONS_MAX, "oms-reader")
        #: Connections that no question has.
        self._idle: list[Connection] = []

    @classmethod
    async def open(
        cls, url: str, *, checked: bool = True, cut_off_seconds_max: float = 0
    ) -> Reader:
        """Return a reader of a database that has this version's tables; a question waits so long
        for a server that does not answer.

        Each event that it returns has its hash checked, and a database that lacks events or rows
        is refused (`soundness.check_complete`), unless `checked` is False: the daemon hears of
        damage from its own check, and cancels must pass also where an event was altered.
        Raises `MigrationNeeded` where it has not, `StoreUnavailable` where there is none,
        `LogWentBack` where every event of a log is gone, `ChainBroken` and `DatabaseDamaged`.
        """
        await asyncio.to_thread(_check, url, checked)
        return cls(url, checked=checked, cut_off_seconds_max=cut_off_seconds_max)

    async def close(self) -> None:
        """Close the connections, when the questions under way are answered; repeatable."""
        await asyncio.to_thread(self._close)

    async def ask(self, question: Callable[[Reading], _Found]) -> _Found:
        """Return what a question finds, all of it in one state of the database.

        It runs in a thread of its own, and again where a server was cut off meanwhile.
        """
        waited = 0.0
        while True:
            try:
                return await self._on_thread(lambda: self._answer(question))
            except StoreCutOff:
                if waited >= self._cut_off_seconds_max:
                    raise
            await asyncio.sleep(_PAUSE_SECONDS)
            waited += _PAUSE_SECONDS

    async def stream(self, table: str) -> AsyncIterator[list[AnyRecord]]:
        """Yield all records of a projection as they are at one moment, in pages; see
        `Reading.stream`.
        """
        pages = self._pages(table)
        try:
            while (page := await self._on_thread(lambda: next(pages, None))) is not None:
                yield page
        finally:
            await self._on_thread(pages.close)

    head = _asked(Reading.head)
    hashes = _asked(Reading.hashes)
    events = _asked(Reading.events)
    envelopes = _asked(Reading.envelopes)
    recorded_at = _asked(Reading.recorded_at)
    links = _asked(Reading.links)
    sequences_of = _asked(Reading.sequences_of)
    sequences_in = _asked(Reading.sequences_in)
    sequences_correlated = _asked(Reading.sequences_correlated)
    event = _asked(Reading.event)
    order_events = _asked(Reading.order_events)
    sequences_keyed = _asked(Reading.sequences_keyed)
    stored_columns = _asked(Reading.stored_columns)
    stored = _asked(Reading.stored)
    one = _asked(Reading.one)
    rows = _asked(Reading.rows)
    highest = _asked(Reading.highest)
    tally = _asked(Reading.tally)
    first_since = _asked(Reading.first_since)
    count = _asked(Reading.count)
    beginning = _asked(Reading.beginning)
    keys = _asked(Reading.keys)
    system = _asked(Reading.system)
    leases = _asked(Reading.leases)
    checkpoints = _asked(Reading.checkpoints)

    def _on_thread(self, work: Callable[[], _Found]) -> Awaitable[_Found]:
        return asyncio.get_running_loop().run_in_executor(self._threads, work)

    def _answer(self, question: Callable[[Reading], _Found]) -> _Found:
        while True:
            was_idle = bool(self._idle)
            try:
                with self._reading() as reading:
                    return question(reading)
            except StoreCutOff:
                if not was_idle:
                    raise
                # A server that was restarted has cut those that waited here.
                self._close_idle()

    def _pages(self, table: str) -> Generator[list[AnyRecord], None, None]:
        with self._reading() as reading:
            yield from reading.stream(table)

    @contextmanager
    def _reading(self) -> Iterator[Reading]:
        connection = self._idle.pop() if self._idle else connect(parse_url(self.url), "read")
        try:
            with connection.reading():
                yield Reading(connection, checked=self._checked)
        except BaseException:
            with suppress(StoreError):
                connection.close()
            raise
        self._idle.append(connection)

    def _close_idle(self) -> None:
        while self._idle:
            with suppress(StoreError):
                self._idle.pop().close()

    def _close(self) -> None:
        self._threads.shutdown()
        self._close_idle()


def _check(url: str, complete: bool) -> None:
    tolerable_loss(url)
    schema.check_current(url)
    if complete:
        check_complete(url)
