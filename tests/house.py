"""Who may import whom, held by `tests/unit/test_architecture.py` and shown in
`docs/internals/imports.md`.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Allowed:
    """What a room may import: rooms of `oms`, and packages of others."""

    rooms: frozenset[str]
    packages: frozenset[str]


def allowed(rooms: str = "", packages: str = "") -> Allowed:
    return Allowed(frozenset(rooms.split()), frozenset(packages.split()))


FOUNDATION = "core errors clock telemetry"
EVERYTHING = f"{FOUNDATION} settings store verify evidence history service report web"

#: Who may import whom; anything else is forbidden. A room may always import itself.
HOUSE = {
    "_version": allowed(),
    "errors": allowed(),
    "clock": allowed(),
    "core": allowed("errors", "msgspec pydantic pydantic_core"),
    "settings": allowed(
        "errors core.bounds core.money core.admit.limits core.resets",
        "pydantic pydantic_settings annotated_types",
    ),
    # Files for people, written whole: reports, statements.
    "files": allowed(),
    # Who may ask a server of ours: the pages and the daemon's metrics hold the same rule.
    "access": allowed("errors"),
    "telemetry": allowed("access errors core.money core.shown", "structlog prometheus_client"),
    # Texts of events that the database has no more stand in Parquet files.
    "store": allowed(f"{FOUNDATION} files", "sqlalchemy alembic pyarrow"),
    "broker": allowed(FOUNDATION, "ib_async"),
    # Alone, because it judges the others: an auditor copies this one file.
    "verify": allowed("", "cryptography pyarrow"),
    "evidence": allowed("core errors clock store verify", "cryptography rfc3161_client"),
    "service": allowed(
        f"{FOUNDATION} access files settings store broker evidence history _version"
    ),
    "report": allowed("core", "jinja2 markupsafe rich"),
    # Questions about the past; what makes them fast stands beside the log.
    "history": allowed(
        "core errors clock store report verify evidence files _version", "pydantic_core pyarrow"
    ),
    # Beside serving, it renders: pages as report does, and metrics in Prometheus' own text.
    "web": allowed(
        "access store core history report settings telemetry errors clock",
        "starlette uvicorn jinja2 markupsafe prometheus_client",
    ),
    # The service for other programs, in a thread of the daemon.
    "api": allowed(
        "access files core store history report service settings telemetry errors clock _version"
        " broker.feed",
        "starlette uvicorn pydantic msgspec websockets httpx",
    ),
    "cli": allowed(f"{EVERYTHING} access api files _version", "typer rich click"),
    "sim": allowed(),
    # The front door: it only re-exports.
    "": allowed(f"{EVERYTHING} api _version"),
}

#: Rooms inside a room, and which of their neighbours each may import. Modules that stand beside
#: them are the hall: open to all of them.
INNER_ROOMS = {
    "core.events": allowed(),
    "core.fold": allowed("core.events"),
    "core.compare": allowed("core.events core.fold"),
    "core.admit": allowed("core.events core.fold"),
    "sim.protocol": allowed(),
    "sim.broker": allowed("sim.protocol"),
    "sim.gateway": allowed("sim.protocol sim.broker"),
    "sim.script": allowed("sim.protocol sim.broker sim.gateway"),
    "sim.broker.exchange": allowed(),
    "sim.broker.books": allowed("sim.broker.exchange"),
    "sim.broker.rules": allowed("sim.broker.exchange sim.broker.books"),
    "sim.broker.accounts": allowed("sim.broker.exchange sim.broker.books"),
}
