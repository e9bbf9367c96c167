"""Where a daemon answers, and where its owner finds the token."""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path

from oms.clock import SystemClock
from oms.errors import MigrationNeeded, StoreError
from oms.store.backend import parse_url
from oms.store.reader import Reader


def owner_file(database_url: str) -> Path | None:
    """Return where the owner's token of a database stands; None where it is on a server."""
    url = parse_url(database_url)
    if url.get_backend_name() != "sqlite" or not url.database:
        return None
    database = Path(url.database)
    return database.with_name(f"{database.name}.owner")


async def daemon_answers(database_url: str) -> bool:
    """Say whether a daemon of a log answers other programs; False where there is no log yet."""
    try:
        reader = await Reader.open(database_url, checked=False)
    except (MigrationNeeded, StoreError):
        return False  # who opens it for writing says what is wrong
    try:
        return await where(database_url, reader) is not None
    finally:
        await reader.close()


async def where(database_url: str, reader: Reader) -> tuple[str, str] | None:
    """Return where the daemon of a log answers, and its owner's token; None where none does."""
    now, host = SystemClock().now(), socket.gethostname()
    path = owner_file(database_url)
    for lease in await reader.leases():
        if not lease.address or not (lease.held(now, host) or lease.is_alive(host)):
            continue
        with contextlib.suppress(OSError):
            if path is not None:
                return lease.address, path.read_text(encoding="ascii").strip()
    return None
