"""The verbs of `statement`: check the broker's statement, fetch one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from oms.cli.context import settings_of
from oms.cli.options import AsJson, check_seconds
from oms.cli.output import print_json, say
from oms.cli.reading import asynchronous, reading
from oms.cli.request import append
from oms.cli.terminal import show, table, waiting
from oms.clock import SystemClock
from oms.core.compare.cases import break_id_of
from oms.core.events import Finding
from oms.report.reconciliation import shut_by
from oms.report.words import coverage_words
from oms.service.flex import fetch_statement
from oms.service.statement import Checked, check_statement, events_of, still_shut

app = typer.Typer(
    name="statement",
    no_args_is_help=True,
    help="Compare the books with the broker's statement of the next morning.",
)


@app.command()
@asynchronous
async def check(
    context: typer.Context,
    *,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="XML of an activity Flex query.")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Compare and print; write no case.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Compare a Flex statement with the books: executions, commissions, positions, cash.

    Deals are matched by their execution id, else by contract, order, quantity, price and time,
    after what was cancelled and booked again; positions may be explained by assignments, exercises,
    expiries, corporate actions and transfers that the statement names. Each difference becomes a
    case, and a later statement that agrees closes it. The exit status is 3 when something differs.

    Only the sections, days and accounts that the file covers are compared; the rest is unknown, and
    listed with its reason. A section without rows is an answer, one that the query lacks is none.

    \b
    result   break: one side only, or different; unknown: cannot be judged from this statement
    ours     what our books say
    theirs   what the statement says

    \b
    oms statement check statement-2026-01-05.xml
    oms statement check statement-2026-01-05.xml --dry-run --json
    """
    settings = settings_of(context)
    async with reading(context) as reader:
        with waiting(f"comparing {file}"):
            checked = await check_statement(reader, file)
        events = await events_of(reader, checked)
    if not dry_run:
        facts = [(event, checked.run_id) for event in events]
        append(settings.database_url, facts, needs_daemon=False)
    shut = still_shut(checked, events)
    if as_json:
        print_json("statement_check", **_json(checked), gate=[shut_by(case) for case in shut])
    else:
        _show(checked)
        for case in shut:
            say(shut_by(case))
    if checked.breaks:
        raise typer.Exit(3)


@app.command()
def fetch(
    context: typer.Context,
    *,
    out: Annotated[Path, typer.Option(metavar="FILE", help="Where the XML is written.")],
    wait: Annotated[
        float,
        typer.Option(
            min=1, max=3600, metavar="SECONDS", callback=check_seconds, help="How long IB may take."
        ),
    ] = 300.0,
) -> None:
    """Fetch a Flex statement from IB's web service, with the token and the query of the settings.

    IB makes the statement first, which takes seconds to minutes; the file is written when it is
    whole. The log is not touched.

    \b
    OMS_FLEX_TOKEN=... OMS_FLEX_QUERY=123456 oms statement fetch --out today.xml
    oms statement fetch --out today.xml --wait 600
    """
    settings = settings_of(context)
    with waiting("waiting for IB to make the statement"):
        size = fetch_statement(
            settings.flex_url,
            settings.flex_token.get_secret_value(),
            settings.flex_query,
            out,
            clock=SystemClock(),
            seconds_max=wait,
        )
    say(f"{out}: {size:,} bytes; `oms statement check {out}` compares it")


def _show(checked: Checked) -> None:
    for heading in checked.headings:
        one_day = heading.first == heading.last
        days = f"{heading.first}" if one_day else f"{heading.first} to {heading.last}"
        say(f"account {heading.account}, {days}, made {heading.generated or 'at a time not said'}")
    for words in dict.fromkeys(coverage_words(coverage) for coverage in checked.coverage):
        say(words)
    if checked.findings:
        made = table(
            "result",
            "class",
            "severity",
            "account",
            "symbol",
            "ours",
            "theirs",
            "what",
            wrap=("ours", "theirs", "what"),
        )
        for one in checked.findings:
            made.add_row(*_cells(one))
        show(made)
    explained = [one for one in checked.settled if one.text.startswith("explained")]
    for one in explained:
        say(f"{one.account} {one.symbol}: {one.ours} and {one.theirs}, {one.text}")
    unknowns = len(checked.findings) - len(checked.breaks)
    say(
        f"{checked.verdict}: {checked.deals} deals compared, {checked.matches} things agree,"
        f" {len(checked.breaks)} differ, {unknowns} unknown"
    )


def _cells(one: Finding) -> tuple[str, ...]:
    return (
        one.result,
        one.break_class or one.subject,
        one.severity or "",
        one.account,
        one.symbol,
        one.ours,
        one.theirs,
        one.text,
    )


def _json(checked: Checked) -> dict[str, Any]:
    return {
        "run_id": checked.run_id,
        "digest": checked.digest,
        "verdict": checked.verdict,
        "statements": [
            {
                "account": heading.account,
                "first_day": heading.first.isoformat(),
                "last_day": heading.last.isoformat(),
                "generated": heading.generated,
                "kind": coverage.kind,
                "query": coverage.query,
                "period": coverage.period,
                "sections": list(coverage.sections),
                "missing": list(coverage.missing),
            }
            for heading, coverage in zip(checked.headings, checked.coverage, strict=True)
        ],
        "deals": checked.deals,
        "matches": checked.matches,
        "explained": [_finding_json(f) for f in checked.settled if f.text.startswith("explained")],
        "findings": [_finding_json(finding) for finding in checked.findings],
    }


def _finding_json(one: Finding) -> dict[str, Any]:
    return {
        "result": one.result,
        "class": one.break_class,
        "severity": one.severity,
        "break_id": break_id_of(one) if one.result == "break" else None,
        "subject": one.subject,
        "account": one.account,
        "con_id": one.con_id,
        "symbol": one.symbol,
        "order_id": one.order_id or None,
        "ours": one.ours,
        "theirs": one.theirs,
        "text": one.text,
        "evidence": list(one.evidence),
    }
