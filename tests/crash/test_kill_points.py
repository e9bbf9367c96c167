"""The process is killed at every line that it logs on its way, and nothing is lost or doubled.

Goal: a crash at any step leaves a log from which the next start finds out the truth. Method: the
tour (`child.tour`) goes once through everything that changes something; in each case the process is
killed at one log line. Then a new process recovers, and the checker, which shares no code with the
OMS, compares log and books with the simulator's. A log line without a case fails the suite.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from oms.core.fold.records import OrderState
from tests.crash.harness import Life, actions_in, begin, judge, live, recover
from tests.simulator import running_simulator
from tests.world import World, a_world

pytestmark = [pytest.mark.slow, pytest.mark.crash]

#: Kill point -> script, and the occurrences at which it is tried.
CASES: dict[str, tuple[str, tuple[int, ...]]] = {
    "daemon_started": ("tour", (1,)),
    "session_up": ("tour", (1, 2)),
    "reconciliation_started": ("tour", (1, 2)),
    "reconciliation_asked": ("tour", (1, 2)),
    # In order: adoption of the order by hand, opening position, opening cash, and the lost order's
    # doubt.
    "reconciliation_repaired": ("tour", (1, 2, 3, 4)),
    "reconciliation_compared": ("tour", (1, 2)),
    "reconciliation_completed": ("tour", (1, 2)),
    "order_intended": ("tour", (1, 2, 3)),
    "order_handed_over": ("tour", (1, 3, 5)),
    "order_denied": ("tour", (1,)),
    "order_not_sent": ("tour", (1,)),
    "modify_intended": ("tour", (1,)),
    "modify_handed_over": ("tour", (1,)),
    "cancel_intended": ("tour", (1,)),
    "cancel_handed_over": ("tour", (1,)),
    "request_taken": ("tour", (1, 2)),
    "request_refused": ("tour", (1,)),
    "session_down": ("tour", (1,)),
    # Before, inside and after the transaction.
    "batch_taken": ("tour", (1, 20, 60)),
    "batch_written": ("tour", (1, 20, 60)),
    "batch_committed": ("tour", (1, 20, 60)),
    "daemon_stopping": ("tour", (1,)),
    "daemon_stopped": ("tour", (1,)),
    "message_not_sent": ("slow_pace", (1, 2)),
    # Between the durable switch and what it does.
    "trading_switched": ("halted", (1, 2)),
    "halt_in_force": ("halted", (1,)),
    "orders_doubted": ("groups", (1,)),
    "doubt_resolved": ("groups", (1,)),
    "reconciliation_adjusted": ("differences", (1,)),
    "case_request_done": ("differences", (1,)),
    "alarm_raised": ("differences", (1,)),
    "alarm_cleared": ("differences", (1,)),
}
#: The same lines on the way of other kinds of orders: bulk, OCA group, attached, unanswered.
ALSO = (
    ("order_intended", "groups", 2),
    ("order_intended", "groups", 4),
    ("order_handed_over", "groups", 1),
    ("order_handed_over", "groups", 3),
    ("order_handed_over", "groups", 5),
    ("order_handed_over", "groups", 6),
)
#: A kill of each kind: about what is sent, asked, stored, repaired, switched. The others are long.
ALWAYS = (
    *("order_intended-1", "order_handed_over-1", "groups-order_handed_over-3", "request_taken-1"),
    *("session_down-1", "reconciliation_repaired-4", "batch_committed-60", "case_request_done-1"),
)
#: What the scripts need otherwise than the other tests.
SETTINGS: dict[str, dict[str, Any]] = {
    "slow_pace": {"messages_per_second_max": 9},
    "halted": {"messages_per_second_max": 9},
    # The doubt is there for a person to resolve.
    "differences": {"adjust_causes": ("split",), "watch_interval_seconds": 0.1},
    "groups": {"acknowledgement_seconds_max": 0.3, "doubt_settle_seconds": 600},
}
#: Log lines that need no case here, and why.
EXEMPT = {
    "reconciliation_adjusted": "as reconciliation_compared: the adjustment is one transaction, and"
    " the next run finds nothing to adjust (test_case_actions)",
    "case_request_done": "nothing follows; what a request makes of a case is one transaction",
    "alarm_raised": "nothing follows; what the alarm is about is looked at again",
    "alarm_cleared": "nothing follows, as alarm_raised",
    "glance_completed": "it writes nothing; the next session begins with a full run",
    "inquiry_made": "nothing is written before or after it; the next session asks about everything",
    "books_loaded_again": "nothing is written; a start loads the same rows",
    "request_stale": "test_a_request_that_two_daemons_died_on_is_denied_by_the_third",
    "parent_cancel_failed": "nothing follows; the entry that IB holds is in the next comparison",
    "quote_missing": "nothing is written before or after it that hangs on it",
    "log_failed": "nothing is written any more; test_bad_days",
    "daemon_failed": "the process ends by itself from here; test_bad_days",
    "loss_accepted": "as daemon_started, which is the same transaction; test_went_back",
    "clock_stepped": "nothing follows; the next start sees the clock beside the log's last time",
    "questions_unanswered": "the connection is given up, as by any kill",
    "database_checked": "it writes how far the log was checked; the next start checks from there",
    "database_damaged": "an alarm follows; the next start checks the same",
    "recheck_not_done": "nothing is written; it is tried again",
    "snapshots_made": "each stood in a transaction of its own beside the log, which can be lost",
    "snapshots_differ": "they are thrown away beside the log, and made again",
    "snapshots_not_made": "nothing is written; answers are folded, and it is tried again",
    "checkpoint_signed": "nothing follows; the next checkpoint follows the file (test_signed_log)",
    "checkpoint_not_kept": "nothing follows; the event about it is the next line",
    "database_answers_again": "it writes nothing; a start reads the same rows (test_cut_off)",
    "lease_not_released": "the lease ends by its heartbeat, as after any kill",
}


def test_every_log_line_of_service_and_store_has_its_crash() -> None:
    """Goal: no step without a crash test. Method: names collected from the source by ast."""
    found = dict(actions_in("service", "store/log.py", "store/writer.py"))
    assert set(found) == set(CASES) | set(EXEMPT)
    assert set(ALWAYS) <= {kill.id for kill in KILLS}


def _kills() -> Iterator[Any]:
    for action, (script, numbers) in CASES.items():
        for number in numbers:
            yield _kill(action, script, number, f"{action}-{number}")
    for action, script, number in ALSO:
        yield _kill(action, script, number, f"{script}-{action}-{number}")


def _kill(action: str, script: str, number: int, name: str) -> Any:
    marks = () if name in ALWAYS else pytest.mark.long
    return pytest.param(action, script, number, id=name, marks=marks)


KILLS = list(_kills())


@pytest.mark.sample(2)
@pytest.mark.parametrize(("action", "script", "number"), KILLS)
async def test_a_kill_at(tmp_path: Path, action: str, script: str, number: int) -> None:
    """Goal: what the README promises holds over a kill at this line."""
    async with _a_day(tmp_path) as world:
        life = await live(world, script, action, number, settings=SETTINGS.get(script))
        assert life.killed, f"never reached, exit {life.exit_code}: {life.told}\n{life.errors}"
        causes = SETTINGS.get(script, {}).get("adjust_causes", ())
        await recover(world, adjust_causes=causes)
        await judge(world, [life])


@pytest.mark.parametrize("received", [True, False])
async def test_a_kill_while_the_broker_is_silent_about_an_order(
    tmp_path: Path, received: bool
) -> None:
    """Goal: an order whose answer never came is found at the broker, or found not to be there.

    Method: the simulator works on the order and holds the answer, or loses the order.
    """
    async with _a_day(tmp_path) as world:
        if received:
            await world.simulator.do("hold", message="placeOrder", what="answer", times=1)
        else:
            await world.simulator.do("drop_next", message="placeOrder", direction="in")
        process = await begin(world, "one_order")
        assert process.stdout is not None
        async with asyncio.timeout(60):
            while "sent" not in json.loads(await process.stdout.readline()):
                pass
        process.kill()
        await process.communicate()
        await recover(world)
        expected = OrderState.WORKING if received else OrderState.NOT_SENT
        assert (await world.stored("one")).state is expected
        assert await world.received("one") == int(received)
        await judge(world, [])


async def test_a_request_that_two_daemons_died_on_is_denied_by_the_third(tmp_path: Path) -> None:
    """Goal: whoever asks gets an answer. Method: killed when it takes the request up, and again
    when it denies what was left over.
    """
    async with _a_day(tmp_path) as world:
        lives = [
            await live(world, "one_cancel_request", "request_taken"),
            await live(world, "rest", "request_stale"),
        ]
        assert [life.killed for life in lives] == [True, True]
        await recover(world)
        order = await world.stored("one")
        assert order.state is OrderState.WORKING
        assert "stopped before it took the request up" in order.refusal
        await judge(world, lives)


async def test_a_life_that_nobody_kills_reaches_its_end(tmp_path: Path) -> None:
    """Goal: the tour is the whole tour, so that the kills above hit what they name."""
    async with _a_day(tmp_path) as world:
        life = await live(world, "tour")
        assert life == Life(0, life.told, life.errors)
        await recover(world)
        await judge(world, [life])


@asynccontextmanager
async def _a_day(directory: Path) -> AsyncIterator[World]:
    """A day on which somebody else has traded already: there is something to adopt and to open."""
    async with running_simulator() as simulator:
        by_hand = {"side": "BUY", "quantity": 3, "order_type": "LMT", "limit_price": "9"}
        await simulator.do("manual_order", symbol="AAPL", **by_hand)
        await simulator.do("position_adjust", symbol="MSFT", quantity=50, average_cost="100")
        async with a_world(directory, simulator) as world:
            yield world
