"""The example of the front page, as it stands there, with settings from the environment."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

import oms
from oms import Limit, Stock
from oms.errors import IBConnectionError
from tests.simulator import Simulator

pytestmark = pytest.mark.slow


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, simulator: Simulator) -> None:
    """Settings as a user would give them."""
    monkeypatch.setenv("OMS_PORT", str(simulator.port))
    monkeypatch.setenv("OMS_DATABASE_URL", f"sqlite:///{tmp_path / 'oms.db'}")
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("environment")
async def test_the_example_runs_as_it_is_written(simulator: Simulator) -> None:
    my_key = "rebalance-2026-01-05"
    async with oms.connect() as om:
        spy = await om.qualify(Stock("SPY"))
        order = await om.submit(spy, Limit("BUY", 100, "12.35", tif="DAY"), order_id=my_key)
        await order.working(timeout=5)
        await order.modify(limit="12.40")
        await simulator.do("fill", order_ref=my_key, price="12.40")
        done = await order.done()
        again = await om.submit(spy, Limit("BUY", 100, "12.35", tif="DAY"), order_id=my_key)
        assert again.order == done
        bracket = await om.submit_bracket(
            spy, Limit("BUY", 100, "12.35"), take_profit="13.00", stop_loss="11.00"
        )
        group = await om.submit_oca(
            [(spy, Limit("SELL", 100, "900.00")), (spy, Limit("SELL", 100, "901.00"))]
        )
        for ticket in (*bracket, *group):
            await ticket.acknowledged()
    placements = (await simulator.do("books"))["placements"]
    assert (done.state, done.filled) == (oms.OrderState.FILLED, 100)
    assert done.terms.limit_price == Decimal("12.40")
    assert {row["order_ref"]: row["received"] for row in placements}[my_key] == 1
    assert len(placements) == 6


@pytest.mark.usefixtures("environment")
async def test_connecting_to_nobody_raises_with_the_address(simulator: Simulator) -> None:
    await simulator.stop()
    with pytest.raises(IBConnectionError, match=f"127.0.0.1:{simulator.port}"):
        async with oms.connect(wait_seconds=0.3):
            pass
