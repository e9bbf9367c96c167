"""Serving the pages until they are stopped."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable
from datetime import datetime
from typing import Final

import uvicorn

from oms.errors import ConfigurationError
from oms.settings import Settings
from oms.web.app import create_app

#: Names under which this machine calls itself.
LOOPBACK_NAMES: Final = frozenset({"localhost", "127.0.0.1", "::1"})


def serve(
    settings: Settings,
    *,
    host: str,
    port: int,
    now: Callable[[], datetime],
    ready: Callable[[str], None],
) -> None:
    """Serve the pages until SIGINT or SIGTERM; `ready` is told the address.

    Port 0 takes a free one. Raises `ConfigurationError` where the port cannot be had.
    """
    listening = _listen(host, port)
    hosts = LOOPBACK_NAMES | {host.lower()} if is_loopback(host) else None
    config = uvicorn.Config(
        create_app(settings, now=now, hosts=hosts),
        # Program messages are set up by the caller; the library's own would go elsewhere.
        log_config=None,
        access_log=False,
        server_header=False,
        # No answer depends on who asks, so headers that name the asker are not read.
        proxy_headers=False,
        lifespan="off",
    )
    with listening:
        ready(_address(listening))
        uvicorn.Server(config).run(sockets=[listening])


def is_loopback(host: str) -> bool:
    """Say whether a server on this address can be reached from this machine only."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise ConfigurationError(
            f"the pages cannot be served on {host}:{port}: {reason}",
            hint="choose a free port with --port, or 0 for any; --host takes an address of this "
            "machine",
        ) from error


def _address(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"
