"""Ids as tables show them, and the break or the run that a beginning of one names, as in git.

Ids of ours are 32 hexadecimal digits, and the legs of a bracket add `-tp` and `-sl`. Tables show
the first eight with the leg, and what they show is accepted everywhere (`history.names`).
"""

from __future__ import annotations

import re
from typing import Final, cast

from oms.core.fold.records import AnyRecord, BreakCase, RunRecord
from oms.errors import InvalidRequest, NotFound
from oms.store.reader import Reader

#: Digits that tables show of an id of ours.
SHOWN_LENGTH: Final = 8
#: Ids that the OMS made; those that a person or IB chose are shown whole.
_MADE: Final = re.compile(r"[0-9a-f]{32}")
_LEGS: Final = ("-tp", "-sl")
#: Candidates that are looked at; more than that is ambiguous anyway.
_CANDIDATES_MAX: Final = 1_000


def short(order_id: str) -> str:
    """Return what tables show of an order id."""
    head, leg = _split(order_id)
    return head[:SHOWN_LENGTH] + leg if _MADE.fullmatch(head) else order_id


async def find_break(reader: Reader, text: str) -> BreakCase:
    """Return the break that a text names; raises the same."""
    hint = "`oms breaks --all` lists them"
    return cast(BreakCase, await _find(reader, "breaks", text, "break", hint))


async def find_run(reader: Reader, text: str) -> RunRecord:
    """Return the reconciliation run that a text names, `last` for the newest; raises the same."""
    hint = "`oms report list` lists them"
    if text == "last":
        newest = await reader.rows("runs", order="sequence", reverse=True, limit=1)
        if not newest:
            raise NotFound("there has been no reconciliation yet", hint=hint)
        return cast(RunRecord, newest[0])
    return cast(RunRecord, await _find(reader, "runs", text, "report", hint))


async def _find(reader: Reader, table: str, text: str, noun: str, hint: str) -> AnyRecord:
    exact = await reader.one(table, text)
    if exact is not None:
        return exact
    matching = await reader.keys(table, text, limit=_CANDIDATES_MAX) if text else []
    if not matching:
        raise NotFound(f"there is no {noun} {text!r}", hint=hint)
    if len(matching) > 1:
        shown = ", ".join(matching[:4]) + (" ..." if len(matching) > 4 else "")
        raise InvalidRequest(
            f"{text!r} fits {len(matching)} {noun}s: {shown}", hint="give more of the id"
        )
    record = await reader.one(table, matching[0])
    if record is None:
        raise NotFound(f"there is no {noun} {text!r}", hint=hint)
    return record


def _split(text: str) -> tuple[str, str]:
    for leg in _LEGS:
        if text.endswith(leg):
            return text.removesuffix(leg), leg
    return text, ""
