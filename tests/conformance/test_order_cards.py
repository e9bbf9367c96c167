"""Order cards: what an account can do through the OMS, one card a thing.

They run against `oms-sim serve` in a process of its own, and with `--run-ib-integration` against
the paper gateway that `OMS_TEST_GATEWAY` names (`host:port`): see
docs/how-to/run-the-order-cards.md. On a paper account they are safe: quantities of one, prices far
from the market, everything is cancelled, what was bought is sold, and a live account or port is
refused before anything is asked. A card that IB does not let the account play is skipped with IB's
reason; against the simulator a refusal is a failure.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any, Final

import pytest
import pytest_asyncio

import oms
from oms.core.contracts import Contract
from oms.core.events import ReconciliationCompleted, Terms
from oms.core.fold.records import Order, OrderState
from oms.errors import (
    BrokerError,
    ContractAmbiguous,
    ContractUnknown,
    IBOrderRejectError,
    RequestTimedOut,
)
from oms.service.daemon import open_oms
from oms.service.manager import OrderManager
from oms.service.subsystem import Oms
from oms.service.ticket import Ticket
from tests.simulator import Simulator, running_simulator
from tests.world import settings_for

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

D = Decimal
#: Ports on which TWS and IB Gateway serve live accounts unless somebody has changed them.
LIVE_PORTS: Final = frozenset({4001, 7496})
#: How long a real market may take to fill one share.
FILL_SECONDS: Final = 20.0


@dataclass
class Stand:
    """The OMS on a gateway, and what the cards share."""

    running: Oms
    #: None on a real gateway: nobody makes IB's market do something.
    simulator: Simulator | None
    stock: Contract
    price: Decimal

    @property
    def om(self) -> OrderManager:
        return self.running.manager

    @property
    def far(self) -> Decimal:
        """A price at which a buy order for the stock rests."""
        return cents(self.price * D("0.8"))

    async def place(self, contract: Contract, terms: Terms, **more: Any) -> Ticket:
        """Send an order and wait until IB works it."""
        ticket = await self.om.submit(contract, terms, **more)
        await self.at_work(ticket)
        return ticket

    async def at_work(self, *tickets: Ticket) -> None:
        for ticket in tickets:
            try:
                await ticket.working(timeout=10)
            except IBOrderRejectError as error:
                self.skip_or_fail(error.message)

    async def qualified(self, contract: Contract) -> Contract:
        try:
            return await self.om.qualify(contract)
        except (ContractUnknown, ContractAmbiguous) as error:
            if self.simulator is not None:
                raise
            pytest.skip(f"this gateway has no such contract: {error.message}")

    async def cancelled(self, ticket: Ticket) -> Order:
        await ticket.cancel("the card is over")
        order = await ticket.done(timeout=10)
        assert order.state in {OrderState.CANCELLED, OrderState.EXPIRED}, order.text
        return order

    async def filled(self, ticket: Ticket) -> Order:
        """Wait until an order is filled, with its commission; a closed market skips the card."""
        try:
            order = await ticket.done(timeout=FILL_SECONDS)
        except RequestTimedOut:
            await ticket.cancel("the market is closed")
            self.skip_or_fail("nothing was filled: the market is closed")
        assert order.state is OrderState.FILLED, order.text
        async with asyncio.timeout(FILL_SECONDS):
            await self.running.view.until(lambda: bool(ticket.order.commissions))
        return ticket.order

    def skip_or_fail(self, reason: str) -> Any:
        if self.simulator is not None:
            pytest.fail(reason)
        pytest.skip(reason)


def cents(price: Decimal) -> Decimal:
    return price.quantize(D("0.01"), rounding=ROUND_HALF_UP)


def third_friday(of: date) -> date:
    first = of.replace(day=1)
    return first + timedelta(days=(4 - first.weekday()) % 7 + 14)


def next_month(of: date) -> date:
    return (of.replace(day=1) + timedelta(days=32)).replace(day=1)


def quarter_month(today: date) -> str:
    """The month of the index future after the front one, which may expire under the card."""
    month = next_month(today)
    while month.month % 3:
        month = next_month(month)
    return f"{month:%Y%m}"


def named_gateway() -> tuple[str, int]:
    host, _, port = os.environ.get("OMS_TEST_GATEWAY", "").rpartition(":")
    if not host or not port.isdigit():
        pytest.fail(
            "OMS_TEST_GATEWAY must name the paper gateway as host:port, such as 127.0.0.1:4002"
        )
    if int(port) in LIVE_PORTS:
        pytest.fail(f"port {port} is that of a live account; the cards are for paper accounts")
    return host, int(port)


@pytest_asyncio.fixture(
    scope="module",
    loop_scope="module",
    params=["simulator", pytest.param("gateway", marks=pytest.mark.ib_integration)],
)
async def stand(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Stand]:
    database: Path = tmp_path_factory.mktemp("cards") / "oms.sqlite"
    async with AsyncExitStack() as stack:
        simulator: Simulator | None = None
        if request.param == "simulator":
            simulator = await stack.enter_async_context(running_simulator())
            where: dict[str, Any] = {}
            port = simulator.port
        else:
            host, port = named_gateway()
            where = {
                "host": host,
                "client_id": int(os.environ.get("OMS_TEST_CLIENT_ID", "97")),
                "request_timeout_seconds": 20,
                "connect_timeout_seconds": 10,
                "accounts": tuple(filter(None, [os.environ.get("OMS_TEST_ACCOUNT", "")])),
            }
        settings = settings_for(port, database, market_type="delayed", **where)
        # `mode` stays paper: a live account is refused before anything is asked.
        running = await stack.enter_async_context(open_oms(settings, actor="strategy:cards"))
        await running.ready(60)
        stock = await running.manager.qualify(oms.Stock("AAPL"))
        quote = await running.gateway.markets.price(stock)
        assert quote.price is not None
        made = Stand(running, simulator, stock, quote.price)
        yield made
        await clean_up(made)


async def clean_up(stand: Stand) -> None:
    for order in list(stand.running.view.orders.values()):
        if order.live and order.origin == "ours":
            ticket = stand.om.ticket(order.order_id)
            await ticket.cancel("the cards are over")
            await ticket.done(timeout=10)
    report = await stand.running.reconciler.run("the cards are over")
    assert isinstance(report, ReconciliationCompleted)


# ── connect ──────────────────────────────────────────────────────────────────────────────────────


async def test_oc_010_the_gateway_serves_a_paper_account(stand: Stand) -> None:
    accounts = stand.running.gateway.session.accounts
    assert accounts
    assert all(name.startswith(("DU", "DF")) for name in accounts)
    assert stand.running.view.system.ready


# ── an order of each type ────────────────────────────────────────────────────────────────────────


def order_of_each_type(stand: Stand) -> dict[str, Terms]:
    far, high = stand.far, cents(stand.price * D("1.2"))
    end = datetime.now(UTC).replace(microsecond=0) + timedelta(days=3)
    return {
        "LMT": oms.Limit("BUY", 1, far),
        "LMT GTC": oms.Limit("BUY", 1, far, tif="GTC"),
        "LMT GTD": oms.Limit("BUY", 1, far, tif="GTD", good_till=end),
        "LMT outside hours": oms.Limit("BUY", 1, far, outside_rth=True),
        "STP": oms.Stop("BUY", 1, high),
        "STP LMT": oms.StopLimit("BUY", 1, high, high),
        "TRAIL amount": oms.TrailingStop("BUY", 1, amount=cents(stand.price / 5)),
        "TRAIL percent": oms.TrailingStop("BUY", 1, percent="20"),
        "TRAIL LIMIT": oms.TrailingStopLimit(
            "BUY", 1, amount=cents(stand.price / 5), stop=high, limit_offset="0.10"
        ),
        "LOC": oms.LimitOnClose("BUY", 1, far),
        "LOO": oms.LimitOnOpen("BUY", 1, far),
    }


TYPES = (
    "LMT",
    "LMT GTC",
    "LMT GTD",
    "LMT outside hours",
    "STP",
    "STP LMT",
    "TRAIL amount",
    "TRAIL percent",
    "TRAIL LIMIT",
    "LOC",
    "LOO",
)


@pytest.mark.parametrize("name", TYPES)
async def test_oc_020_an_order_of_each_type_rests_and_is_cancelled(stand: Stand, name: str) -> None:
    terms = order_of_each_type(stand)[name]
    ticket = await stand.place(stand.stock, terms)
    assert ticket.order.terms == terms
    assert ticket.order.perm_id > 0
    await stand.cancelled(ticket)


@pytest.mark.parametrize("tif", ["IOC", "FOK"])
async def test_oc_025_an_order_that_must_fill_at_once_ends_at_once(stand: Stand, tif: str) -> None:
    ticket = await stand.om.submit(stand.stock, oms.Limit("BUY", 1, stand.far, tif=tif))
    order = await ticket.done(timeout=10)
    assert order.state in {OrderState.CANCELLED, OrderState.EXPIRED}, order.text
    assert order.filled == 0


# ── an order of each class ───────────────────────────────────────────────────────────────────────


async def test_oc_030_an_option(stand: Stand) -> None:
    ticket = await stand.place(await option(stand), oms.Limit("BUY", 1, "0.05"))
    assert ticket.order.contract.units == 100
    await stand.cancelled(ticket)


async def option(stand: Stand, steps: int = 0) -> Contract:
    expiry = third_friday(next_month(datetime.now(UTC).date()))
    strike = (stand.price / 5).quantize(D(1), rounding=ROUND_HALF_UP) * 5 + 5 * steps
    return await stand.qualified(oms.Option("AAPL", f"{expiry:%Y%m%d}", strike, "C"))


async def test_oc_031_a_future(stand: Stand) -> None:
    month = quarter_month(datetime.now(UTC).date())
    future = await stand.qualified(oms.Future("ES", month, "CME"))
    price = await price_of(stand, future)
    far = (price * D("0.95") * 4).quantize(D(1)) / 4
    ticket = await stand.place(future, oms.Limit("BUY", 1, far))
    assert ticket.order.contract.units == 50
    await stand.cancelled(ticket)


async def price_of(stand: Stand, contract: Contract) -> Decimal:
    try:
        quote = await stand.running.gateway.markets.price(contract)
    except BrokerError as error:
        stand.skip_or_fail(f"no price: {error.message}")
    assert quote.price is not None
    return quote.price


async def test_oc_032_a_currency_pair(stand: Stand) -> None:
    pair = await stand.qualified(oms.Forex("EURUSD"))
    far = (await price_of(stand, pair) * D("0.9")).quantize(D("0.0001"))
    await stand.cancelled(await stand.place(pair, oms.Limit("BUY", 20_000, far)))


async def test_oc_033_a_combo_of_two_options(stand: Stand) -> None:
    low, high = await option(stand), await option(stand, 2)
    combo = oms.Combo("AAPL", [oms.Leg("BUY", low), oms.Leg("SELL", high)])
    ticket = await stand.place(combo, oms.Limit("BUY", 1, "0.05"))
    assert ticket.order.contract.sec_type == "BAG"
    await stand.cancelled(ticket)


async def test_oc_034_a_futures_option(stand: Stand) -> None:
    month = quarter_month(datetime.now(UTC).date())
    expiry = third_friday(date(int(month[:4]), int(month[4:]), 1))
    price = await price_of(stand, await stand.qualified(oms.Future("ES", month, "CME")))
    strike = (price / 100).quantize(D(1)) * 100
    call = oms.FuturesOption("ES", f"{expiry:%Y%m%d}", strike, "C", "CME")
    contract = await stand.qualified(call)
    ticket = await stand.place(contract, oms.Limit("BUY", 1, "0.25"))
    assert ticket.order.contract.sec_type == "FOP"
    await stand.cancelled(ticket)


# ── fills ────────────────────────────────────────────────────────────────────────────────────────


async def test_oc_040_a_market_order_fills_and_moves_the_position(stand: Stand) -> None:
    before = held(stand)
    order = await stand.filled(await stand.om.submit(stand.stock, oms.Market("BUY", 1)))
    assert (order.filled, held(stand) - before) == (1, 1)
    assert order.average_price
    order = await stand.filled(await stand.om.submit(stand.stock, oms.Market("SELL", 1)))
    assert (order.filled, held(stand)) == (1, before)


def held(stand: Stand) -> Decimal:
    positions = stand.running.view.positions.values()
    return sum((p.quantity for p in positions if p.contract.con_id == stand.stock.con_id), D(0))


async def test_oc_045_a_part_fills_and_the_rest_is_cancelled(stand: Stand) -> None:
    if stand.simulator is None:
        pytest.skip("nobody can make IB fill a part of an order")
    ticket = await stand.place(stand.stock, oms.Limit("BUY", 10, stand.far))
    await stand.simulator.do("fill", order_ref=ticket.order_id, quantity=4, price=str(stand.far))
    await stand.running.view.until(lambda: ticket.state is OrderState.PARTIALLY_FILLED)
    order = await stand.cancelled(ticket)
    assert (order.filled, order.average_price) == (4, stand.far)
    await stand.filled(await stand.om.submit(stand.stock, oms.Market("SELL", 4)))


# ── changes, cancels, refusals ───────────────────────────────────────────────────────────────────


async def test_oc_050_a_price_and_a_quantity_are_changed(stand: Stand) -> None:
    ticket = await stand.place(stand.stock, oms.Limit("BUY", 1, stand.far))
    await ticket.modify(limit=stand.far - 1, quantity=2)
    order = await ticket.answered(timeout=10)
    assert order.refusal == ""
    assert (order.terms.limit_price, order.terms.quantity) == (stand.far - 1, 2)
    assert len(order.perm_ids) == 1
    await stand.cancelled(ticket)


async def test_oc_060_what_has_ended_is_cancelled_without_harm(stand: Stand) -> None:
    ticket = await stand.place(stand.stock, oms.Limit("BUY", 1, stand.far))
    await stand.cancelled(ticket)
    assert (await ticket.cancel()).state is OrderState.CANCELLED


async def test_oc_070_a_price_off_the_tick_never_leaves(stand: Stand) -> None:
    ticket = await stand.om.submit(stand.stock, oms.Limit("BUY", 1, stand.far + D("0.001")))
    assert (ticket.state, ticket.order.sent) == (OrderState.DENIED, False)


async def test_oc_075_what_the_account_cannot_pay_is_rejected_with_ibs_words(stand: Stand) -> None:
    ticket = await stand.om.submit(stand.stock, oms.Limit("BUY", 5_000_000, stand.far))
    order = await ticket.acknowledged(timeout=10)
    if order.live:
        await stand.cancelled(ticket)
        stand.skip_or_fail("IB took the order; it was cancelled")
    assert (order.state, order.code > 0, bool(order.text)) == (OrderState.REJECTED, True, True)


# ── groups and previews ──────────────────────────────────────────────────────────────────────────


async def test_oc_080_a_bracket_rests_whole_and_ends_with_its_entry(stand: Stand) -> None:
    tickets = await stand.om.submit_bracket(
        stand.stock,
        oms.Limit("BUY", 1, stand.far),
        take_profit=cents(stand.price * D("1.2")),
        stop_loss=cents(stand.price * D("0.6")),
    )
    await stand.at_work(*tickets)
    await tickets[0].cancel("the card is over")
    for ticket in tickets:
        assert (await ticket.done(timeout=10)).state is OrderState.CANCELLED


async def test_oc_085_a_group_of_which_one_cancels_all(stand: Stand) -> None:
    one, two = await stand.om.submit_oca(
        [
            (stand.stock, oms.Limit("BUY", 1, stand.far)),
            (stand.stock, oms.Limit("BUY", 1, stand.far - 1)),
        ]
    )
    await stand.at_work(one, two)
    assert one.order.terms.oca_group == two.order.terms.oca_group != ""
    await one.cancel("the card is over")
    await one.done(timeout=10)
    if two.order.live:
        await two.cancel("the card is over")
    assert (await two.done(timeout=10)).state is OrderState.CANCELLED


async def test_oc_090_a_what_if_has_margin_and_commission_and_is_no_order(stand: Stand) -> None:
    before = set(stand.running.view.orders)
    preview = await stand.om.what_if(stand.stock, oms.Limit("BUY", 1, stand.far))
    assert preview.commission is not None or preview.max_commission is not None
    assert set(stand.running.view.orders) == before


# ── the account ──────────────────────────────────────────────────────────────────────────────────


async def test_oc_100_positions_agree_with_ibs(stand: Stand) -> None:
    await stand.running.reconciler.run("card")
    await stand.running.log.flush()
    for position in stand.running.view.positions.values():
        assert position.broker_quantity in {None, position.quantity}, position


async def test_oc_110_the_account_has_its_figures(stand: Stand) -> None:
    await stand.running.gateway.accounts.refresh()
    await stand.running.log.flush()
    account = (await stand.running.manager.accounts())[0]
    for name in ("net_liquidation", "total_cash", "buying_power", "gross_position_value"):
        figure = getattr(account, name)
        assert figure.is_known, figure.reason
    assert account.base_currency


# ── the line ─────────────────────────────────────────────────────────────────────────────────────


async def test_oc_120_an_order_outlives_a_lost_line(stand: Stand) -> None:
    ticket = await stand.place(stand.stock, oms.Limit("BUY", 1, stand.far))
    view, epoch = stand.running.view, stand.running.view.system.session_epoch
    stand.running.gateway._ib.client.conn.transport.abort()
    async with asyncio.timeout(60):
        await view.until(lambda: view.system.session_epoch > epoch and view.system.ready)
    assert ticket.state is OrderState.WORKING
    await stand.cancelled(ticket)
