"""Which records of the books a query means."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from oms.core.contracts import Contract
from oms.core.fold.records import AnyRecord, BreakCase, Fill, Order, Position
from oms.errors import InvalidRequest
from oms.history.columns import Subject
from oms.history.names import resolve
from oms.history.query import Query, range_of
from oms.store.reader import Reader

_EVENTS_ONLY: Final = ("session", "type", "correlation", "limit", "sort")
_OF_ORDERS: Final = ("state", "code", "actor", "strategy")


@dataclass(frozen=True, slots=True)
class Choice:
    """The records that meet a query."""

    query: Query
    orders: frozenset[str]
    #: The range of the log that they came to the books in, and when its ends were recorded.
    first: int
    last: int
    begin: datetime | None
    end: datetime | None
    #: True where fills are chosen by when they happened, and not by when they were booked.
    by_happened: bool = False

    def takes(self, record: AnyRecord) -> bool:
        """Say whether a record is one of them."""
        match record:
            case Order():
                at = record.created_at
                return (
                    self.first <= self.last
                    and self._meets(
                        record.account, record.contract, record.terms.side, record.order_id
                    )
                    and _in(self.query.state, record.state.value)
                    and _in(self.query.code, record.code)
                    and _in(self.query.actor, record.actor)
                    and _in([f"strategy:{one}" for one in self.query.strategy], record.actor)
                    and (at is None or self.begin is None or at >= self.begin)
                    and (at is None or self.end is None or at <= self.end)
                )
            case Fill():
                return (
                    self._meets(record.account, record.contract, record.side, record.order_id)
                ) and self._is_of_time(record)
            case Position():
                side = "BUY" if record.quantity > 0 else "SELL" if record.quantity < 0 else ""
                return self._meets(record.account, record.contract, side, "")
            case BreakCase(finding=finding):
                contract = Contract(con_id=finding.con_id, symbol=finding.symbol, sec_type="")
                klass = finding.break_class or ""
                return (
                    self._meets(finding.account, contract, "", finding.order_id, klass)
                    and self.first <= record.opened_sequence <= self.last
                )
            case _:
                return False

    def _is_of_time(self, fill: Fill) -> bool:
        if not self.by_happened:
            return self.first <= fill.booked_sequence <= self.last
        at = fill.happened_by
        return at is None or (
            (self.begin is None or at >= self.begin) and (self.end is None or at < self.end)
        )

    def _meets(
        self, account: str, contract: Contract, side: str, order_id: str, klass: str = ""
    ) -> bool:
        query = self.query
        return (
            _in(query.account, account)
            and _in(query.symbol, contract.symbol)
            and _in(query.con_id, contract.con_id)
            and _in(query.klass, klass or contract.sec_type)
            and _in(query.side, side)
            and (not query.order or order_id in self.orders)
        )


def _in(wanted: Collection[object], value: object) -> bool:
    return not wanted or value in wanted


async def choice(
    reader: Reader, subject: Subject, query: Query, *, by_happened: bool = False
) -> Choice:
    """Return which records a query means.

    Raises `InvalidRequest` for a condition that these records have not.
    """
    for name in _EVENTS_ONLY if subject == "orders" else (*_EVENTS_ONLY, *_OF_ORDERS):
        if getattr(query, name) not in (None, ()):
            raise InvalidRequest(
                f"{subject} cannot be chosen by {name}", hint="leave it out, or export events"
            )
    if subject == "positions" and query.order:
        raise InvalidRequest(
            "positions of an order are in no export",
            hint="`oms positions --order` lists them; `oms export fills --order` has what it did",
        )
    if subject == "positions" and not (query.since is query.until is query.after is None):
        raise InvalidRequest(
            "positions are what is held now: they have no --since and no --until",
            hint="--as-of has them at a moment; `oms export fills` has what was bought and sold",
        )
    begin, end = query.since, query.until
    by_happened = by_happened and subject == "fills"
    if by_happened:
        # What happened in a time can have come to the log at any other.
        first, last = await range_of(reader, query.evolve(since=None, until=None))
    else:
        # The ends of the range themselves: what came between them came in it.
        first, last = await range_of(reader, query)
        begin, end = begin and first, end and last
    orders = frozenset([await resolve(reader, name) for name in query.order])
    times = [
        one if isinstance(one, datetime) or one is None else await _recorded_at(reader, one)
        for one in (begin, end)
    ]
    return Choice(query, orders, first, last, times[0], times[1], by_happened)


async def _recorded_at(reader: Reader, sequence: int) -> datetime | None:
    head = (await reader.head()).sequence
    return await reader.recorded_at(sequence) if 1 <= sequence <= head else None
