"""What a fold is: one value for each type of event that changes the books."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from oms.core.events import Context, Envelope, Event
from oms.core.fold.books import Books
from oms.core.fold.wants import Wants

_E = TypeVar("_E", bound=Event)


@dataclass(frozen=True, slots=True)
class Fold(Generic[_E]):
    """What one type of event does to the books, and which stored rows it needs for that.

    `wants` has no default: a fold that needs no row says `nothing`.
    """

    event_type: type[_E]
    apply: Callable[[Books, Envelope, _E], None]
    wants: Callable[[_E, Context, Books], Wants]
