"""The verbs of `db`: the tables of the database."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from oms._version import __version__
from oms.cli.context import settings_of
from oms.cli.options import AsJson, Reason
from oms.cli.output import print_json, say, write
from oms.cli.past import calendar
from oms.cli.reading import asynchronous, perform, reading, warn_of_loss
from oms.cli.request import append, person
from oms.cli.terminal import progress, say_count, show, table
from oms.cli.verify import refuse_forgery, signed_heads, signed_with
from oms.clock import SystemClock
from oms.core.bounds import WORD
from oms.core.events import HoldPlaced, HoldReleased
from oms.core.values import jsonable
from oms.core.words import counted
from oms.errors import InvalidRequest
from oms.history.archive import Removal, Segment, Work, check_archive, write_backup
from oms.history.archive import archive as write_segments
from oms.history.archive import remove as remove_texts
from oms.history.holds import Hold, find, refuse_taken, standing
from oms.history.query import Query, parse, range_of
from oms.store import schema
from oms.store.audit import Progress
from oms.store.backup import back_up, manifest_path
from oms.store.reader import Reader
from oms.store.restore import restore as restore_log
from oms.store.upgrade import upgrade_database

app = typer.Typer(name="db", no_args_is_help=True, help="The database's tables.")


@app.command()
def upgrade(
    context: typer.Context,
    *,
    backup: Annotated[
        bool, typer.Option(help="Back the database up, and check that, before it is changed.")
    ] = True,
    as_json: AsJson = False,
) -> None:
    """Bring the database to the tables of this version; makes the SQLite file where there is none.

    Rows of an earlier version are folded again from the log; stored events never change. A checked
    backup of the database as it was is made first, and named. To go back to the version before
    without losing an event, write the log with that version's tables: see `oms db backup`.

    \b
    oms db upgrade
    oms db upgrade --database paper.sqlite
    """
    with progress("rebuilding") as report:
        done = upgrade_database(settings_of(context).database_url, report, backup=backup)
    if as_json:
        copy = None if done.backup is None else str(done.backup)
        print_json("db_upgrade", before=done.before, after=done.after, backup=copy)
    elif done.before == done.after:
        folded = "; folded the rows that an earlier upgrade left" if done.folded else ""
        write(f"already at revision {done.after}{folded}")
    else:
        write(f"revision {done.before or 'none'} -> {done.after}")
        if done.backup is not None:
            write(f"backup {done.backup}")
            way = f"`oms db backup FILE --revision {done.before}`"
            say(f"to go back: {way}; docs/operating/backup.md")


@app.command()
def current(context: typer.Context, as_json: AsJson = False) -> None:
    """Say which revision the database's tables have, and which one this version needs.

    \b
    oms db current
    oms db current --json
    """
    url = settings_of(context).database_url
    warn_of_loss(url)
    found = schema.current(url)
    if as_json:
        print_json("db_current", revision=found, needed=schema.HEAD)
    else:
        write(f"{found or 'none'} (needed: {schema.HEAD})")


@app.command()
def backup(
    context: typer.Context,
    *,
    to: Annotated[
        Path, typer.Argument(metavar="OUT", help="A new file, or a folder that is there.")
    ],
    keep: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Of the backups in the folder, keep the newest N."),
    ] = None,
    revision: Annotated[
        str | None,
        typer.Option(metavar="REV", help="With the tables of an earlier version, to go back to."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Copy the log into one file, also beside a running daemon, and check the copy.

    The copy shows one moment. Its chain, indexes and rows are checked before it gets its name, and
    OUT.json beside it says where the log ended and what the file's sha256 is. While a legal hold
    stands, --keep removes nothing. Whether the database
    is SQLite or PostgreSQL, the backup is a SQLite file, which `oms --database OUT` reads. Where
    the log does not hold, nothing is written, no older backup is removed, and the exit status is 4.

    \b
    oms db backup /backups --keep 14
    oms db backup friday.sqlite --json
    """
    url = settings_of(context).database_url
    warn_of_loss(url)
    holds = perform(_holds(context)) if keep is not None else []
    with progress("copying") as report:
        made = back_up(
            url,
            to,
            report,
            revision=revision,
            keep=None if holds else keep,
            program=f"ib-oms {__version__}",
        )
    if holds:
        names = ", ".join(hold.name for hold in holds)
        say(f"a legal hold stands ({names}): no older backup was removed")
    if as_json:
        print_json(
            "db_backup",
            path=str(made.path),
            manifest=asdict(made.manifest),
            removed=[str(path) for path in made.removed],
            seconds=round(made.seconds, 3),
        )
        return
    head = made.manifest
    write(f"ok  {head.sequence:,} events, {head.bytes:,} bytes, in {made.seconds:.2f} s")
    write(f"head {head.sequence} {head.hash}")
    write(f"{made.path}, described by {manifest_path(made.path).name}")
    if made.removed:
        write(f"removed {counted(len(made.removed), 'older backup')}")


@app.command()
def restore(
    context: typer.Context,
    *,
    backup: Annotated[
        Path, typer.Argument(metavar="BACKUP", help="What `oms db backup` wrote, or an archive.")
    ],
    to: Annotated[
        str | None,
        typer.Option(metavar="URL", help="The empty place; the database of the settings if not."),
    ] = None,
    head: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The head file of the database that was backed up."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Put the log of a backup into an empty place, SQLite or PostgreSQL.

    The chain of the backup is checked first, against its manifest, and against our own signed
    checkpoints where there are some. Its events and leases are taken; all rows are folded anew. A
    place that is not empty is refused: move the old database away, and leave its .head file.

    A backup rarely has the newest events, so the daemon then starts with --accept-loss only, and
    lets no order leave before IB has told all that it knows. Where the head file of the place, or
    the one that --head names, ends where the backup does, nothing is missing and nothing must be
    accepted: that is how a stopped log moves to another place. See docs/operating/backup.md.

    \b
    oms db restore friday.sqlite
    oms db restore moved.sqlite --to postgresql://oms@db/oms --head oms.sqlite.head
    """
    settings = settings_of(context)
    url = settings.database_url if to is None else to
    with progress("restoring") as report, _as_backup(backup, report) as file:
        done = restore_log(
            file,
            url,
            report,
            head=head,
            expected=signed_heads(settings),
            named=str(backup.resolve()),
            actor=person(),
        )
    if as_json:
        print_json(
            "db_restore",
            database=done.place,
            backup_sequence=done.backup.sequence,
            sequence=done.head.sequence,
            hash=done.head.hash.hex(),
            missing=done.missing,
            text=done.text,
            seconds=round(done.seconds, 3),
        )
    else:
        write(f"ok  {done.backup.sequence:,} events in {done.place}, in {done.seconds:.2f} s")
        write(f"head {done.head.sequence} {done.head.hash.hex()}")
    if done.manifest is None and backup.is_file():
        say("no manifest stands beside the backup: only its own chain was checked")
    if done.text:
        say(f"warning: {done.text}")
        say("hint: stop what sends orders, then `oms run --accept-loss --reason TEXT`")


@contextmanager
def _as_backup(path: Path, report: Progress) -> Iterator[Path]:
    """Give a backup file; of an archive, one with its events, for as long as it is needed."""
    if not path.is_dir():
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="oms-archive-") as folder:
        made = Path(folder) / "archive.sqlite"
        write_backup(path, made, report)
        yield made


@app.command()
@asynchronous
async def archive(
    context: typer.Context,
    *,
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A folder that is there.")],
    until: Annotated[
        str | None,
        typer.Option(metavar="WHEN", help="A day, a time with zone, or a sequence; not included."),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Check every segment that is there; write none.")
    ] = False,
    remove: Annotated[
        bool,
        typer.Option("--remove", help="Remove from the database what the broker said in them."),
    ] = False,
    reason: Annotated[
        str, typer.Option(metavar="TEXT", help="Why it is removed; the log keeps it.")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Write the log, in segments, into an archive of Parquet files with their chain.

    Each segment is a folder that `python -m oms.verify` checks alone; where a signing key is set,
    its manifest is signed. The next one begins after the last. A segment is read back before it
    counts, and the log gets the fact SegmentArchived. An archive is a copy in a form that lasts,
    for another disk or a store that takes each file once. The exit
    status is 4 where the log or the archive does not hold, and the first such event is named.

    With --remove and a --reason, none is written. The texts of messages to and from the broker,
    payload and wire, leave the database, by whole segments from the oldest on: the archive alone
    has them then, and questions that need them read it there. Headers, hashes, keys and every fact
    of our own stay. What a legal hold covers stays, and so do the newest 5,000 events. The archive
    is checked before; who did it and why is the fact TextsRemoved. Stop the daemon before.

    \b
    oms db archive /archive --until 2026-07-01
    oms db archive /archive --remove --until 2026-01-01 --reason "older than two quarters"
    oms db archive /archive --check --json
    """
    _check_removal(check=check, remove=remove, reason=reason)
    left = ""
    if not check:
        await asyncio.to_thread(refuse_forgery, settings_of(context))
    async with reading(context) as reader:
        query = parse({"until": until}, calendar(context, None))
        with progress("archiving") as report:
            if check:
                found = await asyncio.to_thread(check_archive, folder, reader.url, report)
            elif remove:
                found, left = await _remove(reader, folder, query, reason, report)
            else:
                found = await _write(context, reader, folder, query, report)
    if as_json:
        shown = [jsonable(one.archived()) for one in found]
        print_json("db_archive", segments=shown, checked=check, removed=remove, left=left)
        return
    for one in found:
        write(f"{one.folder.name}  {one.head}")
    done = "hold" if check else "in the archive alone" if remove else "in the archive"
    nothing = "nothing was removed" if remove else "nothing is new"
    write(f"{counted(len(found), 'segment')} {done}" if found else nothing)
    if left:
        say(left)


def _check_removal(*, check: bool, remove: bool, reason: str) -> None:
    if check and remove:
        raise InvalidRequest(
            "--check writes nothing", hint="leave --check out: --remove checks too"
        )
    if remove and not reason.strip():
        raise InvalidRequest("--remove needs a --reason", hint="the log keeps it")
    if reason and not remove:
        raise InvalidRequest("--reason goes with --remove alone")


async def _write(
    context: typer.Context, reader: Reader, folder: Path, query: Query, report: Progress
) -> list[Segment]:
    settings = settings_of(context)
    _, last = await range_of(reader, query)
    log = next((one.hex() for one in await reader.hashes(1, 1)), "")
    signer, notes = signed_with(settings)
    program = f"ib-oms {__version__}"
    work = Work(reader.url, folder, log, SystemClock(), signer, notes, program)
    return await asyncio.to_thread(_archived, work, last, report)


async def _remove(
    reader: Reader, folder: Path, query: Query, reason: str, report: Progress
) -> tuple[list[Segment], str]:
    """Return the segments whose texts were removed, and which one stays for which reason."""
    # Before the holds: whatever comes after it stops the removal.
    head = await reader.head()
    holds = await standing(reader)
    _, last = await range_of(reader, query)
    work = Removal(reader.url, folder, last, holds, head, person(), reason, SystemClock())
    found, next_one, why = await asyncio.to_thread(remove_texts, work, report)
    return found, f"{next_one.folder.name} stays in the database: {why}" if next_one else ""


def _archived(work: Work, last: int, report: Progress) -> list[Segment]:
    """Write segments, and say each in the log as soon as it stands; return those that are new."""
    found = []
    for one in write_segments(work, last, report):
        (receipt,) = append(work.url, [(one.archived(), None)], needs_daemon=False)
        if not receipt.duplicate:
            found.append(one)
    return found


@app.command()
@asynchronous
async def hold(
    context: typer.Context,
    *,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is called, such as a case.")],
    reason: Reason,
    since: Annotated[
        str | None, typer.Option(metavar="WHEN", help="From this moment on; all if not.")
    ] = None,
    until: Annotated[
        str | None, typer.Option(metavar="WHEN", help="Up to this moment, not included; no end.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Place a legal hold: until it is released, no copy of these events may be discarded.

    It is a fact of the log, with who placed it and why. The program never deletes an event; what a
    hold stops is `oms db backup --keep`, which then removes no older backup. A person who clears
    archives and backups by hand looks at `oms db holds` first.

    \b
    oms db hold case-2026-17 --reason "letter of the court"
    oms db hold june --reason audit --since 2026-06-01 --until 2026-07-01
    """
    _check_words(name, reason)
    async with reading(context) as reader:
        await refuse_taken(reader, name)
        query = parse({"since": since, "until": until}, calendar(context, None))
        first, last = await range_of(reader, query)
        event = HoldPlaced(
            name=name,
            reason=reason,
            first=None if since is None else first,
            last=None if until is None else last,
        )
        append(reader.url, [(event, None)], needs_daemon=False)
        placed = await find(reader, name)
    _show_holds([placed], as_json=as_json)


@app.command()
@asynchronous
async def release(
    context: typer.Context,
    *,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the hold.")],
    reason: Reason,
    as_json: AsJson = False,
) -> None:
    """End a legal hold, with a reason; the log keeps that it stood.

    \b
    oms db release june --reason "the audit is over"
    oms db release case-2026-17 --reason "settled" --json
    """
    _check_words(name, reason)
    async with reading(context) as reader:
        await find(reader, name)
        append(reader.url, [(HoldReleased(name=name, reason=reason), None)], needs_daemon=False)
        left = await standing(reader)
    _show_holds(left, as_json=as_json)


@app.command()
@asynchronous
async def holds(context: typer.Context, as_json: AsJson = False) -> None:
    """List the legal holds that stand.

    \b
    oms db holds
    oms db holds --json
    """
    _show_holds(await _holds(context), as_json=as_json)


async def _holds(context: typer.Context) -> list[Hold]:
    async with reading(context) as reader:
        return await standing(reader)


def _check_words(name: str, reason: str) -> None:
    for what, text in (("name", name), ("reason", reason)):
        if not text.strip():
            raise InvalidRequest(f"a hold needs a {what}", hint="the log keeps it")
    try:
        WORD.check(name)
    except ValueError as error:
        raise InvalidRequest(f"the name of a hold {error}") from error


def _show_holds(found: Sequence[Hold], *, as_json: bool) -> None:
    if as_json:
        shown = [asdict(one) | {"placed_at": one.placed_at.isoformat()} for one in found]
        print_json("holds", holds=shown)
        return
    made = table("name", "from", "to", "by", "placed", "reason", wrap=("reason",))
    for one in found:
        ends = (str(one.first or 1), str(one.last) if one.last else "no end")
        placed = f"{one.placed_at:%Y-%m-%d %H:%M:%S}"
        made.add_row(one.name, *ends, one.actor, placed, one.reason)
    if found:
        show(made)
    say_count(found, "hold")
