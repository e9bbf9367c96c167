"""What the model says of an option, as ticks and as answers: implied volatility and greeks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from typing import Final

from oms.sim.broker.exchange.contracts import Contract
from oms.sim.broker.exchange.market import Market, Quote
from oms.sim.broker.exchange.valuation import Terms, Valued, implied_volatility, value
from oms.sim.broker.floor import Floor
from oms.sim.gateway.contract_answers import one_contract
from oms.sim.gateway.session import Session
from oms.sim.protocol.fields import number, to_decimal
from oms.sim.protocol.requests import Request

#: Tick types: from the bid, the ask and the last, and the model's own; then the delayed ones.
LIVE: Final = ("10", "11", "12", "13")
DELAYED: Final = ("80", "81", "82", "83")
#: The answer to what a client had calculated.
ASKED_FOR: Final = "53"
#: How IB says that it could not calculate something.
_NO_PRICE, _NO_GREEK = "-1", "-2"
#: Decimals of what leaves the model.
_DIGITS: Final = Decimal("0.00000001")


class OptionAnswers:
    """What answers `calculateImpliedVolatility` and `calculateOptionPrice`: at once, so that there
    is nothing left to cancel.
    """

    def __init__(self, floor: Floor) -> None:
        self._floor = floor
        self.actions: Mapping[str, Callable[[Session, Request], None]] = {
            "calculateImpliedVolatility": self._volatility,
            "calculateOptionPrice": self._price,
            "cancelCalculateImpliedVolatility": _nothing,
            "cancelCalculateOptionPrice": _nothing,
        }

    def _volatility(self, session: Session, request: Request) -> None:
        price = to_decimal(request.values["optionPrice"])
        terms = self._terms(session, request)
        if terms is not None:
            found = implied_volatility(terms, float(price or 0))
            self._answer(session, request, terms, found, price)

    def _price(self, session: Session, request: Request) -> None:
        volatility = float(to_decimal(request.values["volatility"]) or 0)
        terms = self._terms(session, request)
        if terms is not None:
            self._answer(session, request, terms, volatility, None)

    def _terms(self, session: Session, request: Request) -> Terms | None:
        """The terms at the client's price of the underlying; None when they are refused."""
        option = one_contract(self._floor, session, request)
        if option is None:
            return None
        spot = to_decimal(request.values["underPrice"])
        if self._floor.market.underlying(option) is None or not spot or spot < 0:
            text = (
                "Error processing request.-'bO' : cause - an option and a price of its underlying"
            )
            session.error(request.values["reqId"], 322, f"{text} are needed")
            return None
        return self._floor.market.terms(option, spot)

    def _answer(
        self,
        session: Session,
        request: Request,
        terms: Terms,
        volatility: float | None,
        price: Decimal | None,
    ) -> None:
        valued = None if volatility is None else value(terms, volatility)
        values = _values(terms, valued, price)
        session.send(
            "tickOptionComputation",
            {**values, "reqId": request.values["reqId"], "tickType": ASKED_FOR, "tickAttrib": "1"},
        )


def computations(
    market: Market, contract: Contract, quote: Quote, *, delayed: bool
) -> Iterator[dict[str, str]]:
    """Yield the values of a tickOptionComputation for the bid, the ask, the last and the model; of
    what is no option nothing.
    """
    underlying = market.underlying(contract)
    if underlying is None:
        return
    terms = market.terms(contract, market.quote(underlying).last)
    kinds = DELAYED if delayed else LIVE
    for kind, price in zip(kinds, (quote.bid, quote.ask, quote.last), strict=False):
        volatility = implied_volatility(terms, float(price))
        valued = None if volatility is None else value(terms, volatility)
        yield {**_values(terms, valued, price), "tickType": kind, "tickAttrib": "1"}
    modelled = value(terms, market.volatility(underlying))
    yield {**_values(terms, modelled, None), "tickType": kinds[-1], "tickAttrib": "1"}


def _values(terms: Terms, valued: Valued | None, price: Decimal | None) -> dict[str, str]:
    told = {"undPrice": _text(terms.spot), "pvDividend": "0"}
    if valued is None:
        told |= dict.fromkeys(("delta", "gamma", "vega", "theta"), _NO_GREEK)
        told |= {"impliedVol": _NO_PRICE, "optPrice": number(price) or _NO_PRICE}
        return told
    return told | {
        "impliedVol": _text(valued.volatility),
        "delta": _text(valued.delta),
        "optPrice": number(price) or _text(valued.price),
        "gamma": _text(valued.gamma),
        "vega": _text(valued.vega),
        "theta": _text(valued.theta),
    }


def _text(amount: float) -> str:
    return number(Decimal(repr(amount)).quantize(_DIGITS))


def _nothing(session: Session, request: Request) -> None:
    """What was asked for is answered."""
