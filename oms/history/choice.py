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

    def takes(self, record: AnyRecord) -> bool:
        """Say whether a record is one of them."""
        match record:
            case Order():
                at = record.created_at
                return (
                    self._meets(record.account, record.contract, record.terms.side, record.order_id)
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
                    and self.first <= record.booked_sequence <= self.last
                )
            case Position():
                return self._meets(record.account, record.contract, "", "")
            case BreakCase(finding=finding):
                contract = Contract(con_id=finding.con_id, symbol=finding.symbol, sec_type="")
                klass = finding.break_class or ""
                return (
                    self._meets(finding.account, contract, "", finding.order_id, klass)
                    and self.first <= record.opened_sequence <= self.last
                )
            case _:
                return False

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


async def choice(reader: Reader, subject: Subject, query: Query) -> Choice:
    """Return which records a query means.

    Raises `InvalidRequest` for a condition that these records have not.
    """
    for name in _EVENTS_ONLY if subject == "orders" else (*_EVENTS_ONLY, *_OF_ORDERS):
        if getattr(query, name) not in (None, ()):
            raise InvalidRequest(
                f"{subject} cannot be chosen by {name}", hint="leave it out, or export events"
            )
    if subject == "positions" and not (query.since is query.until is query.after is None):
        raise InvalidRequest(
            "positions are what is held now: they have no --since and no --until",
            hint="--as-of has them at a moment; `oms export fills` has what was bought and sold",
        )
    first, last = await range_of(reader, query)
    orders = frozenset([await resolve(reader, name) for name in query.order])
    times = [
        await reader.recorded_at(sequence) if moment is not None and first <= last else None
        for sequence, moment in ((first, query.since), (last, query.until))
    ]
    return Choice(query, orders, first, last, times[0], times[1])
