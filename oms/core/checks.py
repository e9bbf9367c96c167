"""Whether a value meets its types, at a tenth of the price of a model.

Made of the types of a class when its first value is made: one function with one expression a field,
true for nearly every good value. What it leaves open is for `models` to say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from decimal import Decimal
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

from oms.core.bounds import Bound, is_utf8

#: What an expression may name beside its value.
_NAMES: Final[dict[str, object]] = {
    "Decimal": Decimal,
    "UTC": UTC,
    "datetime": datetime,
    "is_utf8": is_utf8,
}


def check_of(fields: Iterable[tuple[str, Any]]) -> Callable[[Any], bool]:
    """Return what says of an object whether each of its fields is of its type and within bounds;
    where it says no, or raises, that is still to be found out.
    """
    names = dict(_NAMES)
    lines = ["def is_plain(value):"]
    for name, hint in fields:
        lines += [f" v = value.{name}", f" if not ({_condition(hint, names)}): return False"]
    exec("\n".join([*lines, " return True"]), names)  # our own source, as that of a dataclass
    return names["is_plain"]  # type: ignore[return-value]


def test_of(hint: Any) -> Callable[[Any], bool]:
    """Return what says of a single value whether it is of a type."""
    return _test_of(hint, dict(_NAMES))


def _test_of(hint: Any, names: dict[str, object]) -> Callable[[Any], bool]:
    return eval(f"lambda v: {_condition(hint, names)}", names)  # type: ignore[no-any-return]


def _condition(hint: Any, names: dict[str, object]) -> str:
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _bounded(parts[1:])
    if origin in (Union, UnionType):
        # None first: of an order most is not said.
        ordered = sorted(parts, key=lambda one: one is not NoneType)
        return " or ".join(f"({_condition(one, names)})" for one in ordered)
    if origin is Literal:
        return f"type(v) is str and v in {_named(frozenset(parts), names)}"
    if origin is tuple:
        return f"type(v) is tuple and {_members(parts, names)}"
    if origin is dict:
        key, value = (_named(_test_of(one, names), names) for one in parts)
        return f"type(v) is dict and all(map({key}, v)) and all(map({value}, v.values()))"
    if hint is NoneType:
        return "v is None"
    if hint is bool:
        return "v is True or v is False"
    return f"type(v) is {_named(hint, names)}"


def _bounded(rows: Iterable[object]) -> str:
    bounds = [row for row in rows if isinstance(row, Bound)]
    return bounds[0].condition("v") if bounds else "False"


def _members(parts: tuple[Any, ...], names: dict[str, object]) -> str:
    if parts[1:] == (...,):
        return f"(not v or all(map({_named(_test_of(parts[0], names), names)}, v)))"
    each = [f"{_named(_test_of(one, names), names)}(v[{at}])" for at, one in enumerate(parts)]
    return " and ".join([f"len(v) == {len(parts)}", *each])


def _named(value: object, names: dict[str, object]) -> str:
    name = f"named_{len(names)}"
    names[name] = value
    return name
