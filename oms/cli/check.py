"""The verb `check`: can the daemon start here, and what prevents it."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Final

import typer

from oms.cli.context import settings_of
from oms.cli.options import AsJson
from oms.cli.output import print_json
from oms.cli.reading import perform
from oms.cli.terminal import show, table
from oms.clock import SystemClock
from oms.errors import ConfigurationError, IBConnectionError, MigrationNeeded, OmsError
from oms.settings import Settings
from oms.store import lease as leases
from oms.store import schema
from oms.store.audit import verify
from oms.store.backend import connect, parse_url
from oms.store.loss import refuse_loss
from oms.store.reader import Reader

app = typer.Typer()

#: Events of the log's end whose hashes are checked; `oms verify` checks all.
TAIL_EVENTS: Final = 1_000

#: How far the log may seem to be ahead of this machine's clock.
CLOCK_SLACK_SECONDS: Final = 2.0

_CONNECT_SECONDS: Final = 3.0


@dataclass(frozen=True, slots=True)
class Inspection:
    """One thing that was looked at."""

    name: str
    ok: bool
    text: str
    hint: str = ""
    exit_code: int = 0


@app.command()
def check(context: typer.Context, as_json: AsJson = False) -> None:
    """Test everything that the daemon needs: settings, database, log, lease, gateway, clock.

    Nothing is changed. The gateway gets one connection, which is closed at once. The exit status is
    that of the first test that failed.

    \b
    ok       as it should be
    FAILED   what is wrong, and what to do

    \b
    oms check
    oms check --json
    """
    findings = list(_inspections(context))
    if as_json:
        print_json(
            "check",
            ok=all(one.ok for one in findings),
            checks=[
                {"name": one.name, "ok": one.ok, "text": one.text, "hint": one.hint}
                for one in findings
            ],
        )
    else:
        made = table("", "what", "how it is", wrap=("how it is",))
        for one in findings:
            words = f"{one.text}\nhint: {one.hint}" if one.hint else one.text
            made.add_row("ok" if one.ok else "FAILED", one.name, words)
        show(made)
    failed = [one for one in findings if not one.ok]
    if failed:
        raise typer.Exit(failed[0].exit_code)


def _inspections(context: typer.Context) -> Iterator[Inspection]:
    try:
        settings = settings_of(context)
    except OmsError as error:
        yield _failed("settings", error)
        return
    mode, client = settings.mode, settings.client_id
    yield Inspection(
        "settings", True, f"{mode} account, client id {client}; `oms settings` has all"
    )
    yield _look("database", _database, settings)
    yield _look("log", _log, settings)
    yield _look("daemon", _daemon, settings)
    yield _look("gateway", _gateway, settings)
    yield _look("clock", _clock, settings)


def _look(name: str, look: Callable[[Settings], str], settings: Settings) -> Inspection:
    try:
        return Inspection(name, True, look(settings))
    except OmsError as error:
        return _failed(name, error)


def _failed(name: str, error: OmsError) -> Inspection:
    return Inspection(name, False, error.message, error.hint, error.exit_code)


def _database(settings: Settings) -> str:
    try:
        schema.check_current(settings.database_url)
    except MigrationNeeded as error:
        if schema.current(settings.database_url) is None:
            refuse_loss(settings.database_url)
            return "empty; `oms run` makes its tables"
        raise error
    return f"revision {schema.HEAD}"


def _log(settings: Settings) -> str:
    if _is_empty(settings):
        return "empty"

    async def head() -> int:
        reader = await Reader.open(settings.database_url)
        try:
            return (await reader.head()).sequence
        finally:
            await reader.close()

    last = perform(head())
    result = verify(settings.database_url, from_sequence=max(last - TAIL_EVENTS + 1, 1))
    return f"{last:,} events, the last {result.events:,} hold; `oms verify` checks all"


def _daemon(settings: Settings) -> str:
    if _is_empty(settings):
        return "none has run here yet"
    now, host = SystemClock().now(), socket.gethostname()
    with closing(connect(parse_url(settings.database_url), "read")) as connection:
        found = leases.read_all(connection)
    held = [one for one in found if one.held(now, host)]
    silent = next((one for one in found if one.is_alive(host)), None)
    if not held and silent is not None:
        return f"process {silent.process_id} runs and writes nothing: `oms status` says more"
    if not held:
        return "not running"
    return "; ".join(f"{one.name} runs on {one.host}, process {one.process_id}" for one in held)


def _gateway(settings: Settings) -> str:
    address = (settings.host, settings.port)
    try:
        with socket.create_connection(address, timeout=_CONNECT_SECONDS):
            return f"{settings.host}:{settings.port} takes connections"
    except OSError as error:
        raise IBConnectionError(
            f"{settings.host}:{settings.port}: {error.strerror or error}"
        ) from error


def _clock(settings: Settings) -> str:
    now = SystemClock().now()
    if _is_empty(settings):
        return f"{now:%Y-%m-%d %H:%M:%S} UTC"

    async def last() -> float | None:
        reader = await Reader.open(settings.database_url)
        try:
            recorded_at = (await reader.head()).recorded_at
        finally:
            await reader.close()
        return None if recorded_at is None else (recorded_at - now).total_seconds()

    ahead = perform(last())
    if ahead is not None and ahead > CLOCK_SLACK_SECONDS:
        raise ConfigurationError(
            f"the last event was written {ahead:.0f} s in this clock's future",
            hint="set this machine's clock (NTP); times in the log would run backwards",
        )
    return f"{now:%Y-%m-%d %H:%M:%S} UTC, not before the last event"


def _is_empty(settings: Settings) -> bool:
    return schema.current(settings.database_url) is None
