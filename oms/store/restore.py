"""Restores a backup into an empty place: the events and the leases of it; the rest is made anew.

Nothing of the backup counts but what its chain proves. Tables, guards and indexes are those of this
version, and every row of the projections is folded from the events, so that damage outside the log
does not come back with it. The place is filled at once or not at all.

A backup is nearly always older than the log that was lost, and a strategy that repeats the keys of
orders that left in between would send them again (docs/decisions/0102). So the head file of the
place is written before its database: it knows of a later end where the place did, and where nobody
knows whether there was one, it says that. Only a head file that ends exactly where the backup does
shows that nothing is missing; otherwise a daemon starts when a person has accepted the loss.
"""

from __future__ import annotations

import contextlib
import socket
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Final, Literal

from sqlalchemy.engine import URL

from oms.clock import Clock, SystemClock
from oms.core.bounds import PROSE
from oms.core.codec import Head
from oms.core.events import BackupRestored, Context, Pending
from oms.core.words import counted
from oms.errors import (
    ChainBroken,
    ConfigurationError,
    DatabaseDamaged,
    LogWentBack,
    NotFound,
    OmsError,
)
from oms.store import head_file, schema
from oms.store import lease as leases
from oms.store.audit import Progress, check_chain
from oms.store.backend import connect, parse_url, place_of
from oms.store.backup import (
    Manifest,
    check_copy,
    file_digest,
    put_in_place,
    read_manifest,
    sync_file,
    unfinished,
)
from oms.store.chain import Chain
from oms.store.copying import Room, copy_log, filling
from oms.store.envelopes import draft
from oms.store.head_file import HeadFile, HeadFileUnreadable, KeptHead
from oms.store.loss import Against, Loss, find_loss, identity
from oms.store.shadow import SHADOW_RECORDS_MAX, Shadow
from oms.store.soundness import check_open_database
from oms.store.tables import BOOKS_CHECKPOINT
from oms.store.writer import Writer

_MODE: Final = 0o600
_NOT_RESTORED: Final = "nothing was restored"
#: What is said of a log that has gone on beyond a backup.
_LATER: Final = ("behind", "another_past")
#: What the log had beyond a backup.
Missing = Literal["nothing", "events", "unknown"]


@dataclass(frozen=True, slots=True)
class Restored:
    """What was restored, and what the log had beyond it."""

    #: Where the database is, as people may read it.
    place: str
    #: Where the log ended in the backup.
    backup: Head
    #: Where it ends now, with the fact that it was restored.
    head: Head
    #: None where no manifest stood beside the backup.
    manifest: Manifest | None
    missing: Missing
    #: What a daemon will not start without a word about; "" for nothing.
    text: str
    seconds: float


def restore(
    backup: Path,
    url: str,
    progress: Progress | None = None,
    *,
    head: Path | None = None,
    expected: Mapping[int, str] = MappingProxyType({}),
    named: str = "",
    actor: str = "restore",
    clock: Clock | None = None,
) -> Restored:
    """Put the log of a backup into a place that has none, and return what may be missing.

    `head` is the head file of the database that was backed up, for a place that has none of its
    own. `expected` has hashes that were signed elsewhere, `named` is what the log says was restored
    where that is not the file. Blocks the caller for about as long as a
    rebuild. Raises `ChainBroken` or `DatabaseDamaged` where the backup does not hold, `LogWentBack`
    where the place has known another log, `ConfigurationError` where the place is not empty, and
    `StoreUnavailable` where it cannot be written; the place is as it was then.
    """
    time = clock if clock is not None else SystemClock()
    started = time.monotonic()
    parsed = parse_url(url)
    source = URL.create("sqlite", database=str(backup))
    if not backup.is_file():
        raise NotFound(f"there is no backup {backup}", hint="name what `oms db backup` wrote")
    _refuse_taken(parsed)
    manifest = read_manifest(backup)
    found = _checked(backup, source, manifest, expected, progress)
    against = _against(parsed, head)
    with closing(connect(source, "read")) as connection:
        schema.check_known(connection)
        loss, log = against.loss_in(connection), identity(connection)
    if loss is not None and loss.kind == "another_log":
        raise LogWentBack(
            f"{_NOT_RESTORED}: of {backup.name}, {loss.text}",
            sequence=1,
            hint="name another place with --to; where this log shall take the place of the other"
            " one, move the head file away first",
        )
    missing = _missing(against, loss, found, signed=max(expected, default=0))
    with _staged(parsed) as staged:
        _fill(source, staged, progress)
        fact = _fact(named or str(backup.resolve()), manifest, found, missing, loss)
        end = _fold(staged, fact, actor, time, progress)
        _check(URL.create("sqlite", database=str(staged)), progress)
        _keep_head(against, KeptHead(log, found), loss, missing)
        _place(staged, url, progress)
    if missing == "nothing":
        _write_head(against.path, KeptHead(log, end))
    left = find_loss(url)
    text = "" if left is None else left.text
    seconds = time.monotonic() - started
    return Restored(place_of(parsed), found, end, manifest, missing, text, seconds)


def _refuse_taken(url: URL) -> None:
    """Raise `ConfigurationError` unless a place has neither a log nor files of one."""
    if url.get_backend_name() == "sqlite":
        path = Path(url.database or "")
        files = (path.with_name(path.name + end) for end in ("", "-wal", "-shm", "-journal"))
        taken = next((file for file in files if file.exists()), None)
        if taken is None:
            return
        what = f"{taken} is there"
        if taken == path:
            # It may be anything; what it is only makes the message better.
            with contextlib.suppress(OmsError):
                what = _described(url) or what
    else:
        what = _described(url)
        if not what:
            return
    raise ConfigurationError(
        f"the place is not empty: {what}",
        hint="stop the daemon and move the database away, with its -wal and -shm; leave its .head"
        " file where it is; or name another place with --to",
    )


def _described(url: URL) -> str:
    """Return what a database holds, "" for tables without rows or none."""
    with closing(connect(url, "read")) as connection:
        if schema.revision_of(connection) is None:
            return ""
        (events,) = connection.rows("SELECT count(*) FROM events")[0]
        known = leases.read_all(connection)
    if not events and not known:
        return ""
    host = socket.gethostname()
    daemon = next((one for one in known if one.is_alive(host)), None)
    runs = "" if daemon is None else f", and the daemon of process {daemon.process_id} runs on it"
    return f"{place_of(url)} has a log of {counted(events, 'event')}{runs}"


def _checked(
    backup: Path,
    source: URL,
    manifest: Manifest | None,
    expected: Mapping[int, str],
    progress: Progress | None,
) -> Head:
    """Return where the log of a backup ends; its chain is that of its manifest."""
    # Before any connection: closing a file would end SQLite's locks on it.
    as_made = manifest is None or file_digest(backup) == manifest.sha256
    log, head = check_copy(source, progress, expected=expected)
    if head.recorded_at is None:
        raise NotFound(f"the backup {backup} has no events")
    if manifest is None:
        return head
    if (log, head) != (manifest.log, manifest.head):
        raise ChainBroken(
            f"the backup {backup} is not the one that its manifest describes: it ends at event"
            f" {head.sequence} {head.hash.hex()[:16]}, the manifest says {manifest.sequence}"
            f" {manifest.hash[:16]}",
            sequence=min(head.sequence, manifest.sequence),
            hint="look for the manifest that belongs to it, or take another backup",
        )
    if not as_made:
        raise DatabaseDamaged(
            f"the bytes of the backup {backup} are not those that were written; its events hold",
            hint="take another backup; where this is the only one, move its manifest away and"
            " repeat: everything but the events is made anew",
        )
    return head


def _against(url: URL, named: Path | None) -> Against:
    """Return what the head file of a place says, or the one that was named for it."""
    own = Against.of(url)
    if named is None:
        return own
    if own.kept is not None or own.unreadable:
        raise ConfigurationError(
            f"the place has a head file of its own: {own.path}",
            hint="repeat without --head: that file says what is missing",
        )
    try:
        kept = head_file.read(named)
    except HeadFileUnreadable as error:
        raise ConfigurationError(
            f"the head file {named} cannot be read: {error}", hint="repeat without --head"
        ) from error
    if kept is None:
        raise ConfigurationError(f"there is no head file {named}", hint="check the path")
    return replace(own, kept=kept)


def _missing(against: Against, loss: Loss | None, found: Head, *, signed: int) -> Missing:
    if (loss is not None and loss.kind in _LATER) or signed > found.sequence:
        return "events"
    kept = against.kept
    # An end before that of the backup is no end that the log had last.
    if loss is None and kept is not None and kept.head.sequence == found.sequence:
        return "nothing"
    return "unknown"


def _fact(
    backup: str, manifest: Manifest | None, found: Head, missing: Missing, loss: Loss | None
) -> BackupRestored:
    assert found.recorded_at is not None
    return BackupRestored(
        backup=PROSE.fitted(backup),
        made_at=None if manifest is None else datetime.fromisoformat(manifest.made_at),
        sequence=found.sequence,
        hash=found.hash.hex(),
        recorded_at=found.recorded_at,
        missing=missing,
        text="" if loss is None else PROSE.fitted(loss.text),
    )


@contextmanager
def _staged(url: URL) -> Iterator[Path]:
    """Give the path at which the database is made that will stand at a place."""
    if url.get_backend_name() == "sqlite":
        with unfinished(Path(url.database or ""), _NOT_RESTORED) as part:
            yield part
        return
    with tempfile.TemporaryDirectory(prefix="oms-restore-") as folder:
        yield Path(folder) / "oms.sqlite"


def _fill(source: URL, staged: Path, progress: Progress | None) -> None:
    """Make a database of this version with the events and the leases of a backup."""
    schema.create(staged, schema.HEAD)
    with closing(connect(source, "read")) as backup:
        room = Room(source, staged, backup)
        with filling(staged) as target, backup.reading():
            copy_log(backup, target, rows=False, progress=progress, step=room.check)
            # Whoever held one does not run here. The epochs stay: none may be used again.
            target.execute("UPDATE leases SET heartbeat_at = NULL")


def _fold(
    staged: Path, fact: BackupRestored, actor: str, clock: Clock, progress: Progress | None
) -> Head:
    """Fold every event into rows, append the fact, and return where the log ends."""
    url = URL.create("sqlite", database=str(staged))
    with filling(staged) as target:
        chain = Chain(target, clock)
        chain.head = chain.checked_end()
        folded = Shadow(target, SHADOW_RECORDS_MAX)
        folded.follow(target, chain.head.sequence, progress)
        with target.writing():
            chain.write_checkpoint(BOOKS_CHECKPOINT, folded.sums)
    writer = Writer(url, clock=clock, projector=True)
    writer.open()
    try:
        writer.write([[draft(Pending(fact, Context(actor=actor)))]])
        return writer.head
    finally:
        writer.close()


def _check(url: URL, progress: Progress | None) -> None:
    with closing(connect(url, "read")) as connection:
        check_chain(connection, progress)
        check_open_database(connection)


def _keep_head(against: Against, found: KeptHead, loss: Loss | None, missing: Missing) -> None:
    """Have the place know, before it has the database, what that one may lack."""
    if against.unreadable:
        return
    if missing == "nothing" or (loss is not None and loss.kind in _LATER):
        assert against.kept is not None
        _write_head(against.path, against.kept)
    else:
        _write_head(against.path, replace(found, restored=True), replaces=True)


def _write_head(path: Path, kept: KeptHead, *, replaces: bool = False) -> None:
    file = HeadFile(path, mode=_MODE)
    try:
        file.write(kept, replaces=replaces)
    finally:
        file.close()


def _place(staged: Path, url: str, progress: Progress | None) -> None:
    parsed = parse_url(url)
    if parsed.get_backend_name() == "sqlite":
        sync_file(staged)
        put_in_place(staged, Path(parsed.database or ""))
        return
    schema.upgrade(url)
    source = URL.create("sqlite", database=str(staged))
    with (
        closing(connect(source, "read")) as made,
        closing(connect(parsed)) as target,
        made.reading(),
    ):
        copy_log(made, target, rows=True, progress=progress)
    _check(parsed, progress)
