"""The verb `verify`: does the hash chain hold."""

from __future__ import annotations

from typing import Annotated

import typer

from oms.cli.context import settings_of
from oms.cli.options import AsJson
from oms.cli.output import print_json, write
from oms.cli.terminal import progress
from oms.core.bounds import SEQUENCE
from oms.errors import ChainBroken, DatabaseDamaged
from oms.store.audit import verify as check
from oms.store.soundness import check_database

app = typer.Typer()


@app.command()
def verify(
    context: typer.Context,
    *,
    from_sequence: Annotated[
        int,
        typer.Option(
            "--from", min=1, max=SEQUENCE.high, metavar="SEQ", help="Begin at this event."
        ),
    ] = 1,
    as_json: AsJson = False,
) -> None:
    """Check the hash chain, and that tables, triggers, indexes and rows are what was written.

    Prints how many events hold and the head's hash. Keep that hash elsewhere: a person who can
    rewrite the whole file can rewrite the whole chain. With --from, the hash of the event before
    SEQ is trusted. The exit status is 4 where anything does not hold, and the first such thing is
    named. `oms rebuild --check` folds the log again and compares the rows with it.

    \b
    oms verify
    oms verify --from 1000000 --json
    """
    url = settings_of(context).database_url
    try:
        with progress("verifying") as moved:
            result = check(url, moved, from_sequence=from_sequence)
            check_database(url)
    except (ChainBroken, DatabaseDamaged) as error:
        if as_json:
            sequence = error.sequence if isinstance(error, ChainBroken) else None
            print_json("verify", ok=False, sequence=sequence, text=error.message)
        raise
    if as_json:
        print_json(
            "verify",
            ok=True,
            events=result.events,
            sequence=result.head_sequence,
            hash=result.head_hash,
            seconds=round(result.seconds, 3),
        )
        return
    write(f"ok  {result.events:,} events hold, in {result.seconds:.2f} s")
    write(f"head {result.head_sequence} {result.head_hash}")
