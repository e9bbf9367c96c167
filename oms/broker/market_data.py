"""Quotes, ticks and bars. They are not orders, and are not kept in the log (decision D1).

One line at the gateway serves all who ask for the same of a contract. A line survives what the
gateway forgets: after a new connection, and after 1101, it is asked for again; after 1102 it goes
on by itself. IB gives a user so many lines (100 by default), and so do we: one more is refused with
`MarketLinesExhausted` instead of taking away another's.

A feed is a bounded queue that keeps the newest and counts what it dropped: a strategy that is slow
gets an older market neither later nor for ever. Requests leave at half the allowed pace, so that
orders never wait behind a hundred subscriptions that are made again.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

import ib_async

from oms.broker import ticks
from oms.broker.capture import Capture, Captured
from oms.broker.news import LineRecovered, News, SessionDown, SessionUp
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

__all__ = ["Bar", "Feed", "Markets", "Quote", "Tick"]

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


class Feed:
    """What one caller hears of a contract: a bounded queue that keeps the newest."""

    def __init__(
        self,
        contract: Contract,
        kind: FeedKind,
        *,
        length_max: int,
        close: Callable[[Feed], None],
        listener: Callable[[MarketItem], None] | None = None,
        on_refused: Callable[[BrokerError], None] | None = None,
    ) -> None:
        self.contract = contract
        self.kind = kind
        #: How many items were dropped because newer ones came before they were taken.
        self.dropped = 0
        #: Why IB gives nothing (any more), None while it does.
        self.refusal: BrokerError | None = None
        self.is_closed = False
        self._items: deque[MarketItem] = deque(maxlen=length_max)
        self._changed = asyncio.Event()
        self._close = close
        self._listener = listener
        self._on_refused = on_refused

    async def next(self) -> MarketItem:
        """Return the oldest item that was kept, or wait for one; give it a deadline.

        Raises the `BrokerError` with which IB refused the line, and `IBConnectionError` after
        `close`.
        """
        while not self._items:
            if self.refusal is not None:
                raise self.refusal
            if self.is_closed:
                raise IBConnectionError(f"the feed of {self.contract} was closed", hint="")
            self._changed.clear()
            await self._changed.wait()
        return self._items.popleft()

    async def __aiter__(self) -> AsyncIterator[MarketItem]:
        while not self.is_closed:
            try:
                item = await self.next()
            except IBConnectionError:
                if self.is_closed:
                    return
                raise
            yield item

    def close(self) -> None:
        """Stop hearing; the line ends with its last feed."""
        if not self.is_closed:
            self.end()
            self._close(self)

    def end(self) -> None:
        """Let whoever waits know that nothing more comes."""
        self.is_closed = True
        self._changed.set()

    def put(self, item: MarketItem) -> None:
        """Take an item from the line."""
        if self._listener is not None:
            try:
                self._listener(item)
            except Exception:  # noqa: BLE001 - a strategy's bug must not end its feed
                _log.exception("market_listener_failed", con_id=self.contract.con_id)
            return
        if len(self._items) == self._items.maxlen:
            self.dropped += 1
        self._items.append(item)
        self._changed.set()

    def refuse(self, error: BrokerError) -> None:
        """Take IB's refusal from the line."""
        self.refusal = error
        self._changed.set()
        if self._on_refused is not None:
            self._on_refused(error)


@dataclass(slots=True)
class _Line:
    """One subscription at the gateway, and who shares it."""

    contract: Contract
    kind: FeedKind
    is_snapshot: bool = False
    request_id: int = 0
    quote: Quote | None = None
    feeds: list[Feed] = field(default_factory=list)
    #: For a snapshot: resolves at its end, or with a refusal.
    ended: asyncio.Future[None] | None = None
    #: A quote changed and was not told yet: the ticks of one packet are one quote.
    is_dirty: bool = False
    #: IB has ended it, with a snapshot's end or a refusal: there is nothing to cancel.
    is_over: bool = False


class Markets:
    """Asks the gateway for quotes, ticks and bars."""

    def __init__(
        self,
        ib: ib_async.IB,
        capture: Capture,
        session: Session,
        clock: Clock,
        *,
        timeout_seconds: float,
        market_type: MarketType = "live",
        lines_max: int = 100,
        messages_per_second_max: int = 50,
    ) -> None:
        self._client: Any = ib.client
        self._session = session
        self._clock = clock
        self._timeout_seconds = timeout_seconds
        self._market_type = market_type
        self._lines_max = lines_max
        self._requests_per_second_max = max(1, messages_per_second_max // 2)
        self._lines: dict[tuple[Contract, FeedKind], _Line] = {}
        self._snapshots: list[_Line] = []
        self._by_request: dict[int, _Line] = {}
        self._remembered: OrderedDict[int, Quote] = OrderedDict()
        #: What still has to be asked, and when the last requests left.
        self._requests: deque[Callable[[], None]] = deque()
        self._sent_at: deque[float] = deque()
        self._wake_is_set = False
        self._unreadable = 0
        #: From the news that a session is up to the news that it is not: what is asked for in
        #: between is asked for once.
        self._is_ready = False
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
            line = self._lines[contract, kind] = _Line(contract, kind)
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
        `IBConnectionError` where nobody answers in time.
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

    def last_quote(self, con_id: int) -> Quote | None:
        """Return the newest quote that was heard of a contract, however old; None for none."""
        return self._remembered.get(con_id)

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
            if self._room():
                self._cancel(line)
        self._lines.clear()
        self._by_request.clear()

    # ── lines ────────────────────────────────────────────────────────────────────────────────────

    def _check_lines(self, contract: Contract) -> None:
        if self.lines >= self._lines_max:
            raise MarketLinesExhausted(
                f"{self.lines} market data lines are in use, the most allowed;"
                f" {contract} was not subscribed"
            )

    async def _snapshot(self, contract: Contract, *, until_touch: bool) -> _Line:
        if not self._session.is_up:
            raise IBConnectionError("there is no session with the gateway")
        self._check_lines(contract)
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        line = _Line(contract, "quotes", is_snapshot=True, ended=ended)
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
                self._enqueue(lambda: self._cancel(line))
        self._flush(line)
        return line

    def _leave(self, line: _Line, feed: Feed) -> None:
        if feed in line.feeds:
            line.feeds.remove(feed)
        key = (line.contract, line.kind)
        if not line.feeds and self._lines.get(key) is line:
            del self._lines[key]
            self._by_request.pop(line.request_id, None)
            self._enqueue(lambda: self._cancel(line))

    def _ask_for(self, line: _Line) -> None:
        if self._is_ready:
            self._enqueue(lambda: self._start(line))

    def _start(self, line: _Line) -> None:
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
            case _:
                word = _TICK_WORDS[line.kind]
                self._client.reqTickByTickData(line.request_id, form, word, 0, False)

    def _cancel(self, line: _Line) -> None:
        if not line.request_id:
            return
        match line.kind:
            case "quotes":
                self._client.cancelMktData(line.request_id)
            case "bars":
                self._client.cancelRealTimeBars(line.request_id)
            case _:
                self._client.cancelTickByTickData(line.request_id)

    # ── pace ─────────────────────────────────────────────────────────────────────────────────────

    def _enqueue(self, request: Callable[[], None]) -> None:
        if not self._is_ready:
            return  # nobody to ask; what was subscribed there has ended with the session
        self._requests.append(request)
        self._pump()

    def _room(self) -> bool:
        now = self._clock.monotonic()
        while self._sent_at and self._sent_at[0] + 1 <= now:
            self._sent_at.popleft()
        if not self._is_ready or len(self._sent_at) >= self._requests_per_second_max:
            return False
        self._sent_at.append(now)
        return True

    def _pump(self) -> None:
        while self._requests and self._room():
            self._requests.popleft()()
        if self._requests and self._is_ready and not self._wake_is_set:
            self._wake_is_set = True
            wait = max(0.001, self._sent_at[0] + 1 - self._clock.monotonic())
            asyncio.get_running_loop().call_later(wait, self._wake)

    def _wake(self) -> None:
        self._wake_is_set = False
        self._pump()

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
                self._change(line, fields)
            case ticks.SnapshotEnd():
                line.is_over = True
                self._flush(line)
                if line.ended is not None and not line.ended.done():
                    line.ended.set_result(None)
            case ticks.TickRead(fields=fields):
                self._tell(line, Tick(contract=line.contract, **fields))
            case ticks.BarRead(fields=fields):
                self._tell(line, Bar(contract=line.contract, **fields))

    def _change(self, line: _Line, fields: Mapping[str, Any]) -> None:
        now = self._clock.now()
        if line.quote is None:
            line.quote = Quote(line.contract, now)
        changed = replace(line.quote, at=now, **fields)
        is_news = replace(changed, at=line.quote.at) != line.quote
        line.quote = changed
        if changed.price is not None:
            self._remember(changed)
        if is_news and not line.is_dirty:
            line.is_dirty = True
            # After the packet: its ticks are one change of the market.
            asyncio.get_running_loop().call_soon(self._flush, line)

    def _flush(self, line: _Line) -> None:
        if not line.is_dirty or line.quote is None:
            return
        line.is_dirty = False
        self._tell(line, line.quote)

    def _remember(self, quote: Quote) -> None:
        con_id = quote.contract.con_id
        self._remembered[con_id] = quote
        self._remembered.move_to_end(con_id)
        while len(self._remembered) > QUOTES_REMEMBERED_MAX:
            self._remembered.popitem(last=False)

    @staticmethod
    def _tell(line: _Line, item: MarketItem) -> None:
        for feed in list(line.feeds):
            feed.put(item)

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

    def _refuse(self, line: _Line, error: BrokerError) -> None:
        line.is_over = True
        self._by_request.pop(line.request_id, None)
        if line.is_snapshot:
            if line.ended is not None and not line.ended.done():
                line.ended.set_exception(error)
            return
        self._lines.pop((line.contract, line.kind), None)
        for feed in list(line.feeds):
            feed.refuse(error)

    def _on_news(self, news: News) -> None:
        match news:
            case SessionUp() | LineRecovered(subscriptions_lost=True):
                self._is_ready = True
                self._by_request.clear()
                if self._market_type != "live":
                    number = _TYPE_NUMBERS[self._market_type]
                    self._enqueue(lambda: self._client.reqMarketDataType(number))
                for line in [*self._lines.values(), *self._snapshots]:
                    self._ask_for(line)
            case SessionDown(reason=reason):
                self._is_ready = False
                self._requests.clear()
                self._by_request.clear()
                for line in list(self._snapshots):
                    self._refuse(line, IBConnectionError(f"the connection was lost: {reason}"))
            case _:
                pass


def _end_at_touch(line: _Line, quote: MarketItem) -> None:
    if isinstance(quote, Quote) and quote.middle is not None:
        assert line.ended is not None
        if not line.ended.done():
            line.ended.set_result(None)
