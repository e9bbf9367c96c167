"""The verbs of `db`: the tables of the database."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from oms._version import __version__
from oms.cli.context import settings_of
from oms.cli.options import AsJson
from oms.cli.output import print_json, say, write
from oms.cli.reading import warn_of_loss
from oms.cli.request import person
from oms.cli.terminal import progress
from oms.cli.verify import signed_heads
from oms.core.words import counted
from oms.store import schema
from oms.store.backup import back_up, manifest_path
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
        write(f"already at revision {done.after}")
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
    OUT.json beside it says where the log ended and what the file's sha256 is. Whether the database
    is SQLite or PostgreSQL, the backup is a SQLite file, which `oms --database OUT` reads. Where
    the log does not hold, nothing is written, no older backup is removed, and the exit status is 4.

    \b
    oms db backup /backups --keep 14
    oms db backup friday.sqlite --json
    """
    url = settings_of(context).database_url
    warn_of_loss(url)
    with progress("copying") as report:
        made = back_up(
            url, to, report, revision=revision, keep=keep, program=f"ib-oms {__version__}"
        )
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
    backup: Annotated[Path, typer.Argument(metavar="BACKUP", help="What `oms db backup` wrote.")],
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
    with progress("restoring") as report:
        done = restore_log(
            backup, url, report, head=head, expected=signed_heads(settings), actor=person()
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
    if done.manifest is None:
        say("no manifest stands beside the backup: only its own chain was checked")
    if done.text:
        say(f"warning: {done.text}")
        say("hint: stop what sends orders, then `oms run --accept-loss --reason TEXT`")
