"""Quotes from the simulator: snapshots, streams, and what the streams survive."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest

from oms.broker.line import LineRecovered, SessionUp
from oms.broker.market_data import Quote
from oms.core.contracts import Contract, Stock
from oms.errors import BrokerError, IBConnectionError
from tests.integration.conftest import Desk, MakeDesk, Simulator

pytestmark = pytest.mark.slow


@pytest.fixture
async def aapl(simulator: Simulator, desk: Desk) -> Contract:
    await simulator.do("quote", symbol="AAPL", bid="99.5", ask="99.75", last="99.6")
    return (await desk.gateway.qualify(Stock("AAPL"))).contract


class Tape:
    """Quotes as they come, and a way to wait for one."""

    def __init__(self) -> None:
        self.quotes: list[Quote] = []
        self._grown = asyncio.Event()

    def __call__(self, quote: Quote) -> None:
        self.quotes.append(quote)
        self._grown.set()

    async def until_bid(self, bid: str) -> None:
        async with asyncio.timeout(5):
            while not any(one.bid == Decimal(bid) for one in self.quotes):
                self._grown.clear()
                await self._grown.wait()


async def test_a_snapshot_is_the_market_in_exact_numbers(desk: Desk, aapl: Contract) -> None:
    quote = await desk.gateway.quote(aapl)
    assert (quote.bid, quote.ask, quote.last) == (
        Decimal("99.5"),
        Decimal("99.75"),
        Decimal("99.6"),
    )
    assert quote.price == Decimal("99.625")


async def test_a_stream_follows_the_market_until_it_is_stopped(
    simulator: Simulator, desk: Desk, aapl: Contract
) -> None:
    tape = Tape()
    stop = desk.gateway.subscribe_quotes(aapl, tape)
    await tape.until_bid("99.5")
    await simulator.do("quote", symbol="AAPL", bid="98", ask="98.5")
    await tape.until_bid("98")
    stop()
    heard = len(tape.quotes)
    await simulator.do("quote", symbol="AAPL", bid="97", ask="97.5")
    await desk.gateway.quote(aapl)
    assert len(tape.quotes) == heard
    stop()


async def test_a_stream_survives_a_new_connection_and_1101(
    simulator: Simulator, desk: Desk, aapl: Contract
) -> None:
    tape = Tape()
    desk.gateway.subscribe_quotes(aapl, tape)
    await tape.until_bid("99.5")
    await simulator.do("cut")
    await desk.hear(SessionUp, 2)
    await simulator.do("quote", symbol="AAPL", bid="96", ask="96.5")
    await tape.until_bid("96")
    await simulator.do("send_notice", code=1100, text="lost")
    await simulator.do("send_notice", code=1101, text="restored, data lost")
    await desk.hear(LineRecovered)
    await simulator.do("quote", symbol="AAPL", bid="95", ask="95.5")
    await tape.until_bid("95")


async def test_a_listener_that_fails_keeps_its_stream(
    simulator: Simulator, desk: Desk, aapl: Contract
) -> None:
    tape = Tape()

    def fail_after_keeping(quote: Quote) -> None:
        tape(quote)
        raise ZeroDivisionError

    desk.gateway.subscribe_quotes(aapl, fail_after_keeping)
    await tape.until_bid("99.5")
    await simulator.do("quote", symbol="AAPL", bid="94", ask="94.5")
    await tape.until_bid("94")


async def test_a_refused_quote_says_why(simulator: Simulator, desk: Desk, aapl: Contract) -> None:
    await simulator.do(
        "silence", request="reqMktData", mode="refuse", code=354, text="not subscribed"
    )
    with pytest.raises(BrokerError, match=r"no quote \(354\).*not subscribed"):
        await desk.gateway.quote(aapl)


async def test_a_quote_that_never_comes_is_a_connection_error(
    simulator: Simulator, make_desk: MakeDesk, aapl: Contract
) -> None:
    desk = make_desk(simulator.port, client_id=8, request_timeout_seconds=0.2)
    await desk.gateway.open(fail_fast=True)
    await simulator.do("silence", request="reqMktData", mode="answer")
    with pytest.raises(IBConnectionError, match="no quote of AAPL"):
        await desk.gateway.quote(aapl)
