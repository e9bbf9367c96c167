"""The command line as a person or a script uses it: a process, its two streams and its status."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests import programs

#: A verb that takes longer than this hangs.
DEADLINE_SECONDS = 60


@dataclass(frozen=True)
class Said:
    """What a verb wrote and how it ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Return the one JSON value on standard output."""
        return json.loads(self.out)


@dataclass(frozen=True)
class Shell:
    """Runs verbs in a folder, with settings in the environment and nothing else of the tester's."""

    folder: Path
    settings: dict[str, str]

    async def oms(self, *words: str, expect: int = 0) -> Said:
        """Run a verb; a status that is not the expected one fails the test with what it said."""
        said = await self.run(*words)
        assert said.code == expect, f"oms {' '.join(words)}: {said}"
        return said

    async def run(self, *words: str) -> Said:
        """Run a verb to its end, however it ends; a traceback fails the test."""
        program = await self.start(*words)
        async with asyncio.timeout(DEADLINE_SECONDS):
            out, err = await program.communicate()
        assert program.returncode is not None
        said = Said(program.returncode, out.decode(), err.decode())
        assert "Traceback" not in said.err, said.err
        return said

    async def start(self, *words: str) -> programs.Program:
        """Start a verb and let it run."""
        environment = {**_environment(), **self.settings}
        return await programs.start("oms.cli", *words, folder=self.folder, environment=environment)


@contextmanager
def closed_port() -> Iterator[int]:
    """Give a port on which nobody listens, and can, for as long as the block lasts."""
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def _environment() -> dict[str, str]:
    # The width of whatever terminal the tests run in must not decide what a pipe is given.
    return {name: value for name, value in os.environ.items() if name != "COLUMNS"}
