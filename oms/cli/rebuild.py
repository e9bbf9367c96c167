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
from oms.store.mend import mend, needs_backup
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

    Without --check, tables of the books, indexes, triggers and leases that are missing or not as
    they were made are made again; stop the daemon for that. Then rows that differ are swapped in
    one transaction, also beside a running daemon: readers see the old rows or the new ones, and the
    daemon loads its books again. Where more rows differ than its next append can wait for, stop the
    daemon first. A rebuild of a long log that is ended before it is done goes on where it was when
    you repeat it; until then a file beside the head file has its rows (NAME.rebuild). The exit
    status is 4 where anything was not as it should be, also when it is now.

    \b
    events   how many were folded
    rows     how many were compared, by table

    \b
    oms rebuild --check
    oms rebuild --json
    """
    url = settings_of(context).database_url
    mended: tuple[str, ...] = ()
    with progress("folding") as moved:
        if only_check:
            warn_of_loss(url)
            result = rebuilding.rebuild_check(url, moved)
        else:
            with needs_backup():
                refuse_loss(url)
                mended = mend(url)
                result = rebuilding.rebuild(url, moved, mended=mended)
    if as_json:
        print_json("rebuild", **_rebuild_json(result, mended, only_check))
    else:
        _print_rebuild(result, mended, only_check)
    if mended or not result.equal:
        raise typer.Exit(4)


def _print_rebuild(result: RebuildResult, mended: tuple[str, ...], only_check: bool) -> None:
    for one in mended:
        write(f"FAILED  {one} was missing or not as it was made; made again")
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


def _rebuild_json(
    result: RebuildResult, mended: tuple[str, ...], only_check: bool
) -> dict[str, object]:
    first = result.first_difference
    return {
        "ok": result.equal and not mended,
        "mended": mended,
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
