"""What callers give besides numbers: refused in words, with the field, before anything is written.

`oms.core.money.number` is the same door for numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from oms.core.bounds import OutOfBounds, reason_of
from oms.errors import InvalidRequest


@contextmanager
def in_words() -> Iterator[None]:
    """Raise `InvalidRequest`, naming the field, where a model refuses a value in the block."""
    try:
        yield
    except OutOfBounds as error:
        raise InvalidRequest(reason_of(error)) from error
