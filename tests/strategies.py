"""What hypothesis draws: every event with any content, and order lives in their text form."""

from __future__ import annotations

import types
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from hypothesis import strategies as st

from oms.core import bounds
from oms.core.events import EVENT_TYPES, Event
from oms.core.members import members
from oms.core.ratio import Ratio
from oms.core.values import Value

#: Up to 28 digits, the most that arithmetic keeps, at any exponent that money has.
decimals = st.builds(
    lambda sign, digits, exponent: Decimal((sign, tuple(digits), exponent)),
    st.integers(0, 1),
    st.lists(st.integers(0, 9), min_size=1, max_size=28),
    st.integers(-20, 4),
)
prices = st.decimals(Decimal("0.01"), Decimal(1000), places=2)
quantities = st.decimals(Decimal("0.001"), Decimal(1000), places=3)
#: Numbers below the bound of a single one.
numbers = decimals.map(lambda number: number.scaleb(-14))
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
moments = st.datetimes(
    datetime(2000, 1, 1),  # noqa: DTZ001 - hypothesis wants naive bounds and adds the zone
    datetime(2100, 1, 1),  # noqa: DTZ001 - the same
    timezones=st.just(UTC),
)


def events() -> st.SearchStrategy[Event]:
    """Return any event of any type, with any content."""
    return st.one_of(*(model(EVENT_TYPES[name]) for name in sorted(EVENT_TYPES)))


#: Whole numbers by their type, up to both ends.
_BOUNDED: dict[Any, st.SearchStrategy[Any]] = {
    getattr(bounds, name): st.integers(row.low, row.high)
    for name, row in bounds.BOUNDS.items()
    if isinstance(row, bounds.Whole)
} | {bounds.Quantity: numbers, bounds.Price: numbers}


@cache
def model(cls: type[Value]) -> st.SearchStrategy[Any]:
    """Return any value of a model."""
    hints = get_type_hints(cls, include_extras=True)
    return st.builds(cls, **{name: _value(hints[name]) for name in members(cls)})


def _value(hint: Any) -> st.SearchStrategy[Any]:
    origin = get_origin(hint)
    if origin is Annotated:
        return _BOUNDED[hint] if hint in _BOUNDED else _value(get_args(hint)[0])
    if origin is Literal:
        return st.sampled_from(get_args(hint))
    if origin in (Union, types.UnionType):
        return st.one_of(*(_value(part) for part in get_args(hint)))
    if origin is tuple:
        return st.lists(_value(get_args(hint)[0]), max_size=3).map(tuple)
    if hint is Ratio:
        return st.builds(Ratio, new=st.integers(1, 2**31), old=st.integers(1, 2**31))
    if isinstance(hint, type) and issubclass(hint, Value):
        return model(hint)
    simple: dict[Any, st.SearchStrategy[Any]] = {
        str: texts,
        bool: st.booleans(),
        Decimal: decimals,
        datetime: moments,
        type(None): st.none(),
    }
    return simple[hint]


# ── lives ────────────────────────────────────────────────────────────────────────────────────────

STATUSES = (
    "PendingSubmit",
    "PreSubmitted",
    "Submitted",
    "PendingCancel",
    "Cancelled",
    "ApiCancelled",
    "Filled",
    "Inactive",
    "Strange",
)
CODES = (110, 103, 161, 201, 202, 321, 399, 404, 10147, 10148, 10349, 99999)


def execution(number: int, revision: int) -> str:
    """Return the one execution of a number and a revision: the same id has the same contents."""
    return f"fill {10 * number + revision} @ {10 + number}.{revision} exec=x.{number}.0{revision}"


executions = st.builds(execution, st.integers(1, 4), st.integers(1, 2))
commissions = st.builds(
    lambda number, revision: f"commission x.{number}.0{revision} {number}.5",
    st.integers(1, 4),
    st.integers(1, 2),
)
statuses = st.builds(
    "status {} {}".format, st.sampled_from(STATUSES), st.sampled_from((0, 11, 40, 100))
)
open_orders = st.builds(
    "open {} 100 {}".format, st.sampled_from(STATUSES), st.sampled_from((10, 11))
)
completed = st.builds(
    "completed {} {}".format,
    st.sampled_from(("Filled", "Cancelled", "Inactive")),
    st.sampled_from((0, 11, 100)),
)
notices = st.builds("notice {}".format, st.sampled_from(CODES))
#: Whatever IB may say about an order, in any order.
messages = st.one_of(executions, commissions, statuses, open_orders, completed, notices)
#: What we do, and what happens to the line.
deeds = st.sampled_from(
    (
        "sent",
        "not_sent",
        "cancel",
        "sent cancel",
        "cancel_denied",
        "modify 100 11",
        "modify 200 10",
        "modify_denied",
        "lost",
        "session",
        "crash",
        "resolve not_received",
        "resolve ended",
        "resolve ended by=person",
    )
)
positions = st.sampled_from(("position 10 10", "position 0", "opening 5 9"))
lines = st.one_of(messages, deeds, positions)


def lives(max_size: int = 30) -> st.SearchStrategy[list[str]]:
    """Return the lives of two orders and a stranger's, as lines of the text form."""
    first = lines
    second = messages.map("B: {} con=2".format).map(_own_execution)
    stranger = st.sampled_from(
        (
            "M: open Submitted ref= client=7 id=4",
            "M: fill 7 @ 10 exec=m.1.01 ref= client=7 id=0",
            "M: commission m.1.01 1",
            "M: adopt Submitted client=7 id=4",
            "M: status Cancelled 0 client=7 id=4",
        )
    )
    body = st.lists(st.one_of(first, first, second, stranger), max_size=max_size)
    return body.map(
        lambda rows: ["session", "intent BUY 100 LMT 10", "B: intent SELL 50 LMT 12 con=2", *rows]
    )


def _own_execution(line: str) -> str:
    return line.replace("exec=x.", "exec=y.").replace("commission x.", "commission y.")
