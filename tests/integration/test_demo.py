"""`oms demo`: it ends with equal books, says so only then, and survives being killed anywhere."""

from __future__ import annotations

import asyncio
import random
import re
import sqlite3
from asyncio.subprocess import STDOUT
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest

from oms.cli.demo.plot import Plot
from tests import programs

pytestmark = pytest.mark.slow
DEADLINE_SECONDS = 120
#: Lines that a whole demo prints, and some to spare on the short side.
LINES = 200


@pytest.mark.long
@pytest.mark.parametrize("number", [1, 2])
async def test_demo_plays_six_steps_and_ends_with_equal_books(tmp_path: Path, number: int) -> None:
    """Odd seeds tell of an order that arrived, even ones of an order that did not."""
    code, out = await demo(tmp_path, number)
    assert code == 0, out
    assert re.findall(r"^── (\d)\. ", out, re.MULTILINE) == list("123456")
    assert out.rstrip().endswith("The books are equal.")
    arrived = {"1": "It is FILLED now", "2": "It is NOT_SENT now"}[str(number)]
    assert arrived in " ".join(out.split())
    page = re.search(r"^(.*reports.*\.html)$", out, re.MULTILINE)
    assert page is not None
    assert await asyncio.to_thread(Path(page.group(1)).is_file)


@pytest.mark.long
async def test_demo_tells_the_same_story_for_the_same_seed(tmp_path: Path) -> None:
    (one, first), (two, second) = await asyncio.gather(
        demo(tmp_path, 3, "--directory", "one"), demo(tmp_path, 3, "--directory", "two")
    )
    assert (one, two) == (0, 0), f"{first}\n{second}"
    assert told(first) == told(second)


def test_seeds_tell_different_stories() -> None:
    assert len({Plot.of(number) for number in range(50)}) == 50


def told(out: str) -> list[str]:
    """Return what a demo did: the verbs with their quantities and prices."""
    return [line for line in out.splitlines() if line.startswith("$ oms") and " show " not in line]


@pytest.mark.crash
@pytest.mark.parametrize("draw", [0, *(pytest.param(n, marks=pytest.mark.long) for n in (1, 2))])
async def test_demo_killed_anywhere_ends_with_equal_books_when_it_is_run_again(
    tmp_path: Path, seed: int, draw: int
) -> None:
    """The moment is a line of its output, drawn from the seed; the second run keeps the files."""
    dice = random.Random(f"{seed}:{draw}")
    last = dice.randrange(1, LINES)
    async with started(tmp_path, 1 + draw) as program:
        async with asyncio.timeout(DEADLINE_SECONDS):
            for _ in range(last):
                if not await program.stdout.readline():
                    break
        program.kill()
        await program.wait()
    code, out = await demo(tmp_path, 1 + draw, "--keep")
    assert code == 0, f"killed after line {last}\n{out}"


@pytest.mark.long
async def test_demo_fails_when_the_books_differ(tmp_path: Path) -> None:
    """A fill that the OMS does not know of, put into the simulator's file between two runs."""
    assert (await demo(tmp_path, 2))[0] == 0
    with closing(sqlite3.connect(tmp_path / "demo" / "gateway.sqlite")) as books, books:
        # Of a day that IB does not answer for any more, so that no comparison can find it.
        books.execute(
            "INSERT INTO executions (exec_id, perm_id, account, con_id, at, body)"
            " SELECT 'x.1.01', perm_id, account, con_id, 0, replace(body, exec_id, 'x.1.01')"
            " FROM executions LIMIT 1"
        )
    code, out = await demo(tmp_path, 2, "--keep")
    assert code == 1
    assert re.search(r"^FAILED +nothing_lost", out, re.MULTILINE)
    assert out.rstrip().endswith("THE BOOKS DIFFER; see above.")


# ── the programs ─────────────────────────────────────────────────────────────────────────────────


async def demo(folder: Path, number: int, *options: str) -> tuple[int | None, str]:
    """Run a demo to its end; returns its status and all that it wrote."""
    async with started(folder, number, *options) as program, asyncio.timeout(DEADLINE_SECONDS):
        out, _ = await program.communicate()
    return program.returncode, out.decode()


@asynccontextmanager
async def started(folder: Path, number: int, *options: str) -> AsyncIterator[programs.Program]:
    words = ("demo", "--seed", str(number), "--directory", "demo", *options)
    program = await programs.start("oms.cli", *words, folder=folder, stderr=STDOUT)
    try:
        yield program
    finally:
        program.kill()
        await program.wait()
