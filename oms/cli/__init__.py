"""The command line: one file per verb or family of verbs, named after what people type.

Results go to stdout, words to stderr. Every verb that reads takes `--json`; the keys are described
in docs/reference/json-output.md. The exit status is the error's (`oms.errors`), so that a script
can tell breaks (3), a broken chain (4), an absent gateway (5) and an unknown outcome (6) apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

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
    command = typer.main.get_command(app)
    try:
        command.main(None if arguments is None else list(arguments))
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    return 0
