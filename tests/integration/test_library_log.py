"""What ib_async says comes out as ours, and never as an error that is none."""

from __future__ import annotations

import logging

import pytest
import structlog

from oms.broker.news import SessionUp
from oms.core.events import NoticeReceived
from tests.integration.conftest import Desk, MakeDesk, Simulator

pytestmark = pytest.mark.slow


async def test_notices_have_the_level_that_their_code_deserves(
    simulator: Simulator, make_desk: MakeDesk, caplog: pytest.LogCaptureFixture
) -> None:
    with structlog.testing.capture_logs() as said:
        desk: Desk = make_desk(simulator.port)
        await desk.gateway.session.open(fail_fast=True)
        await desk.hear(SessionUp)
        known = len(desk.journal.of(NoticeReceived))
        await simulator.do("send_notice", code=354, text="not subscribed")
        await desk.journal.first(NoticeReceived, known + 1)
        await simulator.do("cut")
        await desk.hear(SessionUp, 2)
        await desk.gateway.close("the test is over")
    notices = {(one["code"], one["log_level"]) for one in said if one["event"] == "notice_received"}
    assert {(2104, "info"), (354, "warning")} <= notices
    assert [one for one in said if one["log_level"] in {"error", "critical"}] == []
    # Nothing goes round us: without a configuration it would stand on stderr.
    assert [one for one in caplog.records if one.name.startswith("ib_async")] == []


async def test_another_use_of_ib_async_keeps_its_loggers(simulator: Simulator, desk: Desk) -> None:
    assert logging.getLogger("ib_async.wrapper").handlers == []
    assert logging.getLogger("ib_async").propagate
