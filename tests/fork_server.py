"""Starts our programs by a fork of one process that has imported everything already.

A verb is a process with its own streams, folder, environment and status, and most of what it costs
is a second of imports. Here they are paid once for many programs. `tests.programs` starts this
process and is the other end of its socket:

- A request is one JSON object, with three descriptors beside it: the program's stdout, its stderr,
  and a line on which its process id and, when it has ended, its exit status are written.
- A program whose line is closed at the other end is killed, and all are when the socket of the
  requests is closed. Both happen by themselves when the tests are killed: no program outlives them.

Nothing here runs in a thread, so a fork leaves nothing half-done behind.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import pkgutil
import runpy
import selectors
import signal
import socket
import sys
import threading
import time
from dataclasses import dataclass
from typing import Final, NoReturn

#: A request holds the whole environment, and stays far below.
REQUEST_BYTES_MAX: Final = 2**18
#: What is imported only where it is used.
_LATE: Final = (
    *("alembic.command", "httpx", "rich.progress", "rich.status", "rich.table", "uvicorn"),
    *("tests.crash.child", "tests.conformance.appender"),
)


@dataclass(frozen=True)
class Program:
    """What a forked process runs, and its standard output and error."""

    module: str
    words: list[str]
    folder: str
    environment: dict[str, str]
    out: int
    err: int

    def take_over(self) -> None:
        """Make this process look as if it had been started for the program."""
        nothing = os.open(os.devnull, os.O_RDONLY)
        for descriptor, number in ((nothing, 0), (self.out, 1), (self.err, 2)):
            os.dup2(descriptor, number)
            os.close(descriptor)
        sys.stdin = sys.__stdin__ = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
        sys.stdout = sys.__stdout__ = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
        sys.stderr = sys.__stderr__ = open(  # noqa: SIM115
            2, "w", encoding="utf-8", errors="backslashreplace", buffering=1, closefd=False
        )
        os.chdir(self.folder)
        os.environ.clear()
        os.environ.update(self.environment)
        time.tzset()
        sys.argv = [self.module, *self.words]


class Server:
    """Forks a process for each request."""

    def __init__(self, requests: socket.socket) -> None:
        self._requests = requests
        self._awake, self._wake = socket.socketpair()
        self._wake.setblocking(False)
        self._selector = selectors.DefaultSelector()
        #: The lines of the programs that have not ended, by process id.
        self._lines: dict[int, socket.socket] = {}

    def serve(self) -> Program | None:
        """Return in each forked process with its program, and here when nobody can ask any more."""
        signal.set_wakeup_fd(self._wake.fileno())
        signal.signal(signal.SIGCHLD, lambda *_: None)
        # Ctrl-C is for the tests; the programs end with them.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self._selector.register(self._requests, selectors.EVENT_READ)
        self._selector.register(self._awake, selectors.EVENT_READ)
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._awake:
                    self._awake.recv(4096)
                    self._reap()
                elif key.fileobj is not self._requests:
                    self._abandon(key.data)
                elif (request := _receive(self._requests)) is None:
                    for process_id in self._lines:
                        os.kill(process_id, signal.SIGKILL)
                    self._close()
                    return None
                elif self._fork(*request):
                    return request[0]

    def _fork(self, program: Program, line: socket.socket) -> bool:
        """Return True in the new process."""
        assert threading.active_count() == 1
        process_id = os.fork()
        if process_id:
            os.close(program.out)
            os.close(program.err)
            self._lines[process_id] = line
            self._selector.register(line, selectors.EVENT_READ, process_id)
            _say(line, process_id)
            return False
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        line.close()
        self._close()
        return True

    def _close(self) -> None:
        self._selector.close()
        for one in (self._requests, self._awake, self._wake, *self._lines.values()):
            one.close()

    def _reap(self) -> None:
        """Say how programs ended."""
        while self._lines:
            process_id, status = os.waitpid(-1, os.WNOHANG)
            if not process_id:
                break
            line = self._lines.pop(process_id)
            _say(line, os.waitstatus_to_exitcode(status))
            if line in self._selector.get_map():
                self._selector.unregister(line)
            line.close()

    def _abandon(self, process_id: int) -> None:
        """End a program that nobody waits for."""
        self._selector.unregister(self._lines[process_id])
        os.kill(process_id, signal.SIGKILL)


def _receive(requests: socket.socket) -> tuple[Program, socket.socket] | None:
    text, descriptors, _, _ = socket.recv_fds(requests, REQUEST_BYTES_MAX, 3)
    while text and not text.endswith(b"\n"):
        text += requests.recv(REQUEST_BYTES_MAX)
    if not text:
        return None
    out, err, line = descriptors
    return Program(**json.loads(text), out=out, err=err), socket.socket(fileno=line)


def _say(line: socket.socket, number: int) -> None:
    with contextlib.suppress(OSError):  # who asked may be gone
        line.sendall(b"%d\n" % number)


def import_everything() -> None:
    """Import what the programs need, wherever they import it."""
    package = importlib.import_module("oms")
    for module in pkgutil.walk_packages(package.__path__, "oms."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    for name in _LATE:
        importlib.import_module(name)
    # What is here stays; a collection in a forked process need not look at it, and copy its pages.
    gc.freeze()


def run(program: Program) -> NoReturn:
    """Run a program as `python -m` does; what Python does after it costs as much as a verb."""
    code: int | str | None = 0
    # It was imported with the others, and is to run as if it had not been.
    sys.modules.pop(program.module, None)
    try:
        runpy.run_module(program.module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        code = end.code
    except BaseException:  # noqa: BLE001 - so does Python
        sys.excepthook(*sys.exc_info())
        code = 1
    if isinstance(code, str):
        sys.stderr.write(f"{code}\n")
        code = 1
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join()
    # What was left open says so on stderr.
    gc.collect()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code or 0)


def main() -> None:
    """Serve the socket whose descriptor is the first argument."""
    import_everything()
    with socket.socket(fileno=int(sys.argv[1])) as requests:
        program = Server(requests).serve()
    if program is not None:
        program.take_over()
        run(program)


if __name__ == "__main__":
    main()
