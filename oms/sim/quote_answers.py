"""Contracts and quotes: look-ups, ticks, bars."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from oms.sim import render
from oms.sim.account_answers import forget, subscribe, subscriptions
from oms.sim.instruments import MARKET_RULES, Contract, Query
from oms.sim.wire import number, to_bool, to_int

if TYPE_CHECKING:
    from oms.sim.gateway import Gateway
    from oms.sim.requests import Request
    from oms.sim.session import Session

BAR_SECONDS: Final = 5
NOT_FOUND: Final = "No security definition has been found for the request"
#: IB numbers delayed ticks apart from live ones.
DELAYED: Final = {0: 69, 1: 66, 2: 67, 3: 70, 4: 68, 5: 71, 6: 72, 7: 73, 8: 74, 9: 75, 14: 76}
TICK_KINDS: Final = {"Last": "1", "AllLast": "2", "BidAsk": "3", "MidPoint": "4"}


class QuoteAnswers:
    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self._bars_running = False
        self.actions: Mapping[str, Callable[[Session, Request], None]] = {
            "reqContractDetails": self._contract_details,
            "reqMatchingSymbols": self._matching_symbols,
            "reqSecDefOptParams": self._option_parameters,
            "reqMarketRule": self._market_rule,
            "reqMktData": self._quotes,
            "cancelMktData": forget,
            "reqMarketDataType": self._quote_type,
            "reqTickByTickData": self._tick_by_tick,
            "cancelTickByTickData": forget,
            "reqRealTimeBars": self._bars,
            "cancelRealTimeBars": forget,
        }

    # -- contracts ------------------------------------------------------------------------------

    def _contract_details(self, session: Session, request: Request) -> None:
        request_id = request.values["reqId"]
        found = self.gateway.desk.catalogue.resolve(Query.from_wire(request.values))
        if not found:
            session.error(request_id, 200, NOT_FOUND)
            return
        for contract in found:
            hours = self.gateway.desk.day.told(contract)
            values = render.contract_details(
                contract, request.values["exchange"], request_id, hours
            )
            session.send("contractDetails", values)
        session.send("contractDetailsEnd", {"reqId": request_id})

    def _matching_symbols(self, session: Session, request: Request) -> None:
        pattern = request.values["pattern"].upper()
        found = self.gateway.desk.catalogue.starting_with(pattern)[:16]
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
        catalogue = self.gateway.desk.catalogue
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
        found = self.gateway.desk.catalogue.resolve(Query.from_wire(request.values))
        if len(found) == 1:
            return found[0]
        session.error(request.values["reqId"], 200, NOT_FOUND)
        return None

    # -- quotes ---------------------------------------------------------------------------------

    def _quote_type(self, session: Session, request: Request) -> None:
        session.subscriptions["MarketDataType"] = to_int(request.values["marketDataType"], 1)

    def _quotes(self, session: Session, request: Request) -> None:
        contract = self._one_contract(session, request)
        if contract is None:
            return
        request_id = request.values["reqId"]
        kind = session.subscriptions.get("MarketDataType", 1)
        session.send("marketDataType", {"reqId": request_id, "marketDataType": str(kind)})
        parameters = {"reqId": request_id, "minTick": number(contract.minimum_tick)}
        session.send("tickReqParams", {**parameters, "bboExchange": "9c0001"})
        self._send_ticks(session, request_id, contract)
        if to_bool(request.values["snapshot"]):
            session.send("tickSnapshotEnd", {"reqId": request_id})
        else:
            subscribe(session, request, contract.con_id)

    def _send_ticks(self, session: Session, request_id: str, contract: Contract) -> None:
        quote = self.gateway.desk.market.quote(contract)
        is_delayed = session.subscriptions.get("MarketDataType", 1) in (3, 4)
        for one, price, size_one, size in render.ticks(quote):
            tick = DELAYED[one] if is_delayed else one
            size_tick = DELAYED.get(size_one, size_one) if is_delayed else size_one
            values = {"reqId": request_id, "tickType": str(tick), "price": price, "size": size}
            session.send("tickPrice", values)
            if size_tick >= 0:
                sizes = {"reqId": request_id, "tickType": str(size_tick), "size": size}
                session.send("tickSize", sizes)

    def _tick_by_tick(self, session: Session, request: Request) -> None:
        contract = self._one_contract(session, request)
        if contract is None:
            return
        kind = TICK_KINDS.get(request.values["tickType"])
        if kind is None:
            text = "Error validating request.-'bL' : cause - Invalid tick type"
            session.error(request.values["reqId"], 321, text)
            return
        subscribe(session, request, (contract.con_id, kind))
        self._send_tick_by_tick(session, request.values["reqId"], contract, kind)

    def _send_tick_by_tick(
        self, session: Session, request_id: str, contract: Contract, kind: str
    ) -> None:
        quote = self.gateway.desk.market.quote(contract)
        time = str(int(self.gateway.clock.now().timestamp()))
        values = {"reqId": request_id, "tickType": kind, "time": time}
        values |= {"price": number(quote.last), "size": number(quote.last_size)}
        values |= {"exchange": contract.primary_exchange}
        values |= {"bidPrice": number(quote.bid), "askPrice": number(quote.ask)}
        values |= {"bidSize": number(quote.bid_size), "askSize": number(quote.ask_size)}
        values |= {"midPoint": number((quote.bid + quote.ask) / 2)}
        session.send("tickByTick", values)

    def quote_changed(self, contract: Contract) -> None:
        for session in self.gateway.sessions:
            if not session.ready or not session.subscriptions:
                continue
            for kind, request_id, value in subscriptions(session):
                if kind == "MktData" and value == contract.con_id:
                    self._send_ticks(session, request_id, contract)
                elif kind == "TickByTickData" and value[0] == contract.con_id:
                    self._send_tick_by_tick(session, request_id, contract, value[1])

    # -- five-second bars -------------------------------------------------------------------------

    def _bars(self, session: Session, request: Request) -> None:
        contract = self._one_contract(session, request)
        if contract is None:
            return
        subscribe(session, request, contract.con_id)
        if not self._bars_running:
            self._bars_running = True
            self.gateway.clock.call_later(BAR_SECONDS, self._send_bars)

    def _send_bars(self) -> None:
        """One bar to every subscriber, then again while there is one."""
        desk = self.gateway.desk
        start = str(int(self.gateway.clock.now().timestamp()) - BAR_SECONDS)
        self._bars_running = False
        for session in self.gateway.sessions:
            for kind, request_id, con_id in subscriptions(session):
                if kind == "RealTimeBars":
                    self._bars_running = True
                    last = number(desk.market.quote(desk.contract(con_id)).last)
                    values = {"reqId": request_id, "time": start, "volume": "0", "count": "0"}
                    values |= dict.fromkeys(("open", "high", "low", "close", "wap"), last)
                    session.send("realtimeBar", values)
        if self._bars_running:
            self.gateway.clock.call_later(BAR_SECONDS, self._send_bars)
