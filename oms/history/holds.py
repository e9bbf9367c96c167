"""Legal holds: which stand, and what they cover."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from oms.core.events import HoldPlaced, HoldReleased
from oms.errors import InvalidRequest, NotFound
from oms.history.query import parse, search
from oms.store.reader import Reader


@dataclass(frozen=True, slots=True)
class Hold:
    """A legal hold that stands."""

    name: str
    reason: str
    #: What it covers; None where it is open at that end.
    first: int | None
    last: int | None
    #: Who placed it, when, and the event that says so.
    actor: str
    placed_at: datetime
    sequence: int


async def standing(reader: Reader) -> list[Hold]:
    """Return the holds that were placed and not released, the oldest first."""
    found: dict[str, Hold] = {}
    query = parse({"type": (HoldPlaced.__name__, HoldReleased.__name__)})
    async for envelope in search(reader, query):
        event = envelope.event
        if isinstance(event, HoldReleased):
            found.pop(event.name, None)
        elif isinstance(event, HoldPlaced):
            found[event.name] = Hold(
                event.name,
                event.reason,
                event.first,
                event.last,
                envelope.context.actor,
                envelope.recorded_at,
                envelope.sequence,
            )
    return list(found.values())


async def refuse_taken(reader: Reader, name: str) -> None:
    """Raise `InvalidRequest` where a hold of that name stands."""
    if any(one.name == name for one in await standing(reader)):
        raise InvalidRequest(
            f"the hold {name!r} stands already", hint="`oms db holds` lists them; name another"
        )


async def find(reader: Reader, name: str) -> Hold:
    """Return the hold of that name; raises `NotFound` where none stands."""
    known = await standing(reader)
    for one in known:
        if one.name == name:
            return one
    names = ", ".join(one.name for one in known) or "none"
    raise NotFound(f"no hold {name!r} stands", hint=f"standing: {names}")
