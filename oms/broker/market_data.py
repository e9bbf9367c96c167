"""Quotes, ticks and bars. They are not orders, and are not kept in the log (decision D1).

One line at the gateway serves all who ask for the same of a contract. A line survives what the
gateway forgets: after a new connection, and after 1101, it is asked for again; after 1102 it goes
on by itself. IB gives a user so many lines (100 by default), and so do we: one more is refused with
`MarketLinesExhausted` instead of taking away another's.

Requests leave in a lane of their own with half the pace, so that orders never wait behind a hundred
subscriptions that are made again.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, assert_never

import ib_async

from oms.broker import ticks
from oms.broker.capture import Capture, Captured
from oms.broker.feed import Feed
from oms.broker.market_line import MarketLine
from oms.broker.news import LineRecovered, News, SessionDown, SessionUp
from oms.broker.paced_requests import PacedRequests
from oms.broker.session import Session
from oms.broker.wire_forms import contract_for_ib
from oms.clock import Clock
from oms.core.codes import meaning
from oms.core.contracts import Contract
from oms.core.events import NoticeReceived
from oms.core.money import NotANumber
from oms.core.quotes import Bar, FeedKind, MarketItem, MarketType, Quote, Tick
from oms.errors import BrokerError, IBConnectionError, MarketLinesExhausted
from oms.telemetry import get_logger

#: Delayed quotes come instead of live ones (10167), some of several (10090), or none while another
#: session of the user is live (10197): what comes, comes on the same line.
_HARMLESS: Final = frozenset({10090, 10167, 10197})
#: The line broke at IB's side and has to be asked for again.
_RESTART: Final = frozenset({10182})
_TOO_MANY_LINES: Final = 101
#: IB's words for the kinds of tick-by-tick data.
_TICK_WORDS: Final[Mapping[FeedKind, str]] = {
    "last": "Last",
    "all_last": "AllLast",
    "bid_ask": "BidAsk",
    "midpoint": "MidPoint",
}
_TYPE_NUMBERS: Final[Mapping[MarketType, int]] = {
    kind: int(number) for number, kind in ticks.MARKET_TYPES.items()
}
#: The length of the only bars that IB streams.
BAR_SECONDS: Final = 5
#: How many contracts' last quotes are remembered after their lines are gone.
QUOTES_REMEMBERED_MAX: Final = 1_000
FEED_LENGTH_MAX: Final = 1_000

_log = get_logger("broker.market_data")


class Markets:
    """Asks the gateway for quotes, ticks and bars."""

    def __init__(
        self,
        ib: ib_async.IB,
        capture: Capture,
        session: Session,
        requests: PacedRequests,
        clock: Clock,
        *,
        timeout_seconds: float,
        market_type: MarketType = "live",
        lines_max: int = 100,
    ) -> None:
        self._client: Any = ib.client
        self._session = session
        self._clock = clock
        self._timeout_seconds = timeout_seconds
        self._market_type = market_type
        self._lines_max = lines_max
        self._lines: dict[tuple[Contract, FeedKind], MarketLine] = {}
        self._snapshots: list[MarketLine] = []
        self._by_request: dict[int, MarketLine] = {}
        self._remembered: OrderedDict[int, Quote] = OrderedDict()
        #: Open from the news that a session is up to the news that it is not: what is asked for in
        #: between is asked for once.
        self._requests = requests
        self._unreadable = 0
        capture.market_listener = self._on_wire
        capture.listeners.append(self._on_captured)
        session.listeners.append(self._on_news)

    # ── for callers ──────────────────────────────────────────────────────────────────────────────

    def subscribe(
        self,
        contract: Contract,
        kind: FeedKind = "quotes",
        *,
        length_max: int = FEED_LENGTH_MAX,
        listener: Callable[[MarketItem], None] | None = None,
        on_refused: Callable[[BrokerError], None] | None = None,
    ) -> Feed:
        """Return a feed of a qualified contract; `Feed.close` ends it.

        With a `listener` every item goes there at once and nothing is queued. Without a session the
        line is asked for as soon as there is one. Raises `MarketLinesExhausted`.
        """
        line = self._lines.get((contract, kind))
        if line is None:
            self._check_lines(contract)
            line = self._lines[contract, kind] = MarketLine(contract, kind)
            self._ask_for(line)
        feed = Feed(
            contract,
            kind,
            length_max=length_max,
            close=lambda one: self._leave(line, one),
            listener=listener,
            on_refused=on_refused,
        )
        line.feeds.append(feed)
        if line.quote is not None:
            feed.put(line.quote)
        return feed

    async def snapshot(self, contract: Contract) -> Quote:
        """Return the market of a qualified contract as it is now.

        Raises `BrokerError` where IB refuses (no subscription, no such contract) and
        `IBConnectionError` where no answer comes in time.
        """
        line = await self._snapshot(contract, until_touch=False)
        return line.quote or Quote(contract, self._clock.now())

    async def price(self, contract: Contract) -> Quote:
        """Return a quote that has a price: of the line if there is one, else as soon as both sides
        of the market are known, or all that IB has.

        Raises as `snapshot` does, and `BrokerError` where IB has no price at all.
        """
        line = self._lines.get((contract, "quotes"))
        if line is not None and line.quote is not None and line.quote.middle is not None:
            return line.quote
        asked = await self._snapshot(contract, until_touch=True)
        if asked.quote is None or asked.quote.price is None:
            raise BrokerError(
                f"IB has no price of {contract}: no market, no last trade and no close",
                hint="is the market open, and does the account subscribe to its data?",
            )
        return asked.quote

    def last_quotes(self) -> Mapping[int, Quote]:
        """Return the newest quotes by con_id, of the contracts that were asked for last."""
        return self._remembered

    @property
    def lines(self) -> int:
        """Return how many lines are in use."""
        return len(self._lines) + len(self._snapshots)

    def close(self) -> None:
        """End every line, as far as the pace allows; the session's end does the rest."""
        self._requests.clear()
        for line in list(self._lines.values()):
            for feed in list(line.feeds):
                feed.end()
            self._requests.enqueue(partial(self._cancel, line))
        self._lines.clear()
        self._by_request.clear()

    # ── lines ────────────────────────────────────────────────────────────────────────────────────

    def _check_lines(self, contract: Contract) -> None:
        if self.lines >= self._lines_max:
            raise MarketLinesExhausted(
                f"{self.lines} market data lines are in use, the most allowed;"
                f" {contract} was not subscribed"
            )

    async def _snapshot(self, contract: Contract, *, until_touch: bool) -> MarketLine:
        if not self._session.is_up:
            raise IBConnectionError("there is no session with the gateway")
        self._check_lines(contract)
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        line = MarketLine(contract, "quotes", ended=ended)
        if until_touch:
            touch = Feed(
                contract,
                "quotes",
                length_max=1,
                close=lambda _: None,
                listener=lambda quote: _end_at_touch(line, quote),
            )
            line.feeds.append(touch)
        self._snapshots.append(line)
        self._ask_for(line)
        try:
            async with asyncio.timeout(self._timeout_seconds):
                await ended
        except TimeoutError as error:
            # What came is a price all the same; an end without one is not waited for longer.
            if not (until_touch and line.quote is not None and line.quote.price is not None):
                raise IBConnectionError(
                    f"no quote of {contract} came within {self._timeout_seconds:g} seconds"
                ) from error
        finally:
            self._snapshots.remove(line)
            self._by_request.pop(line.request_id, None)
            if not line.is_over:
                self._requests.enqueue(lambda: self._cancel(line))
        line.flush()
        return line

    def _leave(self, line: MarketLine, feed: Feed) -> None:
        if feed in line.feeds:
            line.feeds.remove(feed)
        key = (line.contract, line.kind)
        if not line.feeds and self._lines.get(key) is line:
            del self._lines[key]
            self._by_request.pop(line.request_id, None)
            self._requests.enqueue(lambda: self._cancel(line))

    def _ask_for(self, line: MarketLine) -> None:
        self._requests.enqueue(lambda: self._start(line))

    def _start(self, line: MarketLine) -> None:
        if line.is_snapshot:
            if line not in self._snapshots:
                return
        elif self._lines.get((line.contract, line.kind)) is not line:
            return
        self._by_request.pop(line.request_id, None)
        line.request_id = self._client.getReqId()
        self._by_request[line.request_id] = line
        form = contract_for_ib(line.contract)
        match line.kind:
            case "quotes":
                snapshot = line.is_snapshot
                self._client.reqMktData(line.request_id, form, "", snapshot, False, [])
            case "bars":
                self._client.reqRealTimeBars(
                    line.request_id, form, BAR_SECONDS, "TRADES", False, []
                )
            case "last" | "all_last" | "bid_ask" | "midpoint":
                word = _TICK_WORDS[line.kind]
                self._client.reqTickByTickData(line.request_id, form, word, 0, False)
            case _:
                assert_never(line.kind)

    def _cancel(self, line: MarketLine) -> None:
        if not line.request_id:
            return
        match line.kind:
            case "quotes":
                self._client.cancelMktData(line.request_id)
            case "bars":
                self._client.cancelRealTimeBars(line.request_id)
            case "last" | "all_last" | "bid_ask" | "midpoint":
                self._client.cancelTickByTickData(line.request_id)
            case _:
                assert_never(line.kind)

    # ── from the tap ─────────────────────────────────────────────────────────────────────────────

    def _on_wire(self, wire: tuple[str, ...]) -> None:
        try:
            found = ticks.read(wire)
        except (NotANumber, ValueError, IndexError) as error:
            # Said once: a gateway that writes one such tick writes thousands.
            self._unreadable += 1
            if self._unreadable == 1:
                _log.warning("tick_unreadable", wire=list(wire), reason=str(error))
            return
        line = self._by_request.get(found[0]) if found is not None else None
        if found is None or line is None:
            return  # the last words of a line that has ended
        match found[1]:
            case ticks.QuoteChange(fields=fields):
                quote = line.change(fields, self._clock.now())
                if quote.price is not None:
                    self._remember(quote)
            case ticks.SnapshotEnd():
                line.is_over = True
                line.flush()
                line.end()
            case ticks.TickRead(fields=fields):
                line.tell(Tick(contract=line.contract, **fields))
            case ticks.BarRead(fields=fields):
                line.tell(Bar(contract=line.contract, **fields))
            case _:
                assert_never(found[1])

    def _remember(self, quote: Quote) -> None:
        con_id = quote.contract.con_id
        self._remembered[con_id] = quote
        self._remembered.move_to_end(con_id)
        while len(self._remembered) > QUOTES_REMEMBERED_MAX:
            self._remembered.popitem(last=False)

    def _on_captured(self, captured: Captured) -> None:
        notice = captured.event
        if not isinstance(notice, NoticeReceived):
            return
        line = self._by_request.get(notice.subject_id)
        if line is None or meaning(notice.code).kind == "warning" or notice.code in _HARMLESS:
            return
        if notice.code in _RESTART and not line.is_snapshot:
            self._ask_for(line)
            return
        kind = MarketLinesExhausted if notice.code == _TOO_MANY_LINES else BrokerError
        self._refuse(line, kind(f"IB gives no quote ({notice.code}): {notice.text}"))

    def _refuse(self, line: MarketLine, error: BrokerError) -> None:
        self._by_request.pop(line.request_id, None)
        if not line.is_snapshot:
            self._lines.pop((line.contract, line.kind), None)
        line.refuse(error)

    def _on_news(self, news: News) -> None:
        match news:
            case SessionUp() | LineRecovered(subscriptions_lost=True):
                self._requests.open()
                self._by_request.clear()
                if self._market_type != "live":
                    number = _TYPE_NUMBERS[self._market_type]
                    self._requests.enqueue(lambda: self._client.reqMarketDataType(number))
                for line in [*self._lines.values(), *self._snapshots]:
                    self._ask_for(line)
            case SessionDown(reason=reason):
                self._requests.close()
                self._by_request.clear()
                for line in list(self._snapshots):
                    self._refuse(line, IBConnectionError(f"the connection was lost: {reason}"))
            case _:
                pass


def _end_at_touch(line: MarketLine, quote: MarketItem) -> None:
    if isinstance(quote, Quote) and quote.middle is not None:
        line.end()
