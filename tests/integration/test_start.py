"""A new user who types what the start page and the README show gets there."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
from asyncio.subprocess import STDOUT
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests import programs

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]
DEADLINE_SECONDS = 60
#: Programs that a page starts in a terminal of its own, and the option that gives them free ports.
TERMINALS = {("oms-sim", "serve"): ("--port", "0", "--control-port", "0"), ("oms", "run"): ()}
#: Program -> module; another line is `python -m module`.
MODULES = {"oms": "oms.cli", "oms-sim": "oms.sim"}


@dataclass(frozen=True)
class Line:
    """One line of a shell block, and the status with which the page says that it ends."""

    words: tuple[str, ...]
    status: int


def lines(text: str) -> list[Line]:
    """Return what a page lets its reader type, in order; `$` lines of a session count as well."""
    blocks = re.findall(r"^```(sh|console)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    found = []
    for kind, block in blocks:
        for line in block.splitlines():
            if kind == "console" and not line.startswith("$ "):
                continue
            typed, _, comment = line.removeprefix("$ ").partition("  #")
            status = re.search(r"ends with status (\d)", comment)
            found.append(Line(tuple(shlex.split(typed)), int(status[1]) if status else 0))
    return [line for line in found if line.words and not is_installation(line)]


def is_installation(line: Line) -> bool:
    """Say whether a line makes the environment; `.ci/run` proves those."""
    return ".venv" in " ".join(line.words)


@pytest.mark.long
async def test_everything_on_the_start_page_can_be_typed(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "start.md").read_text(encoding="utf-8")
    typed = lines(text)
    assert {(line.words[0], line.words[1]) for line in typed} >= set(TERMINALS)
    async with desk(tmp_path) as terminal:
        for line in typed:
            await terminal.type(line)


async def test_the_session_of_the_readme_can_be_typed(tmp_path: Path) -> None:
    typed = lines((ROOT / "README.md").read_text(encoding="utf-8"))
    assert len(typed) >= 6
    async with desk(tmp_path) as terminal:
        for program in TERMINALS:
            await terminal.type(Line(program, 0))
        for line in typed:
            await terminal.type(line)


@asynccontextmanager
async def desk(folder: Path) -> AsyncIterator[Terminal]:
    async with AsyncExitStack() as stack:
        yield Terminal(folder, stack)


class Terminal:
    """Types lines in one folder, and lets the programs of other terminals run beside."""

    def __init__(self, folder: Path, stack: AsyncExitStack) -> None:
        self._folder = folder
        self._stack = stack
        self._environment = {**os.environ, "PYTHONIOENCODING": "utf-8"}
        self._control_port = ""

    async def type(self, line: Line) -> None:
        """Type a line; one that ends otherwise than the page says fails the test."""
        if line.words[:2] in TERMINALS:
            await self._open(line)
            return
        program = await self._start(line.words)
        async with asyncio.timeout(DEADLINE_SECONDS):
            out, _ = await program.communicate()
        assert program.returncode == line.status, f"{line}:\n{out.decode()}"

    async def _open(self, line: Line) -> None:
        program = await self._start((*line.words, *TERMINALS[line.words[:2]]))
        self._stack.push_async_callback(_end, program)
        # The simulator says on standard output that it is ready, the daemon in its messages.
        mark = b'"ready"' if line.words[0] == "oms-sim" else b"reconciliation_completed"
        async with asyncio.timeout(DEADLINE_SECONDS):
            while mark not in (said := await program.stdout.readline()):
                assert said, f"{line} ended"
        if line.words[0] == "oms-sim":
            ports = json.loads(said)
            self._environment["OMS_PORT"] = str(ports["port"])
            self._control_port = str(ports["control_port"])

    async def _start(self, words: tuple[str, ...]) -> programs.Program:
        # The ports of the page may be in use on this machine.
        words = tuple(self._control_port if word == "4003" else word for word in words)
        if words[:2] == ("oms-sim", "do"):
            words += ("--control-port", self._control_port)
        module, *rest = (MODULES[words[0]], *words[1:]) if words[0] in MODULES else words[2:]
        return await programs.start(
            module, *rest, folder=self._folder, environment=self._environment, stderr=STDOUT
        )


async def _end(program: programs.Program) -> None:
    program.terminate()
    # What it still has to say must not fill the pipe and keep it from ending.
    await program.communicate()
