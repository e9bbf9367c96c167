"""One attempt to connect: who answers at the other end, and whether it is the gateway we mean.

Only ib_async's low-level handshake is used: its own start-up requests fill a state that nothing
reads here.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import Any, Final, Literal, cast

import ib_async

from oms.broker.frames import PREFIX
from oms.broker.translate import NEWEST_VERSION, OLDEST_VERSION
from oms.core.admit.limits import is_paper
from oms.core.codes import meaning
from oms.core.events import NoticeReceived
from oms.errors import (
    ClientIdInUse,
    ConfigurationError,
    GatewayTooOld,
    IBConnectionError,
    LiveAccountRefused,
    OmsError,
)
from oms.telemetry import get_logger

#: Below it the gateway works, but leaves out fields that later ones send.
COMFORTABLE_VERSION: Final = 176
#: IB's code for a client id that another connection holds.
_CLIENT_ID_IN_USE: Final = 326

_log = get_logger("broker.session")


@dataclass(frozen=True, slots=True)
class ConnectionSettings:
    """Which gateway, and how patient we are with it."""

    host: str
    port: int
    client_id: int
    mode: Literal["paper", "live"] = "paper"
    #: Accounts that must be there; empty means all that the gateway manages.
    accounts: tuple[str, ...] = ()
    connect_timeout_seconds: float = 10
    probe_interval_seconds: float = 15
    probe_timeout_seconds: float = 5
    reconnect_delays_seconds: tuple[float, ...] = (1, 2, 4, 8, 16)
    reconnect_jitter_fraction: float = 0.2
    #: How long IB may be out of the gateway's reach before we try a new connection.
    gap_patience_seconds: float = 300
    #: IB may leave out answers to what is asked before its farms have reported; so we wait for the
    #: first report, but not longer than this.
    farm_timeout_seconds: float = 2

    @property
    def address(self) -> str:
        """Return host and port as people write them."""
        return f"{self.host}:{self.port}"


class Handshake:
    """One attempt, which hears from the socket until the session that it opens is over."""

    def __init__(self, settings: ConnectionSettings) -> None:
        self.server_version = 0
        self.connection_time = ""
        self._settings = settings
        self._is_greeted = False
        self._is_welcome = False
        self._refusal: OmsError | None = None
        self._over = asyncio.Event()
        self._farms_reported = asyncio.Event()

    async def run(self, ib: ib_async.IB) -> None:
        """Connect, and wait until the data farms have reported, or for as long as that may take.

        Raises `IBConnectionError` and its kinds, `LiveAccountRefused` and `ConfigurationError`; a
        socket may be open then.
        """
        settings, client = self._settings, cast(Any, ib.client)
        connecting = asyncio.ensure_future(
            # No time-outs of its own: it would wait out a refusal (326) to the end.
            client.connectAsync(settings.host, settings.port, settings.client_id, 0)
        )
        over = asyncio.ensure_future(self._over.wait())
        try:
            await asyncio.wait(
                {connecting, over},
                timeout=settings.connect_timeout_seconds,
                return_when=asyncio.FIRST_COMPLETED,
            )
            self._check(connecting, over)
            await self._wait_for_farms()
        finally:
            await _cancelled(connecting)
            await _cancelled(over)

    def hear_frame(self, frame: bytes) -> None:
        """Take a frame from the socket: the first one is the greeting, which never reaches
        ib_async's decoder: server version and connection time.
        """
        if self._is_greeted:
            return
        self._is_greeted = True
        fields = frame[PREFIX:].decode(errors="backslashreplace").split("\0")
        if len(fields) >= 2 and fields[0].isdecimal():
            self.server_version, self.connection_time = int(fields[0][:9]), fields[1]
        self._refuse(_objection_to_version(self.server_version))
        if self.server_version < COMFORTABLE_VERSION:
            _log.warning("gateway_is_old", server_version=self.server_version)

    def hear_nonsense(self, reason: str) -> None:
        """Take that what came is no message, or cannot be read."""
        self._refuse(IBConnectionError(f"what answers at {self._settings.address}: {reason}"))

    def welcomes(self, accounts: tuple[str, ...]) -> bool:
        """Say whether a session may be opened for the accounts that the gateway manages."""
        self._refuse(_objection_to_accounts(accounts, self._settings))
        self._is_welcome = self._refusal is None
        return self._is_welcome

    def hear_notice(self, notice: NoticeReceived) -> None:
        """Take a notice: a refusal of the attempt, or the report of a farm."""
        if notice.code == _CLIENT_ID_IN_USE and not self._is_welcome:
            client_id = self._settings.client_id
            self._refuse(ClientIdInUse(f"client id {client_id} is in use: {notice.text}"))
        elif meaning(notice.code).kind == "farm":
            self._farms_reported.set()

    def hear_loss(self) -> None:
        """Take the end of the connection: there is nothing more to wait for."""
        self._over.set()
        self._farms_reported.set()

    def _refuse(self, objection: OmsError | None) -> None:
        # The first objection is the one that `run` raises.
        if objection is not None and self._refusal is None:
            self._refusal = objection
            self._over.set()

    def _check(self, connecting: asyncio.Future[None], over: asyncio.Future[Any]) -> None:
        settings = self._settings
        if self._refusal is not None:
            raise self._refusal
        if connecting.done():
            _check_connected(connecting, settings)
        elif over.done():
            raise IBConnectionError(
                f"the gateway at {settings.address} closed the connection during the handshake"
            )
        else:
            raise IBConnectionError(
                f"the gateway at {settings.address} did not finish the handshake"
                f" within {settings.connect_timeout_seconds} seconds",
                hint="is a dialog or a login window open at the gateway?",
            )

    async def _wait_for_farms(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._settings.farm_timeout_seconds):
                await self._farms_reported.wait()


def _objection_to_version(version: int) -> OmsError | None:
    if version < OLDEST_VERSION:
        return GatewayTooOld(
            f"the gateway speaks version {version} of the protocol, at least {OLDEST_VERSION} is"
            " needed"
        )
    if version > NEWEST_VERSION:
        # ib_async does not check it, and would misread every message.
        return IBConnectionError(
            f"the gateway chose version {version} of the protocol, although {NEWEST_VERSION} was"
            " the highest on offer"
        )
    return None


def _objection_to_accounts(
    accounts: tuple[str, ...], settings: ConnectionSettings
) -> OmsError | None:
    live = [name for name in accounts if not is_paper(name)]
    if settings.mode == "paper" and live:
        return LiveAccountRefused(
            f"the gateway serves the live account {', '.join(live)} while the mode is paper"
        )
    missing = [name for name in settings.accounts if name not in accounts]
    if missing:
        return ConfigurationError(
            f"the gateway does not manage account {', '.join(missing)}; it manages"
            f" {', '.join(accounts)}"
        )
    return None


def _check_connected(connecting: asyncio.Future[None], settings: ConnectionSettings) -> None:
    error = connecting.exception()
    if isinstance(error, OSError):
        raise IBConnectionError(
            f"nothing listens at {settings.address} ({error.strerror or error})"
        ) from error
    if error is not None:
        raise IBConnectionError(f"the handshake failed: {error!r}") from error


async def _cancelled(task: asyncio.Future[Any]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError, Exception):
        await task
