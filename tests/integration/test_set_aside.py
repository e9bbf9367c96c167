"""A log that holds what no table can: the daemon starts on it, and trades everything else."""

from __future__ import annotations

import asyncio
import uuid
from pathlib import Path

import pytest

import oms
from oms.clock import SystemClock
from oms.core.contracts import Contract
from oms.core.events import Context, OrderRequested, Pending
from oms.core.fold.records import OrderState
from oms.core.situation import Health, judge
from oms.store.situation import read_situation
from tests.poisoned import append_altered
from tests.shell import Shell
from tests.world import AAPL, ACCOUNT, LOW, MSFT, World

pytestmark = pytest.mark.slow


async def health(world: World) -> Health:
    return judge(
        await read_situation(
            world.oms.reader,
            SystemClock().now(),
            host="elsewhere",
            resets=(),
            reconcile_interval_seconds=0,
        )
    )


def codes(found: Health) -> set[str]:
    """Return the reasons, without the one that another host gives: it sees no daemon here."""
    return {reason.code for reason in found.reasons}


async def test_one_request_that_no_table_can_hold_closes_its_contract_and_nothing_else(
    world: World, tmp_path: Path
) -> None:
    shell = Shell(tmp_path, {"OMS_DATABASE_URL": str(world.database)})
    await world.start()
    resting = await world.resting()
    await world.stop()
    url = f"sqlite:///{world.database}"
    request = OrderRequested(
        order_id=uuid.uuid4().hex,
        account=ACCOUNT,
        contract=Contract(con_id=1, symbol="AAPL"),
        terms=oms.Limit("BUY", 1, LOW),
    )
    pending = Pending(request, Context(actor="person:ann"))
    at = await asyncio.to_thread(append_altered, url, pending, '"con_id":1,', f'"con_id":{2**63},')

    manager = await world.start()
    (shown,) = world.view.set_aside()
    assert (shown.sequence, shown.account, shown.symbol) == (at, ACCOUNT, "AAPL")
    assert codes(await health(world)) >= {"events_set_aside", "breaks_open"}
    assert f"event {at}" in (await shell.run("status")).out.replace("\n", " ")

    refused = await manager.submit(AAPL, oms.Limit("BUY", 1, LOW))
    assert await world.rule_against(refused) == "gate"
    await world.bought(1, MSFT)
    await manager.cancel(resting.order_id)
    await world.until(lambda: world.state_of(resting.order_id) is OrderState.CANCELLED)

    case = world.case("set_aside")
    await shell.oms("resolve", case.break_id, "--reason", "the order was never sent")
    await world.until(lambda: not world.view.open_breaks())
    assert world.view.set_aside() == ()
    assert not codes(await health(world)) & {"events_set_aside", "breaks_open"}
    await world.resting(1)
    await world.reconcile()
    assert world.open_cases() == []
