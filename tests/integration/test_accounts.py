"""IB's account figures in the books, and what holdings are worth by them."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from oms.core.events import PortfolioReceived, QueryAnswered
from oms.errors import BrokerError, IBConnectionError, NotFound
from oms.history.portfolio import read_accounts
from tests.integration.conftest import StartSimulator
from tests.world import World, a_world

pytestmark = pytest.mark.slow


async def test_a_holding_is_worth_ibs_mark_and_its_figures_have_an_age(world: World) -> None:
    await world.start()
    await world.bought(10)
    await world.simulator.do("quote", symbol="AAPL", bid="299.5", ask="300.5", last="300")
    await world.oms.gateway.accounts.refresh()
    await world.oms.log.flush()
    (account,) = await world.oms.manager.accounts()
    (holding,) = account.holdings
    row = (await world.log(PortfolioReceived))[-1]
    assert holding.last_price.value == row.market_price == Decimal(300)
    assert holding.last_price.source == "IB"
    gained = (Decimal(300) - holding.average_price.value) * 10  # type: ignore[operator]
    assert holding.unrealised_pnl.value == holding.unrealised_pnl_base.value == gained
    assert holding.broker_unrealised_pnl.value == row.unrealised_pnl
    assert account.base_currency == "USD"
    now = world.oms.clock.now()
    for figure in (
        account.net_liquidation,
        account.total_cash,
        account.buying_power,
        account.gross_position_value,
        account.initial_margin,
        account.maintenance_margin,
        account.unrealised_pnl,
        holding.broker_average_cost,
    ):
        assert figure.is_known, figure
        age = figure.age_seconds(now)
        assert age is not None
        assert 0 <= age < 60


async def test_the_figures_of_every_account_are_asked_for_in_turn(
    tmp_path: Path, start_simulator: StartSimulator
) -> None:
    simulator = await start_simulator("--accounts", "DU1,DU2")
    async with a_world(tmp_path, simulator) as world:
        await world.start()
        await world.oms.gateway.accounts.refresh()
        await world.oms.log.flush()
        accounts = await world.oms.manager.accounts()
        assert [(one.account, one.is_ready) for one in accounts] == [("DU1", True), ("DU2", True)]
        (second,) = await read_accounts(world.oms.reader, accounts=["DU2"])
        assert second.net_liquidation.value == Decimal("1000000.00")
        with pytest.raises(NotFound, match="the books know no account DU9"):
            await read_accounts(world.oms.reader, accounts=["DU9"])


async def test_figures_are_refreshed_by_themselves(world: World) -> None:
    await world.start(account_refresh_seconds=0.05)

    async def refreshed(times: int) -> None:
        while True:
            answers = await world.log(QueryAnswered)
            told = [one.question for one in answers if one.question.kind == "account"]
            if sum(one.outcome == "complete" for one in told) >= times:
                return
            await world.until_logged(QueryAnswered, len(answers) + 1)

    await refreshed(2)
    # What fails is made good by the next.
    await world.simulator.do("cut")
    await world.until(lambda: not world.view.system.connected)
    await world.oms.ready()
    await refreshed(4)


async def test_cash_and_rate_of_a_currency_are_refreshed_under_keys_with_ibs_prefix(
    world: World,
) -> None:
    """Gateways from 10.47 put `$LEDGER-` before them in account updates, not in the summary."""
    await world.simulator.do("setting", name="ledger_prefix", value="yes")
    await world.start(account_refresh_seconds=0)
    await world.simulator.do("cash", amount=5000, currency="EUR")
    await world.reconcile()
    await world.simulator.do("cash", amount=-1000, currency="EUR")
    await world.oms.gateway.accounts.refresh()
    await world.oms.log.flush()
    (account,) = await read_accounts(world.oms.reader)
    (euro,) = [one for one in account.balances if one.currency == "EUR"]
    assert (euro.cash.value, euro.rate.is_known) == (Decimal(4000), True)
    names = {value.name for value in await world.oms.reader.rows("account_values", {})}
    assert {one for one in names if one.startswith("$")} == {"$LEDGER-AccruedCash"}


async def test_a_refusal_and_silence_are_errors_of_the_one_who_asked(world: World) -> None:
    await world.start()
    await world.simulator.do(
        "silence", request="reqAccountUpdates", mode="refuse", code=321, text="not now"
    )
    with pytest.raises(BrokerError, match=r"no figures \(321\): not now"):
        await world.oms.gateway.accounts.refresh()
    await world.simulator.do("unsilence")
    await world.simulator.do("silence", request="reqAccountUpdates", mode="answer")
    with pytest.raises(IBConnectionError, match=r"no whole answer about .*: nothing came within 5"):
        await world.oms.gateway.accounts.refresh()
