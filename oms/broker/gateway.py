"""The gateway as the rest of the OMS sees it: one object over session, outbox, questions and tap.

It says nothing of its own. News of the session go to the listeners in a fixed order: open questions
end first, then what waits in the outbox is reported as not sent, then the service hears of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from zoneinfo import ZoneInfo

from oms.broker.accounts import Accounts
from oms.broker.capture import Capture
from oms.broker.handshake import ConnectionSettings
from oms.broker.library_log import reroute
from oms.broker.line import News, SessionDown
from oms.broker.lookup import Lookup, Qualified
from oms.broker.market_data import Feed, Markets
from oms.broker.outbox import Handed, Outbox
from oms.broker.patches import new_ib
from oms.broker.ports import Sink
from oms.broker.previews import Previews
from oms.broker.queries import Answer, Queries
from oms.broker.session import Session
from oms.clock import Clock
from oms.core.contracts import Contract
from oms.core.events import QueryKind, ServerTimeRead, Terms, WhatIfReceived
from oms.core.outgoing import Outgoing
from oms.core.quotes import FeedKind, MarketType, Quote
from oms.errors import OmsError


class Gateway:
    """A gateway of IB: TWS, IB Gateway or the simulator."""

    def __init__(
        self,
        settings: ConnectionSettings,
        sink: Sink,
        clock: Clock,
        *,
        zone: ZoneInfo,
        first_epoch: int,
        highest_broker_order_id: int = 0,
        open_gap_sequence: int = 0,
        messages_per_second_max: int = 50,
        queue_length_max: int = 10_000,
        request_timeout_seconds: float = 20,
        market_type: MarketType = "live",
        market_lines_max: int = 100,
        on_failure: Callable[[BaseException], None],
        on_not_sent: Callable[[Outgoing, str], None],
    ) -> None:
        """`first_epoch`, `highest_broker_order_id` and `open_gap_sequence` continue the log; `zone`
        is the gateway's.

        `on_failure` hears that the log no longer takes what the broker says, or of a bug in a
        callback: the daemon must stop. `on_not_sent` hears of every order message that did not
        leave, with the reason.
        """
        self._ib = new_ib()
        reroute(self._ib)
        self.capture = Capture(self._ib, sink, zone=zone, on_failure=on_failure)
        self.session = Session(
            settings,
            self._ib,
            self.capture,
            sink,
            clock,
            first_epoch=first_epoch,
            highest_broker_order_id=highest_broker_order_id,
            open_gap_sequence=open_gap_sequence,
            on_failure=on_failure,
        )
        self.queries = Queries(
            self._ib,
            self.capture,
            self.session,
            sink,
            clock,
            zone=zone,
            timeout_seconds=request_timeout_seconds,
        )
        self.outbox = Outbox(
            self._ib,
            self.capture,
            clock,
            on_not_sent=on_not_sent,
            messages_per_second_max=messages_per_second_max,
            queue_length_max=queue_length_max,
        )
        self.session.listeners.append(self._drop_what_waits)
        tap, seconds = (self._ib, self.capture, self.session), request_timeout_seconds
        self._previews = Previews(self.capture, self.session, self.outbox, timeout_seconds=seconds)
        self._lookup = Lookup(*tap, timeout_seconds=seconds)
        self._accounts = Accounts(*tap, self.queries, timeout_seconds=seconds)
        self.markets = Markets(
            *tap,
            clock,
            timeout_seconds=seconds,
            market_type=market_type,
            lines_max=market_lines_max,
            messages_per_second_max=messages_per_second_max,
        )

    # ── the session ──────────────────────────────────────────────────────────────────────────────

    async def open(self, *, fail_fast: bool = False) -> None:
        """Connect and stay connected; see `Session.open`."""
        await self.session.open(fail_fast=fail_fast)

    async def close(self, reason: str) -> None:
        """Disconnect and stay down; what still waits is reported as not sent."""
        self.markets.close()
        await self.session.close(reason)
        self.outbox.drop(reason)

    def subscribe(self, callback: Callable[[News], None]) -> Callable[[], None]:
        """Call back, on the loop, with news of the session; return the way to stop it."""
        listeners = self.session.listeners
        listeners.append(callback)
        return lambda: listeners.remove(callback)

    @property
    def ended(self) -> asyncio.Future[OmsError | None]:
        """A future that resolves when the session stays down: with None after `close`, else why."""
        assert self.session.ended is not None, "open the gateway first"
        return self.session.ended

    @property
    def is_up(self) -> bool:
        """Say whether a session is open."""
        return self.session.is_up

    @property
    def gap_is_open(self) -> bool:
        """Say whether the broker may know things that we do not."""
        return self.session.gap_is_open

    @property
    def client_id(self) -> int:
        """Return the client id under which orders leave."""
        return self.session.settings.client_id

    @property
    def session_epoch(self) -> int:
        """Return the number of the current session, 0 without one."""
        return self.session.epoch if self.session.is_up else 0

    @property
    def server_version(self) -> int:
        """Return the protocol version of the latest session, 0 before the first."""
        return self.session.server_version

    @property
    def managed_accounts(self) -> tuple[str, ...]:
        """Return the accounts that the gateway announced."""
        return self.session.accounts

    async def read_clock(self) -> ServerTimeRead | None:
        """Return how far the gateway's clock is from ours, None where nobody answers."""
        return await self.session.read_clock()

    # ── orders ───────────────────────────────────────────────────────────────────────────────────

    def next_broker_order_id(self) -> int:
        """Return an order id that was never used; raises `IBConnectionError` without a session."""
        return self.session.next_broker_order_id()

    def send(self, message: Outgoing) -> Handed:
        """Send an order message, whose intent is durable; see `Outbox.send`."""
        return self.outbox.send(message)

    def call_back(self, reason: str) -> tuple[str, ...]:
        """Call new orders and changes that wait back; return the ids of those orders."""
        return tuple(m.order_id for m in self.outbox.call_back(reason) if m.kind == "place")

    async def what_if(self, *, account: str, contract: Contract, terms: Terms) -> WhatIfReceived:
        """Ask what an order would cost; see `Previews.ask`."""
        number = self.next_broker_order_id()
        return await self._previews.ask(
            account=account, contract=contract, terms=terms, broker_order_id=number
        )

    # ── questions ────────────────────────────────────────────────────────────────────────────────

    async def ask(self, kind: QueryKind, run_id: str) -> Answer:
        """Ask one question; silence and refusal are answers too, never exceptions."""
        return await self.queries.ask(kind, run_id)

    async def refresh_accounts(self) -> None:
        """Have IB say its figures of every account again; see `Accounts.refresh`."""
        await self._accounts.refresh()

    async def keep_accounts_fresh(self, seconds: float) -> None:
        """Do so now and at this interval, for ever; see `Accounts.keep_fresh`."""
        await self._accounts.keep_fresh(seconds)

    async def qualify(self, contract: Contract) -> Qualified:
        """Return the one contract that fits; raises `ContractUnknown`, `ContractAmbiguous`, or
        `IBConnectionError` where nobody answers.
        """
        return await self._lookup.qualify(contract)

    # ── the market ───────────────────────────────────────────────────────────────────────────────

    async def quote(self, contract: Contract) -> Quote:
        """Return the market of a qualified contract as it is now; see `Markets.snapshot`."""
        return await self.markets.snapshot(contract)

    async def price(self, contract: Contract) -> Quote:
        """Return a quote that has a price, as soon as there is one; see `Markets.price`."""
        return await self.markets.price(contract)

    def feed(self, contract: Contract, kind: FeedKind = "quotes") -> Feed:
        """Return a bounded queue of a contract's quotes, ticks or bars; see `Markets.subscribe`."""
        return self.markets.subscribe(contract, kind)

    def last_quotes(self) -> Mapping[int, Quote]:
        """Return the newest quotes by con_id; see `Markets.last_quotes`."""
        return self.markets.last_quotes()

    def _drop_what_waits(self, news: News) -> None:
        if isinstance(news, SessionDown):
            self.outbox.drop(f"the session ended: {news.reason}")
