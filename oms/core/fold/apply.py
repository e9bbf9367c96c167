"""The folds: from the log to orders, fills, positions, sessions, breaks and runs.

`apply` is the only writer of the books. The live books, the rebuild, the question "as of" and the
tests all call it, so they cannot disagree. It reads no clock and does no I/O: the result depends on
the books and the envelope alone. The books are changed in place, because copying ten thousand
orders for each event is what a fold at 100,000 events a second cannot afford; a record inside is
replaced and never changed, so whoever got one keeps what it was.

An event that a fold cannot take, whose rows no database can hold, or whose stored text cannot be
read, changes nothing but one record that says so: it is set aside, and the reconciler makes a break
of it.

Records that have ended may leave memory (`evictable`). `wanted` names the stored rows that an event
can touch and `companions` those that must stand beside them; the caller puts them back (`restore`)
before it applies the event, and the books are the same as if nothing had ever left. If the process
dies, nothing is lost: the log is the truth, and the rows carry the sequence they have reached.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from oms.core.bounds import reason_of
from oms.core.events import Envelope, Event
from oms.core.fold import alarms, answers, cases, checkpoints, fills, orders, sessions
from oms.core.fold import set_aside as left_out
from oms.core.fold.books import Books
from oms.core.fold.fold import Fold
from oms.core.fold.records import AnyRecord, only_said_again
from oms.core.fold.set_aside import set_aside
from oms.core.fold.wants import Wants, companions

__all__ = [
    "FOLDS",
    "apply",
    "apply_news",
    "cannot_prepare",
    "companions",
    "initial",
    "wanted",
]


def by_event_type(folds: Iterable[Fold[Any]]) -> dict[type[Event], Fold[Any]]:
    """Return folds by the type of event that they are for. Raises ValueError for two of one type.

    Any, because no dictionary can say that a key's type is that of its value; where a `Fold` is
    made, its two functions are checked against its type of event.
    """
    found: dict[type[Event], Fold[Any]] = {}
    for fold in folds:
        if fold.event_type in found:
            raise ValueError(f"{fold.event_type.__name__} has two folds")
        found[fold.event_type] = fold
    return found


#: Every fold there is. A type of event without one changes nothing in the books.
FOLDS: Final = by_event_type(
    (
        *(*orders.FOLDS, *fills.FOLDS, *sessions.FOLDS, *cases.FOLDS, *alarms.FOLDS),
        *(*checkpoints.FOLDS, *left_out.FOLDS, *answers.FOLDS),
    )
)


def initial() -> Books:
    """Return empty books."""
    return Books()


def apply(
    books: Books,
    envelope: Envelope,
    check: Callable[[AnyRecord], object] | None = None,
    *,
    prepared: bool = False,
) -> Books:
    """Return the books after one more event; see the module's docstring for what is promised.

    `check` is called with each record that the event changes; where it raises, the event is set
    aside like one that the fold cannot take. `prepared` says that the caller asked for what is
    `wanted` already.
    """
    assert envelope.sequence == books.sequence + 1, (
        f"expected event {books.sequence + 1}, found {envelope.sequence}"
    )
    books.sequence = envelope.sequence
    event = envelope.event
    fold = FOLDS.get(type(event))
    if fold is None:
        return books
    books.begin()
    if not prepared:
        # For its failure alone: whoever keeps everything in memory leaves out the same events.
        wanted(envelope, books)
    if books.unprepared and (reason := books.unprepared.pop(envelope.sequence, "")):
        set_aside(books, envelope, reason, ())
        return books
    try:
        fold.apply(books, envelope, event)
        if check is not None:
            for record in books.changed():
                check(record)
    except (MemoryError, OSError):
        raise  # Not the event's fault: the next attempt may succeed.
    except Exception as error:  # noqa: BLE001  # shown as a break until a person has seen it
        books.undo()
        wants = wanted(envelope, books)
        books.unprepared.pop(envelope.sequence, None)
        set_aside(books, envelope, _said(error), wants)
    return books


def apply_news(books: Books, envelope: Envelope) -> bool:
    """Apply one more event where the books change with it, and say whether they did: that the same
    was said once more is no change. The caller has asked for what is `wanted`.
    """
    if type(envelope.event) not in FOLDS:
        return False
    apply(books, envelope, prepared=True)
    if not all(b is not None and only_said_again(b, now) for b, now in books.changes()):
        return True
    books.take_back()
    return False


def wanted(envelope: Envelope, books: Books) -> Wants:
    """Return the stored rows that applying an event may need, whether or not memory holds them.

    Where that cannot be said, `apply` sets the event aside.
    """
    fold = FOLDS.get(type(envelope.event))
    if fold is None:
        return ()
    try:
        return fold.wants(envelope.event, envelope.context, books)
    except (MemoryError, OSError):
        raise
    except Exception as error:  # noqa: BLE001  # `apply` shows it
        cannot_prepare(books, envelope, error)
        return ()


def cannot_prepare(books: Books, envelope: Envelope, error: Exception) -> None:
    """Note that the rows which an event needs could not be found out: `apply` sets it aside."""
    books.unprepared[envelope.sequence] = f"the rows it needs are not known: {_said(error)}"


def _said(error: Exception) -> str:
    try:
        return f"{type(error).__name__}: {reason_of(error)}"
    except Exception:  # noqa: BLE001  # an error that cannot even say what it is
        return type(error).__name__
