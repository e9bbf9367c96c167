"""Where each record is kept, and the text that it is kept as."""

from __future__ import annotations

from dataclasses import dataclass, fields
from decimal import Decimal
from typing import Final, get_args, get_type_hints

from pydantic import TypeAdapter

from oms.core.fold.records.cases import Anomaly, BreakCase, RunRecord
from oms.core.fold.records.holdings import AccountValue, EarlyCommission, Fill, Position
from oms.core.fold.records.orders import Order, UnknownOrder
from oms.core.fold.records.row import ColumnType
from oms.core.fold.records.system import Alarm, SessionRecord, SystemRecord

AnyRecord = (
    Order
    | UnknownOrder
    | Fill
    | EarlyCommission
    | Position
    | SessionRecord
    | BreakCase
    | RunRecord
    | Anomaly
    | AccountValue
    | Alarm
    | SystemRecord
)


@dataclass(frozen=True, slots=True)
class TableSpec:
    """A projection: the record it holds and the columns that readers search by."""

    name: str
    record: type[AnyRecord]
    key_name: str

    @property
    def columns(self) -> dict[str, ColumnType]:
        """Return the index columns beside key and body, with their types."""
        return self.record.COLUMNS


TABLES: Final[dict[str, TableSpec]] = {
    spec.name: spec
    for spec in (
        TableSpec("orders", Order, "order_id"),
        TableSpec("unknown_orders", UnknownOrder, "order_name"),
        TableSpec("fills", Fill, "fill_key"),
        TableSpec("early_commissions", EarlyCommission, "exec_id"),
        TableSpec("positions", Position, "position_key"),
        TableSpec("sessions", SessionRecord, "epoch"),
        TableSpec("breaks", BreakCase, "break_id"),
        TableSpec("runs", RunRecord, "run_id"),
        TableSpec("anomalies", Anomaly, "anomaly_key"),
        TableSpec("account_values", AccountValue, "value_key"),
        TableSpec("alarms", Alarm, "alarm_id"),
        TableSpec("system", SystemRecord, "system_key"),
    )
}
TABLE_OF: Final[dict[type[object], str]] = {s.record: s.name for s in TABLES.values()}
_ADAPTERS: Final[dict[type[AnyRecord], TypeAdapter[AnyRecord]]] = {
    spec.record: TypeAdapter(spec.record) for spec in TABLES.values()
}
_SERIALISERS: Final = {record: adapter.serializer.to_json for record, adapter in _ADAPTERS.items()}
#: Fields of a record that are zero where nothing has been said.
_DECIMAL_DEFAULTS: Final = {
    record: tuple(f.name for f in fields(record) if isinstance(f.default, Decimal))
    for record in _ADAPTERS
}
#: Fields of a record that are never None.
_NEVER_NONE: Final = {
    record: tuple(f.name for f in fields(record) if type(None) not in get_args(hints[f.name]))
    for record, hints in ((one, get_type_hints(one)) for one in _ADAPTERS)
}


def encode_record(record: AnyRecord) -> str:
    """Return the canonical text of a record: fields in order, money as strings, and what has its
    default left out.

    Of an order's fields more than half say "nothing of the kind": without them its row is 40 %
    shorter, and a burst writes as much less. 0.00 is a zero as well, but not the one that would
    come back, so a record that holds it is written whole.

    Raises ValueError for a field that is not of its type: what could not be read back is not
    written.
    """
    to_json, values = _SERIALISERS[type(record)], record.__dict__
    for name in _DECIMAL_DEFAULTS[type(record)]:
        if not values[name] and str(values[name]) != "0":
            _check_not_none(record)
            return to_json(record, exclude_none=True, warnings="error").decode()
    text = to_json(record, exclude_defaults=True, warnings="error").decode()
    if '":null' in text:
        _check_not_none(record)
    return text


def _check_not_none(record: AnyRecord) -> None:
    """Do what the serialiser does not: it takes None for a value of any type."""
    for name in _NEVER_NONE[type(record)]:
        if getattr(record, name) is None:
            raise ValueError(f"{name} of {type(record).__name__} must have a value, found none")


def decode_record(table: str, body: str) -> AnyRecord:
    """Return the record that a projection row holds, equal to the last digit of its numbers."""
    record: AnyRecord = _ADAPTERS[TABLES[table].record].validator.validate_json(body)
    return record


def differing_fields(one: AnyRecord, other: AnyRecord) -> tuple[str, ...]:
    """Return the names of the fields in which two records of one kind differ."""
    return tuple(f.name for f in fields(one) if getattr(one, f.name) != getattr(other, f.name))


#: Fields of a record that say where and when its facts were said last.
_SAID: Final[dict[type[AnyRecord], frozenset[str]]] = {
    Order: frozenset({"last_sequence", "updated_at"}),
    UnknownOrder: frozenset({"sequence"}),
    Position: frozenset(
        {"last_sequence", "updated_at", "broker_sequence", "broker_at", "broker_marked_at"}
    ),
    AccountValue: frozenset({"sequence", "at"}),
}


def only_said_again(before: AnyRecord, after: AnyRecord) -> bool:
    """Say whether two records of one thing state the same, and no conclusion needs the newer one.

    A position that has moved since IB said its size is not what IB says of it now, whatever size
    that is.
    """
    if isinstance(before, Position) and before.broker_sequence < before.moved_sequence:
        return False
    return _SAID.get(type(before), frozenset()).issuperset(differing_fields(before, after))
