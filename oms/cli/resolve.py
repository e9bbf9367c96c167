"""The verbs by which people decide breaks: assign, explain, resolve, adopt, adjust, approve.

Each is a request that the running daemon carries out in the name of the person who asked; without
a daemon nothing is written. Above the value that the settings name, two people must close a break.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

import typer

from oms.cli.context import settings_of
from oms.cli.ids import find_break
from oms.cli.options import AsJson
from oms.cli.output import print_json, say
from oms.cli.reading import log_now, perform, reading
from oms.cli.request import append, looks
from oms.cli.tables import breaks_table
from oms.cli.terminal import show
from oms.core.compare.case_actions import CAUSES
from oms.core.events import (
    CaseAction,
    CaseActionProposed,
    CaseRequestDenied,
    CaseRequested,
    Envelope,
)
from oms.core.fold.records import BreakCase
from oms.core.money import number
from oms.core.ratio import Ratio
from oms.errors import CaseRefused, InvalidRequest, RequestTimedOut
from oms.report.record_json import break_json
from oms.store.reader import Reader

app = typer.Typer()

Break = Annotated[str, typer.Argument(metavar="BREAK", help="Any unique beginning.")]

KeptReason = Annotated[str, typer.Option(help="Why; kept for ever.")]

#: How long the daemon may take over what needs no broker.
_WAIT_SECONDS = 10.0


@app.command()
def assign(
    context: typer.Context,
    *,
    break_id: Break,
    who: Annotated[str, typer.Argument(metavar="WHO", help="Who is to look at it.")],
    as_json: AsJson = False,
) -> None:
    """Say who looks at a break. It stays open; the columns are those of `oms breaks`.

    \b
    oms assign B3f9 anna
    oms assign B3f9 "night desk" --json
    """
    _ask(context, break_id, "assign", as_json, text=who)


@app.command()
def explain(
    context: typer.Context,
    *,
    break_id: Break,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What the difference is.")],
    as_json: AsJson = False,
) -> None:
    """Say what a break is, without closing it; the text stands in the log with your name.

    \b
    oms explain B3f9 "assignment of the short put, shares come on Monday"
    oms explain B3f9 "asked IB, ticket 4711" --json
    """
    _ask(context, break_id, "explain", as_json, text=text)


@app.command()
def resolve(
    context: typer.Context, *, break_id: Break, reason: KeptReason, as_json: AsJson = False
) -> None:
    """Close a break, with a reason.

    It stays closed until the difference shows other values. Books and orders stay as they are; `oms
    adjust` changes the books. Prints the break; the columns are those of `oms breaks`.

    \b
    oms resolve B-12 --reason "transfer from the other broker, confirmed by statement"
    oms resolve B-12 --reason "known corporate action" --json
    """
    _ask(context, break_id, "resolve", as_json, text=reason)


@app.command()
def adopt(
    context: typer.Context,
    *,
    break_id: Break,
    reason: KeptReason = "known to us",
    as_json: AsJson = False,
) -> None:
    """Accept an order that we did not send: the books follow it, and its break closes.

    It still belongs to the client that sent it: only that client can change or cancel it.

    \b
    oms adopt B3f9
    oms adopt B3f9 --reason "entered in TWS by anna, hedge of the day" --json
    """
    _ask(context, break_id, "adopt", as_json, text=reason)


@app.command()
def adjust(
    context: typer.Context,
    *,
    break_id: Break,
    cause: Annotated[str, typer.Option(metavar="CODE", help="Why it changed; see below.")],
    reason: KeptReason,
    quantity: Annotated[
        str | None, typer.Option(metavar="QTY", help="Another change than the one proposed.")
    ] = None,
    price: Annotated[
        str | None, typer.Option(metavar="PRICE", help="What a unit of it was worth.")
    ] = None,
    ratio: Annotated[
        str | None, typer.Option(metavar="NEW:OLD", help="Of a split: 1:3 is one for three.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Book a change of a position or of cash that no execution made, and close its break.

    Books what the break proposes: the whole difference, at the price that evidence names, else at
    the position's own average. What a contract was worth at its expiry is in no message of IB:
    where the break proposes no price, give its settlement with --price, 0 if it ended worthless.
    Above OMS_BREAK_NOTIONAL_MAX a second person approves it first.

    \b
    positions   assignment exercise expiry split symbol_change transfer correction other
    cash        deposit withdrawal dividend interest fee tax transfer correction other

    \b
    oms adjust B3f9 --cause transfer --reason "from the other broker, statement of May 4"
    oms adjust B3f9 --cause split --ratio 1:3 --reason "reverse split of June 2"
    oms adjust B77a --cause dividend --reason "KO, second quarter" --json
    """
    if cause not in CAUSES:
        raise InvalidRequest(f"--cause must be one of {', '.join(CAUSES)}, found {cause!r}")
    figures: dict[str, Any] = {
        "quantity": None if quantity is None else number("quantity", quantity),
        "price": None if price is None else number("price", price),
        "ratio": None if ratio is None else Ratio.parse(ratio),
    }
    _ask(context, break_id, "adjust", as_json, text=reason, cause=cause, **figures)


@app.command()
def approve(context: typer.Context, *, break_id: Break, as_json: AsJson = False) -> None:
    """Approve what another person asked for, where two people must decide.

    The person who asked cannot approve it. The log keeps both names.

    \b
    oms approve B3f9
    oms approve B3f9 --json
    """
    _ask(context, break_id, "approve", as_json)


def _ask(
    context: typer.Context, break_id: str, action: CaseAction, as_json: bool, **fields: Any
) -> None:
    if action != "approve" and not str(fields.get("text", "")).strip():
        raise InvalidRequest(f"to {action} a break needs a text, found none")

    case, news, now = perform(_decided(context, break_id, action, fields))
    if news:
        say(news)
    if as_json:
        print_json("breaks", breaks=[break_json(case)])
    else:
        show(breaks_table([case], now))


async def _decided(
    context: typer.Context, break_id: str, action: CaseAction, fields: Mapping[str, Any]
) -> tuple[BreakCase, str, datetime]:
    """Return the break after the action, what a person must know beside it, and the time of the
    log then.
    """
    async with reading(context) as reader:
        case = await find_break(reader, break_id)
        if action == "resolve" and not case.live:
            closed = f"{case.break_id} is closed already: {case.close_reason}"
            return case, closed, await log_now(reader)
        request = CaseRequested(
            request_id=uuid.uuid4().hex, break_id=case.break_id, action=action, **fields
        )
        url = settings_of(context).database_url
        receipt = append(url, [(request, case.break_id)])[0]
        answer = await _answer(reader, receipt.sequence)
        case = await find_break(reader, case.break_id)
        return case, _news(answer), await log_now(reader)


async def _answer(reader: Reader, sequence: int) -> Envelope:
    """Return the last event that the request made; raises what the daemon denied it with."""
    async for _ in looks(reader, _WAIT_SECONDS):
        made = [
            e for e in await reader.events(sequence) if e.context.causation_sequence == sequence
        ]
        if not made or (await reader.checkpoints()).get("books", 0) < made[-1].sequence:
            continue
        denied = made[-1].event
        if isinstance(denied, CaseRequestDenied):
            raise CaseRefused(denied.text, hint="")
        return made[-1]
    raise RequestTimedOut(
        f"the daemon has not answered after {_WAIT_SECONDS:g} s",
        hint="`oms breaks BREAK` shows it once it is done",
    )


def _news(answer: Envelope) -> str:
    """Return what a person must know beside the row of the break."""
    if not isinstance(answer.event, CaseActionProposed):
        return ""
    return "a second person must approve it: `oms approve BREAK` under another login"
