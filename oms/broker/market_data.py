"""Quotes: snapshots and streams. They are not orders, and are not kept in the log (design D1).

A stream survives what the gateway forgets: after a new connection, and after 1101, it is asked for
again; after 1102 it goes on by itself. A listener that fails is reported in the program messages
and keeps its stream.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

import ib_async

from oms.broker.capture import Capture, Captured
from oms.broker.line import LineRecovered, News, SessionUp
from oms.broker.session import Session
from oms.broker.wire_forms import contract_for_ib
from oms.clock import Clock
from oms.core.codes import meaning
from oms.core.contracts import Contract
from oms.core.events import NoticeReceived
from oms.errors import BrokerError, IBConnectionError
from oms.telemetry import get_logger

#: 10167 says that delayed quotes come instead of live ones: they do come.
_HARMLESS = frozenset({10167})

_log = get_logger("broker.market_data")


@dataclass(frozen=True, slots=True)
class Quote:
    """The market of a contract as it was last heard; None where nothing was."""

    contract: Contract
    #: When we heard it, aware UTC.
    at: datetime
    bid: Decimal | None = None
    ask: Decimal | None = None
    last: Decimal | None = None
    #: The previous day's closing price.
    close: Decimal | None = None
    bid_size: Decimal | None = None
    ask_size: Decimal | None = None

    @property
    def price(self) -> Decimal | None:
        """Return the best single price: the middle of the market, else the last, else the close."""
        if self.bid is not None and self.ask is not None:
            return (self.bid + self.ask) / 2
        return self.last if self.last is not None else self.close


@dataclass(slots=True)
class _Stream:
    contract: Contract
    listener: Callable[[Quote], None]
    request_id: int = 0
    ticker: Any = None


class Quotes:
    """Asks the gateway for quotes."""

    def __init__(
        self,
        ib: ib_async.IB,
        capture: Capture,
        session: Session,
        clock: Clock,
        *,
        timeout_seconds: float,
    ) -> None:
        self._client: Any = ib.client
        self._wrapper: Any = ib.wrapper
        self._session = session
        self._clock = clock
        self._timeout_seconds = timeout_seconds
        self._streams: list[_Stream] = []
        self._refusals: dict[int, asyncio.Future[BrokerError]] = {}
        capture.listeners.append(self._on_captured)
        session.listeners.append(self._on_news)

    async def snapshot(self, contract: Contract) -> Quote:
        """Return the market of a qualified contract as it is now.

        Raises `BrokerError` where IB refuses (no subscription, no such contract) and
        `IBConnectionError` where nobody answers in time.
        """
        if not self._session.is_up:
            raise IBConnectionError("there is no session with the gateway")
        form = contract_for_ib(contract)
        request_id = self._client.getReqId()
        refused = self._refusals[request_id] = asyncio.get_running_loop().create_future()
        ended = asyncio.ensure_future(self._wrapper.startReq(request_id, form))
        ticker = self._new_ticker(request_id, form)
        try:
            self._client.reqMktData(request_id, form, "", True, False, [])
            await asyncio.wait(
                {ended, refused},
                timeout=self._timeout_seconds,
                return_when=asyncio.FIRST_COMPLETED,
            )
            if refused.done():
                raise refused.result()
            if not ended.done():
                raise IBConnectionError(
                    f"no quote of {contract} came within {self._timeout_seconds:g} seconds"
                )
            ended.result()
            return self._quote(contract, ticker)
        except ConnectionError as error:
            raise IBConnectionError("the connection was lost during the question") from error
        finally:
            del self._refusals[request_id]
            ended.cancel()
            self._wrapper.reqId2Ticker.pop(request_id, None)

    def subscribe(
        self, contract: Contract, listener: Callable[[Quote], None]
    ) -> Callable[[], None]:
        """Call back with every change of a qualified contract's market; return the way to stop."""
        stream = _Stream(contract, listener)
        self._streams.append(stream)
        if self._session.is_up:
            self._start(stream)
        return lambda: self._stop(stream)

    def _start(self, stream: _Stream) -> None:
        form = contract_for_ib(stream.contract)
        self._wrapper.reqId2Ticker.pop(stream.request_id, None)
        stream.request_id = self._client.getReqId()
        stream.ticker = self._new_ticker(stream.request_id, form)
        stream.ticker.updateEvent.connect(lambda ticker: self._tell(stream, ticker))
        self._client.reqMktData(stream.request_id, form, "", False, False, [])

    def _stop(self, stream: _Stream) -> None:
        if stream not in self._streams:
            return
        self._streams.remove(stream)
        self._wrapper.reqId2Ticker.pop(stream.request_id, None)
        if self._session.is_up and stream.request_id:
            self._client.cancelMktData(stream.request_id)

    def _tell(self, stream: _Stream, ticker: Any) -> None:
        if stream not in self._streams or stream.ticker is not ticker:
            return
        try:
            stream.listener(self._quote(stream.contract, ticker))
        except Exception:  # noqa: BLE001 - a strategy's bug must not end its stream
            _log.exception("quote_listener_failed", con_id=stream.contract.con_id)

    def _new_ticker(self, request_id: int, form: Any) -> Any:
        # A ticker of our own for each request: ib_async shares one among all of a contract, so that
        # a snapshot would speak on the stream's behalf.
        ticker = ib_async.Ticker(contract=form, defaults=self._wrapper.defaults)
        self._wrapper.reqId2Ticker[request_id] = ticker
        return ticker

    def _quote(self, contract: Contract, ticker: Any) -> Quote:
        return Quote(
            contract=contract,
            at=self._clock.now(),
            bid=_number(ticker.bid),
            ask=_number(ticker.ask),
            last=_number(ticker.last),
            close=_number(ticker.close),
            bid_size=_number(ticker.bidSize),
            ask_size=_number(ticker.askSize),
        )

    def _on_captured(self, captured: Captured) -> None:
        notice = captured.event
        if not self._refusals or not isinstance(notice, NoticeReceived):
            return
        refused = self._refusals.get(notice.subject_id)
        harmless = meaning(notice.code).kind == "warning" or notice.code in _HARMLESS
        if refused is not None and not refused.done() and not harmless:
            refused.set_result(BrokerError(f"IB gives no quote ({notice.code}): {notice.text}"))

    def _on_news(self, news: News) -> None:
        match news:
            case SessionUp() | LineRecovered(subscriptions_lost=True):
                for stream in self._streams:
                    self._start(stream)
            case _:
                pass


def _number(number: float) -> Decimal | None:
    # ib_async parsed it to a float; repr is the shortest text with that value, the one IB wrote.
    return None if math.isnan(number) else Decimal(repr(number))
