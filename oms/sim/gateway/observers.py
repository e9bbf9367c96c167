"""What happens at a gateway, told to those who watch it: scenarios and tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

#: A client message came, or was acted on; a server message went out; the books of an order have
#: changed; a client is gone.
Kind = Literal["before", "on", "sent", "order", "disconnect"]


@dataclass(frozen=True, slots=True)
class Event:
    """Something an observer may want to know."""

    kind: Kind
    #: IB's name of the message; empty when there is none.
    name: str
    client_id: int | None
    values: Mapping[str, Any]


class Observers:
    """Those who watch, told in the order in which they came."""

    def __init__(self) -> None:
        self._watching: list[Callable[[Event], None]] = []

    def add(self, observer: Callable[[Event], None]) -> None:
        """Tell an observer everything from now on."""
        self._watching.append(observer)

    def clear(self) -> None:
        """Forget every observer."""
        self._watching.clear()

    def tell(self, kind: Kind, name: str, client_id: int | None, values: Mapping[str, Any]) -> None:
        """Tell of one event."""
        if self._watching:
            event = Event(kind, name, client_id, values)
            for observer in self._watching:
                observer(event)
