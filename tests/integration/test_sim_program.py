"""`oms-sim` as a program: its lines, its exit codes, its verbs."""

from __future__ import annotations

import asyncio
import json
from asyncio.subprocess import DEVNULL
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from oms.sim.script.control import call
from tests import programs
from tests.integration.sim_world import WireClient

pytestmark = pytest.mark.slow

DEADLINE_SECONDS = 60
PLAYED = """
title  One fill by hand
gateway fills=manual
on placeOrder
  fill order=1 price=12.5
"""
WRONG = "on placeOrder\n  fill order=2\n"


class Program:
    """A running `python -m oms.sim`."""

    def __init__(self, child: programs.Program, ready: dict[str, Any]) -> None:
        self.child = child
        self.ready = ready

    async def end(self) -> tuple[int, dict[str, Any]]:
        """Exit code and the last line of standard output."""
        rest = await self.child.stdout.read()
        code = await asyncio.wait_for(self.child.wait(), DEADLINE_SECONDS)
        return code, json.loads(rest.splitlines()[-1]) if rest else {}


@asynccontextmanager
async def program(*arguments: str) -> AsyncIterator[Program]:
    ports = ("--port", "0", "--control-port", "0")
    child = await programs.start("oms.sim", *arguments, *ports, stderr=DEVNULL)
    line = await asyncio.wait_for(child.stdout.readline(), DEADLINE_SECONDS)
    try:
        yield Program(child, json.loads(line) if line else {})
    finally:
        child.terminate()
        await child.wait()


async def shell(*arguments: str) -> tuple[int, dict[str, Any]]:
    child = await programs.start("oms.sim", *arguments, stderr=DEVNULL)
    out, _ = await asyncio.wait_for(child.communicate(), DEADLINE_SECONDS)
    return child.returncode or 0, json.loads(out) if out else {}


async def test_a_gateway_says_where_it_listens_obeys_the_shell_and_stops_cleanly() -> None:
    async with program("serve", "--accounts", "DU1,DU2", "--seed", "5") as sim:
        assert sim.ready["accounts"] == ["DU1", "DU2"]
        port = str(sim.ready["control_port"])
        code, answer = await shell("do", "quote", "symbol=AAPL", "bid=99", "--control-port", port)
        assert (code, answer["bid"], answer["ask"]) == (0, "99", "99.01")
        code, answer = await shell("do", "setting", "--control-port", port, "name=parts", "value=3")
        assert (code, answer) == (0, {"ok": True, "parts": "3"})
        code, answer = await shell("do", "fill", "order=1", "--control-port", port)
        assert (code, answer["ok"]) == (1, False)
        assert (await shell("do", "quote", "AAPL", "--control-port", port))[0] == 2
        assert (await shell("do", "quote", "--control-prt", port, "bid=99"))[0] == 2
        assert (await call(int(port), {"do": "quit"}))["ok"]
        assert await sim.end() == (0, {})
    assert (await shell("do", "books", "--control-port", port))[0] == 5


async def test_a_scenario_is_played_and_its_end_is_told(tmp_path: Path) -> None:
    file = tmp_path / "one.scenario"
    file.write_text(PLAYED, encoding="utf-8")
    async with program("script", str(file), "--once") as sim:
        client = await WireClient.start(sim.ready["port"], 1)
        client.place()
        assert (await client.wait_for("execDetails"))["price"] == "12.5"
        assert await sim.end() == (0, {"played": 1, "waiting": [], "failures": []})
        await client.stop()


async def test_a_trigger_that_never_comes_ends_the_scenario_and_is_named(tmp_path: Path) -> None:
    file = tmp_path / "one.scenario"
    file.write_text("start\n  time\non reqPositions\nafter 0\n  time\n", encoding="utf-8")
    async with program("script", str(file), "--once", "--trigger-seconds", "0.1") as sim:
        code, told = await sim.end()
    never = ["line 3: on reqPositions", "line 4: after"]
    assert (code, told) == (
        1,
        {
            "played": 1,
            "waiting": never,
            "failures": [f"{one}: did not happen within 0.1 seconds" for one in never],
        },
    )


@pytest.mark.parametrize(("text", "trades"), [(PLAYED, False), (WRONG, True)])
async def test_a_scenario_that_did_not_go_through_fails(
    tmp_path: Path, text: str, trades: bool
) -> None:
    file = tmp_path / "one.scenario"
    file.write_text(text, encoding="utf-8")
    async with program("script", str(file)) as sim:
        if trades:
            client = await WireClient.start(sim.ready["port"], 1)
            client.place()
            await client.settle()
            await client.stop()
        sim.child.terminate()
        code, told = await sim.end()
        assert code == 1
        assert told["failures" if trades else "waiting"]


async def test_a_scenario_nobody_can_read_is_a_usage_error(tmp_path: Path) -> None:
    file = tmp_path / "one.scenario"
    file.write_text("whenever\n", encoding="utf-8")
    assert (await shell("script", str(file)))[0] == 2


async def test_a_gateway_with_random_faults_trades_on() -> None:
    async with program("fuzz", "--seed", "3", "--rate", "0.0") as sim:
        client = await WireClient.start(sim.ready["port"], 1)
        client.place()
        await client.wait_for("commissionReport")
        answer = await call(sim.ready["control_port"], {"do": "faults"})
        assert len(answer["faults"]) > 20
        await client.stop()


async def test_faults_of_the_command_line_hit_the_same_messages_for_the_same_seed() -> None:
    told = []
    fault = "direction=out message=orderStatus action=drop probability=0.5"
    for seed in ("3", "3", "4"):
        async with program("serve", "--seed", seed, "--fault", fault) as sim:
            client = await WireClient.start(sim.ready["port"], 1)
            for _ in range(20):
                client.place(totalQuantity="1")
            await client.settle()
            told.append(client.story("orderStatus", "execDetails"))
            await client.stop()
    assert told[0] == told[1] != told[2]
    assert told[0].count("execDetails") == 20


@pytest.mark.parametrize(
    "wrong",
    [
        ("--server-version", "200"),
        ("--cash", "NaN"),
        ("--zone", "Mars/North"),
        ("--start", "noon"),
        ("--speed", "0"),
        ("--fault", "direction=out message=nothing action=drop"),
        ("--fault", "direction"),
    ],
    ids=" ".join,
)
async def test_an_option_that_cannot_be_is_a_usage_error(wrong: tuple[str, ...]) -> None:
    assert (await shell("serve", "--port", "0", "--control-port", "0", *wrong))[0] == 2


async def test_a_port_in_use_is_said_and_fails() -> None:
    async with program("serve") as sim:
        busy = str(sim.ready["port"])
        assert (await shell("serve", "--port", busy, "--control-port", "0"))[0] == 1
