"""Contracts as IB knows them: the one that fits, and the rules that its orders must keep."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, TypeVar

import ib_async

from oms.broker import patches
from oms.broker.capture import Capture, Captured
from oms.broker.news import News, SessionUp
from oms.broker.paced_requests import PacedRequests
from oms.broker.session import Session
from oms.broker.wire_forms import contract_for_ib
from oms.core.admit.venue import PriceStep, VenueRules
from oms.core.codes import meaning
from oms.core.contracts import Contract, contradiction, described
from oms.core.events import NoticeReceived
from oms.core.money import ONE, figure_from_wire, parse_decimal
from oms.errors import BrokerError, ContractAmbiguous, ContractUnknown, IBConnectionError

#: IB's code for a description that fits nothing, or too much.
NO_SUCH_CONTRACT: Final = 200
_NAMELESS: Final = Contract(symbol="", sec_type="", currency="")
#: How many candidates an error message lists.
_CANDIDATES_SHOWN: Final = 8


@dataclass(frozen=True, slots=True)
class Qualified:
    """A contract that IB knows, with the rules that its orders must keep."""

    contract: Contract
    rules: VenueRules
    long_name: str = ""


class Lookup:
    """Asks IB for contracts; remembers the price rules, which belong to venues."""

    def __init__(
        self,
        ib: ib_async.IB,
        capture: Capture,
        session: Session,
        requests: PacedRequests,
        *,
        timeout_seconds: float,
    ) -> None:
        self._ib = ib
        self._requests = requests
        self._client: Any = ib.client
        self._session = session
        self._timeout_seconds = timeout_seconds
        #: What was asked in this session, and the answer or the question under way.
        self._known: dict[Contract, asyncio.Future[Qualified]] = {}
        self._price_rules: dict[int, asyncio.Future[tuple[PriceStep, ...]]] = {}
        #: Code and text of the notices about questions under way, by request id.
        self._refusals: dict[int, asyncio.Future[tuple[int, str]]] = {}
        capture.listeners.append(self._on_captured)
        session.listeners.append(self._on_news)

    async def qualify(self, contract: Contract) -> Qualified:
        """Return the one contract that fits; a combo where each of its legs does.

        What was answered once holds for the session, so that a known contract needs no answer of a
        gateway that is mute just now. Raises `ContractUnknown`, `ContractAmbiguous` with the
        candidates, `IBConnectionError` where no answer comes in time, `BrokerError` where IB
        refuses the question for another reason, and `InvalidRequest` for what is not asked.
        """
        described(contract)
        if not self._session.is_up:
            raise IBConnectionError("there is no session with the gateway")
        ask = self._ask_legs if contract.is_combo else self._ask
        asked = _by_con_id(contract)
        found = await _once(self._known, asked, lambda: ask(asked))
        against = contradiction(contract, found.contract) if asked is not contract else ""
        if against:
            raise ContractUnknown(
                f"con id {contract.con_id} is {describe(found.contract)}, not"
                f" {describe(contract)}: {against}",
                hint="leave out the con id, or describe the contract that it names",
            )
        named = _by_con_id(found.contract)
        if named not in self._known:
            self._known[named] = self._known.get(asked) or _done(found)
        return found

    async def _ask(self, contract: Contract) -> Qualified:
        found = await self._details(contract)
        if not found:
            raise ContractUnknown(f"IB knows no contract like {describe(contract)}")
        details = found[0] if len(found) == 1 else _routed(found)
        if details is None:
            # The first row of each: who names no exchange gets one for every venue.
            several = {one.contract.conId: one for one in reversed(found)}
            listed = _candidates(list(several.values())[::-1])
            raise ContractAmbiguous(f"{len(several)} contracts fit {describe(contract)}: {listed}")
        return Qualified(
            contract=contract_from_ib(details.contract),
            rules=VenueRules(
                min_tick=_number(details.minTick) or None,
                price_steps=await self._steps_of(details),
                min_size=_number(details.minSize) or None,
                size_increment=_number(details.sizeIncrement) or None,
                suggested_size_increment=_number(details.suggestedSizeIncrement) or None,
                price_magnifier=int(details.priceMagnifier or 1),
            ),
            long_name=details.longName,
        )

    async def _ask_legs(self, combo: Contract) -> Qualified:
        """Return a combo with what its legs allow: IB has no details of combos themselves."""
        legs = [await self.qualify(_NAMELESS.evolve(con_id=leg.con_id)) for leg in combo.legs]
        for leg in legs:
            if leg.contract.currency != combo.currency:
                raise ContractUnknown(
                    f"the combo {describe(combo)} is in {combo.currency}, its leg"
                    f" {describe(leg.contract)} is not"
                )
        # A difference of prices can lie on any step that one of them can lie on.
        ticks = [leg.rules.min_tick for leg in legs if leg.rules.min_tick]
        return Qualified(
            contract=combo,
            rules=VenueRules(
                min_tick=min(ticks, default=None),
                min_size=ONE,
                size_increment=ONE,
                units=max((leg.contract.units for leg in legs), default=ONE),
            ),
            long_name=", ".join(leg.long_name for leg in legs),
        )

    async def _details(self, contract: Contract) -> list[Any]:
        if not self._session.is_up:
            raise IBConnectionError("there is no session with the gateway")
        form = contract_for_ib(contract)
        request_id = self._client.getReqId()
        refused = self._refusals[request_id] = asyncio.get_running_loop().create_future()
        answer: asyncio.Future[Any] | None = None
        try:
            answer = await self._requests.ask(lambda: self._ask_details(request_id, form))
            await asyncio.wait(
                {answer, refused},
                timeout=self._timeout_seconds,
                return_when=asyncio.FIRST_COMPLETED,
            )
            if refused.done():
                return _nothing_or_raise(*refused.result())
            if not answer.done():
                raise IBConnectionError(
                    f"IB did not say within {self._timeout_seconds:g} seconds what fits"
                    f" {describe(contract)}"
                )
            return list(answer.result())
        except ConnectionError as error:
            raise IBConnectionError("the connection was lost during the question") from error
        finally:
            del self._refusals[request_id]
            if answer is not None:
                answer.cancel()

    def _ask_details(self, request_id: int, form: ib_async.Contract) -> asyncio.Future[Any]:
        answer = patches.start_question(self._ib, request_id, form)
        self._client.reqContractDetails(request_id, form)
        return answer

    def _on_captured(self, captured: Captured) -> None:
        # ib_async takes some refusals for warnings (321) and would let the question wait for ever.
        notice = captured.event
        if not self._refusals or not isinstance(notice, NoticeReceived):
            return
        refused = self._refusals.get(notice.subject_id)
        if refused is not None and not refused.done() and meaning(notice.code).kind != "warning":
            refused.set_result((notice.code, notice.text))

    async def _steps_of(self, details: Any) -> tuple[PriceStep, ...]:
        """Return the steps of the exchange that the contract names.

        IB gives one rule per valid exchange, in the same order. No rule is no error: the tick of
        the contract still holds.
        """
        venues = details.validExchanges.split(",")
        rules = details.marketRuleIds.split(",")
        by_venue = dict(zip(venues, rules, strict=False))
        rule = by_venue.get(details.contract.exchange, "")
        if not rule.isdigit():
            return ()
        number = int(rule)
        return await _once(self._price_rules, number, lambda: self._ask_rule(number))

    async def _ask_rule(self, number: int) -> tuple[PriceStep, ...]:
        """Ask for a market rule; the silence about one is no rule, and would let prices through."""
        try:
            answer = await self._requests.ask(lambda: self._ask_for_rule(number))
            async with asyncio.timeout(self._timeout_seconds):
                increments = await answer
        except (TimeoutError, ConnectionError) as error:
            raise IBConnectionError(
                f"IB did not say within {self._timeout_seconds:g} seconds what market rule {number}"
                " is"
            ) from error
        return tuple(
            PriceStep(_exactly(one.lowEdge), _exactly(one.increment)) for one in increments
        )

    def _ask_for_rule(self, number: int) -> asyncio.Future[Any]:
        # ib_async's own question waits for a second and takes silence for an answer.
        answer = patches.start_question(self._ib, f"marketRule-{number}")
        self._client.reqMarketRule(number)
        return answer

    def _on_news(self, news: News) -> None:
        if isinstance(news, SessionUp):
            # Rules and listings change over night; what is known may be of yesterday.
            self._known.clear()
            self._price_rules.clear()


def _by_con_id(contract: Contract) -> Contract:
    """Return a contract with nothing but con id and exchange, where IB has named it: one question
    for all descriptions of it.
    """
    if not contract.con_id or contract.is_combo:
        return contract
    return _NAMELESS.evolve(con_id=contract.con_id, exchange=contract.exchange)


_K = TypeVar("_K")
_V = TypeVar("_V")


async def _once(
    known: dict[_K, asyncio.Future[_V]], key: _K, ask: Callable[[], Coroutine[Any, Any, _V]]
) -> _V:
    """Return what is known under a key, or ask; who comes while it is asked waits for that answer.

    ib_async has one place for the answer to a market rule: a second question would take it away.
    A failure is not remembered.
    """
    answer = known.get(key)
    if answer is None:
        answer = known[key] = asyncio.ensure_future(ask())
    try:
        return await asyncio.shield(answer)
    finally:
        failed = answer.done() and (answer.cancelled() or answer.exception() is not None)
        if failed and known.get(key) is answer:
            del known[key]


def _done(found: Qualified) -> asyncio.Future[Qualified]:
    answer: asyncio.Future[Qualified] = asyncio.get_running_loop().create_future()
    answer.set_result(found)
    return answer


def _nothing_or_raise(code: int, text: str) -> list[Any]:
    if code == NO_SUCH_CONTRACT:
        return []
    raise BrokerError(f"IB refused the question ({code}): {text}")


def contract_from_ib(form: Any) -> Contract:
    """Return our form of ib_async's contract."""
    strike = _number(form.strike)
    return Contract(
        con_id=form.conId,
        symbol=form.symbol,
        sec_type=form.secType,
        currency=form.currency,
        exchange=form.exchange,
        primary_exchange=form.primaryExchange,
        local_symbol=form.localSymbol,
        trading_class=form.tradingClass,
        expiry=form.lastTradeDateOrContractMonth,
        strike=strike if strike or form.secType in {"OPT", "FOP"} else None,
        right={"C": "C", "CALL": "C", "P": "P", "PUT": "P"}.get(form.right, ""),
        multiplier=parse_decimal(form.multiplier) if form.multiplier else None,
    )


def describe(contract: Contract) -> str:
    """Return a contract's description as its owner wrote it."""
    words = [
        contract.symbol,
        contract.sec_type,
        contract.expiry,
        str(contract.strike or ""),
        contract.right,
        contract.exchange,
        contract.currency,
        f"con_id {contract.con_id}" if contract.con_id else "",
    ]
    return " ".join(word for word in words if word)


def _routed(found: Sequence[Any]) -> Any:
    """Return the row by which IB chooses the venue itself, where all are of one contract: who names
    no exchange gets a row for each. None where they are not, or none is routed so.
    """
    if len({one.contract.conId for one in found}) != 1:
        return None
    return next((one for one in found if one.contract.exchange == "SMART"), None)


def _candidates(found: Iterable[Any]) -> str:
    names = [describe(contract_from_ib(one.contract)) for one in found]
    more = len(names) - _CANDIDATES_SHOWN
    return "; ".join(names[:_CANDIDATES_SHOWN]) + (f"; and {more} more" if more > 0 else "")


def _exactly(number: float) -> Decimal:
    # ib_async parsed it to a float; repr is the shortest text with that value, the one IB wrote.
    return Decimal(repr(number))


def _number(number: float) -> Decimal | None:
    return figure_from_wire(repr(number))
