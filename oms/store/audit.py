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

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from oms.clock import Clock, SystemClock
from oms.core import codec
from oms.core.codec import Head
from oms.errors import ChainBroken, NotFound, StoreError
from oms.store import schema
from oms.store.archived import filled, lacks_text, removed
from oms.store.backend import Connection, connect, parse_url
from oms.store.chain import Chain, check_end, end_unknown
from oms.store.envelopes import (
    HASH,
    SELECT_EVENTS,
    SELECT_HEAD,
    SELECT_MARKS,
    Row,
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


@dataclass(frozen=True, slots=True)
class VerifyResult:
    """A chain that holds, and where it ends: worth writing down outside the database."""

    events: int
    head_sequence: int
    #: Hexadecimal; of 32 zero bytes for an empty log.
    head_hash: str
    seconds: float


def verify(
    url: str,
    progress: Progress | None = None,
    *,
    from_sequence: int = 1,
    expected: Mapping[int, str] = MappingProxyType({}),
    clock: Clock | None = None,
    with_archive: bool = True,
) -> VerifyResult:
    """Check every link from a sequence to the end of the log; blocks the caller and no writer.

    With `from_sequence` above 1 the event before it is taken at its word. `expected` has hashes, in
    hexadecimal, that were noted elsewhere, by their sequence. Raises `ChainBroken` with
    the first sequence that does not hold, `LogWentBack` where all of it holds and the head file
    knows of more, `NotFound` where the log does not reach that far, and `ArchiveUnavailable` where
    texts were removed and their archive is away; without `with_archive` it is not looked for.
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
        )
        with connection.reading():
            Chain(connection, time).checked_end()
    if loss is not None:
        raise loss.error()
    return VerifyResult(
        events=head.sequence - from_sequence + 1,
        head_sequence=head.sequence,
        head_hash=head.hash.hex(),
        seconds=time.monotonic() - started,
    )


def check_chain(
    connection: Connection,
    progress: Progress | None = None,
    *,
    from_sequence: int = 1,
    expected: Mapping[int, str] = MappingProxyType({}),
    with_archive: bool = True,
) -> Head:
    """Check every link of a log whose tables are of any version, and return where it ends; raises
    `ChainBroken`, and `NotFound` where it does not reach `from_sequence`.
    """
    with connection.reading():
        marks = {row[0]: mark_of(row) for row in connection.rows(SELECT_MARKS)}
        rows = connection.rows(SELECT_HEAD)
    head = head_of(rows[0]) if rows else Head()
    sequence = from_sequence - 1
    digest = _hash_before(connection, from_sequence)
    marked = {mark[0] for mark in marks.values()}
    links = _links(connection, Head(sequence, digest), head.sequence, progress, with_archive)
    for link in links:
        sequence, digest = link
        if sequence in marked:
            _check_marks(sequence, digest, marks)
        if sequence in expected and expected[sequence] != digest.hex():
            raise ChainBroken(
                f"event {sequence} has another hash than was noted", sequence=sequence
            )
    appended = max(marked, default=0)
    if sequence < appended:
        check_end(sequence, appended)
    noted = max(expected, default=0)
    if sequence < noted:
        raise ChainBroken(
            f"the log ends at {sequence}, before event {noted} whose hash was noted",
            sequence=sequence + 1,
        )
    if sequence:
        check_end(sequence, marks[LOG_CHECKPOINT][0] if LOG_CHECKPOINT in marks else end_unknown())
    return Head(sequence, digest, head.recorded_at)


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


def _links(
    connection: Connection,
    after: Head,
    head: int,
    progress: Progress | None,
    with_archive: bool,
) -> Iterator[tuple[int, bytes]]:
    """Yield the sequence and the hash of every event that holds."""
    first, digest = after.sequence, after.hash
    sequence = first
    trusted_to = 0 if with_archive else _removed_to(connection)
    while sequence < head:
        # What a daemon has appended since the end was looked up is not in the marks either.
        rows: Sequence[Row] = _page(connection, sequence)[: head - sequence]
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
            yield sequence, digest
        if progress is not None:
            progress(sequence - first, head - first)


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


def _check_marks(sequence: int, digest: bytes, marks: Mapping[str, tuple[int, bytes]]) -> None:
    for name, (marked, expected) in marks.items():
        if marked == sequence and digest != expected:
            raise ChainBroken(
                f"event {sequence} is not the one that checkpoint {name!r} was made at: the end of "
                "the log was written anew",
                sequence=sequence,
            )
