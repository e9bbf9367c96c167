"""Contracts: look-ups, searches, option chains, price increments, where prices come from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from oms.sim.broker.exchange.contracts import (
    CONTINUOUS,
    CONVERSION_VENUE,
    MARKET_RULES,
    Contract,
    Query,
)
from oms.sim.broker.floor import Floor
from oms.sim.broker.open_markets import OpenMarkets
from oms.sim.broker.rules.checks import Refusal
from oms.sim.gateway import render
from oms.sim.gateway.session import Session
from oms.sim.protocol.fields import number, to_int
from oms.sim.protocol.requests import Request

NOT_FOUND: Final = "No security definition has been found for the request"
INVALID_TYPE: Final = "Error validating request.-'bN' : cause - Please enter a valid security type"
#: Matches of a symbol search, at most.
SAMPLES_MAX: Final = 16
#: The one map of exchanges that quotes name, and the letter and the bit of each exchange in it.
BBO_EXCHANGE: Final = "9c0001"
COMPONENTS: Final = (("AMEX", "A"), ("ARCA", "P"), ("IEX", "V"), ("ISLAND", "Q"), ("NYSE", "N"))
#: Where there is market depth: exchange, type, listing exchange, service, aggregate group.
DEPTH_EXCHANGES: Final = (
    ("ISLAND", "STK", "NASDAQ", "Deep2", ""),
    ("ARCA", "STK", "", "Deep2", ""),
    ("IDEALPRO", "CASH", "", "Deep", "4"),
    ("CME", "FUT", "", "Deep", ""),
    ("NYMEX", "FUT", "", "Deep", ""),
    ("PAXOS", "CRYPTO", "", "Deep", ""),
)


class ContractAnswers:
    """What is known of contracts."""

    def __init__(self, floor: Floor, markets: OpenMarkets) -> None:
        self._floor = floor
        self._markets = markets
        self.actions: Mapping[str, Callable[[Session, Request], None]] = {
            "reqContractDetails": self._contract_details,
            "reqMatchingSymbols": self._matching_symbols,
            "reqSecDefOptParams": self._option_parameters,
            "reqMarketRule": self._market_rule,
            "reqSmartComponents": self._smart_components,
            "reqMktDepthExchanges": self._depth_exchanges,
        }

    def _contract_details(self, session: Session, request: Request) -> None:
        request_id = request.values["reqId"]
        query = Query.from_wire(request.values)
        found = self._floor.catalogue.resolve(query)
        if not found:
            session.error(request_id, 200, NOT_FOUND)
            return
        for contract in found:
            for name, values in self._details(contract, query, request_id):
                session.send(name, values)
        session.send("contractDetailsEnd", {"reqId": request_id})

    def _details(
        self, contract: Contract, query: Query, request_id: str
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """The rows of one contract: one for each exchange, where the client names neither an
        exchange nor a con id.
        """
        if contract.sec_type == "BOND":
            yield "bondContractDetails", render.bond_contract_details(contract, request_id)
            return
        hours = self._markets.told(contract)
        exchanges = [query.exchange]
        if not query.exchange and not query.con_id:
            listed = contract.valid_exchanges.split(",")
            exchanges = [one for one in listed if one != CONVERSION_VENUE]
        for exchange in exchanges:
            values = render.contract_details(contract, exchange, request_id, hours)
            if query.sec_type == CONTINUOUS:
                values["secType"] = CONTINUOUS
            yield "contractDetails", values

    def _matching_symbols(self, session: Session, request: Request) -> None:
        catalogue = self._floor.catalogue
        found = catalogue.starting_with(request.values["pattern"].upper())[:SAMPLES_MAX]
        samples = [
            {
                "conId": str(one.con_id),
                "symbol": one.symbol,
                "secType": one.sec_type,
                "primaryExchange": one.primary_exchange,
                "currency": one.currency,
                "derivativeSecTypes": [
                    {"derivativeSecType": kind} for kind in catalogue.derivatives(one)
                ],
                "description": one.long_name,
            }
            for one in found
        ]
        session.send("symbolSamples", {"reqId": request.values["reqId"], "samples": samples})

    def _option_parameters(self, session: Session, request: Request) -> None:
        asked = request.values
        catalogue = self._floor.catalogue
        underlying = catalogue.by_id(to_int(asked["underlyingConId"]))
        chain = catalogue.option_chain(underlying) if underlying is not None else []
        if underlying is not None and chain:
            expiries = sorted({one.expiry for one in chain})
            strikes = sorted({one.strike for one in chain if one.strike is not None})
            is_future = underlying.sec_type == "FUT"
            for exchange in (underlying.primary_exchange,) if is_future else ("SMART", "CBOE"):
                values = {
                    "reqId": asked["reqId"],
                    "exchange": exchange,
                    "underlyingConId": asked["underlyingConId"],
                    "tradingClass": chain[0].trading_class,
                    "multiplier": chain[0].multiplier_text,
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

    def _smart_components(self, session: Session, request: Request) -> None:
        """Which exchange each letter of a quote stands for; no client waits for the answer to a
        map that quotes never named.
        """
        request_id, named = request.values["reqId"], request.values["bboExchange"]
        if named != BBO_EXCHANGE:
            text = f"Error processing request.-'bS' : cause - Invalid BBO exchange: {named}"
            session.error(request_id, 322, text)
            return
        components = [
            {"bitNumber": str(bit), "exchange": exchange, "exchangeLetter": letter}
            for bit, (exchange, letter) in enumerate(COMPONENTS)
        ]
        session.send("smartComponents", {"reqId": request_id, "components": components})

    def _depth_exchanges(self, session: Session, request: Request) -> None:
        exchanges = [
            {
                "exchange": exchange,
                "secType": sec_type,
                "listingExch": listing,
                "serviceDataType": service,
                "aggGroup": group or "2147483647",
            }
            for exchange, sec_type, listing, service, group in DEPTH_EXCHANGES
        ]
        session.send("mktDepthExchanges", {"exchanges": exchanges})


def one_contract(floor: Floor, session: Session, request: Request) -> Contract | None:
    """Return the one contract that a request names; None when there is not one, which is said.

    A continuous future is for look-ups and history; with its con id it is the future itself.
    """
    query = Query.from_wire(request.values)
    try:
        if query.sec_type == CONTINUOUS and not query.con_id:
            raise Refusal(321, INVALID_TYPE)
        return contract_named(floor, query)
    except Refusal as refusal:
        session.error(request.values["reqId"], refusal.code, refusal.text)
        return None


def contract_named(floor: Floor, query: Query) -> Contract:
    """Return the one contract that a query names. Raises the Refusal of none and of several."""
    found = floor.catalogue.resolve(query)
    if len(found) == 1:
        return found[0]
    text = NOT_FOUND
    if found:
        text = f"The contract description specified for {query.symbol} is ambiguous."
    raise Refusal(200, text)
