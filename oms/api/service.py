"""What the service answers: each operation as a method, from a checked request to JSON values.

It runs in the thread of the service. What acts goes over to the daemon's loop and comes back when
its intent is durable; what only reads is read from the log here, so that the daemon does not wait.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar, cast

from oms.api import requests as bodies
from oms.api.rights import Caller
from oms.clock import Clock
from oms.core.admit.groups import NewOrder
from oms.core.fold.records import AnyRecord, Order
from oms.core.order_types import Changes
from oms.core.resets import windows_of
from oms.core.situation import judge
from oms.core.values import fields_of, jsonable
from oms.errors import InvalidRequest, RightMissing
from oms.history import records
from oms.history.moments import Calendar
from oms.history.names import find_order
from oms.history.query import parse, search
from oms.report.json_view import event_json
from oms.report.record_json import (
    Json,
    account_json,
    alarm_json,
    break_json,
    contract_json,
    fill_json,
    number,
    order_json,
    position_json,
    time,
)
from oms.report.situation_json import situation_json
from oms.service.manager import OrderManager
from oms.service.sending import By
from oms.settings import Settings
from oms.store.reader import Reader
from oms.store.situation import read_situation

if TYPE_CHECKING:
    from oms.broker.feed import Feed
    from oms.core.quotes import MarketItem

_R = TypeVar("_R")
#: The numbers of a quote.
QUOTED: Final = (
    *("bid", "ask", "last", "close", "bid_size", "ask_size", "last_size"),
    *("open", "high", "low", "volume"),
)
_LIMIT: Final = 100
_LIMIT_MAX: Final = 1_000


@dataclass(frozen=True, slots=True)
class Asked:
    """One request, after its token, its path and its body were checked."""

    caller: Caller
    #: The part of the path that names one thing.
    name: str
    #: Parameters of the address.
    words: Mapping[str, object]
    body: Any = None

    @property
    def by(self) -> By:
        """Return who it is said to come from."""
        return By(self.caller.actor)


class Service:
    """Answers."""

    def __init__(
        self,
        *,
        manager: OrderManager,
        loop: asyncio.AbstractEventLoop,
        reader: Reader,
        settings: Settings,
        clock: Clock,
    ) -> None:
        """`loop` is the daemon's, `reader` one of this thread."""
        self._manager = manager
        self._loop = loop
        self._reader = reader
        self._settings = settings
        self._clock = clock

    # ── what acts ──

    async def submit(self, asked: Asked) -> Json:
        """Send one order; answers when its bytes were handed over, or it was denied."""
        body: bodies.OrderBody = asked.body
        ticket = await self._on_daemon(
            lambda: self._manager.submit(
                body.contract,
                body.terms,
                account=body.account or None,
                order_id=body.order_id or None,
                parent=body.parent or None,
                reason=body.reason,
                closing=body.closing,
                by=asked.by,
            )
        )
        return {"order": order_json(ticket.order)}

    async def submit_many(self, asked: Asked) -> Json:
        """Send orders that have nothing to do with each other, in one durable transaction."""
        orders = [_new_order(one) for one in asked.body.orders]
        tickets = await self._on_daemon(lambda: self._manager.submit_many(orders, by=asked.by))
        return {"orders": [order_json(one.order) for one in tickets]}

    async def submit_bracket(self, asked: Asked) -> Json:
        """Send an entry with its take-profit and its stop-loss."""
        body: bodies.BracketBody = asked.body
        tickets = await self._on_daemon(
            lambda: self._manager.submit_bracket(
                body.contract,
                body.terms,
                take_profit=body.take_profit,
                stop_loss=body.stop_loss,
                account=body.account or None,
                order_id=body.order_id or None,
                reason=body.reason,
                by=asked.by,
            )
        )
        return {"orders": [order_json(one.order) for one in tickets]}

    async def submit_group(self, asked: Asked) -> Json:
        """Send orders of which one cancels or reduces the others."""
        body: bodies.GroupBody = asked.body
        orders = [_new_order(one) for one in body.orders]
        tickets = await self._on_daemon(
            lambda: self._manager.submit_oca(
                orders,
                oca_type=cast(Literal[1, 2, 3], body.oca_type),
                order_id=body.order_id or None,
                by=asked.by,
            )
        )
        return {"orders": [order_json(one.order) for one in tickets]}

    async def modify(self, asked: Asked) -> Json:
        """Send new terms of an order at work."""
        order_id = await self._own(asked)
        fields = fields_of(asked.body)
        reason = fields.pop("reason")
        changes = {name: value for name, value in fields.items() if value is not None}
        order = await self._on_daemon(
            lambda: self._manager.modify(
                order_id, reason=reason, by=asked.by, **cast(Changes, changes)
            )
        )
        return {"order": order_json(order)}

    async def cancel(self, asked: Asked) -> Json:
        """Ask IB to cancel an order."""
        order_id = await self._own(asked)
        order = await self._on_daemon(
            lambda: self._manager.cancel(
                order_id, reason=str(asked.words.get("reason") or ""), by=asked.by
            )
        )
        return {"order": order_json(order)}

    async def resolve(self, asked: Asked) -> Json:
        """Say, as a person who knows, what became of an order in doubt."""
        order_id = (await find_order(self._reader, asked.name)).order_id
        body: bodies.DoubtBody = asked.body
        order = await self._on_daemon(
            lambda: self._manager.resolve(
                order_id,
                cast(Literal["not_received", "ended"], body.outcome),
                body.reason,
                by=asked.by,
            )
        )
        return {"order": order_json(order)}

    async def what_if(self, asked: Asked) -> Json:
        """Ask IB what an order would change of the margin and cost; it never becomes one."""
        body: bodies.PreviewBody = asked.body
        found = await self._on_daemon(
            lambda: self._manager.what_if(body.contract, body.terms, account=body.account or None)
        )
        return {"what_if": jsonable(found)}

    async def cancel_everything(self, asked: Asked) -> Json:
        """Ask IB to cancel every order of the login, those of others included."""
        reason = asked.body.reason
        await self._on_daemon(lambda: self._manager.cancel_everything(reason=reason, by=asked.by))
        return {}

    async def halt(self, asked: Asked) -> Json:
        """Stop new orders and changes until they are allowed again; cancels pass."""
        await self._on_daemon(lambda: self._manager.halt(asked.body.reason, by=asked.by))
        return {"halted": True}

    async def resume(self, asked: Asked) -> Json:
        """Allow new orders again."""
        await self._on_daemon(lambda: self._manager.resume(asked.body.reason, by=asked.by))
        return {"halted": False}

    # ── what asks IB ──

    async def qualify(self, asked: Asked) -> Json:
        """Return a contract as IB knows it."""
        contract = asked.body.contract
        found = await self._on_daemon(lambda: self._manager.qualify(contract))
        return {"contract": jsonable(found)}

    async def quote(self, asked: Asked) -> Json:
        """Return the market of a contract as it is now."""
        contract = asked.body.contract

        async def ask() -> Any:
            return await self._manager.quote(await self._manager.qualify(contract))

        found = await self._on_daemon(ask)
        return {
            "contract": contract_json(found.contract),
            "at": time(found.at),
            **{name: number(getattr(found, name)) for name in QUOTED},
            "market_type": found.market_type,
        }

    async def feed(self, wanted: bodies.FeedBody) -> Feed:
        """Return a feed of the daemon; it is of the daemon's loop."""

        async def subscribe() -> Feed:
            return self._manager.feed(wanted.contract, wanted.kind)

        return await self._on_daemon(subscribe)

    async def next_item(self, feed: Feed) -> MarketItem:
        """Return the oldest item that a feed has kept, or wait for one."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(feed.next(), self._loop))

    async def close_feed(self, feed: Feed) -> None:
        """Let a feed end."""
        self._loop.call_soon_threadsafe(feed.close)

    # ── what is read ──

    async def order(self, asked: Asked) -> Json:
        """Return an order, by any of its names."""
        return {"order": order_json(await find_order(self._reader, asked.name))}

    async def orders(self, asked: Asked) -> Json:
        """List orders; `live=true` those at work only."""
        return await self._list("orders", asked, order_json)

    async def fills(self, asked: Asked) -> Json:
        """List fills, after corrections."""
        return await self._list("fills", asked, fill_json)

    async def positions(self, asked: Asked) -> Json:
        """List what the accounts hold, ours beside IB's."""
        return await self._list("positions", asked, position_json)

    async def breaks(self, asked: Asked) -> Json:
        """List differences between our books and IB's; `live=true` the open ones only."""
        return await self._list("breaks", asked, break_json)

    async def alarms(self, asked: Asked) -> Json:
        """List alarms; `live=true` those that stand."""
        return await self._list("alarms", asked, alarm_json)

    async def accounts(self, asked: Asked) -> Json:
        """Return what the accounts hold and are worth, each figure with its age."""
        found = await self._on_daemon(self._manager.accounts)
        return {"accounts": [account_json(one) for one in found]}

    async def events(self, asked: Asked) -> Json:
        """List events of the log, each with its hash checked."""
        query = parse(self._limited(asked.words), Calendar(self._settings.day_zone))
        forward = query.after is not None
        found = [one async for one in search(self._reader, query.evolve(reverse=not forward))]
        return {"events": [event_json(one) for one in (found if forward else found[::-1])]}

    async def status(self, asked: Asked) -> Json:
        """Tell how things stand."""
        settings = self._settings
        found = await read_situation(
            self._reader,
            self._clock.now(),
            host=socket.gethostname(),
            resets=windows_of(settings.reset_region, settings.reset_windows),
            reconcile_interval_seconds=settings.reconcile_interval_seconds,
            damage=None,
        )
        return situation_json(found, judge(found))

    # ── inside ──

    async def _list(self, table: str, asked: Asked, as_json: Callable[[Any], Json]) -> Json:
        words = self._limited(asked.words)
        live = words.pop("live", None)
        if live not in (None, "", "true", "false"):
            raise InvalidRequest(f"live is true or false, found {live!r}")
        where: dict[str, object] = {} if live in (None, "") else {"live": int(live == "true")}
        query = parse(words, Calendar(self._settings.day_zone))
        query = query.evolve(reverse=query.after is None)
        found: list[AnyRecord] = await records.find(self._reader, table, query, where)
        return {table: [as_json(one) for one in found]}

    def _limited(self, words: Mapping[str, object]) -> dict[str, object]:
        limited = dict(words)
        limited["limit"] = limited.get("limit") or str(_LIMIT)
        if str(limited["limit"]).isdecimal() and int(str(limited["limit"])) > _LIMIT_MAX:
            raise InvalidRequest(
                f"limit is at most {_LIMIT_MAX:,}, found {limited['limit']}",
                hint="ask for pages, with after",
            )
        return limited

    async def _own(self, asked: Asked) -> str:
        """Return the order that a caller may change: with the right to trade, its own."""
        order: Order = await find_order(self._reader, asked.name)
        if not asked.caller.may("operate") and order.actor != asked.caller.actor:
            raise RightMissing(
                f"order {order.order_id} is of {order.actor}; {asked.caller.actor} may change its"
                " own",
                hint="a token with the right `operate` may change every order",
            )
        return order.order_id

    async def _on_daemon(self, start: Callable[[], Awaitable[_R]]) -> _R:
        async def run() -> _R:
            return await start()

        # A client that goes away takes nothing back: an intent that is on its way is carried out.
        return await asyncio.shield(
            asyncio.wrap_future(asyncio.run_coroutine_threadsafe(run(), self._loop))
        )


def _new_order(body: bodies.OrderBody) -> NewOrder:
    if body.parent:
        raise InvalidRequest("an order of a list has no parent; send it alone")
    return NewOrder(
        body.contract,
        body.terms,
        body.order_id,
        body.account,
        body.reason,
        closing=body.closing,
    )
