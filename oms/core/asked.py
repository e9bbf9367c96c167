"""What callers give besides numbers: refused in words, with the field, before anything is written.

`oms.core.money.number` is the same door for numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

from oms.core.bounds import ASKED_TEXT, OutOfBounds, Text, brief, reason_of
from oms.errors import InvalidRequest

T = TypeVar("T")


@contextmanager
def in_words() -> Iterator[None]:
    """Raise `InvalidRequest`, naming the field, where a model refuses a value in the block."""
    try:
        yield
    except OutOfBounds as error:
        raise InvalidRequest(reason_of(error)) from error


def text(name: str, value: object, bound: Text = ASKED_TEXT) -> str:
    """Return a text that a caller gave; raises `InvalidRequest` naming what is wrong."""
    if not isinstance(value, str):
        raise InvalidRequest(f"{name} must be text, found {brief(value)}")
    try:
        return bound.check(value)
    except ValueError as error:
        raise InvalidRequest(f"{name} {error}") from error


def one_of(kind: type[T], name: str, value: object, hint: str) -> T:
    """Return what a caller gave where it is of a kind; raises `InvalidRequest` where it is not."""
    if not isinstance(value, kind):
        raise InvalidRequest(
            f"{name} must be of the type {kind.__name__}, found {brief(value)}", hint=hint
        )
    return value
