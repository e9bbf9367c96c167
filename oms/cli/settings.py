"""The verb `settings`: what is in force, and where it came from."""

from __future__ import annotations

from dataclasses import asdict

import typer

from oms.cli.context import settings_of
from oms.cli.options import AsJson
from oms.cli.output import print_json
from oms.cli.terminal import show, table

app = typer.Typer()


@app.command()
def settings(context: typer.Context, as_json: AsJson = False) -> None:
    """List every setting with its value and where that came from.

    \b
    variable      in the environment or in .env; in oms.toml it is the name without OMS_, lower case
    value         what is in force; source: default, or the variable or file that said it
    bounds, unit  what is allowed, and what the number counts

    \b
    oms settings
    OMS_PORT=7497 oms settings --json
    """
    rows = settings_of(context).describe()
    if as_json:
        print_json("settings", settings=[asdict(row) for row in rows])
        return
    made = table(
        *("variable", "value", "source", "unit", "bounds", "what it is"),
        wrap=("value", "source", "unit", "bounds", "what it is"),
    )
    for row in rows:
        made.add_row(row.env, row.value, row.source, row.unit, row.bounds, row.description)
    show(made)
