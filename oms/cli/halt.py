"""The verbs `halt` and `resume`: stop and allow new orders."""

from __future__ import annotations

from typing import Annotated, Final

import typer

from oms.cli.context import settings_of
from oms.cli.options import AsJson, WaitForDaemon, Yes
from oms.cli.output import print_json, say, write
from oms.cli.reading import asynchronous, reading
from oms.cli.request import append, daemon_runs, looks
from oms.cli.terminal import confirmed, waiting
from oms.core.events import HaltInForce, TradingHaltedByPerson, TradingResumed
from oms.core.words import counted
from oms.errors import InvalidRequest, OutcomeUnknown, RequestTimedOut
from oms.store.reader import Reader

app = typer.Typer()

_HALTS_LOOKED_AT: Final = 100


@app.command()
@asynchronous
async def halt(
    context: typer.Context,
    *,
    reason: Annotated[str, typer.Argument(help="Why; `oms status` shows it.")],
    wait: WaitForDaemon = 10.0,
    as_json: AsJson = False,
) -> None:
    """Stop new orders and changes until `oms resume`; cancels always pass.

    It works without the broker and without a daemon: the halt is written at once and holds across
    restarts. With a running daemon the verb returns when the daemon has confirmed that orders no
    longer leave; orders that waited for their turn are called back and end NOT_SENT. The exit
    status is 6 when that confirmation does not come in time: the halt holds, but orders on their
    way may still leave.

    \b
    oms halt "earnings"
    oms halt "strategy misbehaves" && oms cancel --all --yes
    """
    if not reason.strip():
        raise InvalidRequest("a halt needs a reason: `oms status` shows it")
    async with reading(context, checked=False) as reader:
        before = await reader.system()
        event = TradingHaltedByPerson(reason=reason)
        url = settings_of(context).database_url
        # Also where it is halted already: a person may resume between our look and our word.
        (receipt,) = append(url, [(event, None)], needs_daemon=False)
        running = await daemon_runs(reader)
        with waiting("waiting for the daemon to confirm"):
            confirmed_by = await _in_force(reader, receipt.sequence, wait) if running else None
        running = running and (confirmed_by is not None or await daemon_runs(reader))
    if before.halted:
        say(f"trading was halted already by {before.halt_actor}: {before.halt_reason}")
    called_back = () if confirmed_by is None else confirmed_by.called_back
    if as_json:
        print_json(
            "halt",
            halted=True,
            reason=reason,
            sequence=receipt.sequence,
            daemon=running,
            in_force=confirmed_by is not None or not running,
            called_back=list(called_back),
        )
    else:
        write(_words(running, called_back, receipt.sequence))
    if running and confirmed_by is None:
        raise RequestTimedOut(
            f"the daemon has not confirmed the halt after {wait:g} s",
            hint="the halt is in the log and counts for every order from now on; what was on"
            " its way may still leave: `oms status`, `oms orders`",
        )


@app.command()
@asynchronous
async def resume(
    context: typer.Context,
    *,
    reason: Annotated[str, typer.Argument(help="Why; kept in the log.")] = "",
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Allow new orders again, after `oms halt`.

    Orders that were denied or called back during the halt are not sent now: enter them again. It
    asks first; a script passes --yes. Where trading is not halted it says so and writes nothing.

    \b
    oms resume "earnings are out" --yes
    oms resume --yes --json
    """
    async with reading(context) as reader:
        before = await reader.system()
    sequence = None
    if before.halted:
        words = f"trading is halted by {before.halt_actor}: {before.halt_reason}"
        confirmed(f"{words}; this would allow new orders", "Allow new orders?", yes=yes)
        url = settings_of(context).database_url
        event = TradingResumed(reason=reason)
        (receipt,) = append(url, [(event, None)], needs_daemon=False)
        sequence = receipt.sequence
    if as_json:
        print_json("halt", halted=False, reason=reason, sequence=sequence)
    elif before.halted:
        write(f"new orders are allowed again, event #{sequence}")
    else:
        write("trading is not halted")


async def _in_force(reader: Reader, sequence: int, seconds: float) -> HaltInForce | None:
    """Return the daemon's confirmation of a halt; None at the deadline, or when it has gone."""
    try:
        async for _ in looks(reader, seconds):
            for envelope in await reader.events(
                sequence, type=HaltInForce.__name__, limit=_HALTS_LOOKED_AT
            ):
                event = envelope.event
                if isinstance(event, HaltInForce) and event.halt_sequence == sequence:
                    return event
    except OutcomeUnknown:
        # It went away: nothing leaves, and its successor reads the halt before anything else.
        return None
    return None


def _words(running: bool, called_back: tuple[str, ...], sequence: int) -> str:
    words = f"new orders are halted, event #{sequence}"
    if called_back:
        words += f"; {counted(len(called_back), 'order')} called back: {', '.join(called_back)}"
    return words if running else f"{words}; no daemon runs, the next one starts halted"
