"""The command line: one file per verb or family of verbs, named after what people type.

Results go to stdout, words to stderr. Every verb that reads takes `--json`; the keys are described
in docs/reference/json-output.md. The exit status is the error's (`oms.errors`), so that a script
can tell breaks (3), a broken chain (4), an absent gateway (5) and an unknown outcome (6) apart.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from oms.cli.output import give_up_output
from oms.cli.verbs import Given, Verbs

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


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line, `sys.argv` where none is given, and return its exit status.

    Results and words go to `sys.stdout` and `sys.stderr` as they are now, settings come from
    `os.environ` as it is now; nothing of a call outlives it but how program messages are written.
    """
    _open_closed_streams()
    command = typer.main.get_command(app)
    try:
        command.main(None if arguments is None else list(arguments))
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except OSError as error:  # of the help alone; what a verb meets is said where it is invoked
        sys.stderr.write(f"{error.filename or 'standard output'}: {error.strerror or error}\n")
        give_up_output()
        return 1
    return 0


def _open_closed_streams() -> None:
    """Give a program that was started with closed streams (`>&-`) streams to nowhere: else the next
    file that is opened, such as the database, gets their number.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, os.O_RDWR)
            setattr(sys, name, os.fdopen(nowhere, mode, encoding="utf-8"))
