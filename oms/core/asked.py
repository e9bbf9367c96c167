"""What callers give: refused in words, with its name, before anything is written.

A public function that is a `door` checks its arguments against its annotations: whoever calls it
with something else gets `InvalidRequest`, which names the argument, what it must be and what it
was. Numbers are read by the function itself, with `oms.core.money.number`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from functools import cache, wraps
from types import UnionType
from typing import Any, Final, ParamSpec, TypeVar, Union, Unpack, get_args, get_origin

from oms.core.bounds import ASKED_TEXT, LABEL, WORD, OutOfBounds, brief, reason_of
from oms.core.checks import test_of
from oms.core.values import held
from oms.errors import InvalidRequest

_P = ParamSpec("_P")
_R = TypeVar("_R")

#: Arguments that name something; an error repeats them.
_NAMES: Final = frozenset({"order_id", "parent", "account"})
#: Arguments that are a time to wait, by the end of their names.
_WAITS: Final = ("timeout", "_seconds")
#: Ten years.
SECONDS_MAX: Final = 10 * 365 * 86_400


@contextmanager
def in_words() -> Iterator[None]:
    """Raise `InvalidRequest`, naming the field, where a model refuses a value in the block."""
    try:
        yield
    except OutOfBounds as error:
        raise InvalidRequest(reason_of(error)) from error


def door(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Check the arguments of a function, or of an async one when it is awaited; what an event
    refuses that is made of them is refused in the same words.
    """
    signature = inspect.signature(function)
    hints: dict[str, object] = {}

    def check_all(args: tuple[object, ...], given: Mapping[str, object]) -> None:
        if not hints:
            # At the first call: then every name in the annotations is there.
            hints.update(_hints_of(function))
        for name, value in signature.bind(*args, **given).arguments.items():
            if name in hints:
                check(name, value, hints[name])

    if inspect.iscoroutinefunction(function):

        @wraps(function)
        async def awaited(*args: _P.args, **given: _P.kwargs) -> Any:
            check_all(args, given)
            with in_words():
                return await function(*args, **given)

        return awaited  # type: ignore[return-value]  # _R is a coroutine here

    @wraps(function)
    def called(*args: _P.args, **given: _P.kwargs) -> _R:
        check_all(args, given)
        with in_words():
            return function(*args, **given)

    return called


def check(name: str, value: object, hint: Any) -> None:
    """Raise `InvalidRequest` for a value that is not what a type says; texts and seconds have
    bounds as well.
    """
    origin, parts = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        _check_either(name, value, parts)
    elif origin is Unpack:
        _check_names(name, value, parts[0])
    elif origin is Sequence:
        if not isinstance(value, Sequence) or isinstance(value, str | bytes):
            raise InvalidRequest(f"{name} must be a list, found {brief(value)}")
        for number, one in enumerate(value):
            check(f"{name}[{number}]", one, parts[0])
    elif origin is tuple:
        if not isinstance(value, tuple) or len(value) != len(parts):
            raise InvalidRequest(f"{name} must be {_named(hint)}, found {brief(value)}")
        for number, (one, part) in enumerate(zip(value, parts, strict=True)):
            check(f"{name}[{number}]", one, part)
    elif origin is None and hint is not datetime and hint.__module__ != "builtins":
        if not isinstance(value, hint):
            raise InvalidRequest(f"{name} must be {_named(hint)}, found {brief(value)}")
    else:
        _check_plain(name, value, hint)


def _check_either(name: str, value: object, hints: Sequence[Any]) -> None:
    if value is None and type(None) in hints:
        return None
    if Decimal in hints:
        return None  # `number` reads it, and says more of a float
    wanted = [one for one in hints if one is not type(None)]
    for one in wanted:
        try:
            return check(name, value, one)
        except InvalidRequest:
            if len(wanted) == 1:
                raise
    raise InvalidRequest(f"{name} must be {' or '.join(map(_named, wanted))}, found {brief(value)}")


def _check_plain(name: str, value: object, hint: Any) -> None:
    try:
        if not _test(hint)(value):
            held(value, hint)
        match value:
            case str():
                (LABEL if name in _NAMES else ASKED_TEXT).check(value)
            case int() | float() if name.endswith(_WAITS) and not 0 <= value <= SECONDS_MAX:
                raise ValueError(f"must be 0 to {SECONDS_MAX:,} seconds, found {brief(value)}")
            case Decimal():  # pydantic takes one for a number of seconds, no clock does
                raise ValueError(f"must be an integer or a float, found the Decimal {brief(value)}")
            case _:
                pass
    except OutOfBounds as error:
        raise InvalidRequest(reason_of(error, name)) from error
    except ValueError as error:
        raise InvalidRequest(f"{name} {error}") from error


def _named(hint: Any) -> str:
    parts = get_args(hint)
    if parts:
        return "(" + ", ".join(map(_named, parts)) + ")"
    return f"a {hint.__name__}"


def check_actor(name: str, value: object) -> None:
    """Raise `InvalidRequest` for what cannot be the name of a program in the log."""
    check(name, value, str)
    if not isinstance(value, str) or not value.isprintable() or not 0 < len(value) <= WORD.length:
        raise InvalidRequest(
            f"{name} must be printable text of 1 to {WORD.length} characters, found {brief(value)}"
        )


def _check_names(name: str, given: object, known: Any) -> None:
    assert isinstance(given, Mapping)
    for one in given:
        if one not in known.__annotations__:
            raise InvalidRequest(
                f"there is no {brief(one)} in {name}: {', '.join(known.__annotations__)}"
            )


def _hints_of(function: Callable[..., object]) -> dict[str, object]:
    """Return the types of the parameters; of the result nothing is asked."""
    names = {one for one in function.__annotations__ if one != "return"}
    there = vars(inspect.getmodule(function))
    return {name: eval(function.__annotations__[name], there) for name in names}  # our own source


@cache
def _test(hint: Any) -> Callable[[Any], bool]:
    return test_of(hint)
