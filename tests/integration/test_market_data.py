"""Quotes, ticks and bars from the simulator: snapshots, feeds, and what the feeds survive."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from oms.broker.feed import Feed
from oms.broker.news import LineRecovered, SessionUp
from oms.core.contracts import Contract, Stock
from oms.core.quotes import Bar, FeedKind, MarketItem, Quote, Tick
from oms.errors import BrokerError, IBConnectionError, MarketLinesExhausted
from tests.integration.conftest import Desk, MakeDesk, Simulator, StartSimulator

pytestmark = pytest.mark.slow

D = Decimal


@pytest.fixture
async def aapl(simulator: Simulator, desk: Desk) -> Contract:
    await simulator.do("quote", symbol="AAPL", bid="99.5", ask="99.75", last="99.6")
    return (await desk.gateway.lookup.qualify(Stock("AAPL"))).contract


async def until(feed: Feed, holds: Callable[[Any], bool]) -> Any:
    """Take from a feed until an item is as wanted."""
    async with asyncio.timeout(60):
        while not holds(item := await feed.next()):
            pass
    return item


async def until_bid(feed: Feed, bid: str) -> Quote:
    found: Quote = await until(feed, lambda quote: quote.bid == D(bid))
    return found


async def subscriptions(simulator: Simulator) -> list[str]:
    """What the simulator streams to its clients, by kind."""
    told = (await simulator.do("clients"))["subscriptions"].values()
    return sorted(name.partition(":")[0] for names in told for name in names if ":" in name)


async def test_a_snapshot_is_the_market_in_exact_numbers(desk: Desk, aapl: Contract) -> None:
    quote = await desk.gateway.markets.snapshot(aapl)
    assert (quote.bid, quote.ask, quote.last) == (D("99.5"), D("99.75"), D("99.6"))
    assert (quote.price, quote.market_type) == (D("99.625"), "live")
    assert desk.gateway.markets.last_quotes()[aapl.con_id] == quote
    assert desk.gateway.markets.lines == 0


async def test_a_feed_follows_the_market_until_it_is_closed(
    simulator: Simulator, desk: Desk, aapl: Contract
) -> None:
    feed = desk.gateway.markets.subscribe(aapl)
    first = await until_bid(feed, "99.5")
    # The ticks of one packet are one change of the market.
    assert (first.ask, first.bid_size) == (D("99.75"), D(500))
    await simulator.do("quote", symbol="AAPL", bid="98", ask="98.5")
    await until_bid(feed, "98")
    feed.close()
    await simulator.do("quote", symbol="AAPL", bid="97", ask="97.5")
    await desk.gateway.markets.snapshot(aapl)
    with pytest.raises(IBConnectionError, match="the feed of AAPL STK USD was closed"):
        await feed.next()
    feed.close()


async def test_all_who_ask_for_the_same_share_a_line(
    simulator: Simulator, desk: Desk, aapl: Contract
) -> None:
    one, two = desk.gateway.markets.subscribe(aapl), desk.gateway.markets.subscribe(aapl)
    await until_bid(one, "99.5")
    await until_bid(two, "99.5")
    assert (desk.gateway.markets.lines, await subscriptions(simulator)) == (1, ["MktData"])
    one.close()
    # Who comes later begins with what the line knows.
    late = desk.gateway.markets.subscribe(aapl)
    assert (await late.next()).bid == D("99.5")  # type: ignore[union-attr]
    await simulator.do("quote", symbol="AAPL", bid="98", ask="98.5")
    await until_bid(two, "98")
    two.close()
    late.close()
    # The gateway works in order: the cancel came before this.
    await desk.gateway.markets.snapshot(aapl)
    assert await subscriptions(simulator) == []


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("last", {"price": D("99.6"), "exchange": "NASDAQ"}),
        ("all_last", {"price": D("99.6")}),
        ("bid_ask", {"bid": D("99.5"), "ask": D("99.75"), "price": None}),
        ("midpoint", {"price": D("99.625")}),
    ],
)
async def test_single_ticks_come_as_they_are(
    desk: Desk, aapl: Contract, kind: FeedKind, expected: dict[str, Any]
) -> None:
    tick: Tick = await until(desk.gateway.markets.subscribe(aapl, kind), lambda _: True)
    assert (tick.contract, tick.kind) == (aapl, kind)
    assert {name: getattr(tick, name) for name in expected} == expected
    assert tick.at.utcoffset() is not None


async def test_bars_of_five_seconds_come_as_the_clock_goes(
    start_simulator: StartSimulator, make_desk: MakeDesk
) -> None:
    # Bars begin at full five seconds.
    start = ("--start", "2026-01-05T15:00:00+00:00")
    simulator = await start_simulator("--clock", "stepped", *start)
    desk = make_desk(simulator.port)
    await desk.gateway.session.open(fail_fast=True)
    aapl = (await desk.gateway.lookup.qualify(Stock("AAPL"))).contract
    await simulator.do("quote", symbol="AAPL", bid="99.5", ask="99.75", last="99.6")
    feed = desk.gateway.markets.subscribe(aapl, "bars")
    await desk.gateway.markets.snapshot(aapl)  # the request for bars came before
    await simulator.do("advance", seconds=5)
    bar: Bar = await until(feed, lambda _: True)
    assert (bar.contract, bar.open, bar.close) == (aapl, D("99.6"), D("99.6"))


async def test_a_slow_reader_keeps_the_newest_and_knows_what_it_missed(
    simulator: Simulator, desk: Desk, aapl: Contract
) -> None:
    heard: list[MarketItem] = []
    watch = desk.gateway.markets.subscribe(aapl)
    desk.gateway.markets.subscribe(aapl, listener=heard.append)
    slow = desk.gateway.markets.subscribe(aapl, length_max=2)
    for bid in ("90", "91", "92", "93"):
        await simulator.do("quote", symbol="AAPL", bid=bid, ask="95")
        await until_bid(watch, bid)
    kept = [await slow.next(), await slow.next()]
    assert [one.bid for one in kept] == [D(92), D(93)]  # type: ignore[union-attr]
    assert slow.dropped == len(heard) - 2 > 0


async def test_feeds_survive_a_new_connection_and_1101(
    simulator: Simulator, desk: Desk, aapl: Contract
) -> None:
    feed = desk.gateway.markets.subscribe(aapl)
    ticks = desk.gateway.markets.subscribe(aapl, "midpoint")
    await until_bid(feed, "99.5")
    await simulator.do("cut")
    await desk.hear(SessionUp, 2)
    await simulator.do("quote", symbol="AAPL", bid="96", ask="96.5")
    await until_bid(feed, "96")
    await until(ticks, lambda tick: tick.price == D("96.25"))
    await simulator.do("outage")
    await simulator.do("restore", code=1101)
    await desk.hear(LineRecovered)
    await simulator.do("quote", symbol="AAPL", bid="95", ask="95.5")
    await until_bid(feed, "95")
    await until(ticks, lambda tick: tick.price == D("95.25"))


async def test_a_feed_goes_on_by_itself_after_1102(
    simulator: Simulator, desk: Desk, aapl: Contract
) -> None:
    feed = desk.gateway.markets.subscribe(aapl)
    await until_bid(feed, "99.5")
    before = await subscriptions(simulator)
    await simulator.do("outage")
    await simulator.do("restore", code=1102)
    await desk.hear(LineRecovered)
    await simulator.do("quote", symbol="AAPL", bid="95", ask="95.5")
    await until_bid(feed, "95")
    # A second subscription would take a second line.
    assert await subscriptions(simulator) == before == ["MktData"]


async def test_a_listener_that_fails_keeps_its_feed(
    simulator: Simulator, desk: Desk, aapl: Contract
) -> None:
    watch = desk.gateway.markets.subscribe(aapl)
    bids = []

    def fail_after_keeping(quote: MarketItem) -> None:
        bids.append(quote.bid)  # type: ignore[union-attr]
        raise ZeroDivisionError

    desk.gateway.markets.subscribe(aapl, listener=fail_after_keeping)
    await until_bid(watch, "99.5")
    await simulator.do("quote", symbol="AAPL", bid="94", ask="94.5")
    await until_bid(watch, "94")
    assert bids[-1] == D(94)


async def test_one_line_too_many_is_refused_by_name(
    simulator: Simulator, make_desk: MakeDesk, aapl: Contract
) -> None:
    desk = make_desk(simulator.port, client_id=8, market_lines_max=1)
    await desk.gateway.session.open(fail_fast=True)
    msft = (await desk.gateway.lookup.qualify(Stock("MSFT"))).contract
    feed = desk.gateway.markets.subscribe(aapl)
    desk.gateway.markets.subscribe(aapl)  # the same line
    with pytest.raises(MarketLinesExhausted, match=r"1 market data lines are in use.*MSFT"):
        desk.gateway.markets.subscribe(msft)
    with pytest.raises(MarketLinesExhausted):
        await desk.gateway.markets.snapshot(msft)
    await until_bid(feed, "99.5")


async def test_a_refused_quote_says_why(simulator: Simulator, desk: Desk, aapl: Contract) -> None:
    await simulator.do(
        "silence", request="reqMktData", mode="refuse", code=354, text="not subscribed"
    )
    with pytest.raises(BrokerError, match=r"no quote \(354\).*not subscribed"):
        await desk.gateway.markets.snapshot(aapl)
    feed = desk.gateway.markets.subscribe(aapl)
    with pytest.raises(BrokerError, match=r"no quote \(354\).*not subscribed"):
        await feed.next()
    assert desk.gateway.markets.lines == 0


async def test_delayed_quotes_say_that_they_are(
    simulator: Simulator, make_desk: MakeDesk, aapl: Contract
) -> None:
    desk = make_desk(simulator.port, client_id=8, market_type="delayed")
    await desk.gateway.session.open(fail_fast=True)
    quote = await desk.gateway.markets.snapshot(aapl)
    assert (quote.market_type, quote.bid) == ("delayed", D("99.5"))


async def test_a_quote_that_never_comes_is_a_connection_error(
    simulator: Simulator, make_desk: MakeDesk, aapl: Contract
) -> None:
    desk = make_desk(simulator.port, client_id=8, request_timeout_seconds=0.2)
    await desk.gateway.session.open(fail_fast=True)
    await simulator.do("silence", request="reqMktData", mode="answer")
    for ask in (desk.gateway.markets.snapshot, desk.gateway.markets.price):
        with pytest.raises(IBConnectionError, match="no quote of AAPL"):
            await ask(aapl)
    assert desk.gateway.markets.lines == 0


async def test_a_price_comes_with_both_sides_and_not_only_at_the_end(
    simulator: Simulator, desk: Desk, aapl: Contract
) -> None:
    # IB takes eleven seconds to end a snapshot.
    await simulator.do("fault", direction="out", message="tickSnapshotEnd", action="drop")
    assert (await desk.gateway.markets.price(aapl)).price == D("99.625")
    feed = desk.gateway.markets.subscribe(aapl)
    await until_bid(feed, "99.5")
    await simulator.do("silence", request="reqMktData", mode="answer")
    # A line that is there already is asked first.
    assert (await desk.gateway.markets.price(aapl)).price == D("99.625")


async def test_everything_is_unsubscribed_at_the_end(
    simulator: Simulator, desk: Desk, make_desk: MakeDesk, aapl: Contract
) -> None:
    other = make_desk(simulator.port, client_id=8)
    await other.gateway.session.open(fail_fast=True)
    feed = other.gateway.markets.subscribe(aapl)
    bars = other.gateway.markets.subscribe(aapl, "bars")
    await until_bid(feed, "99.5")
    cancels: list[bytes] = []
    write = other.gateway.capture._write
    other.gateway.capture._write = lambda message: (cancels.append(message), write(message))  # type: ignore[func-returns-value]
    await other.gateway.close("the test ends it")
    # cancelMktData and cancelRealTimeBars, each after its length.
    assert [message[4:].split(b"\0")[0] for message in cancels] == [b"2", b"51"]
    for one in (feed, bars):
        with pytest.raises(IBConnectionError):
            await until(one, lambda _: False)
