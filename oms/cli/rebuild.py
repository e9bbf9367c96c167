"""The verb `rebuild`: fold the whole log again, and compare."""

from __future__ import annotations

from typing import Annotated

import typer

from oms.cli.context import settings_of
from oms.cli.options import AsJson
from oms.cli.output import print_json, write
from oms.cli.reading import warn_of_loss
from oms.cli.terminal import progress
from oms.store import rebuild as rebuilding
from oms.store.loss import refuse_loss
from oms.store.rebuild import RebuildResult

app = typer.Typer()


@app.command()
def rebuild(
    context: typer.Context,
    *,
    only_check: Annotated[
        bool, typer.Option("--check", help="Compare only; change nothing.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Fold the whole log from its first event, and compare with the stored books row for row.

    Without --check, rows that differ are swapped in one transaction, also beside a running daemon:
    readers see the old rows or the new ones, and the daemon loads its books again. Where more rows
    differ than its next append can wait for, stop the daemon first. The exit status of --check is 4
    where a row differs.

    \b
    events   how many were folded
    rows     how many were compared, by table

    \b
    oms rebuild --check
    oms rebuild --json
    """
    url = settings_of(context).database_url
    if only_check:
        warn_of_loss(url)
    else:
        refuse_loss(url)
    with progress("folding") as moved:
        work = rebuilding.rebuild_check if only_check else rebuilding.rebuild
        result = work(url, moved)
    if as_json:
        print_json("rebuild", **_rebuild_json(result, only_check))
    else:
        _print_rebuild(result, only_check)
    if only_check and not result.equal:
        raise typer.Exit(4)


def _print_rebuild(result: RebuildResult, only_check: bool) -> None:
    rows = sum(result.tables.values())
    folded = f"{result.events:,} events folded, {rows:,} rows compared, in {result.seconds:.2f} s"
    if result.equal:
        write(f"ok  {folded}: all equal")
    else:
        done = "differ" if only_check else "differed and were replaced"
        write(f"FAILED  {folded}: {result.differences:,} {done}")
        first = result.first_difference
        if first is not None:
            fields = ", ".join(first.fields) or (
                "the stored row is missing" if first.ours is None else "the log has no such row"
            )
            write(f"first: {first.table} {first.key} ({fields})")
    write(", ".join(f"{name} {count:,}" for name, count in result.tables.items() if count))


def _rebuild_json(result: RebuildResult, only_check: bool) -> dict[str, object]:
    first = result.first_difference
    return {
        "ok": result.equal,
        "replaced": not only_check and not result.equal,
        "events": result.events,
        "rows": result.tables,
        "differences": result.differences,
        "first_difference": None
        if first is None
        else {
            "table": first.table,
            "key": first.key,
            "fields": list(first.fields),
            "ours": first.ours,
            "rebuilt": first.rebuilt,
        },
        "seconds": round(result.seconds, 3),
    }
