"""The contract of `BrokerAdapter`, as tests that know nothing but the interface.

Whoever writes an adapter derives a class from `BrokerAdapterContract` and gives it a `stage`: the
adapter, connected to nothing yet, and a world that does what a test wants.
"""

from __future__ import annotations

import asyncio
import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, TypeVar

import pytest

from oms.core.adapter import (
    BrokerAdapter,
    BrokerEvent,
    CommissionEvent,
    ConnectionEvent,
    MarketEvent,
    OrderFillEvent,
    OrderRejectEvent,
    OrderStateEvent,
    OverflowEvent,
)
from oms.core.contracts import Contract
from oms.core.events import Terms
from oms.core.members import members
from oms.core.order_types import Limit, Market, TrailingStop
from oms.errors import (
    IBConnectionError,
    IBOrderRejectError,
    InvalidRequest,
    NotFound,
    OmsError,
    OrderDeniedError,
    OutcomeUnknown,
)
from tests.hostile.values import OBJECTS

D = Decimal
DEADLINE_SECONDS = 60.0
E = TypeVar("E")


class Stage(ABC):
    """An adapter and the world on its other side; the market stands at 299.50 to 300.50."""

    #: Events wait in a queue of so many.
    queue_length_max: int = 1_000
    contract: Contract

    @abstractmethod
    def adapter(self, **options: Any) -> BrokerAdapter:
        """Return an adapter that is not connected; it is disconnected after the test."""

    @abstractmethod
    async def quote(self, bid: str, ask: str) -> None:
        """Move the market of the contract."""

    @abstractmethod
    async def fill(self, order_id: str, quantity: int, price: str) -> None:
        """Execute a part of an order."""

    @abstractmethod
    async def correct(self, order_id: str, price: str) -> None:
        """Correct the newest execution of an order."""

    @abstractmethod
    async def hold_commissions(self) -> Callable[[], Any]:
        """Keep commissions back; return the way to let them go."""

    @abstractmethod
    async def silence_orders(self) -> None:
        """Receive orders and say nothing about them."""

    @abstractmethod
    async def lose_line(self) -> None:
        """Cut the line; it can be made again."""


async def event(broker: BrokerAdapter, kind: type[E], **wanted: object) -> E:
    """Take events until one is as wanted."""
    heard: list[BrokerEvent] = []
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            while True:
                one = await broker.get_next_event()
                heard.append(one)
                if isinstance(one, kind) and all(
                    getattr(one, name) == value for name, value in wanted.items()
                ):
                    return one
    except TimeoutError:
        raise AssertionError(f"no {kind.__name__} {wanted} among {heard}") from None


async def rest(broker: BrokerAdapter) -> list[BrokerEvent]:
    """Return what is there to be taken, after the adapter was disconnected."""
    events: list[BrokerEvent] = []
    while True:
        try:
            events.append(await broker.get_next_event())
        except IBConnectionError:
            return events


METHODS = (
    "submit_order",
    "modify_order",
    "cancel_order",
    "subscribe_market_data",
    "unsubscribe_market_data",
    "get_current_price",
)


def _odd(kind: type[Contract | Terms], plain: Contract | Terms) -> Iterator[Contract | Terms]:
    """Yield values with one odd field each."""
    for field in members(kind):
        for value in ("\x1b]8;;x\x07", "x" * 129, "1e400", "0.1234567890123456", -1):
            with suppress(OmsError):
                yield plain.evolve(**{field: value})


class BrokerAdapterContract:
    """Derive from it, and give it the fixture `stage`."""

    async def test_without_a_connection_everything_says_so(self, stage: Stage) -> None:
        broker = stage.adapter()
        for ask in (
            broker.submit_order(stage.contract, Market("BUY", 1)),
            broker.get_positions(),
            broker.get_open_orders(),
            broker.get_account_info(),
            broker.get_current_price(stage.contract),
        ):
            with pytest.raises(IBConnectionError, match="not connected"):
                await ask

    async def test_every_method_takes_a_value_or_refuses_it_in_words(self, stage: Stage) -> None:
        """What is refused leaves no order, and the adapter goes on."""
        async with stage.adapter(answer_seconds=1) as broker:
            terms = Limit("BUY", 1, "200")
            placed = await broker.submit_order(stage.contract, terms)
            plain = {"contract": stage.contract, "terms": terms, "order_id": placed}
            for name in METHODS:
                method = getattr(broker, name)
                parameters = inspect.signature(method).parameters
                needed = {one: plain[one] for one in ("contract", "terms") if one in parameters}
                needed |= {"order_id": placed} if name in ("modify_order", "cancel_order") else {}
                for parameter in parameters:
                    for value in (*OBJECTS, *_odd(Contract, stage.contract), *_odd(Terms, terms)):
                        if value == placed or (name, value) == ("submit_order", None):
                            continue
                        with suppress(OmsError):
                            await method(**{**needed, parameter: value})
            known = {one.order_id for one in await broker.get_open_orders()}
            assert placed in known
            assert all(one.isascii() and one.isprintable() for one in known)

    async def test_an_order_is_told_from_submit_to_its_end(self, stage: Stage) -> None:
        broker = stage.adapter()
        await broker.connect()
        order_id = await broker.submit_order(stage.contract, Limit("BUY", 10, "100"))
        await event(broker, OrderStateEvent, order_id=order_id, state="WORKING")
        (resting,) = await broker.get_open_orders()
        assert (resting.order_id, resting.terms.limit_price) == (order_id, D(100))
        await stage.fill(order_id, 4, "99.5")
        fill = await event(broker, OrderFillEvent, order_id=order_id)
        assert (fill.quantity, fill.price, fill.side, fill.replaces) == (D(4), D("99.5"), "BUY", "")
        assert fill.at is not None
        if fill.commission is None:
            cost = await event(broker, CommissionEvent, exec_id=fill.exec_id)
            assert (cost.order_id, cost.currency) == (order_id, "USD")
        (resting,) = await broker.get_open_orders()
        assert (resting.filled_quantity, resting.remaining_quantity) == (D(4), D(6))
        await broker.cancel_order(order_id)
        await event(broker, OrderStateEvent, order_id=order_id, state="CANCELLED")
        assert await broker.get_open_orders() == ()
        await broker.cancel_order(order_id)  # of what has ended it is no error

    async def test_the_same_order_id_twice_is_one_order(self, stage: Stage) -> None:
        broker = stage.adapter()
        await broker.connect()
        terms = Limit("BUY", 10, "100")
        for _ in range(2):
            assert await broker.submit_order(stage.contract, terms, order_id="mine") == "mine"
        assert [one.order_id for one in await broker.get_open_orders()] == ["mine"]

    async def test_a_rejection_is_an_error_and_an_event_with_the_brokers_reason(
        self, stage: Stage
    ) -> None:
        broker = stage.adapter()
        await broker.connect()
        with pytest.raises(IBOrderRejectError) as raised:
            await broker.submit_order(stage.contract, Market("BUY", 5_000_000), order_id="much")
        assert raised.value.code == 201
        told = await event(broker, OrderRejectEvent, order_id="much")
        assert (told.stage, told.code, bool(told.reason)) == ("rejected", 201, True)

    async def test_a_denial_is_an_error_and_an_event_without_a_code(self, stage: Stage) -> None:
        broker = stage.adapter()
        await broker.connect()
        with pytest.raises(OrderDeniedError, match="NOBODY"):
            await broker.submit_order(
                stage.contract, Market("BUY", 1), order_id="x", account="NOBODY"
            )
        told = await event(broker, OrderRejectEvent, order_id="x")
        assert (told.stage, told.code) == ("denied", 0)

    async def test_a_change_takes_effect_or_says_why_not(self, stage: Stage) -> None:
        broker = stage.adapter()
        await broker.connect()
        order_id = await broker.submit_order(stage.contract, Limit("BUY", 10, "100"))
        await broker.modify_order(order_id, Limit("BUY", 20, "101"))
        (order,) = await broker.get_open_orders()
        assert (order.terms.quantity, order.terms.limit_price) == (D(20), D(101))
        with pytest.raises(InvalidRequest, match="side cannot change from BUY to SELL"):
            await broker.modify_order(order_id, Limit("SELL", 20, "101"))
        with pytest.raises(OrderDeniedError, match="tick"):
            await broker.modify_order(order_id, Limit("BUY", 20, "101.003"))
        await event(broker, OrderRejectEvent, order_id=order_id, stage="change", code=0)
        with pytest.raises(NotFound):
            await broker.modify_order("nobody", Limit("BUY", 1, "1"))
        with pytest.raises(NotFound):
            await broker.cancel_order("nobody")

    async def test_what_one_change_puts_in_the_place_of_another_can_change(
        self, stage: Stage
    ) -> None:
        broker = stage.adapter()
        await broker.connect()
        till = datetime.now(UTC) + timedelta(days=2)
        bid = await broker.submit_order(
            stage.contract,
            Limit("BUY", 10, "100", tif="GTD", good_till=till.replace(microsecond=0)),
        )
        await broker.modify_order(bid, Limit("BUY", 10, "100"))
        trail = await broker.submit_order(stage.contract, TrailingStop("SELL", 10, amount="2"))
        await broker.modify_order(trail, TrailingStop("SELL", 10, percent="1"))
        found = {one.order_id: one.terms for one in await broker.get_open_orders()}
        assert (found[bid].tif, found[bid].good_till) == ("DAY", None)
        assert (found[trail].trail_amount, found[trail].trail_percent) == (None, D(1))

    async def test_a_correction_names_what_it_replaces(self, stage: Stage) -> None:
        broker = stage.adapter()
        await broker.connect()
        order_id = await broker.submit_order(stage.contract, Limit("BUY", 10, "100"))
        await stage.fill(order_id, 4, "99.5")
        first = await event(broker, OrderFillEvent, order_id=order_id)
        await stage.correct(order_id, "99.25")
        second = await event(broker, OrderFillEvent, order_id=order_id)
        assert (second.replaces, second.price) == (first.exec_id, D("99.25"))

    async def test_a_late_commission_follows_its_fill(self, stage: Stage) -> None:
        broker = stage.adapter()
        await broker.connect()
        order_id = await broker.submit_order(stage.contract, Limit("BUY", 10, "100"))
        release = await stage.hold_commissions()
        await stage.fill(order_id, 10, "99.5")
        fill = await event(broker, OrderFillEvent, order_id=order_id)
        assert fill.commission is None
        await release()
        cost = await event(broker, CommissionEvent, exec_id=fill.exec_id)
        assert cost.commission > 0

    async def test_holdings_and_accounts_have_figures_with_an_age(self, stage: Stage) -> None:
        broker = stage.adapter()
        await broker.connect()
        await broker.submit_order(stage.contract, Market("BUY", 10), order_id="b")
        await event(broker, OrderStateEvent, order_id="b", state="FILLED")
        (holding,) = await broker.get_positions()
        assert (holding.contract.symbol, holding.quantity) == (stage.contract.symbol, D(10))
        assert holding.average_price.value == D("300.50")
        (account,) = await broker.get_account_info()
        assert account.holdings == (holding,)
        assert account.net_liquidation.value is not None
        assert account.net_liquidation.at is not None

    async def test_a_market_is_told_until_it_is_unsubscribed(self, stage: Stage) -> None:
        broker = stage.adapter()
        await broker.connect()
        assert await broker.get_current_price(stage.contract) == D(300)
        await broker.subscribe_market_data(stage.contract)
        await broker.subscribe_market_data(stage.contract)
        await stage.quote("200", "202")
        while (await event(broker, MarketEvent)).quote.bid != D(200):
            pass
        assert await broker.get_current_price(stage.contract) == D(201)
        await broker.unsubscribe_market_data(stage.contract)
        await broker.unsubscribe_market_data(stage.contract)
        await stage.quote("100", "102")
        assert await broker.get_current_price(stage.contract) == D(101)
        await broker.disconnect()
        assert not [one for one in await rest(broker) if isinstance(one, MarketEvent)]

    async def test_of_a_market_that_nobody_reads_the_newest_is_kept(self, stage: Stage) -> None:
        broker = stage.adapter()
        await broker.connect()
        await broker.subscribe_market_data(stage.contract)
        for bid in range(201, 205):
            await stage.quote(str(bid), str(bid + 2))
            # The broker's answer comes over the same line, after the quote.
            await broker.submit_order(stage.contract, Limit("BUY", 1, "100"))
            assert await broker.get_current_price(stage.contract) == bid + 1
        told = await event(broker, MarketEvent)
        assert told.quote.bid == D(204)
        assert told.skipped >= 3

    async def test_nothing_is_lost_before_the_first_event_is_asked_for(self, stage: Stage) -> None:
        broker = stage.adapter()
        await broker.connect()
        order_id = await broker.submit_order(stage.contract, Limit("BUY", 10, "100"))
        await stage.fill(order_id, 10, "100")
        await event(broker, OrderStateEvent, state="FILLED")
        await broker.disconnect()
        await broker.disconnect()
        await rest(broker)
        # The same day again, by an engine that first looks when all is over.
        again = stage.adapter()
        await again.connect()
        order_id = await again.submit_order(stage.contract, Market("BUY", 3))
        await again.disconnect()
        events = await rest(again)
        kinds = [one.state for one in events if isinstance(one, ConnectionEvent)]
        assert kinds[0] == "up"
        assert "ready" in kinds
        assert "down" in kinds[-2:]
        assert any(isinstance(one, OrderFillEvent) and one.order_id == order_id for one in events)
        sequences = [one.sequence for one in events]  # type: ignore[union-attr]
        assert sequences == sorted(sequences)

    async def test_an_overflow_says_how_many_and_which_were_dropped(self, stage: Stage) -> None:
        broker = stage.adapter(queue_length_max=3)
        await broker.connect()
        for number in range(4):
            await broker.submit_order(
                stage.contract, Limit("BUY", 1, "100"), order_id=f"order-{number}"
            )
        first = await broker.get_next_event()
        assert isinstance(first, OverflowEvent)
        assert first.dropped >= 1
        kept = await event(broker, OrderStateEvent, order_id="order-3")
        assert first.first_sequence <= first.last_sequence < kept.sequence

    async def test_what_is_filled_while_the_line_is_down_is_told(self, stage: Stage) -> None:
        broker = stage.adapter()
        await broker.connect()
        order_id = await broker.submit_order(stage.contract, Limit("BUY", 10, "100"))
        await event(broker, OrderStateEvent, order_id=order_id, state="WORKING")
        await stage.lose_line()
        await stage.fill(order_id, 10, "100")
        await event(broker, ConnectionEvent, state="down")
        fill = await event(broker, OrderFillEvent, order_id=order_id)
        assert fill.quantity == 10
        await event(broker, ConnectionEvent, state="ready")
        assert await broker.submit_order(stage.contract, Limit("BUY", 1, "100"))

    async def test_silence_is_an_unknown_outcome_and_never_a_guess(self, stage: Stage) -> None:
        broker = stage.adapter(answer_seconds=0.2)
        await broker.connect()
        await stage.silence_orders()
        with pytest.raises(OutcomeUnknown) as raised:
            await broker.submit_order(stage.contract, Limit("BUY", 1, "100"), order_id="quiet")
        assert raised.value.__cause__ is not None
        (order,) = await broker.get_open_orders()
        assert (order.order_id, order.state) == ("quiet", "IN_FLIGHT")
