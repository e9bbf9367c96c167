"""The verb `reconcile`: compare the books with the broker's now."""

from __future__ import annotations

import uuid
from typing import Annotated

import typer

from oms.cli.context import settings_of
from oms.cli.options import Account, AsJson, Reason
from oms.cli.output import say
from oms.cli.reading import asynchronous, reading
from oms.cli.report import FormatOption, Out, report_of, write_report
from oms.cli.request import append, looks
from oms.cli.terminal import waiting
from oms.core.events import Envelope, ReconciliationCompleted, ReconciliationRequested
from oms.core.fold.records import SessionRecord, SystemRecord
from oms.errors import InvalidRequest, RequestTimedOut
from oms.store.reader import Reader

app = typer.Typer()


@app.command()
@asynchronous
async def reconcile(
    context: typer.Context,
    *,
    account: Account = None,
    now: Annotated[bool, typer.Option("--now", hidden=True, help="Has no effect.")] = False,
    form: FormatOption = "terminal",
    out: Out = None,
    wait: Annotated[
        float,
        typer.Option(
            min=0, max=3600, metavar="SECONDS", help="How long to wait for the comparison."
        ),
    ] = 120.0,
    reason: Reason = "",
    as_json: AsJson = False,
) -> None:
    """Compare the books with the broker's now, and print the report.

    The running daemon asks IB for orders, executions, positions and the account, compares, repairs
    what evidence allows and opens a break for the rest. The exit status is 0 when both agree, 3
    while breaks are open, and 6 when IB left a question without an answer.

    \b
    verdict      clean, broken or unknown, and why
    what asked   every question, how it was answered, how far back the answer reaches
    evidence     sequences in the log: `oms log --after SEQ --limit 1`

    \b
    oms reconcile
    oms reconcile --account DU1234567
    oms reconcile --format html --out report.html
    """
    if now:
        say("--now has no effect: the comparison always runs at once")
    request_id = uuid.uuid4().hex
    async with reading(context) as reader:
        await _check_account(reader, account)
        request = ReconciliationRequested(
            request_id=request_id, reason=reason, account=account or ""
        )
        receipt = append(settings_of(context).database_url, [(request, request_id)])[0]
        with waiting("asking IB and comparing"):
            completed = await _completed(reader, request_id, receipt.sequence, wait)
        open_breaks = await reader.count("breaks", {"status": "open"})
        report = await report_of(reader, completed)
    write_report(context, report, "json" if as_json else form, out)
    if report.verdict == "unknown":
        raise typer.Exit(6)
    if open_breaks:
        raise typer.Exit(3)


async def _check_account(reader: Reader, account: str | None) -> None:
    """Refuse an account that the session does not serve, before anything is written."""
    system = await reader.one("system", "system")
    epoch = system.session_epoch if isinstance(system, SystemRecord) else 0
    session = await reader.one("sessions", str(epoch))
    known = session.accounts if isinstance(session, SessionRecord) else ()
    if account is not None and account not in known:
        raise InvalidRequest(f"account {account!r} is not one of {', '.join(known) or 'none'}")


async def _completed(reader: Reader, request_id: str, after: int, seconds: float) -> Envelope:
    async for _ in looks(reader, seconds):
        for envelope in await reader.events(after, type=ReconciliationCompleted.__name__):
            event = envelope.event
            if isinstance(event, ReconciliationCompleted) and event.request_id == request_id:
                return envelope
    raise RequestTimedOut(
        f"the comparison has not ended after {seconds:g} s",
        hint="it goes on; `oms report list` shows when it has ended",
    )
