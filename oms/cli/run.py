"""The verb `run`: the daemon."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer

from oms import telemetry
from oms.cli.context import settings_of
from oms.cli.output import say
from oms.cli.reading import perform
from oms.cli.request import person
from oms.cli.terminal import progress
from oms.errors import ConfigurationError
from oms.service.checkpoints import refuse_loss
from oms.service.foreground import run_daemon
from oms.service.lifetime import LossWord
from oms.store.upgrade import upgrade_database

app = typer.Typer()


@app.command()
def run(
    context: typer.Context,
    *,
    accept_loss: Annotated[
        bool,
        typer.Option(
            "--accept-loss", help="Start on a log that lacks events which were in it; once."
        ),
    ] = False,
    reason: Annotated[
        str, typer.Option(metavar="TEXT", help="Why the loss is accepted; the log keeps it.")
    ] = "",
) -> None:
    """Run the daemon in the foreground, until SIGINT (Ctrl-C) or SIGTERM.

    It connects to the gateway of the settings (default: a paper gateway on 127.0.0.1:4002),
    reconnects for ever, compares the books after every connect, and carries out what the other
    verbs ask for. An empty or older database is brought up to date first, after a backup.
    Program messages go to stderr; nothing goes to stdout.

    A database that lacks events which were in it (an older copy, an emptied file, a -wal file that
    was deleted) is refused with exit status 4. Put the newest one back; where it is lost,
    --accept-loss goes on, writes who accepted what, and lets no order leave before IB has told all
    that it knows. See docs/operating/restore.md.

    \b
    oms run
    OMS_PORT=7497 oms run --database paper.sqlite
    oms run --accept-loss --reason "disk failed, backup of Friday"
    """
    if not __debug__:
        raise ConfigurationError(
            "the daemon does not run without its checks", hint="start Python without -O"
        )
    if accept_loss != bool(reason.strip()):
        raise ConfigurationError(
            "--accept-loss and --reason TEXT belong together",
            hint="the log keeps who accepted a loss, and why",
        )
    word = LossWord(person(), reason) if accept_loss else None
    chosen = settings_of(context)
    telemetry.configure(chosen.log_level, chosen.log_format)
    refuse_loss(chosen)
    with progress("rebuilding") as report:
        done = upgrade_database(
            chosen.database_url,
            report,
            loss_accepted=accept_loss,
            lock_seconds_max=chosen.database_lock_seconds_max,
        )
    if done.before is None:
        say(f"made the tables of an empty database, revision {done.after}")
    elif done.before != done.after:
        copied = f", backup {done.backup}" if done.backup is not None else ""
        say(f"upgraded the database from {done.before} to {done.after}{copied}")

    elif done.folded:
        say("folded the rows of orders, fills and positions anew from the log")

    if not chosen.api:
        raise typer.Exit(perform(run_daemon(chosen, accept_loss=word)))
    # Here: a verb that only reads should not load a server.
    from oms.api.server import listening, serving  # noqa: PLC0415

    with listening(chosen) as place:
        running = run_daemon(
            chosen, accept_loss=word, address=place.address, beside=partial(serving, place)
        )
        raise typer.Exit(perform(running))
