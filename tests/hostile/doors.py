"""The doors, each with every hostile value: what enters can be kept, and the rest is refused.

A door takes a value or refuses it in its own words; anything else (another exception, a hang, an
exit status that no page names) is a fault, and is yielded as a sentence.
"""

from __future__ import annotations

import contextlib
import io
import os
import signal
import types
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

from oms.broker.translate import Unreadable, translate, unreadable
from oms.broker.translate.messages import _TRANSLATORS
from oms.cli import main
from oms.clock import SystemClock
from oms.core import codec
from oms.core.bounds import OutOfBounds
from oms.core.events import EVENT_TYPES, Context, Event, Pending
from oms.core.fold.records import TABLES, decode_record
from oms.core.members import members
from oms.core.values import Value, checked
from oms.errors import ConfigurationError
from oms.settings import Settings, env_name, load
from oms.store.backend import parse_url
from oms.store.envelopes import draft
from oms.store.writer import Writer
from tests.docs_pages import command_line, verbs
from tests.hostile.values import OBJECTS, TEXTS

#: Longer is a hang.
SECONDS_MAX = 20
#: docs/reference/exit-codes.md.
EXIT_CODES = frozenset(range(7))
#: Verbs that serve until they are stopped, or start programs of their own.
SERVING = frozenset({"run", "web", "demo"})
#: What a parameter is given where another one is hostile; "1" where nothing else stands here.
PLAIN = {
    "contract": "AAPL",
    "side": "BUY",
    "take_profit": "900",
    "stop_loss": "1",
    "cause": "transfer",
    "outcome": "not_received",
}


class Thrown(NamedTuple):
    """One value at one door."""

    door: str
    value: object


def events() -> Iterator[tuple[Thrown, type[Event], dict[str, Any]]]:
    """Yield every field of every event with every value, beside plain ones."""
    for name, cls in sorted(EVENT_TYPES.items()):
        plain = _plain_fields(cls)
        for path in _paths(plain):
            for value in OBJECTS:
                yield Thrown(f"{name}.{'.'.join(path)}", value), cls, _with(plain, path, value)


def wires() -> Iterator[tuple[Thrown, tuple[str, ...]]]:
    """Yield messages of every kind with every value in each of their fields."""
    for message_id in sorted(_TRANSLATORS):
        for filler in ("", "0", "1"):
            for at in range(1, 40):
                for value in TEXTS:
                    fields = [message_id, *[filler] * 120]
                    fields[at] = value
                    yield Thrown(f"message {message_id} field {at}", value), tuple(fields)
    for value in TEXTS:
        yield Thrown("message id", value), (value, "1")


def settings() -> Iterator[tuple[Thrown, dict[str, str]]]:
    """Yield every setting with every value, as the environment gives it."""
    for name in Settings.model_fields:
        for value in TEXTS:
            yield Thrown(env_name(name), value), {env_name(name): value}


def lines(plain: Mapping[str, str] = PLAIN) -> Iterator[tuple[Thrown, tuple[str, ...]]]:
    """Yield every argument and option of every verb with every value, beside plain ones."""
    import click  # the pages' own way to read a command

    for path, verb in verbs(command_line(), ""):
        words = path.split()
        if words[0] in SERVING:
            continue
        parameters = [one for one in verb.get_params(click.Context(verb)) if one.name != "help"]
        needed = {one.name: _given(one, plain.get(one.name, "1")) for one in parameters}
        needed = {one.name: needed[one.name] for one in parameters if one.required}
        # What asks a person first is not asked for here.
        yes = ["--yes"] if any(one.name == "yes" for one in parameters) else []
        for one in parameters:
            if getattr(one, "is_flag", False):
                continue
            for value in TEXTS:
                given = needed | {one.name: _given(one, value)}
                options = [w for p in parameters if p.name in given for w in given[p.name][0]]
                arguments = [w for p in parameters if p.name in given for w in given[p.name][1]]
                line = (*words, *yes, *options, "--", *arguments)
                yield Thrown(f"oms {path.strip()} {one.name}", value), line


class Log:
    """A log that takes what a model takes, and reads its rows back."""

    def __init__(self, database: Path) -> None:
        self._url = parse_url(str(database))
        self._writer = Writer(self._url, clock=SystemClock(), projector=True)
        self._writer.open()

    def keep(self, event: Event) -> None:
        """Append an event, fold it, write its rows, and read all of it again."""
        payload = codec.encode(event)
        assert codec.decode(type(event).__name__, event.VERSION, payload) == event
        context = Context(actor="person:hostile", session_epoch=1)
        _, committed = self._writer.write([[draft(Pending(event, context))]])
        for table, records in committed.changes.items():
            for key, record in records.items():
                rows = self._writer._connection.rows(
                    f"SELECT body FROM {table} WHERE {TABLES[table].key_name} = ?", (key,)
                )
                assert decode_record(table, rows[0][0]) == record

    def close(self) -> None:
        """Close the database."""
        self._writer.close()


def thrown_at_event(log: Log, cls: type[Event], fields: dict[str, Any]) -> bool:
    """Return whether the model took it; what it takes must be kept."""
    try:
        event = checked(cls, fields)
    except OutOfBounds:
        return False
    log.keep(event)
    return True


def thrown_at_wire(log: Log, fields: tuple[str, ...]) -> bool:
    """Return whether the message gave a fact; the fact must be kept."""
    try:
        translated = translate(fields, 176, None)
    except Unreadable as error:
        log.keep(unreadable(fields, error))
        return False
    if translated is not None:
        log.keep(translated.event)
    return translated is not None


def thrown_at_settings(folder: Path, environment: dict[str, str]) -> bool:
    """Return whether the value was taken; what is taken can be shown."""
    try:
        found = load(directory=folder, environment=environment)
    except ConfigurationError:
        return False
    assert found.describe()
    return True


def thrown_at_shell(folder: Path, words: tuple[str, ...]) -> int:
    """Run a verb in this process; return its exit status."""
    before = Path.cwd()
    out, err = io.StringIO(), io.StringIO()
    os.chdir(folder)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main(["--database", str(folder / "oms.sqlite"), *words])
    finally:
        os.chdir(before)
    assert code in EXIT_CODES, f"status {code}: {err.getvalue()[-300:]}"
    assert code == 0 or err.getvalue().strip(), f"status {code} without a word"
    return code


@contextlib.contextmanager
def no_longer_than(seconds: int) -> Iterator[None]:
    """Raise `TimeoutError` in a block that hangs."""

    def hangs(*_: object) -> None:
        raise TimeoutError(f"still at it after {seconds} s")

    before = signal.signal(signal.SIGALRM, hangs)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


# ── plain values ─────────────────────────────────────────────────────────────────────────────────


def _given(parameter: Any, value: str) -> tuple[list[str], list[str]]:
    """Return a parameter's words among the options, and among the arguments."""
    if parameter.param_type_name == "argument":
        return [], [value]
    return [f"{parameter.opts[0]}={value}"], []


def _plain_fields(model: type[Value]) -> dict[str, Any]:
    hints = get_type_hints(model, include_extras=True)
    return {name: _plain(hints[name]) for name in members(model)}


def _plain(hint: Any) -> Any:
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _plain(parts[0])
    if origin is Literal:
        return parts[0]
    if origin in (Union, types.UnionType):
        return _plain(parts[0])
    if origin is tuple:
        return (_plain(parts[0]),)
    if isinstance(hint, type) and issubclass(hint, Value):
        return _plain_fields(hint)
    plain: dict[Any, Any] = {
        str: "1",
        int: 1,
        bool: False,
        Decimal: Decimal(1),
        datetime: datetime(2026, 1, 5, 15, tzinfo=UTC),
    }
    return plain[hint]


def _paths(fields: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    for name, value in fields.items():
        yield (name,)
        if isinstance(value, dict):
            yield from ((name, *rest) for rest in _paths(value))


def _with(fields: dict[str, Any], path: tuple[str, ...], value: object) -> dict[str, Any]:
    name, *rest = path
    return fields | {name: _with(fields[name], tuple(rest), value) if rest else value}
