"""Verbs about differences: reconcile and report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer

from oms.cli.frame import (
    Account,
    AsJson,
    perform,
    print_json,
    reading,
    settings_of,
    show,
    waiting,
    write_json,
)

if TYPE_CHECKING:
    from oms.core.events import Envelope
    from oms.report import Report
    from oms.store.reader import Reader

Format = Literal["terminal", "json", "html"]
FormatOption = Annotated[
    Format, typer.Option("--format", help="How it is written: for a person, a program, a browser.")
]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out", metavar="FILE", help="Write it there; html goes to OMS_REPORT_DIRECTORY else."
    ),
]
#: Events of evidence that a report carries along; more would be the log itself.
EVIDENCE_MAX: Final = 500


def register(app: typer.Typer) -> None:
    """Add the verbs of this file."""
    app.command()(reconcile)
    reports = typer.Typer(
        no_args_is_help=True, rich_markup_mode=None, help="Look at reconciliations of the past."
    )
    reports.command("list")(list_reports)
    reports.command("show")(show_report)
    app.add_typer(reports, name="report")


def reconcile(
    context: typer.Context,
    *,
    account: Account = None,
    now: Annotated[
        bool, typer.Option("--now", help="At once, which is the only way; for scripts to say.")
    ] = True,
    form: FormatOption = "terminal",
    out: Out = None,
    wait: Annotated[
        float, typer.Option(min=0, max=3600, metavar="SECONDS", help="How long to wait for it.")
    ] = 120.0,
    reason: Annotated[str, typer.Option(help="Why, for whoever reads the log.")] = "",
    as_json: AsJson = False,
) -> None:
    """Compare the books with the broker's now, and print the report.

    The running daemon asks IB for orders, executions, positions and the account, compares, repairs
    what evidence allows and opens a break for the rest. The exit status is 0 when both agree, 3
    while breaks are open, and 6 when some answer is missing: silence is not agreement.

    \b
    verdict      clean, broken or unknown, and why
    what asked   every question, how it was answered, how far back the answer reaches
    evidence     sequences in the log: `oms log --after SEQ --limit 1`

    \b
    oms reconcile
    oms reconcile --now --account DU1234567
    oms reconcile --format html --out report.html
    """
    import uuid

    from oms.core.events import ReconciliationRequested

    request_id = uuid.uuid4().hex

    async def work() -> tuple[Report, int]:
        from oms.cli.request import append

        async with reading(context) as reader:
            await _check_account(reader, account)
            request = ReconciliationRequested(
                request_id=request_id, reason=reason, account=account or ""
            )
            receipt = append(settings_of(context).database_url, [(request, request_id)])[0]
            with waiting("asking IB and comparing"):
                completed = await _completed(reader, request_id, receipt.sequence, wait)
            open_breaks = await reader.count("breaks", {"status": "open"})
            return await _report(reader, completed), open_breaks

    report, open_breaks = perform(work())
    _write(context, report, "json" if as_json else form, out)
    if report.verdict == "unknown":
        raise typer.Exit(6)
    if open_breaks:
        raise typer.Exit(3)


def list_reports(
    context: typer.Context,
    *,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="Newest runs shown at most.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List reconciliation runs, the oldest of the newest LIMIT first.

    \b
    run      its id, for `oms report show RUN`
    why      what made the daemon compare: start, reconnect, schedule, a request
    match    things that agree; break: that differ; unknown: that nobody could tell
    event    sequence of the report in the log

    \b
    oms report list
    oms report list --limit 5 --json
    """

    async def work() -> None:
        from oms.cli.tables import runs_table
        from oms.core.fold.records import RunRecord
        from oms.report.record_json import run_json

        async with reading(context) as reader:
            rows = await reader.rows("runs", order="sequence", reverse=True, limit=limit)
        runs = [row for row in reversed(rows) if isinstance(row, RunRecord)]
        if as_json:
            print_json("reports", reports=[run_json(one) for one in runs])
        else:
            show(runs_table(runs))

    perform(work())


def show_report(
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

    async def work() -> Report:
        from oms.cli.ids import find_run
        from oms.errors import NotFound

        async with reading(context) as reader:
            found = await find_run(reader, run_id)
            if not found.sequence:
                raise NotFound(f"run {found.run_id} has not ended", hint="wait, then repeat")
            return await _report(reader, await reader.event(found.sequence))

    _write(context, perform(work()), "json" if as_json else form, out)


# ── small parts ──────────────────────────────────────────────────────────────────────────────────


async def _check_account(reader: Reader, account: str | None) -> None:
    """Refuse an account that the session does not serve, before anything is written."""
    from oms.core.fold.records import SessionRecord, SystemRecord
    from oms.errors import InvalidRequest

    system = await reader.one("system", "system")
    epoch = system.session_epoch if isinstance(system, SystemRecord) else 0
    session = await reader.one("sessions", str(epoch))
    known = session.accounts if isinstance(session, SessionRecord) else ()
    if account is not None and account not in known:
        raise InvalidRequest(f"account {account!r} is not one of {', '.join(known) or 'none'}")


async def _completed(reader: Reader, request_id: str, after: int, seconds: float) -> Envelope:
    from oms.cli.request import looks
    from oms.core.events import ReconciliationCompleted
    from oms.errors import RequestTimedOut

    async for _ in looks(reader, seconds):
        for envelope in await reader.events(after, type=ReconciliationCompleted.__name__):
            event = envelope.event
            if isinstance(event, ReconciliationCompleted) and event.request_id == request_id:
                return envelope
    raise RequestTimedOut(
        f"the comparison has not ended after {seconds:g} s",
        hint="it goes on; `oms report list` shows when it has ended",
    )


async def _report(reader: Reader, envelope: Envelope) -> Report:
    """Return the report of a run with the cases that were open when it ended."""
    from oms import report
    from oms.core.events import ReconciliationCompleted
    from oms.core.fold.records import BreakCase

    event = envelope.event
    assert isinstance(event, ReconciliationCompleted)
    cases = [row for row in await reader.rows("breaks") if isinstance(row, BreakCase)]
    then_open = [
        case
        for case in cases
        if case.opened_sequence <= envelope.sequence
        and (case.closed_at is None or case.closed_at > envelope.recorded_at)
    ]
    evidence = [await reader.event(n) for n in report.evidence_of(event)[:EVIDENCE_MAX]]
    return report.build(event, then_open, sequence=envelope.sequence, events=evidence)


def _write(context: typer.Context, report: Report, form: Format, out: Path | None) -> None:
    if form == "html" and out is None:
        # A page is to be opened, not to be read on a terminal; its path is the result.
        out = settings_of(context).report_directory / f"{report.run.run_id}.html"
    if out is not None:
        from oms.errors import ConfigurationError

        try:
            out.parent.mkdir(parents=True, exist_ok=True)
            out.write_text(_text(report, form), encoding="utf-8")
        except OSError as error:
            raise ConfigurationError(
                f"{out} cannot be written: {error.strerror}", hint=""
            ) from error
        typer.echo(str(out.resolve()))
        return
    from oms import report as reports

    if form == "json":
        write_json(reports.as_json(report))
    else:
        show(reports.terminal(report))


def _text(report: Report, form: Format) -> str:
    import json

    from rich.console import Console

    from oms import report as reports

    if form == "json":
        return json.dumps(reports.as_json(report), ensure_ascii=False) + "\n"
    if form == "html":
        return reports.html(report)
    console = Console(width=160, highlight=False, markup=False, emoji=False, color_system=None)
    with console.capture() as capture:
        console.print(reports.terminal(report))
    return capture.get()
