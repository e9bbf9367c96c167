"""Between facts and rows of the log: the one place that knows the order of its columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from oms.core import codec
from oms.core.codec import Head, Header
from oms.core.events import Context, Envelope, Event, Pending, Stamp
from oms.errors import ChainBroken, DatabaseDamaged
from oms.store.backend import Value
from oms.store.tables import EVENT_COLUMNS

SELECT_EVENTS: Final = f"SELECT {', '.join(EVENT_COLUMNS)} FROM events"
#: The same columns for a fold, which needs neither hash nor wire: the wire is the longest text.
SELECT_FACTS: Final = (
    f"SELECT {', '.join(EVENT_COLUMNS[:11])}, NULL AS hash, payload, NULL AS wire FROM events"
)
SELECT_MARKS: Final = "SELECT name, sequence, hash FROM checkpoints"
INSERT_EVENTS: Final = f"INSERT INTO events ({', '.join(EVENT_COLUMNS)})"
SELECT_HEAD: Final = "SELECT sequence, hash, recorded_at FROM events ORDER BY sequence DESC LIMIT 1"

HASH: Final = EVENT_COLUMNS.index("hash")

Row = Sequence[Any]


@dataclass(slots=True)
class Draft:
    """A fact as it will be stored, but for what only the writer knows: sequence, time and hash.

    Made at hand-over, so that a fact that cannot be stored is refused while its caller is there.
    """

    event: Event
    context: Context
    wire: tuple[str, ...] | None
    payload: str
    wire_text: str | None
    occurred_at: str | None
    natural_key: str | None
    stamp: Stamp | None
    #: See `Pending`.
    repeats: int = 0


def draft(pending: Pending) -> Draft:
    """Return the stored form of a fact; raises ValueError where a header field is not printable."""
    context = pending.context
    codec.check_header_text("actor", context.actor)
    codec.check_header_text("correlation_id", context.correlation_id)
    moment = context.occurred_at
    return Draft(
        pending.event,
        context,
        pending.wire,
        codec.encode(pending.event),
        codec.encode_wire(pending.wire, pending.stamp),
        None if moment is None else codec.time_text(moment.astimezone(UTC)),
        codec.natural_key(pending.event),
        pending.stamp,
        pending.repeats,
    )


def chained(
    previous: bytes, draft: Draft, sequence: int, recorded_at: str, lease_epoch: int
) -> tuple[tuple[Value, ...], bytes]:
    """Return the row of an event that follows the one with the given hash, and its own hash."""
    context = draft.context
    header = Header(
        sequence,
        type(draft.event).__name__,
        draft.event.VERSION,
        recorded_at,
        draft.occurred_at,
        lease_epoch,
        context.session_epoch,
        context.actor,
        context.correlation_id,
        context.causation_sequence,
        draft.natural_key,
    )
    digest = codec.link(previous, header, draft.payload, draft.wire_text)
    # The header is the first eleven columns of the table, in their order.
    return (*header, digest, draft.payload, draft.wire_text), digest


def envelope(row: Row) -> Envelope:
    """Return the fact that a row of the log holds; raises `ChainBroken` where it can hold none."""
    occurred_at = row[4]
    try:
        wire, stamp = codec.decode_wire(row[13])
        return Envelope(
            sequence=row[0],
            event=codec.decode_stored(row[1], row[2], row[12]),
            context=Context(
                actor=row[7],
                session_epoch=row[6],
                occurred_at=None if occurred_at is None else datetime.fromisoformat(occurred_at),
                correlation_id=row[8],
                causation_sequence=row[9],
            ),
            recorded_at=datetime.fromisoformat(row[3]),
            lease_epoch=row[5],
            wire=wire,
            stamp=stamp,
            hash=bytes(row[HASH] or b""),
        )
    except (ValueError, TypeError) as error:
        raise ChainBroken(f"event {row[0]} cannot be read: {error}", sequence=row[0]) from error


def moment_of(sequence: int, text: object) -> datetime:
    """Return the time that a column of an event holds; raises `ChainBroken` where it holds none."""
    try:
        return datetime.fromisoformat(text)  # type: ignore[arg-type]  # whatever stands there
    except (ValueError, TypeError) as error:
        raise ChainBroken(f"event {sequence} cannot be read: {error}", sequence=sequence) from error


def follow(previous: bytes, expected: int, row: Row) -> bytes:
    """Check that a row is the next link of the chain and return its hash.

    Raises `ChainBroken` with the first sequence that does not hold.
    """
    if row[0] != expected:
        raise ChainBroken(f"expected event {expected}, found {row[0]}", sequence=expected)
    try:
        digest = codec.link(previous, row[:HASH], row[12], row[13])
    except UnicodeEncodeError as error:
        raise ChainBroken(f"event {expected} is not text: {error}", sequence=expected) from error
    found = row[HASH]
    if digest != found:
        text = found.hex()[:16] if isinstance(found, bytes) else repr(found)
        raise ChainBroken(
            f"event {expected} does not carry the hash of its contents and of the event before: "
            f"expected {digest.hex()[:16]}, found {text}",
            sequence=expected,
        )
    return digest


def head_of(row: Row) -> Head:
    """Return the head that a row of `SELECT_HEAD` names; raises `ChainBroken` for none."""
    try:
        return Head(row[0], bytes(row[1]), datetime.fromisoformat(row[2]))
    except (ValueError, TypeError) as error:
        raise ChainBroken(f"event {row[0]} cannot be read: {error}", sequence=row[0]) from error


def mark_of(row: Row) -> tuple[int, bytes]:
    """Return the sequence and the hash of a checkpoint, of a row of name, sequence and hash; raises
    `DatabaseDamaged` where it holds none.
    """
    name, sequence, digest = row
    if not isinstance(sequence, int) or not 0 <= sequence < 2**63 or not _is_bytes(digest):
        raise DatabaseDamaged(f"the checkpoint {name!r} cannot be read")
    return sequence, bytes(digest)


def _is_bytes(value: object) -> bool:
    return isinstance(value, bytes | memoryview)
