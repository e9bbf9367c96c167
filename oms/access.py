"""Who may ask the servers of this program: the pages, and the metrics of the daemon.

A server that answers to every name can be read by a foreign page in the operator's browser: it only
has to point a name of its own at the server's address (DNS rebinding). So a request must call the
server by a name that is its own. Beyond this machine it must also bring the password.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import ipaddress
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from oms.errors import ConfigurationError

#: Names under which this machine calls itself.
LOOPBACK_NAMES: Final = frozenset({"localhost", "127.0.0.1", "::1"})
#: Of a password that other machines can try.
PASSWORD_LENGTH_MIN: Final = 12


@dataclass(frozen=True, slots=True)
class Refusal:
    """The answer to a request that may not pass."""

    status: int
    text: str
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Access:
    """The names of a server, and its password; empty where it asks for none."""

    names: frozenset[str]
    #: Whether it listens on every address of this machine, so that each of them is its name.
    every_address: bool = False
    password: str = field(default="", repr=False)

    def refusal(self, host_header: str, authorization: str) -> Refusal | None:
        """Return the answer to a request that may not pass, else None."""
        name = host_name(host_header)
        # A number cannot be pointed elsewhere, so it is no danger.
        if name not in self.names and not (self.every_address and _is_address(name)):
            text = f"this server is not called {name!r}; OMS_WEB_HOSTS gives it more names\n"
            return Refusal(421, text)
        if self.password and not _matches(authorization, self.password):
            headers = {"www-authenticate": 'Basic realm="ib-oms", charset="UTF-8"'}
            return Refusal(401, "the password of OMS_WEB_PASSWORD is needed\n", headers)
        return None


def access_for(host: str, names: Sequence[str], password: str) -> Access:
    """Return the access to a server on an address; raises `ConfigurationError` where other machines
    could read it without a password.
    """
    if not is_loopback(host) and len(password) < PASSWORD_LENGTH_MIN:
        raise ConfigurationError(
            f"{host} can be reached from other machines, and OMS_WEB_PASSWORD has"
            f" {len(password) or 'no'} characters: it needs {PASSWORD_LENGTH_MIN} or more",
            hint="set OMS_WEB_PASSWORD in the environment, .env or oms.toml, or serve on 127.0.0.1"
            " and make a tunnel",
        )
    every_address = _is_address(host) and ipaddress.ip_address(host).is_unspecified
    own = {socket.gethostname().lower(), socket.getfqdn().lower()} if every_address else {host}
    given = {name.lower() for name in (*own, *names)}
    return Access(LOOPBACK_NAMES | given, every_address, password)


def is_loopback(host: str) -> bool:
    """Say whether a server on this address can be reached from this machine only."""
    if host.lower() == "localhost":
        return True
    return _is_address(host) and ipaddress.ip_address(host).is_loopback


def host_name(header: str) -> str:
    """Return a Host header without its port, an IPv6 address without its brackets."""
    if header.startswith("["):
        return header[1:].partition("]")[0].lower()
    return header.partition(":")[0].lower()


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _matches(authorization: str, password: str) -> bool:
    scheme, _, coded = authorization.partition(" ")
    try:
        given = base64.b64decode(coded, validate=True).partition(b":")[2]
    except (binascii.Error, ValueError):
        return False
    # The user's name says nothing here. In constant time, so that nobody measures the password.
    return scheme.lower() == "basic" and hmac.compare_digest(given, password.encode())
