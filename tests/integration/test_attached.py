"""`oms.connect()` beside a running daemon: the same calls, and nothing sent twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from decimal import Decimal
from pathlib import Path

import httpx
import pytest

import oms
from oms.api.server import listening, serving
from oms.core.fold.records import OrderState
from oms.core.quotes import Quote
from oms.errors import (
    DaemonNotRunning,
    InvalidRequest,
    LeaseHeld,
    OrderDeniedError,
    OutcomeUnknown,
)
from oms.service.daemon import open_oms
from oms.settings import Settings
from tests.simulator import Simulator
from tests.world import AAPL, LOW, disagreements, new_database, settings_for

pytestmark = pytest.mark.slow


@pytest.fixture
def settings(tmp_path: Path, simulator: Simulator) -> Settings:
    database = tmp_path / "oms.sqlite"
    new_database(database)
    return settings_for(simulator.port, database)


@asynccontextmanager
async def daemon(settings: Settings) -> AsyncIterator[None]:
    """Run a daemon that answers other programs."""
    with listening(settings) as place:
        opened = open_oms(settings, actor="daemon", address=place.address)
        async with opened as running, serving(place, running):
            yield


async def test_two_strategies_trade_through_one_daemon(
    settings: Settings, simulator: Simulator, tmp_path: Path
) -> None:
    async with daemon(settings), AsyncExitStack() as both:
        alpha, beta = [
            await both.enter_async_context(oms.connect(settings, strategy=name))
            for name in ("alpha", "beta")
        ]
        assert isinstance(alpha, oms.Attached)
        spy = await alpha.qualify(oms.Stock("SPY"))
        assert spy.con_id == 756733
        assert (await alpha.quote(spy)).price == await alpha.price(spy)
        feed = beta.feed(spy)
        assert isinstance(quote := await asyncio.wait_for(feed.next(), 30), Quote)
        assert quote.contract == spy
        feed.close()
        resting = await alpha.submit(AAPL, oms.Limit("BUY", 10, LOW), order_id="a1")
        assert (await resting.working()).actor == "strategy:alpha"
        await resting.modify(limit="11")
        assert (await resting.answered()).terms.limit_price == Decimal(11)
        legs = await beta.submit_bracket(
            spy, oms.Limit("BUY", 5, LOW), take_profit="20", stop_loss="5", order_id="b1"
        )
        await legs[2].working()
        filled = await beta.submit(AAPL, oms.Market("BUY", 3))
        assert (await filled.done(30)).filled == 3
        assert alpha.order("a1").state is OrderState.WORKING
        with pytest.raises(InvalidRequest, match="belongs to another order"):
            await beta.submit(AAPL, oms.Limit("BUY", 11, LOW), order_id="a1")
        assert (await beta.what_if(AAPL, oms.Market("BUY", 3))).commission
        await beta.halt("lunch")
        denied = await alpha.submit(AAPL, oms.Limit("BUY", 10, LOW))
        with pytest.raises(OrderDeniedError, match="lunch"):
            await denied.working()
        await beta.resume()
        await resting.cancel("enough")
        assert (await resting.done(30)).state is OrderState.CANCELLED
        (account,) = await alpha.accounts()
        assert account.holdings
    assert disagreements(tmp_path / "oms.sqlite", await simulator.do("books")) == {}


async def test_order_asked_for_while_the_daemon_is_away_is_sent_once_by_its_successor(
    settings: Settings, simulator: Simulator
) -> None:
    async with AsyncExitStack() as client:
        async with daemon(settings):
            om = await client.enter_async_context(oms.connect(settings, strategy="alpha"))
            known = await om.submit(AAPL, oms.Limit("BUY", 10, LOW), order_id="k1")
            await known.working()
        asked = asyncio.ensure_future(om.submit(AAPL, oms.Limit("BUY", 10, LOW), order_id="k2"))
        ending = asyncio.ensure_future(known.cancel())
        await asyncio.sleep(0.5)
        assert not asked.done()
        async with daemon(settings):
            ticket = await asyncio.wait_for(asked, 30)
            assert (await ticket.working()).state is OrderState.WORKING
            await asyncio.wait_for(ending, 30)
            assert (await known.done(30)).state is OrderState.CANCELLED
    rows = (await simulator.do("books"))["placements"]
    assert sum(row["received"] for row in rows if row["order_ref"] == "k2") == 1


class CutOnce(httpx.AsyncHTTPTransport):
    """A way to the daemon on which the next answer is lost."""

    lost = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await super().handle_async_request(request)
        if not self.lost:
            self.lost += 1
            await response.aclose()
            raise httpx.ReadError("cut")
        return response


async def test_what_has_no_key_is_not_asked_again_when_its_answer_is_lost(
    settings: Settings, simulator: Simulator
) -> None:
    async with daemon(settings), oms.connect(settings, strategy="alpha") as om:
        assert isinstance(om, oms.Attached)
        way = CutOnce()
        await om._http.aclose()
        om._http = httpx.AsyncClient(transport=way, timeout=None)
        ticket = await om.submit(AAPL, oms.Limit("BUY", 10, LOW))
        assert (await ticket.working()).state is OrderState.WORKING
        for ask in (ticket.modify(limit="11"), om.halt("lunch"), om.resume()):
            assert way.lost == 1
            way.lost = 0
            with pytest.raises(OutcomeUnknown, match="before it answered"):
                await ask
    rows = (await simulator.do("books"))["placements"]
    assert [row["received"] for row in rows if row["order_ref"] == ticket.order_id] == [1]


async def test_who_insists_is_told_what_stands_in_the_way(settings: Settings) -> None:
    with pytest.raises(DaemonNotRunning) as refused:
        async with oms.connect(settings, attach=True):
            pass
    assert "oms run" in refused.value.hint
    async with daemon(settings):
        with pytest.raises(LeaseHeld):
            async with oms.connect(settings, attach=False):
                pass
    async with oms.connect(settings) as om:
        assert isinstance(om, oms.OrderManager)
