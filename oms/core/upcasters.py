"""Payloads of earlier versions, lifted to the next: from text to text, one version at a time.

What cannot be lifted is left as it is; whoever decodes it then says why it cannot be read.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any, Final

import msgspec

from oms.core.ratio import Ratio

#: (type, version) -> payload text of the next version. Applied until the version is current.
Upcaster = Callable[[str], str]


def ratio_as_pair(payload: str) -> str:
    """Write the ratio of an adjustment as two whole numbers, where it was their quotient."""
    # A look at the text first: reports are long, and hardly one names a ratio.
    if '"ratio":"' not in payload:
        return payload
    try:
        said = msgspec.json.decode(payload)
        _mend(said)
    except (msgspec.DecodeError, RecursionError):
        return payload
    return msgspec.json.encode(said).decode()


def _mend(value: Any) -> None:
    if isinstance(value, list):
        for one in value:
            _mend(one)
    elif isinstance(value, dict):
        quotient = value.get("ratio")
        if isinstance(quotient, str):
            try:
                value["ratio"] = msgspec.to_builtins(Ratio.of_quotient(Decimal(quotient)))
            except (InvalidOperation, ValueError):
                return
        for one in value.values():
            _mend(one)


UPCASTERS: Final[dict[tuple[str, int], Upcaster]] = dict.fromkeys(
    [
        (name, 1)
        for name in (
            "BooksAdjusted",
            "CaseActionProposed",
            "BreakOpened",
            "BreakUpdated",
            "ReconciliationCompleted",
            "StatementChecked",
        )
    ],
    ratio_as_pair,
)
