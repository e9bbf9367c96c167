"""Has the log gone back: the database held against the head that is kept beside it.

The head file is read first and the database after it. Whoever appends writes in the other order, so
a log that grows meanwhile is never taken for one that lacks something.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from sqlalchemy.engine import URL

from oms.clock import SystemClock
from oms.core.codec import Head, time_text
from oms.core.events import LossAccepted
from oms.errors import ChainBroken, LogWentBack, StoreError
from oms.store import head_file, schema
from oms.store.backend import Connection, connect, is_absent, parse_url, place_of
from oms.store.chain import Chain
from oms.store.envelopes import SELECT_HEAD, head_of
from oms.store.head_file import HeadFileUnreadable, KeptHead
from oms.store.tables import LOG_CHECKPOINT

_HINT_UNREADABLE: Final = (
    "nothing is sent: where you know that this is the newest database, move the head file away; "
    "where you do not, `oms run --accept-loss --reason TEXT` goes on; docs/operating/restore.md"
)
_HINT_RESTORED: Final = (
    "nothing is sent: orders may have left after the backup, and nobody here knows their keys;"
    " `oms run --accept-loss --reason TEXT` goes on once you have looked; docs/operating/backup.md"
)
_HINTS: Final = {"unreadable": _HINT_UNREADABLE, "restored": _HINT_RESTORED}
LossKind = Literal[
    "gone", "emptied", "behind", "another_log", "another_past", "unreadable", "restored"
]


@dataclass(frozen=True, slots=True)
class Loss:
    """What the database lacks of the log that was written before."""

    kind: LossKind
    #: What was written before; None where the head file cannot be read.
    kept: KeptHead | None
    #: What is there.
    found: Head
    text: str

    def error(self) -> LogWentBack:
        """Return what is raised where nothing may be appended to such a log."""
        hint = _HINTS.get(self.kind)
        return LogWentBack(self.text, sequence=self.found.sequence + 1, hint=hint)

    def accepted(self, reason: str) -> LossAccepted:
        """Return the fact that a person goes on all the same."""
        kept = self.kept
        return LossAccepted(
            loss=self.kind,
            reason=reason,
            known_sequence=kept.head.sequence if kept else 0,
            known_hash=kept.head.hash.hex() if kept else "",
            known_recorded_at=kept.head.recorded_at if kept else None,
            found_sequence=self.found.sequence,
            found_hash=self.found.hash.hex() if self.found.sequence else "",
            found_recorded_at=self.found.recorded_at,
            text=self.text,
        )


def find_loss(url: str) -> Loss | None:
    """Return what a database lacks, None where it lacks nothing that was kept."""
    return Against.of(parse_url(url)).loss(url)


def tolerable_loss(url: str) -> Loss | None:
    """Return what a database lacks where the rest of it can be read; raises `LogWentBack` where
    nothing of it is left: an emptied log is not a log without events.
    """
    loss = find_loss(url)
    if loss is not None and not loss.found.sequence:
        raise loss.error()
    return loss


def refuse_loss_since(url: str, path: Path, kept: KeptHead) -> None:
    """Raise `LogWentBack` where a database lacks what a file of signed checkpoints knows of."""
    loss = Against(place_of(parse_url(url)), path, kept, "").loss(url)
    if loss is not None:
        error = loss.error()
        error.hint = (
            "nothing is sent: put the newest database back, with its -wal file; where it is lost, "
            f"move {path} to another place, as evidence, and then `oms run --accept-loss --reason "
            "TEXT` goes on with this one; docs/operating/restore.md"
        )
        raise error


def refuse_loss(url: str) -> None:
    """Raise `LogWentBack` where a database lacks what was written before."""
    loss = find_loss(url)
    if loss is not None:
        raise loss.error()


def refuse_contradiction(url: str, noted: Mapping[int, str]) -> None:
    """Raise `LogWentBack` where a log is not the one that its head file knows of, and `ChainBroken`
    where an event has another hash, in hexadecimal, than was noted elsewhere.

    A restored backup, and a head file that cannot be read, contradict nothing.
    """
    loss = tolerable_loss(url)
    if loss is not None and loss.kind not in _HINTS:
        raise loss.error()
    if not noted:
        return
    with closing(connect(parse_url(url), "read")) as connection:
        for sequence, digest in sorted(noted.items()):
            if _hash_at(connection, sequence).hex() != digest:
                raise ChainBroken(
                    f"event {sequence} is not the one that was signed", sequence=sequence
                )


@dataclass(frozen=True, slots=True)
class Against:
    """What a head file said before the database was looked at."""

    place: str
    path: Path
    kept: KeptHead | None
    unreadable: str

    @classmethod
    def of(cls, url: URL) -> Against:
        """Read the head file of a database."""
        path = head_file.path_of(url)
        place = place_of(url)
        try:
            return cls(place, path, head_file.read(path), "")
        except HeadFileUnreadable as error:
            return cls(place, path, None, str(error))

    def loss(self, url: str) -> Loss | None:
        """Return what a database lacks, None where it lacks nothing that was kept."""
        parsed = parse_url(url)
        if self.kept is None and not self.unreadable:
            return None
        if is_absent(parsed):
            return self.gone()
        with closing(connect(parsed, "read")) as connection:
            return self.loss_in(connection)

    def gone(self) -> Loss:
        """Return the loss of a database that is not there."""
        if self.kept is None:
            return self._unreadable(Head())
        text = f"the database {self.place} is not there, but {self._known()}"
        return Loss("gone", self.kept, Head(), text)

    def loss_in(self, connection: Connection) -> Loss | None:
        """Return what a database lacks; outside of any transaction, because a table that is missing
        ends one.

        None as well where its own checkpoint names the end that is missing: no backup looks so.
        That is damage, which nobody can accept; whoever opens it says so (`Chain.checked_end`).
        """
        kept = self.kept
        found = _end(connection)
        if kept is None:
            return self._unreadable(found) if self.unreadable else None
        if _is_cut(connection, found):
            return None
        if not found.sequence:
            text = f"the database {self.place} has no events, but {self._known()}"
            return Loss("emptied", kept, found, text)
        if _hash_at(connection, kept.head.sequence) == kept.head.hash:
            return self._restored(found) if kept.restored else None
        if _hash_at(connection, 1) != kept.log:
            text = f"the database {self.place} is another log: {self._known()}"
            return Loss("another_log", kept, found, text)
        if found.sequence < kept.head.sequence:
            text = (
                f"the database {self.place} ends at event {found.sequence}"
                f"{_at(found)}, but {self._known()}"
            )
            return Loss("behind", kept, found, text)
        text = (
            f"event {kept.head.sequence} of the database {self.place} is not the one that was"
            f" written: {self._known()}"
        )
        return Loss("another_past", kept, found, text)

    def _restored(self, found: Head) -> Loss:
        assert self.kept is not None
        end = self.kept.head
        text = (
            f"the database {self.place} was restored from a backup that ends at event"
            f" {end.sequence}{_at(end)}: whether the log had more events is not known"
        )
        return Loss("restored", self.kept, found, text)

    def _known(self) -> str:
        assert self.kept is not None
        head = self.kept.head
        return f"{self.path.name} knows of {head.sequence} events{_at(head)}"

    def _unreadable(self, found: Head) -> Loss:
        text = (
            f"the head file {self.path} cannot be read ({self.unreadable}), so it is not known"
            f" whether the database {self.place}, which ends at event {found.sequence}, lacks any"
        )
        return Loss("unreadable", None, found, text)


def identity(connection: Connection) -> bytes:
    """Return which log this is: the hash of its first event, b"" for an empty one."""
    return _hash_at(connection, 1)


def _end(connection: Connection) -> Head:
    rows = connection.rows(SELECT_HEAD) if schema.has_log(connection) else []
    return head_of(rows[0]) if rows else Head()


def _is_cut(connection: Connection, found: Head) -> bool:
    try:
        appended = Chain(connection, SystemClock()).checkpoint(LOG_CHECKPOINT)
    except StoreError:  # said by whoever needs it
        return False
    return appended > found.sequence and schema.has_log(connection)


def _hash_at(connection: Connection, sequence: int) -> bytes:
    rows = connection.rows("SELECT hash FROM events WHERE sequence = ?", (sequence,))
    return bytes(rows[0][0]) if rows else b""


def _at(head: Head) -> str:
    return (
        "" if head.recorded_at is None else f", the last of {time_text(head.recorded_at)[:19]} UTC"
    )
