"""Orders through a daemon that runs already: what `oms.connect()` gives beside `oms run`.

The daemon does what leaves, by its service; what is read is read from the log. A stream of the
daemon says when to look. When the daemon goes away, calls wait for it or its successor: each order
has a key, so asking again sends nothing twice. What has none (a change, a halt, a resume) is not
asked again once it may have arrived.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, Literal, Unpack

import httpx
import websockets

from oms import errors
from oms.api.attached_feed import followed
from oms.api.places import where
from oms.api.service import QUOTED
from oms.broker.feed import Feed
from oms.core.admit.groups import NewOrder, check_distinct
from oms.core.asked import door
from oms.core.contracts import Contract
from oms.core.events import Terms, WhatIfReceived
from oms.core.fold.records import AnyRecord, Order
from oms.core.money import Number, number
from oms.core.order_types import Changes
from oms.core.portfolio import Account
from oms.core.quotes import FeedKind, Quote
from oms.core.values import jsonable, read_with_model
from oms.errors import (
    DaemonNotRunning,
    IBConnectionError,
    NotFound,
    OmsError,
    OutcomeUnknown,
)
from oms.history.portfolio import read_accounts
from oms.service.sending import By
from oms.service.ticket import Ticket
from oms.service.view import View
from oms.settings import Settings
from oms.store.reader import Reader
from oms.telemetry import get_logger

log = get_logger("api")

_LOOK_SECONDS: Final = 0.2
#: A stream that says nothing for so long is dead: the daemon speaks every 15 seconds.
_QUIET_SECONDS_MAX: Final = 40.0


class Attached:
    """Sends, changes and cancels orders through a daemon, as `OrderManager` does inside one."""

    def __init__(
        self,
        settings: Settings,
        reader: Reader,
        actor: str,
        *,
        live: Iterable[AnyRecord],
        after: int,
    ) -> None:
        """`live` are the orders at work as the event `after` left them, or later."""
        self._settings = settings
        self._reader = reader
        self._by = By(actor)
        # `_ask` has the deadline.
        self._http = httpx.AsyncClient(timeout=None)
        #: Up to which event the view is known to be.
        self._after = after
        self.view = View(live)
        self._desk = _Desk(self)
        self._feeds: list[Feed] = []

    # ── new orders ──

    @door
    async def qualify(self, contract: Contract) -> Contract:
        """Return the contract with IB's con_id; see `OrderManager.qualify`."""
        said = await self._ask("POST", "/contracts", {"contract": jsonable(contract)})
        return read_with_model(Contract, json.dumps(said["contract"]))

    @door
    async def submit(
        self,
        contract: Contract,
        terms: Terms,
        *,
        account: str | None = None,
        order_id: str | None = None,
        parent: str | None = None,
        reason: str = "",
        closing: bool = False,
    ) -> Ticket:
        """Send one order and return as soon as its bytes were handed to the socket, or it was
        denied; see `OrderManager.submit`. Raises `OutcomeUnknown` where no daemon answered in time.
        """
        body = {
            "contract": jsonable(contract),
            "terms": jsonable(terms),
            # Made here where none is given: what is asked again must be the same order.
            "order_id": order_id or _new_key(),
            "account": account or "",
            "parent": parent or "",
            "reason": reason,
            "closing": closing,
        }
        return (await self._sent("/orders", body))[0]

    @door
    async def submit_many(
        self, orders: Sequence[NewOrder | tuple[Contract, Terms]]
    ) -> list[Ticket]:
        """Send orders that have nothing to do with each other; see `OrderManager.submit_many`."""
        return await self._sent("/orders/many", {"orders": _bodies(orders)})

    @door
    async def submit_bracket(
        self,
        contract: Contract,
        entry: Terms,
        *,
        take_profit: Number | Terms,
        stop_loss: Number | Terms,
        account: str | None = None,
        order_id: str | None = None,
        reason: str = "",
    ) -> tuple[Ticket, Ticket, Ticket]:
        """Send an entry with its exits; see `OrderManager.submit_bracket`."""
        body = {
            "contract": jsonable(contract),
            "terms": jsonable(entry),
            "take_profit": _exit("take_profit", take_profit),
            "stop_loss": _exit("stop_loss", stop_loss),
            "order_id": order_id or _new_key(),
            "account": account or "",
            "reason": reason,
        }
        first, second, third = await self._sent("/brackets", body)
        return first, second, third

    @door
    async def submit_oca(
        self,
        orders: Sequence[NewOrder | tuple[Contract, Terms]],
        *,
        oca_type: Literal[1, 2, 3] = 1,
        order_id: str | None = None,
    ) -> list[Ticket]:
        """Send a group of which one cancels or reduces all; see `OrderManager.submit_oca`."""
        name = order_id or _new_key()
        bodies = _bodies(orders, name)
        return await self._sent(
            "/groups", {"orders": bodies, "oca_type": oca_type, "order_id": name}
        )

    @door
    async def what_if(
        self, contract: Contract, terms: Terms, *, account: str | None = None
    ) -> WhatIfReceived:
        """Ask IB what an order would cost; see `OrderManager.what_if`."""
        body = {"contract": jsonable(contract), "terms": jsonable(terms), "account": account or ""}
        said = await self._ask("POST", "/what-if", body)
        return read_with_model(WhatIfReceived, json.dumps(said["what_if"]))

    # ── orders that exist ──

    @door
    def order(self, order_id: str) -> Order:
        """Return an order that is live or ended lately; raises `NotFound`."""
        return self._desk.order(order_id)

    @door
    def ticket(self, order_id: str) -> Ticket:
        """Return the caller's end of an order that exists; raises `NotFound`."""
        self.order(order_id)
        return Ticket(self._desk, order_id, self._by)

    @door
    async def modify(self, order_id: str, *, reason: str = "", **changes: Unpack[Changes]) -> Order:
        """Send new terms for a working order; see `OrderManager.modify`."""
        return await self._desk.modify(order_id, changes, reason=reason, by=self._by)

    @door
    async def cancel(self, order_id: str, *, reason: str = "") -> Order:
        """Ask IB to cancel an order; see `OrderManager.cancel`."""
        return await self._desk.cancel(order_id, reason=reason, by=self._by)

    @door
    async def resolve(
        self, order_id: str, outcome: Literal["not_received", "ended"], reason: str
    ) -> Order:
        """Say what became of an order in doubt; see `OrderManager.resolve`."""
        body = {"outcome": outcome, "reason": reason}
        await self._ask("POST", f"/orders/{order_id}/resolve", body, once=True)
        await self._read_orders([order_id])
        return self.order(order_id)

    # ── all orders, the market and the accounts ──

    @door
    async def cancel_everything(self, *, reason: str = "") -> None:
        """Ask IB to cancel every order of the login; see `OrderManager.cancel_everything`."""
        await self._ask("POST", "/cancel-everything", {"reason": reason}, once=True)

    @door
    async def halt(self, reason: str) -> None:
        """Stop new orders and changes; cancels pass. It lasts until `resume`."""
        await self._ask("POST", "/halt", {"reason": reason}, once=True)

    @door
    async def resume(self, reason: str = "") -> None:
        """Allow new orders again."""
        await self._ask("POST", "/resume", {"reason": reason}, once=True)

    @door
    async def price(self, contract: Contract) -> Decimal:
        """Return the middle of the market, the last price or the close, in this order."""
        quote = await self.quote(contract)
        if quote.price is None:
            raise errors.BrokerError(f"IB has no price of {contract}")
        return quote.price

    @door
    async def quote(self, contract: Contract) -> Quote:
        """Return the market of a contract as it is now."""
        said = await self._ask("POST", "/quotes", {"contract": jsonable(contract)})
        numbers: Any = {name: Decimal(said[name]) for name in QUOTED if said[name] is not None}
        at = datetime.fromisoformat(said["at"])
        return Quote(contract, at, market_type=said["market_type"], **numbers)

    @door
    def feed(self, contract: Contract, kind: FeedKind = "quotes") -> Feed:
        """Return a bounded queue of a contract's quotes, ticks or 5-second bars; see
        `OrderManager.feed`.
        """
        feed = followed(contract, kind, self._reached, _error_of)
        self._feeds.append(feed)
        return feed

    async def accounts(self) -> tuple[Account, ...]:
        """Return what the accounts hold and are worth; see `OrderManager.accounts`."""
        return await read_accounts(self._reader, marks={})

    # ── inside ──

    async def _sent(self, path: str, body: Mapping[str, Any]) -> list[Ticket]:
        said = await self._ask("POST", path, body)
        orders = [said["order"]] if "order" in said else said["orders"]
        names = [one["order_id"] for one in orders]
        await self._read_orders(names)
        return [Ticket(self._desk, name, self._by) for name in names]

    async def _read_orders(self, order_ids: Sequence[str]) -> None:
        rows = await self._reader.rows("orders", {"order_id": list(order_ids)})
        known = self.view.orders
        self.view.take(
            row
            for row in rows
            if isinstance(row, Order)
            and (row.key not in known or known[row.key].last_sequence <= row.last_sequence)
        )

    async def _ask(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        words: Mapping[str, str] | None = None,
        once: bool = False,
    ) -> dict[str, Any]:
        """Return the daemon's answer; raises the error that it names, and `OutcomeUnknown` where
        none came as long as a request may be old.

        What may be asked `once` has no key: it is not asked again where its answer was lost on the
        way, because others may have acted since.
        """
        seconds = self._settings.request_age_seconds_max
        try:
            async with asyncio.timeout(seconds):
                while True:
                    found = await where(self._settings.database_url, self._reader)
                    if found is None:
                        await self._successor()
                        continue
                    address, headers = found[0], self._headers(found[1])
                    try:
                        said = await self._http.request(
                            method, f"{address}/v1{path}", json=body, params=words, headers=headers
                        )
                    except httpx.TransportError as error:
                        log.warning("daemon_away", address=address, reason=str(error))
                        if once and not isinstance(error, httpx.ConnectError):
                            raise OutcomeUnknown(
                                "the daemon went away before it answered",
                                hint="look at `oms status` and `oms log`, then ask again",
                            ) from error
                        await self._successor()
                        continue
                    answer: dict[str, Any] = said.json()
                    if said.status_code == httpx.codes.OK:
                        return answer
                    if said.status_code != httpx.codes.UNAUTHORIZED:
                        raise _error_of(answer)
                    # Its successor has another token.
                    await self._successor()
        except TimeoutError as error:
            raise OutcomeUnknown(
                f"no daemon answered within {seconds:g} s",
                hint="`oms order ORDER` shows what became of an order; the same key sends it once",
            ) from error

    async def _found(self) -> tuple[str, str]:
        """Return where the daemon answers, and its owner's token, once there is one."""
        while True:
            found = await where(self._settings.database_url, self._reader)
            if found is not None:
                return found
            await asyncio.sleep(_LOOK_SECONDS)

    def _headers(self, token: str) -> dict[str, str]:
        return {"authorization": f"Bearer {token}", "oms-actor": self._by.actor}

    async def _reached(self) -> tuple[str, dict[str, str]]:
        address, token = await self._found()
        return address, self._headers(token)

    async def _successor(self) -> None:
        """Return when a daemon may be there that takes orders."""
        await asyncio.sleep(_LOOK_SECONDS)
        await self._found()
        # One that has not compared the books denies every order, and a key is given once.
        while not (await self._reader.system()).ready:  # noqa: ASYNC110  # no news tell of it
            await asyncio.sleep(_LOOK_SECONDS)

    async def listen(self, ready: asyncio.Event) -> None:
        """Follow the daemon's stream for ever; `ready` is set once it is heard."""
        while True:
            try:
                await self._follow(ready)
            except (OSError, websockets.WebSocketException, TimeoutError, OmsError) as error:
                log.warning("stream_lost", reason=str(error))
            await asyncio.sleep(_LOOK_SECONDS)

    async def _follow(self, ready: asyncio.Event) -> None:
        address, token = await self._found()
        headers = self._headers(token)
        url = f"{address.replace('http', 'ws', 1)}/v1/stream?after={self._after}"
        async with websockets.connect(url, additional_headers=headers) as stream:
            ready.set()
            while True:
                async with asyncio.timeout(_QUIET_SECONDS_MAX):
                    message = json.loads(await stream.recv())
                if message.get("kind") == "error":
                    raise _error_of(message)
                told = {
                    one["order"]["order_id"] for one in message["news"] if one["news"] == "order"
                }
                await self._read_orders(sorted(told))
                self._after = message["sequence"]

    async def close(self) -> None:
        """Let go of the daemon, and of every feed."""
        for feed in self._feeds:
            feed.close()
        await self._http.aclose()


class _Desk:
    """Orders that exist, as a ticket sees them."""

    def __init__(self, attached: Attached) -> None:
        self._attached = attached

    @property
    def view(self) -> View:
        """Return the orders as the daemon's last message left them."""
        return self._attached.view

    def order(self, order_id: str) -> Order:
        """Return an order that is live or ended lately; raises `NotFound`."""
        found = self.view.orders.get(order_id)
        if found is None:
            raise NotFound(f"there is no order {order_id}", hint="`oms orders --all` lists them")
        return found

    async def modify(self, order_id: str, changes: Changes, *, reason: str, by: By) -> Order:
        """Send new terms."""
        body = {name: _text(value) for name, value in changes.items() if value is not None}
        asked = {**body, "reason": reason}
        await self._attached._ask("PATCH", f"/orders/{order_id}", asked, once=True)
        await self._attached._read_orders([order_id])
        return self.order(order_id)

    async def cancel(self, order_id: str, *, reason: str, by: By) -> Order:
        """Ask IB to cancel it."""
        words = {"reason": reason} if reason else {}
        await self._attached._ask("DELETE", f"/orders/{order_id}", words=words)
        await self._attached._read_orders([order_id])
        return self.order(order_id)


@asynccontextmanager
async def attached(settings: Settings, actor: str, wait_seconds: float) -> AsyncIterator[Attached]:
    """Give the orders of a running daemon; raises `DaemonNotRunning` where none answers, and
    `IBConnectionError` where it is not ready within the seconds.
    """
    reader = await Reader.open(settings.database_url)
    try:
        if await where(settings.database_url, reader) is None:
            raise DaemonNotRunning(
                "no daemon on this database answers other programs",
                hint="start `oms run`; OMS_API must not be false",
            )
        after = (await reader.head()).sequence
        live = await reader.rows("orders", {"live": 1})
        om = Attached(settings, reader, actor, live=live, after=after)
        heard = asyncio.Event()
        listening = asyncio.create_task(om.listen(heard))
        try:
            await _until_ready(reader, heard, wait_seconds)
            yield om
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
            await om.close()
    finally:
        await reader.close()


async def _until_ready(reader: Reader, heard: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await heard.wait()
            while not (await reader.system()).ready:  # noqa: ASYNC110  # no news tell of it
                await asyncio.sleep(_LOOK_SECONDS)
    except TimeoutError as error:
        raise IBConnectionError(
            f"the daemon was not ready within {seconds:g} s", hint="`oms status` says why"
        ) from error


def _error_of(answer: Mapping[str, Any]) -> OmsError:
    kind = getattr(errors, str(answer.get("error")), None)
    if not (isinstance(kind, type) and issubclass(kind, OmsError)):
        kind = OmsError
    return kind(str(answer.get("message")), hint=str(answer.get("hint", "")))


def _new_key() -> str:
    return uuid.uuid4().hex


def _bodies(
    orders: Sequence[NewOrder | tuple[Contract, Terms]], group: str = ""
) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = []
    wanted: list[NewOrder] = []
    for position, one in enumerate(orders, 1):
        order = one if isinstance(one, NewOrder) else NewOrder(*one)
        key = order.order_id or (f"{group}-{position}" if group else _new_key())
        wanted.append(NewOrder(order.contract, order.terms, key))
        made.append(
            {
                "contract": jsonable(order.contract),
                "terms": jsonable(order.terms),
                "order_id": key,
                "account": order.account,
                "reason": order.reason,
                "closing": order.closing,
            }
        )
    check_distinct(wanted)
    return made


def _exit(name: str, wanted: Number | Terms) -> object:
    return jsonable(wanted) if isinstance(wanted, Terms) else str(number(name, wanted))


def _text(value: object) -> object:
    return str(value) if isinstance(value, Decimal) else value
