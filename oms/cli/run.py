"""The verb `run`: the daemon."""

from __future__ import annotations

import typer

from oms import telemetry
from oms.cli.context import settings_of
from oms.cli.output import say
from oms.cli.reading import perform
from oms.cli.terminal import progress
from oms.errors import ConfigurationError
from oms.service.foreground import run_daemon
from oms.store.upgrade import upgrade_database

app = typer.Typer()


@app.command()
def run(context: typer.Context) -> None:
    """Run the daemon in the foreground, until SIGINT (Ctrl-C) or SIGTERM.

    It connects to the gateway of the settings (default: a paper gateway on 127.0.0.1:4002),
    reconnects for ever, compares the books after every connect, and carries out what the other
    verbs ask for. An empty or older database is brought up to date first, after a backup copy.
    Program messages go to stderr; nothing goes to stdout.

    \b
    oms run
    OMS_PORT=7497 oms run --database paper.sqlite
    """
    if not __debug__:
        raise ConfigurationError(
            "the daemon does not run without its checks", hint="start Python without -O"
        )
    chosen = settings_of(context)
    telemetry.configure(chosen.log_level, chosen.log_format)
    with progress("rebuilding") as report:
        done = upgrade_database(chosen.database_url, report)
    if done.before is None:
        say(f"made the tables of an empty database, revision {done.after}")
    elif done.before != done.after:
        say(f"upgraded the database from {done.before} to {done.after}, copy in {done.backup}")

    raise typer.Exit(perform(run_daemon(chosen)))
