"""The verbs of `report`: reconciliations of the past, and how a report is written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from oms import report as reports
from oms.cli.context import settings_of
from oms.cli.ids import find_run
from oms.cli.options import AsJson
from oms.cli.output import print_json, write, write_json
from oms.cli.reading import asynchronous, reading
from oms.cli.tables import runs_table
from oms.cli.terminal import Screen, show
from oms.core.events import Envelope, ReconciliationCompleted
from oms.core.fold.records import BreakCase, RunRecord
from oms.core.shown import shown
from oms.errors import ConfigurationError, NotFound
from oms.files import whole_file
from oms.report import Report
from oms.report.record_json import run_json
from oms.store.reader import Reader

app = typer.Typer(
    name="report",
    no_args_is_help=True,
    help="Look at reconciliations of the past.",
)

Format = Literal["terminal", "json", "html"]

FormatOption = Annotated[
    Format, typer.Option("--format", help="How it is written: for a person, a program, a browser.")
]

Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        metavar="FILE",
        help="Write it to this file; html goes to OMS_REPORT_DIRECTORY without it.",
    ),
]


@app.command("list")
@asynchronous
async def list_reports(
    context: typer.Context,
    *,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="Newest runs shown at most.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List the newest LIMIT reconciliation runs, the oldest first.

    \b
    run      its id, for `oms report show RUN`
    why      what made the daemon compare: start, reconnect, schedule, a request
    match    how many things agree; break: differ; unknown: could not be judged
    event    sequence of the report in the log

    \b
    oms report list
    oms report list --limit 5 --json
    """
    async with reading(context) as reader:
        rows = await reader.rows("runs", order="sequence", reverse=True, limit=limit)
    runs = [row for row in reversed(rows) if isinstance(row, RunRecord)]
    if as_json:
        print_json("reports", reports=[run_json(one) for one in runs])
    else:
        show(runs_table(runs))


@app.command("show")
@asynchronous
async def show_report(
    context: typer.Context,
    *,
    run_id: Annotated[
        str, typer.Argument(metavar="RUN", help="Any unique beginning, or `last`.")
    ] = "last",
    form: FormatOption = "terminal",
    out: Out = None,
    as_json: AsJson = False,
) -> None:
    """Show a reconciliation report again, exactly as it was.

    \b
    verdict      clean, broken or unknown, and why
    what asked   every question, how it was answered, how far back the answer reaches
    case         the break that was open for a difference when the run ended

    \b
    oms report show last
    oms report show R20260105 --format html --out report.html
    """
    async with reading(context) as reader:
        found = await find_run(reader, run_id)
        if not found.sequence:
            raise NotFound(f"run {found.run_id} has not ended", hint="wait, then repeat")
        report = await report_of(reader, await reader.event(found.sequence))
    write_report(context, report, "json" if as_json else form, out)


async def report_of(reader: Reader, envelope: Envelope) -> Report:
    """Return the report of a run with the cases that were open when it ended."""
    event = envelope.event
    if not isinstance(event, ReconciliationCompleted):
        raise NotFound(
            f"the report at event {envelope.sequence} cannot be read",
            hint="see docs/operating/set-aside.md; `oms reconcile` makes a new one",
        )
    cases = [row for row in await reader.rows("breaks") if isinstance(row, BreakCase)]
    then_open = reports.open_when(cases, envelope)
    evidence = [await reader.event(sequence) for sequence in reports.evidence_of(event)]
    return reports.build(event, then_open, sequence=envelope.sequence, events=evidence)


def write_report(context: typer.Context, report: Report, form: Format, out: Path | None) -> None:
    """Print a report, or write it to a file and print its path."""
    if form == "html" and out is None:
        # A page is to be opened, not to be read on a terminal; its path is the result.
        out = settings_of(context).report_directory / f"{report.run.run_id}.html"
    if out is not None:
        try:
            out.parent.mkdir(parents=True, exist_ok=True)
            with whole_file(out) as file:
                file.write(_text(report, form).encode())
        except OSError as error:
            raise ConfigurationError(
                f"{out} cannot be written: {error.strerror}", hint=""
            ) from error
        write(str(out.resolve()))
        return

    if form == "json":
        write_json(reports.as_json(report))
    else:
        show(reports.terminal(report))


def _text(report: Report, form: Format) -> str:
    if form == "json":
        return shown(json.dumps(reports.as_json(report), ensure_ascii=False)) + "\n"
    if form == "html":
        return reports.html(report)
    console = Screen(width=160, highlight=False, markup=False, emoji=False, color_system=None)
    with console.capture() as capture:
        console.print(reports.terminal(report))
    return capture.get()
