"""A stored example of every event in every shape that it was ever written in.

    python -m tests.stored_events

writes an example of each event whose present shape has none yet, as one more line of
`tests/data/stored_events.jsonl`. Lines are never changed: each is what some version of the program
has put into logs. The first ones were written by the programs of that time, commit by commit.
"""

from __future__ import annotations

import inspect
import json
import types
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NamedTuple, Union, get_args, get_origin

from oms import _version
from oms.core import codec
from oms.core import events as facts
from oms.core.members import members
from oms.core.values import Value, checked

STORED: Final = Path(__file__).parent / "data" / "stored_events.jsonl"
#: Texts and numbers that some field takes only in this form.
_NAMED: Final[dict[str, Any]] = {
    "con_id": 265598,
    "sec_type": "STK",
    "right": "",
    "expiry": "20261218",
    "first_day": "2026-01-05",
    "last_day": "2026-01-06",
}


class Example(NamedTuple):
    """A payload as it stands in logs."""

    type_name: str
    version: int
    #: The commit, or the version, whose program wrote it.
    written_by: str
    payload: str

    @property
    def shape(self) -> tuple[str, int, str]:
        """Return what of it a change of the fields would change."""
        return self.type_name, self.version, shape_of(json.loads(self.payload))


def stored() -> list[Example]:
    """Return every example, the oldest first."""
    if not STORED.exists():
        return []
    return [Example(*json.loads(line)) for line in STORED.read_text().splitlines()]


def shape_of(value: object) -> str:
    """Return the names and the kinds of values of a payload."""
    if isinstance(value, dict):
        inner = ",".join(f"{name}:{shape_of(one)}" for name, one in sorted(value.items()))
        return f"{{{inner}}}"
    if isinstance(value, list):
        return f"[{','.join(sorted({shape_of(one) for one in value}))}]"
    return type(value).__name__


def event_types() -> list[type[Value]]:
    """Return every event that there is."""
    return [cls for _, cls in sorted(vars(facts).items()) if _is_event(cls)]


def _is_event(cls: object) -> bool:
    return inspect.isclass(cls) and issubclass(cls, facts.Event) and cls is not facts.Event


def example_of(cls: type[Value], *, whole: bool) -> Any:
    """Return an event with a value in every field, or in those only that need one."""
    values = {
        name: _value(name, field.hint, whole=whole)
        for name, field in members(cls).items()
        if whole or field.is_required
    }
    return checked(cls, values)


def _value(name: str, hint: Any, *, whole: bool) -> Any:
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _value(name, inner[0], whole=whole)
    if origin in (Union, types.UnionType):
        return _value(name, next(one for one in inner if one is not type(None)), whole=whole)
    if origin is Literal:
        return inner[0]
    if origin is tuple:
        return (_value(name, inner[0], whole=whole),)
    if name in _NAMED:
        return _NAMED[name]
    if inspect.isclass(hint) and issubclass(hint, Value):
        return example_of(hint, whole=whole)
    if hint is bool:
        return True
    if hint is int:
        return 7
    if hint is Decimal:
        return Decimal("12.5")
    if hint is datetime:
        return datetime(2026, 1, 5, 14, 30, 0, 250_000, tzinfo=UTC)
    assert hint is str, f"{name} is {hint}"
    return f"a {name}"


def examples(written_by: str) -> list[Example]:
    """Return an example of each event as this program writes it, whole and bare."""
    return [
        Example(cls.__name__, cls.VERSION, written_by, codec.encode(example_of(cls, whole=whole)))
        for cls in event_types()
        for whole in (True, False)
    ]


def missing(written_by: str) -> list[Example]:
    """Return the examples whose shape is not stored yet."""
    known = {one.shape for one in stored()}
    found: dict[tuple[str, int, str], Example] = {}
    for one in examples(written_by):
        if one.shape not in known:
            found.setdefault(one.shape, one)
    return list(found.values())


def main(written_by: str = "") -> None:
    """Store what is missing, written by a commit, or by the version at hand."""
    with STORED.open("a") as file:
        for one in missing(written_by or _version.__version__):
            file.write(json.dumps(list(one), ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
