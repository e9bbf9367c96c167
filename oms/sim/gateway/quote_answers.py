"""Contracts and quotes: look-ups, ticks, bars."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from oms.sim.broker.combos import Legs, named_legs, quote_of_legs
from oms.sim.broker.exchange.contracts import MARKET_RULES, Contract, Query
from oms.sim.broker.floor import Floor
from oms.sim.broker.open_markets import OpenMarkets
from oms.sim.broker.rules.checks import Refusal
from oms.sim.gateway import render
from oms.sim.gateway.bars import Bar, RealTimeBars
from oms.sim.gateway.clients import Clients
from oms.sim.gateway.session import Session
from oms.sim.gateway.subscriptions import key_of, subscribe, subscriptions, unsubscribe
from oms.sim.protocol.fields import number, to_bool, to_int
from oms.sim.protocol.requests import Request

NOT_FOUND: Final = "No security definition has been found for the request"
TICK_KINDS: Final = {"Last": "1", "AllLast": "2", "BidAsk": "3", "MidPoint": "4"}


#: Live, frozen, delayed, delayed and frozen.
QUOTE_TYPES: Final = ("1", "2", "3", "4")
DELAYED: Final = frozenset((3, 4))


@dataclass(frozen=True, slots=True)
class Ticker:
    """What a market data subscription is about; a combination has its quote from its legs."""

    contract: Contract
    #: Empty but for a combination.
    legs: Legs
    delayed: bool

    @property
    def con_ids(self) -> set[int]:
        """The contracts whose quotes it is made of."""
        return {leg.con_id for leg, _ in self.legs} or {self.contract.con_id}


#: Subscriptions that take up one of a client's lines of quotes.
LINES: Final = ("MktData:", "TickByTickData:", "RealTimeBars:")


@dataclass(frozen=True, slots=True)
class Prints:
    """A subscription of ticks one by one."""

    contract: Contract
    #: Of `TICK_KINDS`.
    kind: str


class QuoteAnswers:
    """What is known of contracts, and quotes as long as somebody wants them."""

    def __init__(self, floor: Floor, markets: OpenMarkets, clients: Clients) -> None:
        self._floor = floor
        self._markets = markets
        self._clients = clients
        self._bars = RealTimeBars(floor, clients)
        self.actions: Mapping[str, Callable[[Session, Request], None]] = {
            "reqContractDetails": self._contract_details,
            "reqMatchingSymbols": self._matching_symbols,
            "reqSecDefOptParams": self._option_parameters,
            "reqMarketRule": self._market_rule,
            "reqMktData": self._quotes,
            "cancelMktData": _cancel,
            "reqMarketDataType": self._quote_type,
            "reqTickByTickData": self._tick_by_tick,
            "cancelTickByTickData": _cancel,
            "reqRealTimeBars": self._real_time_bars,
            "cancelRealTimeBars": _cancel,
        }

    # ── contracts ────────────────────────────────────────────────────────────────────────────────

    def _contract_details(self, session: Session, request: Request) -> None:
        request_id = request.values["reqId"]
        found = self._floor.catalogue.resolve(Query.from_wire(request.values))
        if not found:
            session.error(request_id, 200, NOT_FOUND)
            return
        for contract in found:
            hours = self._markets.told(contract)
            values = render.contract_details(
                contract, request.values["exchange"], request_id, hours
            )
            session.send("contractDetails", values)
        session.send("contractDetailsEnd", {"reqId": request_id})

    def _matching_symbols(self, session: Session, request: Request) -> None:
        pattern = request.values["pattern"].upper()
        found = self._floor.catalogue.starting_with(pattern)[:16]
        samples = [
            {
                "conId": str(one.con_id),
                "symbol": one.symbol,
                "secType": one.sec_type,
                "primaryExchange": one.primary_exchange,
                "currency": one.currency,
                "derivatives": "0",
                "description": one.long_name,
            }
            for one in found
        ]
        session.send("symbolSamples", {"reqId": request.values["reqId"], "samples": samples})

    def _option_parameters(self, session: Session, request: Request) -> None:
        asked = request.values
        catalogue = self._floor.catalogue
        underlying = catalogue.by_id(to_int(asked["underlyingConId"]))
        if underlying is not None:
            chain = catalogue.option_chain(underlying)
            expiries = sorted({one.expiry for one in chain})
            strikes = sorted({one.strike for one in chain if one.strike is not None})
            for exchange in ("SMART", "CBOE"):
                values = {
                    "reqId": asked["reqId"],
                    "exchange": exchange,
                    "underlyingConId": asked["underlyingConId"],
                    "tradingClass": underlying.symbol,
                    "multiplier": "100",
                    "expirations": [{"expiration": one} for one in expiries],
                    "strikes": [{"strike": number(one)} for one in strikes],
                }
                session.send("securityDefinitionOptionParameter", values)
        session.send("securityDefinitionOptionParameterEnd", {"reqId": asked["reqId"]})

    def _market_rule(self, session: Session, request: Request) -> None:
        rule = to_int(request.values["marketRuleId"])
        if rule not in MARKET_RULES:
            session.error(-1, 321, "Error validating request.-'bR' : cause - Invalid market rule")
            return
        increments = [
            {"lowEdge": number(edge), "increment": number(step)}
            for edge, step in MARKET_RULES[rule]
        ]
        session.send("marketRule", {"marketRuleId": str(rule), "increments": increments})

    def _one_contract(self, session: Session, request: Request) -> Contract | None:
        found = self._floor.catalogue.resolve(Query.from_wire(request.values))
        if len(found) == 1:
            return found[0]
        session.error(request.values["reqId"], 200, NOT_FOUND)
        return None

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
        kind = session.subscriptions.get("MarketDataType", 1)
        session.send("marketDataType", {"reqId": request_id, "marketDataType": str(kind)})
        parameters = {"reqId": request_id, "minTick": number(contract.minimum_tick)}
        session.send("tickReqParams", {**parameters, "bboExchange": "9c0001"})
        ticker = Ticker(contract, legs, delayed=kind in DELAYED)
        self._send_ticks(session, request_id, ticker)
        if to_bool(request.values["snapshot"]):
            session.send("tickSnapshotEnd", {"reqId": request_id})
        else:
            subscribe(session, request, ticker)

    def _send_ticks(self, session: Session, request_id: str, ticker: Ticker) -> None:
        market, legs = self._floor.market, ticker.legs
        quote = quote_of_legs(market, legs) if legs else market.quote(ticker.contract)
        for tick, price, size_tick, size in render.ticks(quote, delayed=ticker.delayed):
            values = {"reqId": request_id, "tickType": str(tick), "price": price, "size": size}
            session.send("tickPrice", values)
            if size_tick >= 0:
                sizes = {"reqId": request_id, "tickType": str(size_tick), "size": size}
                session.send("tickSize", sizes)

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
        self._send_tick_by_tick(session, request.values["reqId"], prints)

    def _send_tick_by_tick(self, session: Session, request_id: str, prints: Prints) -> None:
        contract = prints.contract
        quote = self._floor.market.quote(contract)
        time = str(int(self._floor.clock.now().timestamp()))
        values = {"reqId": request_id, "tickType": prints.kind, "time": time}
        values |= {"price": number(quote.last), "size": number(quote.last_size)}
        values |= {"exchange": contract.primary_exchange}
        values |= {"bidPrice": number(quote.bid), "askPrice": number(quote.ask)}
        values |= {"bidSize": number(quote.bid_size), "askSize": number(quote.ask_size)}
        values |= {"midPoint": number((quote.bid + quote.ask) / 2)}
        session.send("tickByTick", values)

    def quote_changed(self, contract: Contract) -> None:
        """Send ticks to those who subscribed to a contract."""
        for session in self._clients.ready():
            for request_id, wanted in subscriptions(session):
                match wanted:
                    case Ticker() if contract.con_id in wanted.con_ids:
                        self._send_ticks(session, request_id, wanted)
                    case Bar() if wanted.contract.con_id == contract.con_id:
                        wanted.see(self._floor.market.quote(contract))
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
