"""Where the service listens, and the thread that answers.

One address: loopback unless the settings say otherwise, a free port unless they name one. The lease
of the daemon says where it is. Beside a database file stands the owner's token, made anew with each
start and readable by the owner of the file alone: who can read it could as well change the file.
"""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import os
import secrets
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import uvicorn

from oms.access import Access, access_for
from oms.api.app import Application
from oms.api.places import owner_file
from oms.api.rights import GRANTS, Gatekeeper
from oms.api.service import Service
from oms.api.stream import Bell
from oms.errors import ConfigurationError
from oms.files import whole_file
from oms.service.subsystem import Oms
from oms.settings import Settings
from oms.store.reader import Reader
from oms.store.writer import Committed
from oms.telemetry import get_logger

log = get_logger("api")

_START_SECONDS_MAX: Final = 30.0


@dataclass(frozen=True, slots=True)
class Listening:
    """An address that is taken, on which nobody answers yet."""

    socket: socket.socket
    access: Access

    @property
    def address(self) -> str:
        """Return it as a program calls it."""
        host, port = self.socket.getsockname()[:2]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


@contextmanager
def listening(settings: Settings) -> Iterator[Listening]:
    """Take the address of the settings; raises `ConfigurationError` where it cannot be had."""
    host, port = settings.api_host, settings.api_port
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Tokens are asked for everywhere; the names are what a browser must not be led around.
    access = access_for(host, settings.web_hosts, "tokens are asked for")
    taken = socket.socket(family)
    try:
        if os.name == "posix":
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Not listened on before there is an answer: a program that calls earlier is refused, and
        # asks again when the books are compared.
        taken.bind((host, port))
    except (OSError, OverflowError) as error:
        taken.close()
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise ConfigurationError(
            f"the service cannot be offered on {host}:{port}: {reason}",
            hint="set OMS_API_PORT to a free port, to 0 for any, or OMS_API=false for none",
        ) from error
    with taken:
        yield Listening(taken, Access(access.names, access.every_address))


@asynccontextmanager
async def serving(place: Listening, oms: Oms) -> AsyncIterator[None]:
    """Answer while the block lasts."""
    secret = secrets.token_urlsafe(32)
    thread = _Thread(place, oms, secret)
    try:
        await asyncio.to_thread(thread.start)
        with _kept(secret, owner_file(oms.settings.database_url)):
            log.info("api_ready", address=place.address)
            yield
    finally:
        await asyncio.to_thread(thread.stop)


@contextmanager
def _kept(secret: str, path: Path | None) -> Iterator[None]:
    if path is None:
        yield
        return
    with whole_file(path) as file:
        file.write(f"{secret}\n".encode())
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            # A successor's is not ours.
            if path.read_text(encoding="ascii").strip() == secret:
                path.unlink()


class _Thread:
    """The thread that answers, with a loop of its own."""

    def __init__(self, place: Listening, oms: Oms, secret: str) -> None:
        self._place = place
        self._oms = oms
        self._daemon = asyncio.get_running_loop()
        self._gate = Gatekeeper(
            secret=secret,
            owner=f"person:{_login()}",
            per_minute=oms.settings.api_requests_per_minute_max,
        )
        self._bell = Bell()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._server: uvicorn.Server | None = None
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="oms-api", daemon=True)
        self._error: BaseException | None = None
        #: What was committed before the grants were read.
        self._missed: list[Committed] | None = []

    def start(self) -> None:
        """Return once requests are answered; raises what stands in the way."""
        self._thread.start()
        is_ready = self._ready.wait(_START_SECONDS_MAX)
        if self._error is not None:
            raise self._error
        if not is_ready:
            raise ConfigurationError(
                f"the service did not begin to answer within {_START_SECONDS_MAX:g} s",
                hint="start again, or with OMS_API=false to do without it",
            )

    def stop(self) -> None:
        """Let what is being answered end, and return when nothing is."""
        if self._server is not None and self._loop is not None:
            self._server.should_exit = True
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._bell.ring)
        self._thread.join()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:  # noqa: BLE001  # said where the thread was started
            self._error = error
            log.error("api_failed", reason=str(error), error=type(error).__name__)
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        oms = self._oms
        self._loop = loop = asyncio.get_running_loop()

        def heard(committed: Committed) -> None:
            """Hear of a commit, on the daemon's loop."""
            with contextlib.suppress(RuntimeError):  # the service has ended
                loop.call_soon_threadsafe(self._heard, committed)

        reader = await Reader.open(oms.settings.database_url, checked=False)
        unsubscribe = oms.log.subscribe(heard)
        try:
            self._gate.note(await reader.envelopes(await reader.sequences_correlated(GRANTS)))
            missed, self._missed = self._missed or [], None
            for committed in missed:
                self._heard(committed)
            service = Service(
                manager=oms.manager,
                loop=self._daemon,
                reader=reader,
                settings=oms.settings,
                clock=oms.clock,
            )
            application = Application(
                service,
                reader=reader,
                gate=self._gate,
                bell=self._bell,
                access=self._place.access,
                clock=oms.clock,
            )
            config = uvicorn.Config(
                application.asgi(),
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                lifespan="off",
                ws="websockets-sansio",
                timeout_graceful_shutdown=2,
            )
            self._server = _Quiet(config, self._ready)

            await self._server.serve(sockets=[self._place.socket])
        finally:
            unsubscribe()
            await reader.close()

    def _heard(self, committed: Committed) -> None:
        if self._missed is not None:
            self._missed.append(committed)
            return
        self._gate.note(committed.envelopes)
        self._bell.ring()


class _Quiet(uvicorn.Server):
    """A server that leaves signals to the daemon, and says when it answers."""

    def __init__(self, config: uvicorn.Config, ready: threading.Event) -> None:
        super().__init__(config)
        self._ready = ready

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave them as they are."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to answer."""
        await super().startup(sockets)
        self._ready.set()


def _login() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}" if hasattr(os, "getuid") else "unknown"
