"""Who answered at the other end: the gateway's greeting, and whether it is the one we mean."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final, Literal

from oms.broker.translate import NEWEST_VERSION, OLDEST_VERSION
from oms.core.admit.limits import is_paper
from oms.errors import (
    ConfigurationError,
    GatewayTooOld,
    IBConnectionError,
    LiveAccountRefused,
    OmsError,
)

#: Below it the gateway works, but leaves out fields that later ones send.
COMFORTABLE_VERSION: Final = 176
#: Bytes of the length before every frame.
_PREFIX: Final = 4


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


class Greeting:
    """Reads the gateway's first frame, which never reaches ib_async's decoder: server version and
    connection time.
    """

    def __init__(self) -> None:
        self.is_complete = False
        self.server_version = 0
        self.connection_time = ""
        self._bytes = b""

    def feed(self, received: bytes) -> None:
        """Take the next bytes of the connection; those after the frame are of no interest."""
        self._bytes += received
        if len(self._bytes) < _PREFIX:
            return
        (length,) = struct.unpack(">I", self._bytes[:_PREFIX])
        frame = self._bytes[_PREFIX : _PREFIX + length]
        if len(frame) < length:
            return
        self.is_complete = True
        self._bytes = b""
        fields = frame.decode(errors="backslashreplace").split("\0")
        if len(fields) >= 2 and fields[0].isdigit():
            self.server_version, self.connection_time = int(fields[0]), fields[1]


def objection_to_version(version: int) -> OmsError | None:
    """Return why we do not talk to a gateway of this version, or None."""
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


def objection_to_accounts(
    accounts: tuple[str, ...], settings: ConnectionSettings
) -> OmsError | None:
    """Return why we do not trade for these accounts, or None."""
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
