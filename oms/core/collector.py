"""Keeping the garbage collector from walking what is no garbage."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collector_at_rest() -> Iterator[None]:
    """Keep the garbage collector from walking the books again and again.

    Neither a fold nor a comparison makes cycles, so there is nothing to be found; the more records
    were in memory, the longer each step took, and all threads stood still meanwhile.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
