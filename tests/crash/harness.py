"""Runs lives of the OMS that end by SIGKILL, and judges what the next life makes of them."""

from __future__ import annotations

import ast
import asyncio
import json
import signal
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from oms.core.events import Finding
from oms.core.fold.records import Order, OrderState
from tests import programs
from tests.crash.child import Task
from tests.programs import Program
from tests.simulator import Simulator
from tests.world import World

ROOT = Path(__file__).resolve().parents[2]
LIFE_SECONDS = 120
#: Runs that may pass until nothing is in doubt any more.
RUNS_MAX = 4
_LOGGING = {"debug", "info", "warning", "error", "critical"}


@dataclass
class Life:
    """How one life ended, and what its callers were told."""

    exit_code: int
    told: list[dict[str, Any]]
    errors: str = field(repr=False)

    @property
    def killed(self) -> bool:
        """Say whether the kill point was reached."""
        return self.exit_code == -signal.SIGKILL


async def live(world: World, script: str, action: str = "", number: int = 1, **more: Any) -> Life:
    """Run one life of the child to its end."""
    process = await begin(world, script, action, number, **more)
    async with asyncio.timeout(LIFE_SECONDS):
        out, errors = await process.communicate()
    told = [json.loads(line) for line in out.decode().splitlines()]
    return Life(await process.wait(), told, errors.decode()[-4000:])


async def begin(
    world: World, script: str, action: str = "", number: int = 1, **more: Any
) -> Program:
    """Start a life of the child."""
    simulator: Simulator = world.simulator
    task = Task(
        port=simulator.port,
        control_port=simulator.control_port,
        database=str(world.database),
        script=script,
        kill_action=action,
        kill_occurrence=number,
        **more,
    )
    return await programs.start("tests.crash.child", json.dumps(asdict(task)))


async def recover(world: World, **settings: Any) -> None:
    """Start again and compare until nothing is in doubt, a bounded number of times, but what the
    gateway may hold for a group that the crash cut off: of that IB tells nothing.

    With the settings of the lives before: what they had not booked yet is booked now.
    """
    await world.start(**settings)
    for _ in range(RUNS_MAX):
        await world.reconcile()
        if not any(order.transmit for order in world.view.in_doubt()):
            return
    raise AssertionError(f"still in doubt after {RUNS_MAX} runs: {world.view.in_doubt()}")


async def judge(world: World, lives: list[Life]) -> None:
    """Assert what must hold after any crash: the checker's claims, and nothing told was untrue."""
    await world.agree()
    for told in (told for life in lives for told in life.told if "order_id" in told):
        order = await world.oms.reader.one("orders", told["order_id"])
        assert isinstance(order, Order), f"{told} was told, and the order is not in the log"
        assert (told["state"] == "DENIED") == (order.state is OrderState.DENIED)
    held = {order.order_id for order in world.view.in_doubt()}
    findings = [case.finding for case in world.view.open_breaks()]
    cases = [f for f in findings if not _is_explained(f) and f.order_id not in held]
    assert cases == [], cases


def _is_explained(finding: Finding) -> bool:
    """Say whether somebody else's doing explains a case, which then stays shown."""
    return finding.break_class == "unknown_order"  # what people did by hand


def actions_in(*folders: str) -> Iterator[tuple[str, str]]:
    """Yield the name of every program message of the modules, with where it stands."""
    for name in folders:
        path = ROOT / "oms" / name
        for module in sorted(path.glob("*.py")) if path.is_dir() else [path]:
            for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and _is_log_call(node):
                    (first, *_) = node.args
                    assert isinstance(first, ast.Constant), f"{module}:{node.lineno}"
                    yield first.value, f"{module.relative_to(ROOT)}:{node.lineno}"


def _is_log_call(node: ast.Call) -> bool:
    match node.func:
        case ast.Attribute(value=ast.Name(id="log" | "logger"), attr=attr):
            return attr in _LOGGING
        case _:
            return False
