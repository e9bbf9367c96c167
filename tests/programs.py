"""Our programs as processes of their own, without a second of imports for each.

They are forks of one process that has imported everything; see `tests.fork_server`. A test whose
subject is how Python starts a program uses `asyncio.create_subprocess_exec` instead.
"""

from __future__ import annotations

import asyncio
import atexit
import functools
import json
import os
import signal
import socket
import subprocess
import sys
from asyncio.subprocess import DEVNULL, PIPE, STDOUT
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
#: The books of a thousand orders come in one line.
LINE_BYTES_MAX = 2**26
#: Windows cannot; there a program is started as a person would, and costs its imports.
CAN_FORK = hasattr(os, "fork") and hasattr(socket, "send_fds")


class Program:
    """A running program, with the parts of `asyncio.subprocess.Process` that tests use."""

    def __init__(
        self, pid: int, ended: asyncio.Future[int], out: _Pipe | _Stream, err: _Pipe | _Stream
    ) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self.stdout = out.reader
        self.stderr = err.reader
        self._ended = ended
        self._pipes = (out, err)
        ended.add_done_callback(self._set_code)

    def _set_code(self, ended: asyncio.Future[int]) -> None:
        if not ended.cancelled():
            self.returncode = ended.result()

    async def wait(self) -> int:
        """Return the exit status when the program has ended: 0 or more, or a signal's number below
        0.
        """
        code = await asyncio.shield(self._ended)
        for pipe in self._pipes:
            await pipe.closed.wait()
        return code

    async def communicate(self) -> tuple[bytes, bytes]:
        """Read both streams to their ends, and wait for the program's."""
        out, err, _ = await asyncio.gather(self.stdout.read(), self.stderr.read(), self.wait())
        return out, err

    def send_signal(self, number: int) -> None:
        """Send a signal, unless the program has ended."""
        if self.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask the program to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End the program at once."""
        self.send_signal(getattr(signal, "SIGKILL", signal.SIGTERM))


async def start(
    module: str,
    *words: str,
    folder: Path = ROOT,
    environment: Mapping[str, str] = os.environ,
    stderr: int = PIPE,
) -> Program:
    """Start `python -W error -m module words...`. Whoever starts a program waits for its end."""
    if not CAN_FORK:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-W", "error", "-m", module, *words),
            stdin=DEVNULL,
            stdout=PIPE,
            stderr=stderr,
            cwd=folder,
            env=environment,
            limit=LINE_BYTES_MAX,
        )
        ended = asyncio.ensure_future(process.wait())
        return Program(process.pid, ended, _Stream(process.stdout), _Stream(process.stderr))
    request = {
        "module": module,
        "words": words,
        "folder": str(folder),
        "environment": dict(environment),
    }
    ours, theirs = socket.socketpair()
    with ExitStack() as handed_over:
        handed_over.push(theirs)
        out = await _Pipe.open(handed_over)
        err = await _Pipe.open(handed_over)
        at = {PIPE: err.end, STDOUT: out.end, DEVNULL: os.open(os.devnull, os.O_WRONLY)}
        handed_over.callback(os.close, at[DEVNULL])
        text = json.dumps(request).encode() + b"\n"
        server = _server()
        sent = socket.send_fds(server, [text], [out.end, at[stderr], theirs.fileno()])
        server.sendall(text[sent:])
    line, hold = await asyncio.open_connection(sock=ours)
    pid = int(await line.readline())

    async def end() -> int:
        said = await line.readline()
        hold.close()
        await hold.wait_closed()
        return int(said)

    return Program(pid, asyncio.ensure_future(end()), out, err)


class _Stream:
    """A stream of a program that was not forked; an empty one where it is not read."""

    def __init__(self, reader: asyncio.StreamReader | None) -> None:
        self.reader = reader or asyncio.StreamReader()
        if reader is None:
            self.reader.feed_eof()
        self.closed = asyncio.Event()
        self.closed.set()


class _Pipe(asyncio.StreamReaderProtocol):
    """What a program writes into `end`."""

    def __init__(self) -> None:
        self.reader = asyncio.StreamReader(limit=LINE_BYTES_MAX)
        self.closed = asyncio.Event()
        self.end = -1
        super().__init__(self.reader)

    @classmethod
    async def open(cls, handed_over: ExitStack) -> _Pipe:
        beginning, end = os.pipe()
        handed_over.callback(os.close, end)
        loop = asyncio.get_running_loop()
        _, pipe = await loop.connect_read_pipe(cls, os.fdopen(beginning, "rb"))
        pipe.end = end
        return pipe

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.closed.set()


@functools.cache
def _server() -> socket.socket:
    """Start the process that forks, once; it ends with this one, however this one ends."""
    ours, theirs = socket.socketpair()
    with theirs:
        server = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "tests.fork_server", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            cwd=ROOT,
        )

    def stop() -> None:
        ours.close()
        server.wait()

    atexit.register(stop)
    return ours
