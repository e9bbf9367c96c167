"""Serving the pages until they are stopped."""

from __future__ import annotations

import socket
from collections.abc import Callable
from datetime import datetime

import uvicorn

from oms.access import access_for
from oms.errors import ConfigurationError
from oms.settings import Settings
from oms.web.app import create_app


def serve(
    settings: Settings,
    *,
    host: str,
    port: int,
    now: Callable[[], datetime],
    ready: Callable[[str], None],
) -> None:
    """Serve the pages until SIGINT or SIGTERM; `ready` is told the address.

    Port 0 takes a free one. Raises `ConfigurationError` where the port cannot be had,
    and where other machines could read the pages without a password.
    """
    access = access_for(host, settings.web_hosts, settings.web_password.get_secret_value())
    listening = _listen(host, port)
    config = uvicorn.Config(
        create_app(settings, now=now, access=access),
        # Program messages are set up by the caller; the library's own would go elsewhere.
        log_config=None,
        access_log=False,
        server_header=False,
        # Nothing depends on where a request comes from, so headers that say so are not read.
        proxy_headers=False,
        lifespan="off",
    )
    with listening:
        ready(_address(listening))
        uvicorn.Server(config).run(sockets=[listening])


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
