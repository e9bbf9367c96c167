"""The verbs of `db`: the tables of the database."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from oms._version import __version__
from oms.cli.context import settings_of
from oms.cli.options import AsJson
from oms.cli.output import print_json, write
from oms.cli.reading import warn_of_loss
from oms.cli.terminal import progress
from oms.core.words import counted
from oms.store import schema
from oms.store.backup import back_up, manifest_path
from oms.store.upgrade import upgrade_database

app = typer.Typer(name="db", no_args_is_help=True, help="The database's tables.")


@app.command()
def upgrade(
    context: typer.Context,
    *,
    backup: Annotated[
        bool, typer.Option(help="Copy a SQLite database beside itself before it is changed.")
    ] = True,
    as_json: AsJson = False,
) -> None:
    """Bring the database to the tables of this version; makes the SQLite file where there is none.

    Rows of an earlier version are folded again from the log.

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
        copied = f", copy in {done.backup}" if done.backup is not None else ""
        write(f"revision {done.before or 'none'} -> {done.after}{copied}")


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
