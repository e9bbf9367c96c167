"""The one place where the version is written; hatch reads it for the distribution."""

from __future__ import annotations

from functools import cache
from importlib.metadata import version
from platform import platform, python_version

__version__ = "0.1.0"

#: Libraries that decide what the program does.
_LIBRARIES = ("ib_async", "SQLAlchemy", "msgspec", "pydantic", "cryptography")


@cache
def libraries() -> dict[str, str]:
    """Return the versions of the libraries that decide what the program does.

    Read once: the metadata of a package are parsed as mail, 7 ms each.
    """
    return {name: version(name) for name in _LIBRARIES}


def parts() -> dict[str, str]:
    """Return the versions of all that the program runs on."""
    return {"python": python_version(), "system": platform(), **libraries()}
