"""Where each record is kept, and the text that it is kept as."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from functools import cache, lru_cache
from typing import Any, Final, NamedTuple, get_args

import msgspec
from msgspec import structs
from msgspec.structs import force_setattr

from oms.core.fold.records.cases import Anomaly, BreakCase, RunRecord
from oms.core.fold.records.holdings import AccountValue, EarlyCommission, Fill, Position
from oms.core.fold.records.orders import Order, UnknownOrder
from oms.core.fold.records.row import ColumnType, Part
from oms.core.fold.records.system import Alarm, SessionRecord, SystemRecord
from oms.core.money import ZERO
from oms.core.values import Value, jsonable

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
_to_json: Final = msgspec.json.Encoder().encode


class _Writing(NamedTuple):
    """What of a record is not written as it is."""

    #: Fields that are zero where nothing has been said.
    zeros: tuple[str, ...]
    #: Fields whose default is a word.
    words: tuple[tuple[str, str], ...]
    #: Fields with values inside that have defaults of their own.
    nested: tuple[str, ...]


@cache
def _writing(record: type[AnyRecord]) -> _Writing:
    found = structs.fields(record)
    return _Writing(
        tuple(one.name for one in found if isinstance(one.default, Decimal)),
        tuple((one.name, one.default) for one in found if one.default and type(one.default) is str),
        tuple(one.name for one in found if _has_values(one.type)),
    )


def _has_values(hint: Any) -> bool:
    if isinstance(hint, type) and issubclass(hint, Value | Part):
        return True
    return any(map(_has_values, get_args(hint)))


def encode_record(record: AnyRecord) -> str:
    """Return the canonical text of a record: fields in order, money as strings, and what has its
    default left out.

    Of an order's fields more than half say "nothing of the kind": without them its row is 40 %
    shorter, and a burst writes as much less. 0.00 is a zero as well, but not the one that would
    come back, so a record that holds it is written whole.
    """
    writing = _writing(type(record))
    changes: dict[str, object] = {}
    for name in writing.zeros:
        value = getattr(record, name)
        if not value and value is not ZERO:
            if str(value) != "0":
                return _to_json(_whole(record)).decode()
            changes[name] = ZERO
    for name, default in writing.words:
        if getattr(record, name) == default:
            changes[name] = default
    for name in writing.nested:
        value = getattr(record, name)
        if value:
            changes[name] = _short(value, _to_json(value))
    if changes:
        # A default is left out where it is the very object that the class has.
        record = record.__copy__()
        for name, changed in changes.items():
            force_setattr(record, name, changed)
    return _to_json(record).decode()


@lru_cache(maxsize=16_384)
def _short(value: object, text: bytes) -> msgspec.Raw:
    """Return the text of what stands inside of a record, without defaults; of an order the same
    contract and terms are written again and again.

    `text` has all of its digits: 10.50 equals 10.5, and is another text.
    """
    return msgspec.Raw(_to_json(_without_defaults(value)))


def _without_defaults(value: object) -> object:
    if isinstance(value, Value):
        return jsonable(value, with_defaults=False)
    if isinstance(value, Part):
        return {
            one.name: _without_defaults(found)
            for one in structs.fields(value)
            if (found := getattr(value, one.name)) != one.default
        }
    return list(map(_without_defaults, value)) if isinstance(value, tuple) else value


def _whole(value: object) -> object:
    """Return every field that has a value, at every depth."""
    if isinstance(value, Value | Part):
        found = structs.asdict(value)
        return {name: _whole(one) for name, one in found.items() if one is not None}
    return list(map(_whole, value)) if isinstance(value, tuple) else value


def decode_record(table: str, body: str) -> AnyRecord:
    """Return the record that a projection row holds, equal to the last digit of its numbers; raises
    ValueError where it holds none.
    """
    return _reader(table)(body)


@cache
def _reader(table: str) -> Callable[[str], AnyRecord]:
    return msgspec.json.Decoder(TABLES[table].record).decode


def differing_fields(one: AnyRecord, other: AnyRecord) -> tuple[str, ...]:
    """Return the names of the fields in which two records of one kind differ."""
    names = one.__struct_fields__
    return tuple(name for name in names if getattr(one, name) != getattr(other, name))


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
