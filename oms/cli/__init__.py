"""The command line: one file per group of verbs.

Results go to stdout, words to stderr. Every verb that reads takes `--json`; the keys are described
in docs/reference/json-output.md. The exit status is the error's (`oms.errors`), so that a script
can tell breaks (3), a broken chain (4), an absent gateway (5) and an unknown outcome (6) apart.

What a verb needs is imported inside it: `oms --help` must not load a database driver.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

from oms.cli import (
    buy,
    cancel,
    check,
    demo,
    doubt,
    halt,
    log,
    orders,
    quote,
    reconcile,
    resolve,
    run,
    statement,
    status,
    web,
)
from oms.cli.frame import Given, Verbs

app = typer.Typer(
    name="oms",
    cls=Verbs,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def options(
    context: typer.Context,
    *,
    database: Annotated[
        str | None,
        typer.Option(metavar="FILE|URL", help="Where the log lives; else OMS_DATABASE_URL."),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="TOML file with settings; else OMS_CONFIG, oms.toml."),
    ] = None,
) -> None:
    """Orders for Interactive Brokers, kept in a log that loses nothing and can prove it.

    Both options are taken before and after the verb. `oms VERB --help` explains what a verb prints.
    """
    context.obj = Given(database, config)


_GROUPS: Final = (
    *(demo, orders, log, status, buy, cancel, halt, quote, doubt, reconcile),
    *(resolve, statement, run, check, web),
)
for group in _GROUPS:
    group.register(app)


def main() -> None:
    """Run the command line; the console script `oms`."""
    app()
