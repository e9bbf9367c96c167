"""What `--dry-run` shows: the request, and what every rule makes of the order or the change.

Judged here from the log and this shell's settings, without asking: what only IB or the daemon
can say is `unknown`. Nothing is written.
"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Final

import typer

from oms.cli.context import settings_of
from oms.cli.output import print_json, say, write
from oms.cli.request import daemon_runs
from oms.cli.terminal import show, table
from oms.clock import SystemClock
from oms.core.admit.frequency import RATE_SECONDS
from oms.core.admit.groups import NewOrder, bracket_of
from oms.core.admit.holding import con_ids_of, holdings, unfilled_in
from oms.core.admit.proposal import Proposal, Recent, entry_price_of, likeness, unfilled_new
from oms.core.admit.rules import Ruling, rulings
from oms.core.codec import encode
from oms.core.contracts import Contract
from oms.core.events import ModifyRequested, OrderIntended, OrderRequested
from oms.core.fold.records import Anomaly, BreakCase, Order, Position, SessionRecord
from oms.core.order_types import as_changes, changed
from oms.core.values import fields_of
from oms.report.sentences import describe_terms
from oms.service.admission import limits_of
from oms.store.reader import Reader

#: Intents that are looked back at; more than may be sent in a minute.
_RECENT_MAX: Final = 5_000


async def show_order(
    context: typer.Context, reader: Reader, request: OrderRequested, *, as_json: bool
) -> None:
    """Print what an order would be and what each rule says; status 1 where one denies it."""
    proposal = await _proposal(context, reader, request)
    legs = _legs(request, proposal)
    limits = limits_of(settings_of(context))
    found = [(order_id, rulings(one, limits)) for order_id, one in legs]
    if as_json:
        print_json(
            "request",
            type=type(request).__name__,
            payload=json.loads(encode(request)),
            checks=[_json(order_id, v) for order_id, all_ in found for v in all_],
        )
    else:
        say("nothing was written; the request would be")
        terms, contract = request.terms, request.contract
        write(f"{describe_terms(terms, contract)}, order id {request.order_id}")
        for order_id, all_ in found:
            if len(found) > 1:
                write(f"\n{order_id}")
            _print(all_)
    if any(ruling.outcome == "denied" for _, all_ in found for ruling in all_):
        raise typer.Exit(1)


async def show_change(
    context: typer.Context, reader: Reader, order: Order, request: ModifyRequested, *, as_json: bool
) -> None:
    """Print what a change would append and what each rule says; status 1 where one denies it."""
    terms = changed(order.asked_terms, as_changes(fields_of(request)))
    wanted = OrderIntended(
        order_id=order.order_id,
        account=order.account,
        contract=order.contract,
        terms=terms,
        parent_order_id=order.parent_order_id or None,
        closing=order.closing,
    )
    proposal = replace(await _proposal(context, reader, wanted), change_of=order)
    found = rulings(proposal, limits_of(settings_of(context)))
    if as_json:
        print_json(
            "request",
            type=type(request).__name__,
            payload=json.loads(encode(request)),
            checks=[_json(order.order_id, one) for one in found],
        )
    else:
        say("nothing was written; the request would be")
        write(encode(request))
        _print(found)
    if any(ruling.outcome == "denied" for ruling in found):
        raise typer.Exit(1)


async def against(
    context: typer.Context, reader: Reader, request: OrderRequested
) -> tuple[Ruling, ...]:
    """Return what our rules would hold against an order: what they deny or warn of."""
    proposal = await _proposal(context, reader, request)
    found = rulings(proposal, limits_of(settings_of(context)))
    return tuple(one for one in found if one.outcome in {"denied", "warned"})


async def _proposal(
    context: typer.Context, reader: Reader, request: OrderRequested | OrderIntended
) -> Proposal:
    system = await reader.system()
    if not await daemon_runs(reader):
        # The row is what the daemon left behind; without one nothing is connected.
        system = system.evolve(connected=False, ready=False)
    session = await reader.one("sessions", str(system.session_epoch))
    managed = session.accounts if isinstance(session, SessionRecord) else ()
    allowed = settings_of(context).accounts or managed
    account = request.account or (allowed[0] if len(allowed) == 1 else "")
    contract = await _known(reader, request.contract)
    now = SystemClock().now()
    where = {"live": 1, "account": account, "con_id": contract.con_id}
    found = await reader.rows("breaks", {"live": 1})
    breaks = tuple(one for one in found if isinstance(one, BreakCase))
    left_out = await reader.rows("anomalies", {"live": 1, "kind": "set_aside"})
    keys = [f"{account}:{con_id}" for con_id in con_ids_of(contract)]
    rows = [await reader.one("positions", key) for key in keys]
    positions = {one.key: one for one in rows if isinstance(one, Position)}
    in_question = [one.finding.order_id for one in breaks if one.finding.order_id]
    at_work = await reader.rows("orders", {"live": 1})
    at_work += await reader.rows("orders", {"live": 0, "order_id": in_question})
    orders = [one for one in at_work if isinstance(one, Order) and one.order_id != request.order_id]
    return Proposal(
        account=account,
        contract=contract,
        terms=request.terms,
        rules=None,
        managed_accounts=managed,
        system=system,
        open_breaks=breaks,
        set_aside=tuple(one for one in left_out if isinstance(one, Anomaly)),
        closing=request.closing,
        order_id=request.order_id,
        parent_order_id=(
            (request.parent_order_id or "") if isinstance(request, OrderIntended) else ""
        ),
        held=holdings(account, contract, positions, breaks),
        beside=tuple(unfilled_in(account, orders, {}, positions, breaks)),
        now=now,
        recent=await _recent(context, reader),
        open_orders=await reader.count("orders", where) if contract.con_id else 0,
    )


async def _known(reader: Reader, contract: Contract) -> Contract:
    """Return the contract as the books know it, or as it is described."""
    if contract.con_id:
        return contract
    described = _description(contract)
    for name in ("orders", "positions"):
        for row in await reader.rows(name, {"symbol": contract.symbol}, limit=_RECENT_MAX):
            found = row.contract if isinstance(row, Order | Position) else contract
            if found.con_id and _description(found) == described:
                return found
    return contract


def _description(contract: Contract) -> tuple[object, ...]:
    return (
        contract.sec_type,
        contract.currency,
        contract.expiry,
        contract.strike,
        contract.right,
        contract.legs,
    )


async def _recent(context: typer.Context, reader: Reader) -> tuple[Recent, ...]:

    seconds = max(RATE_SECONDS, settings_of(context).order_duplicate_seconds)
    since = SystemClock().now() - timedelta(seconds=seconds)
    newest = await reader.events(type=OrderIntended.__name__, reverse=True, limit=_RECENT_MAX)
    found = []
    for one in reversed(newest):
        event = one.event
        if isinstance(event, OrderIntended) and one.recorded_at > since:
            like = likeness(event.account, event.contract, event.terms)
            found.append(Recent(event.order_id, one.recorded_at, like))
    return tuple(found)


def _legs(request: OrderRequested, proposal: Proposal) -> list[tuple[str, Proposal]]:
    """Return every order of the request with what is known about it."""
    if request.take_profit is None or request.stop_loss is None:
        return [(request.order_id, proposal)]
    entry = NewOrder(request.contract, request.terms, request.order_id)
    group = bracket_of(entry, take_profit=request.take_profit, stop_loss=request.stop_loss)
    price = entry_price_of(request.terms)
    legs: list[tuple[str, Proposal]] = []
    beside = proposal.beside
    for ahead, one in enumerate(group.orders):
        leg = replace(
            proposal,
            order_id=one.order_id,
            parent_order_id=group.parents.get(one.order_id, ""),
            terms=one.terms,
            closing=False,
            beside=beside,
            ahead=ahead,
            open_orders=proposal.open_orders + ahead,
            entry_price=price if ahead else None,
        )
        legs.append((one.order_id, leg))
        beside = (*beside, unfilled_new(leg))
    return legs


def _json(order_id: str, ruling: Ruling) -> dict[str, str]:
    return {
        "order_id": order_id,
        "rule": ruling.rule,
        "outcome": ruling.outcome,
        "value": ruling.value,
        "limit": ruling.limit,
        "text": ruling.text,
    }


def _print(found: tuple[Ruling, ...]) -> None:
    made = table("rule", "says", "limit", "why", wrap=("limit", "why"))
    for one in found:
        if one.outcome != "off":
            made.add_row(one.rule, one.outcome, one.limit, one.text)
    show(made)
    off = [one.rule for one in found if one.outcome == "off"]
    if off:
        say(f"without a limit: {', '.join(off)}")
