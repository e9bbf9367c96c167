"""The watchman at work: alarms in the log, in the books and in `oms status`."""

from __future__ import annotations

import pytest

from oms.core.events import AlarmCleared, AlarmRaised, ServerTimeRead
from oms.core.fold.records import OrderState
from tests.shell import Shell
from tests.simulator import Simulator
from tests.world import LOW, World

pytestmark = pytest.mark.slow


async def test_a_foreign_order_raises_an_alarm_that_ends_with_it(world: World) -> None:
    await world.start(watch_interval_seconds=0.05)
    placed = await world.simulator.do(
        "manual_order", symbol="AAPL", side="BUY", quantity=5, order_type="LMT", limit_price=LOW
    )
    await world.reconcile()
    await world.until(lambda: world.view.alarms)
    (alarm,) = world.view.alarms.values()
    assert (alarm.kind, alarm.symbol, alarm.times) == ("foreign_order", "AAPL", 1)
    shell = Shell(world.database.parent, {"OMS_DATABASE_URL": str(world.database)})
    shown = (await shell.oms("status", "--json")).json["alarms"]
    assert [(one["alarm_id"], one["kind"]) for one in shown] == [(alarm.key, "foreign_order")]
    assert "foreign order" in (await shell.oms("status")).out
    await world.simulator.do("cancel", perm_id=placed["perm_id"])
    await world.reconcile()
    await world.until(lambda: not world.view.alarms)
    assert len(await world.log(AlarmRaised)) == len(await world.log(AlarmCleared)) == 1
    assert (await shell.oms("status", "--json")).json["alarms"] == []
    await world.agree()


async def test_an_order_without_an_answer_raises_an_alarm_and_the_answer_ends_it(
    world: World,
) -> None:
    manager = await world.start(watch_interval_seconds=0.05, alarm_order_silence_seconds=0.2)
    ticket = await world.resting()
    await world.simulator.do("hold", message="cancelOrder")
    await manager.cancel(ticket.order_id)
    await world.until(lambda: world.view.alarms)
    (alarm,) = world.view.alarms.values()
    assert (alarm.kind, alarm.order_id) == ("order_silent", ticket.order_id)
    await world.simulator.do("release")
    await world.rest(ticket, OrderState.CANCELLED)
    await world.until(lambda: not world.view.alarms)


async def test_the_gateways_clock_is_read_with_each_session(world: World) -> None:
    await world.start(watch_interval_seconds=0.05, alarm_clock_drift_seconds=3600)
    await world.until_logged(ServerTimeRead)
    (read,) = await world.log(ServerTimeRead)
    assert abs(read.offset_ms) < 5_000
    assert 0 <= read.round_trip_ms < 10_000
    await world.until(lambda: world.view.system.server_offset_ms == read.offset_ms)


async def test_a_clock_that_is_off_raises_an_alarm(world: World, simulator: Simulator) -> None:
    """The gateway tells whole seconds, so that a limit of a tenth is always passed or just met."""
    await world.start(watch_interval_seconds=0.05, alarm_clock_drift_seconds=0.001)
    await world.until(lambda: "clock_drift:clock" in world.view.alarms)


async def test_a_gateway_in_another_zone_than_the_settings_is_an_alarm_before_any_fill(
    world: World,
) -> None:
    await world.start(watch_interval_seconds=0.05, gateway_zone="Asia/Singapore")
    await world.until(lambda: "wrong_zone:clock" in world.view.alarms)
    assert "OMS_GATEWAY_ZONE" in world.view.alarms["wrong_zone:clock"].text
