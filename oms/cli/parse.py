"""From a person's words to a request: what cannot be an order is refused here, with the reason."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from oms.core.admit.validity import check_order_id, validate
from oms.core.bounds import MOMENT
from oms.core.contracts import Combo as combo_of
from oms.core.contracts import ComboLeg, Contract, Forex, Future, Index, Option, Stock
from oms.core.events import OrderRequested, Side, Terms
from oms.core.fold.records import Order
from oms.core.money import number
from oms.core.order_types import as_changes, changed
from oms.errors import InvalidRequest

#: SYMBOL, SYMBOL/EXPIRY, SYMBOL/EXPIRY/STRIKE/RIGHT, each with @EXCHANGE.
_COMPACT: Final = re.compile(
    r"(?P<symbol>[^/@]+)(/(?P<expiry>\d{6,8})(/(?P<strike>[\d.]+)/(?P<right>[A-Za-z]+))?)?"
    r"(@(?P<exchange>[\w.]+))?",
    re.ASCII,
)
_PAIR: Final = re.compile(r"[A-Za-z]{3}[./][A-Za-z]{3}")
_LEG: Final = re.compile(r"(BUY|SELL):(\d{1,20}):(\d{1,20})(?:@([\w.]+))?", re.ASCII)
_AUCTIONS: Final = ("open", "close")
_OF_OPTION: Final = ("expiry", "strike", "right", "multiplier", "trading_class", "currency")
#: What the description of each kind takes beside its symbol and its exchange.
_TAKES: Final = {
    "STK": ("primary_exchange", "currency"),
    "OPT": _OF_OPTION,
    "FOP": _OF_OPTION,
    "FUT": ("expiry", "multiplier", "trading_class", "currency"),
    "CASH": (),
    "BAG": ("leg", "currency"),
    "IND": ("currency",),
}
_EVERY: Final = sorted({name for names in _TAKES.values() for name in names})


def order_request(side: Side, words: Mapping[str, Any]) -> OrderRequested:
    """Return the request for an order; raises `InvalidRequest` where the words make none."""
    order_id = words["order_id"]
    if order_id is not None:
        check_order_id(order_id)
    terms = terms_of(side, words)
    validate(terms)
    return OrderRequested(
        order_id=order_id or uuid.uuid4().hex,
        # Empty means the only account there is; the daemon knows it, we may not.
        account=words["account"] or "",
        contract=contract_of(words),
        terms=terms,
        reason=words["reason"],
        closing=words.get("closing", False),
    )


# ── the contract ─────────────────────────────────────────────────────────────────────────────────


def contract_of(words: Mapping[str, Any]) -> Contract:
    """Return the contract that a compact word and options describe; raises `InvalidRequest`."""
    text = str(words["contract"]).strip()
    said = {name: words[name] for name in ("expiry", "strike", "right", "exchange") if words[name]}
    if _PAIR.fullmatch(text.split("@")[0]) and (words["sec_type"] or "CASH").upper() == "CASH":
        pair, _, venue = text.partition("@")
        _no_strays("CASH", {}, words)
        return _numbered(Forex(pair, said.get("exchange") or venue or "IDEALPRO"), words)
    found = _COMPACT.fullmatch(text)
    if found is None:
        raise InvalidRequest(
            f"{text!r} names no contract",
            hint="write AAPL, EUR.USD, ES/202609@CME or AAPL/20260918/200/C",
        )
    parts = {name: value for name, value in found.groupdict().items() if value}
    for name, value in said.items():
        if parts.setdefault(name, value) != value:
            raise InvalidRequest(f"{text!r} and --{name} {value} contradict each other")
    kind = _kind(words, parts)
    return _numbered(_contract(kind, parts, words), words)


def _kind(words: Mapping[str, Any], parts: Mapping[str, str]) -> str:
    if words["sec_type"]:
        kind = str(words["sec_type"]).upper()
        if kind not in _TAKES:
            known = ", ".join(_TAKES)
            raise InvalidRequest(f"--sec-type is one of {known}, found {words['sec_type']!r}")
        return kind
    if words["leg"]:
        return "BAG"
    if "strike" in parts or "right" in parts:
        return "OPT"
    return "FUT" if "expiry" in parts else "STK"


def _contract(kind: str, parts: Mapping[str, str], words: Mapping[str, Any]) -> Contract:
    symbol, currency = parts["symbol"], (words["currency"] or "USD").upper()
    venue = parts.get("exchange", "").upper()
    _no_strays(kind, parts, words)
    detail = {"multiplier": words["multiplier"], "trading_class": words["trading_class"] or ""}
    match kind:
        case "CASH":
            return Forex(symbol, venue or "IDEALPRO")
        case "IND" if venue:
            return Index(symbol, venue, currency)
        case "BAG":
            return combo_of(symbol, _legs(words["leg"]), venue or "SMART", currency)
        case "OPT" | "FOP":
            option = Option(
                symbol,
                _needed(kind, "expiry", parts),
                _needed(kind, "strike", parts),
                _needed(kind, "right", parts),
                venue or ("SMART" if kind == "OPT" else _needed(kind, "exchange", parts)),
                currency=currency,
                **detail,
            )
            return option.evolve(sec_type=kind)
        case "FUT":
            expiry = _needed(kind, "expiry", parts)
            return Future(symbol, expiry, _needed(kind, "exchange", parts), currency, **detail)
        case "STK":
            primary = words["primary_exchange"] or ""
            return Stock(symbol, venue or "SMART", currency, primary_exchange=primary.upper())
        case _:
            raise InvalidRequest(f"a contract of type {kind} needs its exchange: {symbol}@EXCHANGE")


def _no_strays(kind: str, parts: Mapping[str, str], words: Mapping[str, Any]) -> None:
    """Raise `InvalidRequest` for what the order would leave without: nobody would notice."""
    for name in _EVERY:
        value = words[name] or parts.get(name)
        if value and name not in _TAKES[kind]:
            told = value if isinstance(value, str) else ", ".join(value)
            raise InvalidRequest(
                f"a contract of type {kind} has no {name.replace('_', ' ')}, found {told!r}"
            )


def _needed(kind: str, name: str, parts: Mapping[str, str]) -> str:
    if name not in parts:
        how = "after @ or with --exchange" if name == "exchange" else f"with --{name}"
        raise InvalidRequest(f"a contract of type {kind} needs its {name}: give it {how}")
    return parts[name].upper() if name == "exchange" else parts[name]


def _legs(texts: list[str] | None) -> list[ComboLeg]:
    legs = []
    for text in texts or []:
        found = _LEG.fullmatch(text.strip().upper())
        if found is None:
            raise InvalidRequest(f"a leg is SIDE:RATIO:CON_ID such as BUY:1:265598, found {text!r}")
        legs.append(
            ComboLeg(
                con_id=int(found[3]),
                side="BUY" if found[1] == "BUY" else "SELL",
                ratio=int(found[2]),
                exchange=found[4] or "SMART",
            )
        )
    return legs


def _numbered(contract: Contract, words: Mapping[str, Any]) -> Contract:
    con_id = words["con_id"]
    return contract.evolve(con_id=con_id) if con_id else contract


# ── the terms ────────────────────────────────────────────────────────────────────────────────────


def terms_of(side: Side, words: Mapping[str, Any]) -> Terms:
    """Return what the options ask for; which go together is for `admit.validity` to say."""
    trails = words["trail"] is not None or words["trail_percent"] is not None
    stop = _number("stop", words["stop"])
    tif, order_type = _auction(words, _order_type(words, trails=trails))
    oca = words.get("oca_group") or ""
    if not oca and words.get("oca_type", 1) != 1:
        raise InvalidRequest(f"--oca-type {words['oca_type']} needs an --oca-group")
    return Terms(
        side=side,
        quantity=number("quantity", words["quantity"]),
        order_type=order_type,
        limit_price=_number("limit", words["limit"]),
        stop_price=None if trails else stop,
        trail_stop_price=stop if trails else None,
        trail_amount=_number("trail", words["trail"]),
        trail_percent=_number("trail percent", words["trail_percent"]),
        limit_offset=_number("limit offset", words["limit_offset"]),
        tif=tif,
        good_till=time_of(words["good_till"]),
        outside_rth=words["outside_rth"],
        all_or_none=words["all_or_none"],
        min_quantity=_number("min quantity", words["min_quantity"]),
        display_size=_number("display", words["display"]),
        hidden=words["hidden"],
        oca_group=oca,
        oca_type=words["oca_type"] if oca else 0,
    )


def _order_type(words: Mapping[str, Any], *, trails: bool) -> str:
    if trails:
        return "TRAIL" if words["limit_offset"] is None else "TRAIL LIMIT"
    has_limit, has_stop = words["limit"] is not None, words["stop"] is not None
    kinds = {(False, False): "MKT", (True, False): "LMT", (False, True): "STP"}
    return kinds.get((has_limit, has_stop), "STP LMT")


def _auction(words: Mapping[str, Any], order_type: str) -> tuple[str, str]:
    """Return time in force and order type, as `--at` makes them."""
    given = words["tif"]
    standard = "GTD" if words["good_till"] is not None else "DAY"
    at = words["at"]
    if at is None:
        return (given or standard).upper(), order_type
    if at not in _AUCTIONS or order_type not in {"MKT", "LMT"} or given is not None:
        raise InvalidRequest(
            "--at is open or close, for a market or a limit order, without --tif;"
            f" found --at {at}, {order_type}" + (f", --tif {given}" if given else "")
        )
    if at == "open":
        return "OPG", order_type
    return standard, "MOC" if order_type == "MKT" else "LOC"


def time_of(text: str | None) -> datetime | None:
    """Return the aware time that a text names; raises `InvalidRequest`."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidRequest(f"{text!r} is not a time such as 2026-01-05T20:00:00Z") from error
    if moment.utcoffset() is None:
        raise InvalidRequest(f"{text!r} has no time zone; end it with Z for UTC, or +01:00")
    try:
        return MOMENT.check(moment)
    except ValueError as error:
        raise InvalidRequest(f"the time {error}") from error


def side_of(text: str) -> Side:
    """Return the side that a word names; raises `InvalidRequest`."""
    match text.upper():
        case "BUY":
            return "BUY"
        case "SELL":
            return "SELL"
        case _:
            raise InvalidRequest(f"side must be BUY or SELL, found {text!r}")


def changes_of(order: Order, words: Mapping[str, Any]) -> dict[str, Any]:
    """Return the changes that a `ModifyRequested` carries; raises `InvalidRequest` where they
    cannot be the order's.
    """
    trails = order.terms.order_type.startswith("TRAIL")
    if trails and words["stop"] is not None:
        raise InvalidRequest(
            f"the stop of a {order.terms.order_type} order follows the market and cannot be set"
        )
    found: dict[str, Any] = {
        "quantity": _number("quantity", words["quantity"]),
        "limit_price": _number("limit", words["limit"]),
        "stop_price": _number("stop", words["stop"]),
        "trail_amount": _number("trail", words["trail"]),
        "trail_percent": _number("trail percent", words["trail_percent"]),
        "limit_offset": _number("limit offset", words["limit_offset"]),
        "tif": None if words["tif"] is None else str(words["tif"]).upper(),
        "good_till": time_of(words["good_till"]),
        "outside_rth": words["outside_rth"],
        "all_or_none": words["all_or_none"],
        "min_quantity": _number("min quantity", words["min_quantity"]),
        "display_size": _number("display", words["display"]),
    }
    given = {name: value for name, value in found.items() if value is not None}
    if not given:
        raise InvalidRequest("a change needs at least one of --limit, --stop, --quantity, ...")
    if order.live:
        validate(changed(order.terms, as_changes(given)))
    return given


def _number(name: str, text: str | None) -> Decimal | None:
    return None if text is None else number(name, text)
