"""How the records of the books are written: JSON, with amounts and times as text."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import Field
from datetime import datetime
from decimal import Decimal
from typing import Any, ClassVar, Protocol

from oms.sim.protocol.fields import number


class Record(Protocol):
    """Any dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]


def dump(record: Record) -> str:
    """Return a record as a JSON object of its fields."""
    fields = {name: getattr(record, name) for name in record.__dataclass_fields__}
    return json.dumps(fields, default=_text)


def load(text: str, *, decimals: Iterable[str] = (), times: Iterable[str] = ()) -> dict[str, Any]:
    """Return the fields that `dump` wrote, amounts and times as what they were."""
    row: dict[str, Any] = json.loads(text)
    for names, read in ((decimals, Decimal), (times, datetime.fromisoformat)):
        for name in names:
            if row.get(name) is not None:
                row[name] = read(row[name])
    return row


def number_or_none(value: Decimal | None) -> str | None:
    """Return an amount as clients see it."""
    return None if value is None else number(value)


def _text(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
