"""The verb `version`: what a report of a fault needs."""

from __future__ import annotations

import platform

import typer

from oms._version import __version__, libraries
from oms.cli.options import AsJson
from oms.cli.output import print_json, write

app = typer.Typer()


@app.command()
def version(as_json: AsJson = False) -> None:
    """Print the versions that a report of a fault should name.

    \b
    oms version
    oms version --json
    """
    if as_json:
        python = platform.python_version()
        print_json("version", version=__version__, python=python, libraries=libraries())
        return
    others = ", ".join(f"{name} {number}" for name, number in libraries().items())
    write(f"ib-oms {__version__} (Python {platform.python_version()}, {others})")
