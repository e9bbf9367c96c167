"""Quotes as long as somebody wants them: ticks, depth, bars."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from oms.sim.broker.combos import Legs, named_legs, quote_of_legs
from oms.sim.broker.exchange.contracts import Contract
from oms.sim.broker.exchange.market import Quote
from oms.sim.broker.floor import Floor
from oms.sim.broker.history import History
from oms.sim.broker.rules.checks import Refusal
from oms.sim.gateway import generic_ticks, render
from oms.sim.gateway.clients import Clients
from oms.sim.gateway.contract_answers import BBO_EXCHANGE, one_contract
from oms.sim.gateway.depth import DEPTHS_MAX, ROWS_MAX, Depth
from oms.sim.gateway.generic_ticks import Asked
from oms.sim.gateway.history_answers import HistoryAnswers
from oms.sim.gateway.live_bars import LiveBars
from oms.sim.gateway.option_ticks import computations
from oms.sim.gateway.session import Session
from oms.sim.gateway.subscriptions import key_of, subscribe, subscriptions, unsubscribe
from oms.sim.protocol.fields import number, to_bool, to_int
from oms.sim.protocol.requests import Request

NO_DEPTH: Final = "Deep market data is not supported for this combination of security type/exchange"
NO_SNAPSHOT: Final = (
    "Error validating request.-'bW' : cause - Snapshot market data subscription is not applicable"
    " to generic ticks"
)
TICK_KINDS: Final = {"Last": "1", "AllLast": "2", "BidAsk": "3", "MidPoint": "4"}
#: The same as kinds of historical ticks.
HISTORY_KINDS: Final = {"1": "TRADES", "2": "TRADES", "3": "BID_ASK", "4": "MIDPOINT"}


#: Live, frozen, delayed, delayed and frozen.
QUOTE_TYPES: Final = ("1", "2", "3", "4")
DELAYED: Final = frozenset((3, 4))


@dataclass(slots=True)
class Ticker:
    """What a market data subscription is about; a combination has its quote from its legs."""

    contract: Contract
    #: Empty but for a combination.
    legs: Legs
    delayed: bool
    asked: Asked
    #: The day's volume when it was told last: a print has changed it.
    volume: Decimal | None = None

    @property
    def con_ids(self) -> set[int]:
        """The contracts whose quotes it is made of."""
        return {leg.con_id for leg, _ in self.legs} or {self.contract.con_id}


#: Subscriptions that take up one of a client's lines of quotes.
LINES: Final = ("MktData:", "TickByTickData:", "RealTimeBars:")


@dataclass(slots=True)
class Prints:
    """A subscription of ticks one by one."""

    contract: Contract
    #: Of `TICK_KINDS`.
    kind: str
    #: What was told last.
    told: tuple[Decimal, ...] = ()

    def news(self, quote: Quote) -> bool:
        """Say whether a quote is another one for who watches this kind."""
        match self.kind:
            case "1" | "2":
                # A trade, at whatever price.
                seen: tuple[Decimal, ...] = (quote.volume,)
            case "3":
                seen = (quote.bid, quote.ask, quote.bid_size, quote.ask_size)
            case _:
                seen = (quote.bid + quote.ask,)
        changed, self.told = seen != self.told, seen
        return changed


class QuoteAnswers:
    """What answers the requests for quotes, and tells those who subscribed."""

    def __init__(self, floor: Floor, clients: Clients) -> None:
        self._floor = floor
        self._clients = clients
        history = History(floor)
        self._bars = LiveBars(floor, history, clients)
        self._history = HistoryAnswers(floor, history, self._bars)
        self.actions: Mapping[str, Callable[[Session, Request], None]] = {
            "reqMktData": self._quotes,
            "cancelMktData": _cancel,
            "reqMarketDataType": self._quote_type,
            "reqTickByTickData": self._tick_by_tick,
            "cancelTickByTickData": _cancel,
            "reqMktDepth": self._depth,
            "cancelMktDepth": _cancel_depth,
            "reqRealTimeBars": self._real_time_bars,
            "cancelRealTimeBars": _cancel,
            **self._history.actions,
        }

    def _one_contract(self, session: Session, request: Request) -> Contract | None:
        return one_contract(self._floor, session, request)

    # ── quotes ───────────────────────────────────────────────────────────────────────────────────

    def _quote_type(self, session: Session, request: Request) -> None:
        kind = request.values["marketDataType"]
        if kind not in QUOTE_TYPES:
            text = f"Error validating request.-'bK' : cause - Invalid market data type: {kind}"
            session.error(-1, 321, text)
            return
        session.subscriptions["MarketDataType"] = to_int(kind)

    def _refuses(self, session: Session, request: Request) -> bool:
        """True when the id is in use, or every line of quotes is."""
        request_id = request.values["reqId"]
        if key_of(request) in session.subscriptions:
            session.error(request_id, 102, "Duplicate ticker ID.")
            return True
        lines = sum(name.startswith(LINES) for name in session.subscriptions)
        if lines >= self._floor.settings.tickers_max:
            session.error(request_id, 101, "Max number of tickers has been reached.")
            return True
        return False

    def _quotes(self, session: Session, request: Request) -> None:
        request_id = request.values["reqId"]
        if self._refuses(session, request):
            return
        contract = self._one_contract(session, request)
        if contract is None:
            return
        legs: Legs = ()
        if contract.sec_type == "BAG":
            try:
                legs = named_legs(self._floor.catalogue, request.values.get("comboLegs", ()))
            except Refusal as refusal:
                session.error(request_id, refusal.code, refusal.text)
                return
        wanted = request.values["genericTicks"]
        asked = generic_ticks.read(wanted, contract.sec_type)
        if asked is None:
            session.error(request_id, 321, generic_ticks.refusal(wanted, contract.sec_type))
            return
        if asked.series and to_bool(request.values["snapshot"]):
            session.error(request_id, 321, NO_SNAPSHOT)
            return
        kind = session.subscriptions.get("MarketDataType", 1)
        session.send("marketDataType", {"reqId": request_id, "marketDataType": str(kind)})
        parameters = {"reqId": request_id, "minTick": number(contract.minimum_tick)}
        session.send("tickReqParams", {**parameters, "bboExchange": BBO_EXCHANGE})
        ticker = Ticker(contract, legs, kind in DELAYED, asked)
        if not legs:
            halted = "90" if ticker.delayed else "49"
            session.send("tickGeneric", {"reqId": request_id, "tickType": halted, "value": "0"})
            for name, values in generic_ticks.at_first(self._floor, contract, asked.series):
                session.send(name, {**values, "reqId": request_id})
        self._send_ticks(session, request_id, ticker)
        if to_bool(request.values["snapshot"]):
            session.send("tickSnapshotEnd", {"reqId": request_id})
        else:
            subscribe(session, request, ticker)

    def _send_ticks(self, session: Session, request_id: str, ticker: Ticker) -> None:
        if not ticker.asked.with_quote:
            return
        market, legs = self._floor.market, ticker.legs
        quote = quote_of_legs(market, legs) if legs else market.quote(ticker.contract)
        for tick, price, size_tick, size in render.ticks(quote, delayed=ticker.delayed):
            values = {"reqId": request_id, "tickType": str(tick), "price": price, "size": size}
            session.send("tickPrice", values)
            if size_tick >= 0:
                sizes = {"reqId": request_id, "tickType": str(size_tick), "size": size}
                session.send("tickSize", sizes)
        told = computations(market, ticker.contract, quote, delayed=ticker.delayed)
        for values in told:
            session.send("tickOptionComputation", {**values, "reqId": request_id})
        if not legs:
            self._send_beside(session, request_id, ticker, quote)

    def _send_beside(self, session: Session, request_id: str, ticker: Ticker, quote: Quote) -> None:
        """Send what was asked for beside the quote, and when the last print was. What lags behind
        has none of the exchange's figures but the quote.
        """
        is_print = quote.volume != ticker.volume
        ticker.volume = quote.volume
        if is_print:
            kind, seconds = "88" if ticker.delayed else "45", self._floor.clock.now().timestamp()
            values = {"reqId": request_id, "tickType": kind, "value": str(int(seconds))}
            session.send("tickString", values)
        if ticker.delayed:
            return
        series = ticker.asked.series - (frozenset() if is_print else generic_ticks.PRINTS)
        told = generic_ticks.with_quote(self._floor, ticker.contract, quote, series)
        for name, values in told:
            session.send(name, {**values, "reqId": request_id})

    def _tick_by_tick(self, session: Session, request: Request) -> None:
        if self._refuses(session, request):
            return
        contract = self._one_contract(session, request)
        if contract is None:
            return
        kind = TICK_KINDS.get(request.values["tickType"])
        if kind is None:
            text = "Error validating request.-'bL' : cause - Invalid tick type"
            session.error(request.values["reqId"], 321, text)
            return
        prints = Prints(contract, kind)
        subscribe(session, request, prints)
        self._history.send_last_ticks(session, request, contract, HISTORY_KINDS[kind])
        self._send_tick_by_tick(session, request.values["reqId"], prints)

    def _send_tick_by_tick(self, session: Session, request_id: str, prints: Prints) -> None:
        contract = prints.contract
        quote = self._floor.market.quote(contract)
        if not prints.news(quote):
            return
        time = str(int(self._floor.clock.now().timestamp()))
        values = {"reqId": request_id, "tickType": prints.kind, "time": time}
        values |= {"price": number(quote.last), "size": number(quote.last_size)}
        values |= {"exchange": contract.primary_exchange}
        values |= {"bidPrice": number(quote.bid), "askPrice": number(quote.ask)}
        values |= {"bidSize": number(quote.bid_size), "askSize": number(quote.ask_size)}
        values |= {"midPoint": number((quote.bid + quote.ask) / 2)}
        session.send("tickByTick", values)

    def _depth(self, session: Session, request: Request) -> None:
        request_id = request.values["reqId"]
        if key_of(request) in session.subscriptions:
            session.error(request_id, 102, "Duplicate ticker ID.")
            return
        others = [name for name in session.subscriptions if name.startswith("MktDepth:")]
        if len(others) >= DEPTHS_MAX:
            text = f"Max number ({DEPTHS_MAX}) of market depth requests has been reached"
            session.error(request_id, 309, text)
            return
        contract = self._one_contract(session, request)
        if contract is None:
            return
        is_smart = to_bool(request.values["isSmartDepth"])
        depth = Depth.of(contract, request.values["exchange"], is_smart=is_smart)
        if depth is None:
            text = (
                "Deep market data is not supported for this combination of security type/exchange"
            )
            session.error(request_id, 10092, text)
            return
        depth.rows = min(max(to_int(request.values["numRows"], 5), 1), ROWS_MAX)
        subscribe(session, request, depth)
        self._send_depth(session, request_id, depth)

    def _send_depth(self, session: Session, request_id: str, depth: Depth) -> None:
        for name, values in depth.news(self._floor.market.quote(depth.contract)):
            session.send(name, {**values, "reqId": request_id})

    def refresh(self) -> None:
        """Tell every subscriber the quote of now: the line was down while it changed."""
        wanted: dict[int, Contract] = {}
        for session in self._clients.ready():
            for _, one in subscriptions(session):
                match one:
                    case Ticker():
                        legs = [leg for leg, _ in one.legs] or [one.contract]
                        wanted |= {leg.con_id: leg for leg in legs}
                    case Depth():
                        # What it was told is lost: it begins anew.
                        one.told.clear()
                        wanted[one.contract.con_id] = one.contract
                    case Prints():
                        one.told = ()
                        wanted[one.contract.con_id] = one.contract
        for contract in wanted.values():
            self.quote_changed(contract)

    def quote_changed(self, contract: Contract) -> None:
        """Send ticks to those who subscribed to a contract."""
        for session in self._clients.ready():
            for request_id, wanted in subscriptions(session):
                match wanted:
                    case Ticker() if contract.con_id in wanted.con_ids:
                        self._send_ticks(session, request_id, wanted)
                    case Depth() if wanted.contract.con_id == contract.con_id:
                        self._send_depth(session, request_id, wanted)
                    case Prints() if wanted.contract.con_id == contract.con_id:
                        self._send_tick_by_tick(session, request_id, wanted)

    def _real_time_bars(self, session: Session, request: Request) -> None:
        if self._refuses(session, request):
            return
        contract = self._one_contract(session, request)
        if contract is not None:
            self._bars.begin(session, request, contract)


def _cancel(session: Session, request: Request) -> None:
    if not unsubscribe(session, request):
        request_id = request.values["reqId"]
        session.error(request_id, 300, f"Can't find EId with tickerId:{request_id}")


def _cancel_depth(session: Session, request: Request) -> None:
    if not unsubscribe(session, request):
        request_id = request.values["reqId"]
        text = f"Can't find the subscribed market depth with tickerId:{request_id}"
        session.error(request_id, 310, text)
