"""The texts of an `.oms` file: what they name, what they ask for, and how a record reads as text.

Nothing here acts. A field is any field or property of a record, also one inside another
(`terms.tif`, `contract.strike`, `perm_ids.0`), written plainly: numbers without an exponent, yes or
no, ISO times, the members of a list with commas between them, and `none` for what is not said.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from types import NoneType
from typing import Annotated, Any, Final, TypeVar, get_args, get_origin

import msgspec

from oms.cli.parse import contract_of
from oms.core.contracts import Contract
from oms.core.events import Side, Terms
from oms.core.members import members
from oms.core.money import plain
from oms.core.ratio import Ratio

#: `{entry.perm_id}`, `{breaks.break_id}`.
REFERENCE: Final = re.compile(r"\{([\w:-]+)\.([\w.]+)\}")
#: Security types that are described at the shell; others are described by their fields alone.
_DESCRIBED: Final = ("STK", "OPT", "FOP", "FUT", "CASH", "IND")
_SHORT: Final = {"limit": "limit_price", "stop": "stop_price"}
_YES: Final = {"yes": True, "no": False}

S = TypeVar("S", bound=msgspec.Struct)


# ── from a text to what it asks for ──────────────────────────────────────────────────────────────


def contract(word: str, options: dict[str, str]) -> Contract:
    """Return the contract that a word and options name, as `oms buy` has them, or any field of a
    contract; takes those options out.
    """
    said = {name: options.pop(name) for name in members(Contract) if name in options}
    if said.get("sec_type", "STK") not in _DESCRIBED or "local_symbol" in said:
        return made(Contract, {"symbol": word, "exchange": "SMART", **said})
    asked: dict[str, Any] = dict.fromkeys(members(Contract)) | said
    asked["con_id"] = int(said.get("con_id", "0"))
    return contract_of({"contract": word, "leg": None, **asked})


def terms(side: str, quantity: str, order_type: str, options: dict[str, str]) -> Terms:
    """Return what options ask for, each the name of a term; takes those options out."""
    assert side in get_args(Side), f"{side} is neither BUY nor SELL"
    known = members(Terms)
    said = {
        _SHORT.get(name, name): options.pop(name)
        for name in list(options)
        if _SHORT.get(name, name) in known
    }
    said |= {"side": side, "quantity": quantity, "order_type": order_type.replace("_", " ")}
    return made(Terms, said)


def changes(options: Mapping[str, str]) -> dict[str, Any]:
    """Return the changes of an order that options ask for."""
    known = members(Terms)
    return {
        name: value_of(known[_SHORT.get(name, name)].hint, text) for name, text in options.items()
    }


def made(cls: type[S], texts: Mapping[str, str]) -> S:
    """Return a value or an event whose fields have these texts; raises AssertionError for a field
    that it does not have.
    """
    known = members(cls)
    for name in texts:
        assert name in known, f"{cls.__name__} has no field {name}: {', '.join(known)}"
    return cls(**{name: value_of(known[name].hint, text) for name, text in texts.items()})


def value_of(hint: Any, text: str) -> Any:
    """Return the value of a type that a text stands for."""
    while get_origin(hint) is Annotated or NoneType in get_args(hint):
        hint = next(one for one in get_args(hint) if one is not NoneType)
    readers: dict[Any, Callable[[str], Any]] = {
        Decimal: Decimal,
        int: int,
        bool: lambda said: _YES[said],
        datetime: datetime.fromisoformat,
        Ratio: Ratio.parse,
    }
    return readers.get(hint, str)(text)


# ── from a record to its texts ───────────────────────────────────────────────────────────────────


def text_of(value: object) -> str:
    """Return a value as a file writes it."""
    match value:
        case None:
            return "none"
        case bool():
            return "yes" if value else "no"
        case Decimal():
            return plain(value)
        case datetime():
            return value.isoformat()
        case tuple():
            return ",".join(map(text_of, value))
        case _:
            return str(value)


def field_of(record: object, path: str) -> object:
    """Return the value at a path into a record; raises AssertionError where there is none."""
    for name in path.split("."):
        if isinstance(record, tuple) and name.isdigit():
            record = record[int(name)] if int(name) < len(record) else None
        elif record is not None:
            assert hasattr(record, name), f"{type(record).__name__} has no field {name}"
            record = getattr(record, name)
    return record


def contradiction(record: object, options: Mapping[str, str], **known: str) -> str:
    """Return how a record is not as options say, "" where it is.

    An option is FIELD=TEXT, FIELD!=TEXT, or FIELD~=TEXT for a text that contains another; `*` is
    any text but none. `known` are fields by names of their own.
    """
    for name, text in options.items():
        path = name.rstrip("!~")
        value: object = known[path] if path in known else field_of(record, path)
        if _fits(value, text, name[len(path) :]):
            continue
        return f"{path} is {text_of(value)}"
    return ""


def _fits(value: object, text: str, how: str) -> bool:
    if text == "*":
        fits = value is not None and value != ""
    elif how == "~":
        return text in text_of(value)
    else:
        fits = text in {text_of(value), str(value)}
    return fits is not (how == "!")


def those(records: Iterable[object], options: Mapping[str, str]) -> list[object]:
    """Return the records that are as options say."""
    return [one for one in records if not contradiction(one, options)]


def is_named(one: Contract, word: str) -> bool:
    """Say whether a word names a contract: its symbol, its local symbol, its number, or as at the
    shell (`AAPL/20270115/200/C`, `EUR.USD`).
    """
    if word in {one.symbol, one.local_symbol, str(one.con_id)}:
        return True
    if not set("/.") & set(word):
        return False
    said = contract(word, {})
    # The same word describes options on futures too.
    kind = {"FOP": "OPT"}.get(one.sec_type, one.sec_type)
    parts = ("symbol", "currency", "strike", "right")
    return (
        said.sec_type == kind
        and one.expiry.startswith(said.expiry)
        and all(getattr(said, name) == getattr(one, name) for name in parts)
    )
