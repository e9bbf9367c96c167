"""Checks that the log is what was appended: nothing changed, removed, inserted or cut off.

Each event carries the hash of its contents and of the event before, so a change shows at the first
sequence that does not hold. Where the chain ended is written down beside it (`checkpoints`) in the
transaction of every append, so a log that was cut, or whose end was written anew with hashes that
fit, shows as well. A log whose end and checkpoints were both written anew is found only by
comparing the head's hash with one that was kept elsewhere: in the head file (`loss`), or by you.

Texts that were removed are read from the archive that has them. Where it may be away, their hashes
are trusted: they stay in the database, and the archive is checked by `verify`.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from types import MappingProxyType
from typing import Any, Final, Protocol

from oms.clock import Clock, SystemClock
from oms.core import codec
from oms.core.codec import Head
from oms.errors import ChainBroken, NotFound, OmsError, StoreError
from oms.store import schema
from oms.store.archived import filled, lacks_text, removed
from oms.store.backend import Connection, connect, parse_url
from oms.store.chain import Chain, check_end, end_unknown
from oms.store.envelopes import (
    HASH,
    SELECT_EVENTS,
    SELECT_HEAD,
    SELECT_MARKS,
    follow,
    head_of,
    mark_of,
)
from oms.store.loss import tolerable_loss
from oms.store.tables import LOG_CHECKPOINT

#: Called with the number of events checked so far and the number there are.
Progress = Callable[[int, int], None]

#: Small pages stay in the processor's cache between reading and hashing.
PAGE_ROWS: Final = 1_000
#: Events that a process checks at a time, some tenths of a second. To start one takes as long.
PART_EVENTS: Final = 100_000
#: Whoever interrupts the program ends its processes by that.
_IGNORED: Final = (signal.SIGINT, signal.SIG_IGN)


class Walk(Protocol):
    """Follows the links of a log from one event to another."""

    def __call__(
        self,
        connection: Connection,
        after: Head,
        last: int,
        progress: Progress | None,
        *,
        with_archive: bool,
    ) -> bytes:
        """Return the hash of the event `last`; raises `ChainBroken`."""
        ...


@dataclass(frozen=True, slots=True)
class VerifyResult:
    """A chain that holds, and where it ends: worth writing down outside the database."""

    events: int
    head_sequence: int
    #: Hexadecimal; of 32 zero bytes for an empty log.
    head_hash: str
    seconds: float
    #: What is not known of such a log: of a backup that was restored, whether there was more.
    unknown: str = ""


def verify(
    url: str,
    progress: Progress | None = None,
    *,
    from_sequence: int = 1,
    expected: Mapping[int, str] = MappingProxyType({}),
    clock: Clock | None = None,
    with_archive: bool = True,
    processes: int = 1,
) -> VerifyResult:
    """Check every link from a sequence to the end of the log; blocks the caller and no writer.

    With `from_sequence` above 1 the event before it is taken at its word. `expected` has hashes, in
    hexadecimal, that were noted elsewhere, by their sequence. Raises `ChainBroken` with
    the first sequence that does not hold, `LogWentBack` where all of it holds and the head file
    knows of more, `NotFound` where the log does not reach that far, and `ArchiveUnavailable` where
    texts were removed and their archive is away; without `with_archive` it is not looked for.
    A long log is checked by so many `processes`.
    """
    time = clock if clock is not None else SystemClock()
    started = time.monotonic()
    loss = tolerable_loss(url)
    with closing(connect(parse_url(url), "read")) as connection:
        schema.check_connection(connection)
        head = check_chain(
            connection,
            progress,
            from_sequence=from_sequence,
            expected=expected,
            with_archive=with_archive,
            follow_to=partial(_follow_in_parts, url=url, processes=processes),
        )
        with connection.reading():
            Chain(connection, time).checked_end()
    # Of a backup that was restored all of it holds: whether there was more, nobody knows.
    if loss is not None and loss.kind != "restored":
        raise loss.error()
    return VerifyResult(
        events=head.sequence - from_sequence + 1,
        head_sequence=head.sequence,
        head_hash=head.hash.hex(),
        seconds=time.monotonic() - started,
        unknown="" if loss is None else loss.text,
    )


def check_chain(
    connection: Connection,
    progress: Progress | None = None,
    *,
    from_sequence: int = 1,
    expected: Mapping[int, str] = MappingProxyType({}),
    with_archive: bool = True,
    follow_to: Walk | None = None,
) -> Head:
    """Check every link of a log whose tables are of any version, and return where it ends; raises
    `ChainBroken`, and `NotFound` where it does not reach `from_sequence`.
    """
    follow_to = follow_to or _follow
    with connection.reading():
        marks = {row[0]: mark_of(row) for row in connection.rows(SELECT_MARKS)}
        rows = connection.rows(SELECT_HEAD)
    head = head_of(rows[0]) if rows else Head()
    start = Head(from_sequence - 1, _hash_before(connection, from_sequence))
    last = max(head.sequence, start.sequence)
    try:
        digest = follow_to(connection, start, last, progress, with_archive=with_archive)
    except ChainBroken as error:
        # What holds up to there may be another past than was noted.
        held = range(from_sequence, error.sequence)
        _check_noted(connection, held, marks, expected)
        raise
    _check_noted(connection, range(from_sequence, last + 1), marks, expected)
    appended = max((sequence for sequence, _ in marks.values()), default=0)
    if last < appended:
        check_end(last, appended)
    noted = max(expected, default=0)
    if last < noted:
        raise ChainBroken(
            f"the log ends at {last}, before event {noted} whose hash was noted",
            sequence=last + 1,
        )
    if last:
        check_end(last, marks[LOG_CHECKPOINT][0] if LOG_CHECKPOINT in marks else end_unknown())
    return Head(last, digest, head.recorded_at)


def _hash_before(connection: Connection, sequence: int) -> bytes:
    if sequence <= 1:
        return codec.GENESIS
    rows = connection.rows("SELECT hash FROM events WHERE sequence = ?", (sequence - 1,))
    if not rows:
        raise NotFound(f"the log has no event {sequence - 1}")
    return bytes(rows[0][0])


def held_rows(url: str, first: int, last: int) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of some events, in order, each held against its hash; no writer waits.

    Raises `ChainBroken` with the first that does not hold, and `NotFound` where the log does not
    reach back that far.
    """
    with closing(connect(parse_url(url), "read")) as connection:
        digest = _hash_before(connection, first)
        sequence = first - 1
        while sequence < last:
            rows = _page(connection, sequence)[: last - sequence]
            if not rows:
                raise ChainBroken(f"the log ends at {sequence}", sequence=sequence + 1)
            for row in filled(connection, rows):
                sequence += 1
                digest = follow(digest, sequence, row)
                yield row


def hashes(url: str, first: int, last: int) -> list[bytes]:
    """Return the hashes of the events of a range that are there, in order."""
    select = "SELECT hash FROM events WHERE sequence BETWEEN ? AND ? ORDER BY sequence"
    with closing(connect(parse_url(url), "read")) as connection:
        return [bytes(row[0]) for row in connection.rows(select, (first, last))]


def hash_before(url: str, sequence: int) -> bytes:
    """Return the hash that an event was chained to; raises `NotFound` for none."""
    with closing(connect(parse_url(url), "read")) as connection:
        return _hash_before(connection, sequence)


def _follow(
    connection: Connection,
    after: Head,
    last: int,
    progress: Progress | None,
    *,
    with_archive: bool,
) -> bytes:
    """Return the hash of an event to which every event after another one holds; raises
    `ChainBroken`.
    """
    sequence, digest = after.sequence, after.hash
    trusted_to = 0 if with_archive else _removed_to(connection)
    while sequence < last:
        # What a daemon has appended since the end was looked up is not in the marks either.
        rows = _page(connection, sequence)[: last - sequence]
        if sequence >= trusted_to:
            rows = filled(connection, rows)
        if not rows:
            # The end was found by going back from it; what is not found going forward is not there.
            raise ChainBroken(f"the log has no event {sequence + 1}", sequence=sequence + 1)
        for row in rows:
            sequence += 1
            if sequence <= trusted_to and row[0] == sequence and lacks_text(row):
                digest = bytes(row[HASH])
            else:
                digest = follow(digest, sequence, row)
        if progress is not None:
            progress(sequence - after.sequence, last - after.sequence)
    return digest


def _follow_in_parts(
    connection: Connection,
    after: Head,
    last: int,
    progress: Progress | None,
    *,
    with_archive: bool,
    url: str,
    processes: int,
) -> bytes:
    """Do the same with several processes, each of which takes the event before its part at its
    word: who has that part checks it.
    """
    firsts = range(after.sequence, last, PART_EVENTS)
    if processes < 2 or len(firsts) < 2:
        return _follow(connection, after, last, progress, with_archive=with_archive)
    parts = [(first, min(first + PART_EVENTS, last)) for first in firsts]
    # Not forked: a child would share the connections of this process.
    pool = ProcessPoolExecutor(processes, get_context("spawn"), signal.signal, _IGNORED)
    try:
        asked = [pool.submit(_holds, url, *part, with_archive) for part in parts]
        for (first, end), one in zip(parts, asked, strict=True):
            if not _said(one):
                # Here again, so that what does not hold is raised where it is.
                start = Head(first, _hash_before(connection, first + 1))
                _follow(connection, start, end, None, with_archive=with_archive)
            if progress is not None:
                progress(end - after.sequence, last - after.sequence)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    return _hash_before(connection, last + 1)


def _said(one: Future[bool]) -> bool:
    try:
        return one.result()
    except (BrokenProcessPool, OSError):
        return False  # a process that could not be started, or was ended


def _holds(url: str, first: int, last: int, with_archive: bool) -> bool:
    """Say whether the events after `first` to `last` hold."""
    try:
        with closing(connect(parse_url(url), "read")) as connection:
            start = Head(first, _hash_before(connection, first + 1))
            _follow(connection, start, last, None, with_archive=with_archive)
    except OmsError:
        return False
    return True


def _removed_to(connection: Connection) -> int:
    """Return the last event whose texts may have been removed; a log of an earlier version has no
    table that would say so.
    """
    known = schema.revision_of(connection) == schema.HEAD
    return max((one.last for one in removed(connection)), default=0) if known else 0


def _page(connection: Connection, after: int) -> list[tuple[Any, ...]]:
    try:
        return connection.rows(
            f"{SELECT_EVENTS} WHERE sequence > ? ORDER BY sequence LIMIT {PAGE_ROWS}", (after,)
        )
    except StoreError:
        # A flipped bit can leave text that is not UTF-8, or a page that is no page: the driver
        # refuses all rows for one, so each is read alone to say which.
        for sequence in range(after + 1, after + 1 + PAGE_ROWS):
            try:
                connection.rows(f"{SELECT_EVENTS} WHERE sequence = ?", (sequence,))
            except StoreError as error:
                raise ChainBroken(
                    f"event {sequence} cannot be read: {error.message}", sequence=sequence
                ) from error
        raise


def _check_noted(
    connection: Connection,
    held: range,
    marks: Mapping[str, tuple[int, bytes]],
    expected: Mapping[int, str],
) -> None:
    """Hold the hashes of events that hold against those that were noted, in order."""
    named = [(sequence, name, digest) for name, (sequence, digest) in marks.items()]
    named += [(sequence, "", bytes.fromhex(digest)) for sequence, digest in expected.items()]
    for sequence, name, digest in sorted(named):
        if sequence not in held or _hash_before(connection, sequence + 1) == digest:
            continue
        text = f"event {sequence} has another hash than was noted"
        if name:
            text = (
                f"event {sequence} is not the one that checkpoint {name!r} was made at: the end of "
                "the log was written anew"
            )
        raise ChainBroken(text, sequence=sequence)
