"""Bringing a database of an earlier version up to date: its tables, and what they hold.

The rows of orders, fills and positions are a fold of the log, and a new version may fold it better:
rows that an earlier one left are made anew, so that they are what `oms rebuild --check` expects.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path

from oms.clock import Clock, SystemClock
from oms.errors import StoreLocked
from oms.store import schema
from oms.store.audit import Progress
from oms.store.backend import connect, parse_url, place_of
from oms.store.backup import back_up
from oms.store.chain import Chain
from oms.store.head_file import path_of
from oms.store.loss import refuse_loss
from oms.store.patience import Patience
from oms.store.rebuild import rebuild
from oms.store.tables import BOOKS_CHECKPOINT


def upgrade_database(
    url: str,
    progress: Progress | None = None,
    *,
    backup: bool = True,
    clock: Clock | None = None,
    loss_accepted: bool = False,
    lock_seconds_max: float = 0,
) -> schema.Upgrade:
    """Bring tables and rows to this version; see `schema.upgrade` for what it raises.

    A current database is left alone. `progress` hears of the backup and of the fold.
    Raises `LogWentBack`, and changes nothing, where the log lacks events that were written before,
    unless a person has accepted that: a log that was emptied is no new one. A database that another
    program holds is waited for until the work begins.

    With `backup`, a checked backup of the database as it was is made first: beside a SQLite file,
    else beside the head file. Nothing is changed where it cannot be made.
    """
    parsed = parse_url(url)
    patience = Patience(clock or SystemClock(), place_of(parsed), lock_seconds_max)
    with patience.waiting():
        while True:
            try:
                if not loss_accepted:
                    refuse_loss(url)
                before = schema.current(url)
                break
            except StoreLocked as error:
                patience.wait_on(error)
        if before not in (None, schema.HEAD):
            # Before the copy is made: it shall be of what is upgraded, and one.
            with closing(connect(parsed)) as connection, connection.writing(patience.wait_on):
                pass
    made = None
    if backup and before is not None and before in schema.REVISIONS[:-1]:
        made = _back_up(url, before, clock or SystemClock(), progress)
    done = replace(schema.upgrade(url), backup=made)
    # Not by the revision alone: a process that dies between both steps leaves the second undone.
    if done.before is not None and (done.before != done.after or _rows_are_due(url)):
        rebuild(url, progress, clock=clock)
        done = replace(done, folded=True)
    return done


def _back_up(url: str, revision: str, clock: Clock, progress: Progress | None) -> Path | None:
    """Back a database up before its tables change; None where it has no events yet."""
    head = path_of(parse_url(url))
    with closing(connect(parse_url(url), "read")) as connection:
        if not connection.rows("SELECT sequence FROM events LIMIT 1"):
            return None
    head.parent.mkdir(parents=True, exist_ok=True)
    moment = clock.now().strftime("%Y%m%dT%H%M%S.%fZ")
    path = head.with_suffix(f".{revision}.{moment}.bak")
    return back_up(url, path, progress, clock=clock).path


def _rows_are_due(url: str) -> bool:
    with closing(connect(parse_url(url), "read")) as connection:
        query = "SELECT row_sum FROM checkpoints WHERE name = ?"
        rows = connection.rows(query, (BOOKS_CHECKPOINT,))
        return (bool(rows) and rows[0][0] is None) or Chain(connection, SystemClock()).is_unfolded()
