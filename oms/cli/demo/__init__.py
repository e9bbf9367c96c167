"""The verb `demo`: a bad day in six steps, on real processes and a real wire."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from oms.cli.demo.play import Play
from oms.cli.demo.stage import Stage
from oms.core.bounds import SEQUENCE

app = typer.Typer()


@app.command()
def demo(
    context: typer.Context,
    *,
    seed: Annotated[
        int,
        typer.Option(
            min=0, max=SEQUENCE.high, help="Decides symbols, prices, quantities and outcomes."
        ),
    ] = 1,
    directory: Annotated[
        Path, typer.Option(metavar="DIR", help="Where database, books, reports and logs go.")
    ] = Path("oms-demo"),
    keep: Annotated[
        bool, typer.Option("--keep/--fresh", help="Go on with the files of an earlier demo.")
    ] = False,
) -> None:
    """Show what the OMS does on a bad day, against the gateway simulator, in half a minute.

    The simulator, the daemon and the checker are processes of their own; an unmodified ib_async
    talks the TWS protocol between the first two over TCP. Everything on the screen is read back
    from the log. The exit status is 0 only if the independent checker finds the OMS's books equal
    to the simulator's at the end.

    \b
    oms demo
    oms demo --seed 7 --directory bad-day --keep
    """
    program = context.find_root().command

    def run_verb(words: Sequence[str]) -> int:
        return program.main(list(words), standalone_mode=False) or 0

    with Stage(directory, keep=keep, seed=seed) as stage:
        code = Play(stage, seed, run_verb).run()
    raise typer.Exit(code)
