"""What an event can be found by: pure, so that the index and a plain reading of the log agree.

An event is found by every account, contract, side, code and name that stands anywhere in it. One
that names none of its own, such as a status, is found by those of the order, the break or the alarm
that it is about; which order that is, the fold has decided.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Final, Literal, get_args

from oms.core.contracts import Contract
from oms.core.members import members

#: What can be asked for by value.
Kind = Literal[
    "type", "actor", "strategy", "session", "account", "symbol", "con_id", "class", "side", "code"
]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
#: What an event takes over from what it is about.
INHERITED: Final = frozenset({"account", "symbol", "con_id", "class", "side", "strategy"})
#: Names are kept by a number made of them: there are as many names as orders, and a term for each
#: would be a copy of the log. Who asks by name looks at each event that is found.
BUCKETS: Final = 1_024

Term = tuple[str, str]

#: Fields of a payload that something is found by, whether at its top or deep inside.
_FIELDS: Final[Mapping[str, str]] = {
    "account": "account",
    "accounts": "account",
    "symbol": "symbol",
    "sec_type": "class",
    "break_class": "class",
    "side": "side",
    "con_id": "con_id",
    "code": "code",
    # What names an order in a session; every other name has an index in the log's database.
    "broker_order_id": "name",
}
_UPPER: Final = frozenset({"symbol", "side"})
STRATEGY: Final = "strategy:"
#: Its kind is its class.
_ALARM: Final = "AlarmRaised"
_SECURITY_TYPE: Final = str(members(Contract)["sec_type"].default)


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
    if type_name == _ALARM and isinstance(payload, dict):
        found.add(("class", str(payload.get("kind", ""))))
    _collect(payload, found)
    return found


def terms_of_row(row: object) -> set[Term]:
    """Return what an event takes over from the row of an order, a break or an alarm."""
    found: set[Term] = set()
    _collect(row, found)
    if isinstance(row, dict):
        actor = row.get("actor")
        if isinstance(actor, str) and actor.startswith(STRATEGY):
            found.add(("strategy", actor.removeprefix(STRATEGY)))
        if "alarm_id" in row:
            found.add(("class", str(row.get("kind", ""))))
        # Rows leave out what a field has by itself.
        contract = row.get("contract")
        if isinstance(contract, dict) and "sec_type" not in contract:
            found.add(("class", _SECURITY_TYPE))
    return {term for term in found if term[0] in INHERITED}


def _collect(value: object, found: set[Term], *, sided: bool = True) -> None:
    # Called for every value of every event: `type` is asked, not `isinstance`.
    if type(value) is dict:
        for name, inner in value.items():
            kind = _FIELDS.get(name)
            if kind is None:
                if type(inner) is dict or type(inner) is list:
                    # The legs of a combo have sides of their own, which are not the order's.
                    _collect(inner, found, sided=sided and name != "legs")
            elif type(inner) is list:
                found.update((kind, one) for one in inner if type(one) is str and one)
            elif inner and (sided or kind != "side"):
                text = str(inner)
                if kind == "name":
                    found.add(bucket(text))
                else:
                    found.add((kind, text.upper() if kind in _UPPER else text))
    elif type(value) is list:
        for inner in value:
            _collect(inner, found, sided=sided)
