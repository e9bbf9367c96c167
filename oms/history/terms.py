"""What an event can be found by: pure, so that the index and a plain reading of the log agree.

An event is found by every account, contract, side, code and name that stands anywhere in it. One
that names none of its own, such as a status, is found by those of the order, the break or the alarm
that it is about; which order that is, the fold has decided.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal, get_args

from oms.core.contracts import Contract

#: What can be asked for by value.
Kind = Literal[
    "type", "actor", "strategy", "session", "account", "symbol", "con_id", "class", "side", "code"
]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
#: What an event takes over from what it is about.
INHERITED: Final = frozenset({"account", "symbol", "con_id", "class", "side", "strategy"})
#: Names are kept by a number made of them: there are as many names as orders, and a term for each
#: would be a copy of the log. Who asks by name looks at each event that is found.
BUCKETS: Final = 2_048

Term = tuple[str, str]

#: Fields of a payload whose value is a term as it stands.
_PLAIN: Final[Mapping[str, Kind]] = {
    "account": "account",
    "symbol": "symbol",
    "sec_type": "class",
    "break_class": "class",
    "side": "side",
}
_NUMBERS: Final[Mapping[str, Kind]] = {"con_id": "con_id", "code": "code"}
#: Fields that name an order or an execution at the broker.
NAMES: Final = ("broker_order_id", "perm_id", "exec_id", "order_ref")
STRATEGY: Final = "strategy:"
_SECURITY_TYPE: Final = str(Contract.model_fields["sec_type"].default)


def bucket(name: str) -> Term:
    """Return the term that an event with a name can be found by, as some others can."""
    return "name", str(zlib.crc32(name.encode()) % BUCKETS)


def terms_of(type_name: str, actor: str, session_epoch: int, payload: object) -> set[Term]:
    """Return what an event says of itself; `payload` is its JSON as values."""
    found: set[Term] = {("type", type_name), ("actor", actor)}
    if actor.startswith(STRATEGY):
        found.add(("strategy", actor.removeprefix(STRATEGY)))
    if session_epoch:
        found.add(("session", str(session_epoch)))
    _collect(payload, found)
    return found


def terms_of_row(row: object) -> set[Term]:
    """Return what an event takes over from the row of an order, a break or an alarm."""
    found: set[Term] = set()
    _collect(row, found)
    if isinstance(row, dict):
        if str(row.get("actor", "")).startswith(STRATEGY):
            found.add(("strategy", str(row["actor"]).removeprefix(STRATEGY)))
        # Rows leave out what a field has by itself.
        if "sec_type" not in row.get("contract", {"sec_type": ""}):
            found.add(("class", _SECURITY_TYPE))
    return {term for term in found if term[0] in INHERITED}


def names_in(payload: object) -> Iterator[tuple[str, str]]:
    """Yield the names at the broker that an event says, each with its field."""
    if isinstance(payload, dict):
        for field in NAMES:
            value = payload.get(field)
            if value and isinstance(value, int | str):
                yield field, str(value)


def _collect(value: object, found: set[Term]) -> None:
    if isinstance(value, dict):
        for name, inner in value.items():
            if isinstance(inner, dict | list):
                # The legs of a combo have sides of their own, which are not that of the order.
                _collect(_unsided(inner) if name == "legs" else inner, found)
                if name == "accounts":
                    found.update(("account", one) for one in inner if isinstance(one, str) and one)
            elif inner and (kind := _PLAIN.get(name)) is not None and isinstance(inner, str):
                found.add((kind, inner.upper() if kind in {"symbol", "side"} else inner))
            elif inner and (kind := _NUMBERS.get(name)) is not None and isinstance(inner, int):
                found.add((kind, str(inner)))
            elif inner and name in NAMES and isinstance(inner, int | str):
                found.add(bucket(str(inner)))
    elif isinstance(value, list):
        for inner in value:
            if isinstance(inner, dict | list):
                _collect(inner, found)


def _unsided(legs: Any) -> object:
    if not isinstance(legs, list):
        return legs
    return [
        {n: v for n, v in leg.items() if n != "side"} if isinstance(leg, dict) else leg
        for leg in legs
    ]
