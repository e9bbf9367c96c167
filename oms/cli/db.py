"""The verbs of `db`: the tables of the database."""

from __future__ import annotations

from typing import Annotated

import typer

from oms.cli.context import settings_of
from oms.cli.options import AsJson
from oms.cli.output import print_json, write
from oms.cli.reading import warn_of_loss
from oms.cli.terminal import progress
from oms.store import schema
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
