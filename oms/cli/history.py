"""The verbs of `history`: what stands beside the log for questions about the past."""

from __future__ import annotations

import random
from typing import Annotated

import typer

from oms.cli.context import settings_of
from oms.cli.options import AsJson
from oms.cli.output import print_json, write
from oms.cli.reading import warn_of_loss
from oms.cli.terminal import progress
from oms.errors import StoreUnavailable
from oms.history.making import bring_up, check_snapshots, standing
from oms.history.side import Unusable
from oms.store import schema
from oms.store.soundness import check_complete

app = typer.Typer(
    name="history",
    help="Make and check what answers questions about the past.",
    no_args_is_help=True,
)


@app.command()
def build(context: typer.Context, as_json: AsJson = False) -> None:
    """Make the snapshots of the books that are missing; the daemon makes them as well, slowly.

    What was made stays when it is stopped. Without snapshots every answer is the same, and takes
    longer.

    \b
    oms history build
    oms history build --json
    """
    url = _url(context)
    with progress("making snapshots") as moved:
        try:
            bring_up(url, moved)
            known, happened = standing(url)
        except Unusable as error:
            raise StoreUnavailable(
                f"nothing can be kept beside the log: {error}",
                hint="the folder of the log must be writable; answers are folded from the log",
            ) from error
    if as_json:
        print_json("history", known_sequence=known, happened_sequence=happened)
        return
    write(f"ok  snapshots up to event {known:,}; of what had happened up to event {happened:,}")


@app.command()
def check(
    context: typer.Context,
    *,
    number: Annotated[
        int, typer.Option("--snapshots", min=1, metavar="N", help="How many, chosen at random.")
    ] = 3,
    every: Annotated[bool, typer.Option("--all", help="All of them.")] = False,
    as_json: AsJson = False,
) -> None:
    """Fold the events of some snapshots again, and compare.

    Where one differs, all are thrown away, and the exit status is 4: run `oms verify`, which says
    whether the log was altered.

    \b
    oms history check
    oms history check --all --json
    """
    url = _url(context)
    with progress("folding") as moved:
        try:
            checked, wrong = check_snapshots(
                url, None if every else number, moved, choose=random.SystemRandom().sample
            )
        except Unusable as error:
            raise StoreUnavailable(
                f"there are no snapshots: {error}", hint="`oms history build` makes them"
            ) from error
    if as_json:
        print_json("history_check", ok=not wrong, checked=checked, differing=wrong)
    elif wrong:
        names = ", ".join(str(one) for one in wrong)
        write(f"FAILED  snapshots {names} differ from the log; all were thrown away")
    elif not checked:
        write("ok  the log is shorter than one snapshot needs: nothing to check")
    else:
        write(f"ok  {checked:,} snapshots are what a fold of the log makes")
    if wrong:
        raise typer.Exit(4)


def _url(context: typer.Context) -> str:
    url = settings_of(context).database_url
    warn_of_loss(url)
    schema.check_current(url)
    check_complete(url)
    return url
