"""Wire fields to facts: what one broker message says, exactly as far as order management needs it.

Pure. Numbers go from the wire's text straight to Decimal, IB's spellings of "not set" become None,
and every field is found by reading from the left, because an openOrder has optional blocks in its
middle. Server versions 157 to 178 (broker notes: versions).

The promise: a message of ours gives a fact, a message of other people (market data, contract
details) gives None, and everything else raises `Unreadable`. There is no fourth outcome, whatever
the fields hold. The caller keeps the wire fields in all cases.

It does not say which of our orders a message belongs to, and drops no repeats: those are folds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from types import MappingProxyType
from typing import Final, Literal, NamedTuple
from zoneinfo import ZoneInfo

from oms.core.contracts import ComboLeg, Contract
from oms.core.events import (
    AccountValueReceived,
    AnswerEndReceived,
    CommissionReceived,
    CompletedOrderReceived,
    Event,
    ExecutionReceived,
    ManagedAccountsReceived,
    NextOrderIdReceived,
    NoticeReceived,
    OpenOrderReceived,
    OrderBoundReceived,
    OrderStatusReceived,
    PortfolioReceived,
    PositionReceived,
    Side,
    WhatIfReceived,
)
from oms.core.money import decimal_from_wire, integer_from_wire, quantity_from_wire

OLDEST_VERSION: Final = 157
NEWEST_VERSION: Final = 178

Fields = Sequence[str]
EndKind = Literal[
    "open_orders", "executions", "completed_orders", "positions", "account_summary", "account"
]


class Unreadable(ValueError):
    """The message is one of ours, or of nobody we know, and its fields make no sense."""


class Translated(NamedTuple):
    """A fact, and when the broker says that it happened."""

    event: Event
    #: Aware UTC; None where the message names no time, or names it without a zone and none is set.
    occurred_at: datetime | None = None


def translate(fields: Fields, server_version: int, zone: ZoneInfo | None) -> Translated | None:
    """Return the fact that a server message states, or None for a message that is not about orders,
    positions or accounts.

    `zone` is the zone that TWS was logged in with; times that name no zone are read in it. Raises
    `Unreadable`, and nothing else, for messages that are short, corrupt or of an unknown kind.
    """
    message_id = fields[0] if fields else ""
    translator = _TRANSLATORS.get(message_id)
    if translator is None:
        if message_id in _OTHER_PEOPLES:
            return None
        raise Unreadable(f"message id {message_id[:32]!r} is not known")
    try:
        return translator(fields, server_version, zone)
    except (ValueError, LookupError, ArithmeticError) as error:
        raise Unreadable(_reason(message_id, fields, error)) from error


def _reason(message_id: str, fields: Fields, error: Exception) -> str:
    if isinstance(error, IndexError):
        return f"message {message_id} is short: it ends after {len(fields)} fields"
    # pydantic's text runs over several lines and repeats the input; its first line names the class.
    return f"message {message_id}: {str(error).splitlines()[0] if str(error) else repr(error)}"


# ── fields ───────────────────────────────────────────────────────────────────────────────────────


#: The same few numbers come again and again: 0, 100, the prices around the market.
_number: Final = lru_cache(maxsize=16_384)(decimal_from_wire)
_quantity: Final = lru_cache(maxsize=16_384)(quantity_from_wire)


def _id(text: str) -> int:
    """An id that may be missing: 0, as for the executions of other sessions (INC-26)."""
    return integer_from_wire(text) or 0


def _flag(text: str) -> bool:
    if text in {"", "0"}:
        return False
    if text == "1":
        return True
    raise ValueError(f"expected 0 or 1, found {text!r}")


def _count(text: str) -> int:
    """A number of repeated groups; a wrong one would move every field after it."""
    number = int(text)
    if number < 0:
        raise ValueError(f"expected a count, found {text!r}")
    return number


def _at_least(number: int, fields: Fields) -> None:
    if len(fields) < number:
        raise IndexError


def _required(name: str, text: str) -> str:
    if not text:
        raise ValueError(f"{name} is empty")
    return text


#: Executions say BOT and SLD, orders BUY and SELL, institutions name the kind of sale as well.
_SIDES: Final[Mapping[str, Side]] = MappingProxyType(
    {"BUY": "BUY", "BOT": "BUY", "SELL": "SELL", "SLD": "SELL", "SSHORT": "SELL", "SLONG": "SELL"}
)
_RIGHTS: Final[Mapping[str, str]] = MappingProxyType(
    {"": "", "?": "", "0": "", "C": "C", "CALL": "C", "P": "P", "PUT": "P"}
)
#: Calendar spread options have a strike of zero or less; for everything else zero means none.
_WITH_STRIKE: Final = frozenset({"OPT", "FOP", "WAR", "IOPT"})
_WITH_LIMIT: Final = frozenset({"LMT", "STP LMT", "LIT", "LOC", "TRAIL LIMIT", "REL", "PEG BEST"})
_WITH_STOP: Final = frozenset({"STP", "STP LMT", "STP PRT", "MIT", "LIT"})
#: Their auxPrice is the distance that they trail by.
_TRAILING: Final = frozenset({"TRAIL", "TRAIL LIMIT"})


def _side(text: str) -> Side:
    side = _SIDES.get(text)
    if side is None:
        raise ValueError(f"expected a side, found {text!r}")
    return side


def _right(text: str) -> str:
    right = _RIGHTS.get(text)
    if right is None:
        raise ValueError(f"expected call or put, found {text!r}")
    return right


def _price(text: str, order_type: str, users: frozenset[str]) -> Decimal | None:
    """A price of an order; IB writes 0.0 where the type has no such price (spreads trade at 0)."""
    price = _number(text)
    if price is not None and not price and order_type not in users:
        return None
    return price


#: conId, symbol, secType, expiry, strike, right, multiplier, exchange, currency, localSymbol,
#: tradingClass: the same eleven in every message; only the exchange changes its meaning.
_CONTRACT_FIELDS: Final = 11


@lru_cache(maxsize=8192)
def _contract(fields: tuple[str, ...], exchange_is_primary: bool = False) -> Contract:
    con_id, symbol, sec_type, expiry, strike, right, multiplier, exchange, currency, local, cls = (
        fields
    )
    price = _number(strike)
    return Contract(
        con_id=_id(con_id),
        symbol=symbol,
        sec_type=sec_type,
        currency=currency,
        exchange="" if exchange_is_primary else exchange,
        primary_exchange=exchange if exchange_is_primary else "",
        local_symbol=local,
        trading_class=cls,
        expiry=expiry,
        strike=price if price or sec_type in _WITH_STRIKE else None,
        right=_right(right),
        # A multiplier of 0 would make every value 0; IB writes it where there is none.
        multiplier=_number(multiplier) or None,
    )


def _contract_at(fields: Fields, start: int) -> Contract:
    part = tuple(fields[start : start + _CONTRACT_FIELDS])
    if len(part) < _CONTRACT_FIELDS:
        raise IndexError
    return _contract(part)


@lru_cache(maxsize=4096)
def moment_from_wire(text: str, zone: ZoneInfo | None) -> datetime | None:
    """Return the instant that one of IB's time texts names, aware UTC; None where it names none.

    The forms (broker notes: times): `20260105 09:30:00 US/Eastern`, `20260105-14:30:00` which is
    UTC without saying so, and `20260105  09:30:00`, which means the zone of TWS's login. A text
    that cannot be read gives None rather than an error, since the fact beside it (an execution)
    matters more than its second; the text itself is kept.
    """
    text = text.replace("  ", " ", 1)
    clock, rest = text[:17], text[17:].strip()
    try:
        naive = datetime.fromisoformat(f"{clock[:8]}T{clock[9:]}")
        if clock[8:9] == "-" and rest in {"", "Z"}:
            return naive.replace(tzinfo=UTC)
        where = ZoneInfo(rest) if rest else zone
        return None if where is None else naive.replace(tzinfo=where).astimezone(UTC)
    except (ValueError, OverflowError, LookupError, OSError):
        return None


# ── orders ───────────────────────────────────────────────────────────────────────────────────────


def _order_status(fields: Fields, version: int, zone: ZoneInfo | None) -> Translated:
    _at_least(12, fields)
    return Translated(
        OrderStatusReceived(
            broker_order_id=_id(_required("order id", fields[1])),
            status=_required("status", fields[2]),
            filled=_quantity(fields[3]),
            remaining=_quantity(fields[4]),
            average_fill_price=_number(fields[5]),
            perm_id=_id(fields[6]),
            parent_broker_order_id=_id(fields[7]),
            last_fill_price=_number(fields[8]),
            client_id=_id(fields[9]),
            why_held=fields[10],
        )
    )


def _open_order(fields: Fields, version: int, zone: ZoneInfo | None) -> Translated:
    order_type, oca_group = fields[15], fields[19]
    model = 34 if version >= 177 else 35  # faProfile stands before it
    delta_neutral = fields[model + 27]
    at = model + 29
    if delta_neutral:  # the literal "None" counts as set, and the gateway does send it
        at += 8
    trail_percent = _positive(fields[at + 3])
    legs_at = at + 7
    at = _after_combo(fields, legs_at)
    at = _after_scale_and_hedge(fields, at)
    state = _after_algo(fields, at + 4)
    _flag(fields[state])  # solicited: not 0 or 1 means that we are not where we think we are
    at = _after_conditions(fields, state + 19, order_type)
    newer = (version >= 159) + (version >= 160) + (version >= 162) + 5 * (version >= 170)
    _at_least(at + 16 + newer, fields)
    if _flag(fields[state + 1]):
        return Translated(_what_if(fields, state))
    trails = order_type in _TRAILING
    return Translated(
        OpenOrderReceived(
            broker_order_id=_id(fields[1]),
            client_id=_id(fields[24]),
            perm_id=_id(fields[25]),
            order_ref=fields[23],
            account=fields[20],
            contract=_with_legs(_contract_at(fields, 2), fields, legs_at),
            side=_side(fields[13]),
            quantity=_quantity(fields[14]),
            order_type=order_type,
            limit_price=_price(fields[16], order_type, _WITH_LIMIT),
            stop_price=None if trails else _price(fields[17], order_type, _WITH_STOP),
            tif=fields[18],
            oca_group=oca_group,
            outside_rth=_flag(fields[26]),
            parent_broker_order_id=_id(fields[model + 23]),
            status=_required("status", fields[state + 2]),
            warning_text=fields[state + 16],
            # IB names a type for every order; outside a group it means nothing.
            oca_type=_id(fields[model + 19]) if oca_group else 0,
            # A percentage leaves the last amount standing beside it.
            trail_amount=_positive(fields[17]) if trails and trail_percent is None else None,
            trail_percent=trail_percent if trails else None,
            trail_stop_price=_number(fields[at + 2]) if trails else None,
            limit_offset=_number(fields[at + 3]) if order_type == "TRAIL LIMIT" else None,
            good_till=moment_from_wire(fields[model + 1], zone),
            good_till_text=fields[model + 1],
            all_or_none=_flag(fields[model + 17]),
            min_quantity=_positive(fields[model + 18]),
            display_size=_positive(fields[model + 14]),
            hidden=_flag(fields[27]),
        )
    )


def _positive(text: str) -> Decimal | None:
    """A size or distance for which IB writes 0 where there is none."""
    return _number(text) or None


def _what_if(fields: Fields, state: int) -> WhatIfReceived:
    """Read the order state behind the flag at `state + 1`: nine margins, commission, warning."""
    margins = [_number(text) for text in fields[state + 3 : state + 12]]
    return WhatIfReceived(
        broker_order_id=_id(fields[1]),
        client_id=_id(fields[24]),
        account=fields[20],
        initial_margin_before=margins[0],
        maintenance_margin_before=margins[1],
        equity_with_loan_before=margins[2],
        initial_margin_change=margins[3],
        maintenance_margin_change=margins[4],
        equity_with_loan_change=margins[5],
        initial_margin_after=margins[6],
        maintenance_margin_after=margins[7],
        equity_with_loan_after=margins[8],
        commission=_number(fields[state + 12]),
        commission_min=_number(fields[state + 13]),
        commission_max=_number(fields[state + 14]),
        commission_currency=fields[state + 15],
        warning_text=fields[state + 16],
    )


def _with_legs(contract: Contract, fields: Fields, at: int) -> Contract:
    """Give a combo the legs whose number stands at `at`, eight fields a leg."""
    legs = tuple(
        _leg(fields[start], fields[start + 1], fields[start + 2], fields[start + 3])
        for start in range(at + 1, at + 1 + 8 * _count(fields[at]), 8)
    )
    return contract.evolve(legs=legs) if legs else contract


def _leg(con_id: str, ratio: str, action: str, exchange: str) -> ComboLeg:
    return ComboLeg(con_id=_id(con_id), ratio=_id(ratio), side=_side(action), exchange=exchange)


def _completed_order(fields: Fields, version: int, zone: ZoneInfo | None) -> Translated:
    order_type = fields[14]
    at = 31 if version >= 177 else 32  # faProfile
    delta_neutral = fields[at + 21]
    at += 23
    if delta_neutral:
        at += 4
    legs_at = at + 5
    at = _after_combo(fields, legs_at)
    at = _after_scale_and_hedge(fields, at)
    at = _after_algo(fields, at + 3)
    _flag(fields[at])  # solicited
    status = fields[at + 1]
    at = _after_conditions(fields, at + 4, order_type)
    _at_least(at + 15 + 5 * (version >= 170), fields)
    completed_time = fields[at + 13]
    return Translated(
        CompletedOrderReceived(
            perm_id=_id(fields[23]),
            order_ref=fields[22],
            account=fields[19],
            contract=_with_legs(_contract_at(fields, 1), fields, legs_at),
            side=_side(fields[12]),
            quantity=_number(fields[13]),
            order_type=order_type,
            limit_price=_price(fields[15], order_type, _WITH_LIMIT),
            stop_price=(
                None if order_type in _TRAILING else _price(fields[16], order_type, _WITH_STOP)
            ),
            tif=fields[17],
            status=_required("status", status),
            filled_quantity=_number(fields[at + 6]),
            completed_time=completed_time,
            completed_status=fields[at + 14],
        ),
        moment_from_wire(completed_time, zone),
    )


def _after_combo(fields: Fields, at: int) -> int:
    """Step over the legs, their prices and the routing parameters of a combo."""
    at += 1 + 8 * _count(fields[at])
    at += 1 + _count(fields[at])
    return at + 1 + 2 * _count(fields[at])


def _after_scale_and_hedge(fields: Fields, at: int) -> int:
    increment = _number(fields[at + 2])
    at += 3
    if increment is not None and increment > 0:
        at += 7
    return at + (2 if fields[at] else 1)


def _after_algo(fields: Fields, at: int) -> int:
    """Step over the delta-neutral contract, whose flag stands at `at`, and the algo."""
    at += 4 if _flag(fields[at]) else 1
    if not fields[at]:
        return at + 1
    return at + 2 + 2 * _count(fields[at + 1])


#: Fields after the type: price, time, margin, execution, volume, percent change.
_CONDITION_FIELDS: Final = MappingProxyType({"1": 6, "3": 3, "4": 3, "5": 4, "6": 5, "7": 5})


def _after_conditions(fields: Fields, at: int, order_type: str) -> int:
    """Step over the block of pegged-to-benchmark orders and over the conditions."""
    if order_type in {"PEG BENCH", "PEGBENCH"}:
        at += 5
    number = _count(fields[at])
    at += 1
    if not number:
        return at
    for _ in range(number):
        at += 1 + _CONDITION_FIELDS[fields[at]]
    return at + 2


# ── executions ───────────────────────────────────────────────────────────────────────────────────


def _execution(fields: Fields, version: int, zone: ZoneInfo | None) -> Translated:
    _at_least(31, fields)
    time_text = fields[15]
    return Translated(
        ExecutionReceived(
            broker_order_id=_id(fields[2]),
            client_id=_id(fields[22]),
            perm_id=_id(fields[21]),
            order_ref=fields[26],
            account=fields[16],
            contract=_contract_at(fields, 3),
            exec_id=_required("exec id", fields[14]),
            side=_side(fields[18]),
            quantity=_quantity(fields[19]),
            price=_quantity(fields[20]),
            venue=fields[17],
            time_text=time_text,
            cumulative_quantity=_number(fields[24]),
            average_price=_number(fields[25]),
            liquidation=bool(_id(fields[23])),
            price_may_change=version >= 178 and _flag(fields[31]),
            fetched=int(fields[1]) != -1,
        ),
        moment_from_wire(time_text, zone),
    )


_UNKNOWN_COMMISSION: Final = Decimal(-1)


def _commission(fields: Fields, version: int, zone: ZoneInfo | None) -> Translated:
    _at_least(8, fields)
    commission = _number(fields[3])
    return Translated(
        CommissionReceived(
            exec_id=_required("exec id", fields[2]),
            # Rebates are negative, but exactly -1 is IB's "not known yet".
            commission=None if commission == _UNKNOWN_COMMISSION else commission,
            currency=fields[4],
            realised_pnl=_number(fields[5]),
        )
    )


def _notice(fields: Fields, version: int, zone: ZoneInfo | None) -> Translated:
    return Translated(
        NoticeReceived(
            subject_id=int(fields[2]),
            code=int(fields[3]),
            text=fields[4],
            # Due from 166 on; a notice without it is still a notice.
            advanced_reject=fields[5] if len(fields) > 5 else "",
        )
    )


# ── positions and accounts ───────────────────────────────────────────────────────────────────────


def _position(fields: Fields, version: int, zone: ZoneInfo | None) -> Translated:
    return Translated(
        PositionReceived(
            account=_required("account", fields[2]),
            contract=_contract_at(fields, 3),
            quantity=_quantity(fields[14]),
            average_cost=_number(fields[15]),
        )
    )


def _position_multi(fields: Fields, version: int, zone: ZoneInfo | None) -> Translated | None:
    if fields[17]:  # the share of one model is not what the account holds
        return None
    return Translated(
        PositionReceived(
            account=_required("account", fields[3]),
            contract=_contract_at(fields, 4),
            quantity=_quantity(fields[15]),
            average_cost=_number(fields[16]),
        )
    )


def _portfolio(fields: Fields, version: int, zone: ZoneInfo | None) -> Translated:
    account = _required("account", fields[19])
    return Translated(
        PortfolioReceived(
            account=account,
            contract=_contract(tuple(fields[2 : 2 + _CONTRACT_FIELDS]), True),
            quantity=_quantity(fields[13]),
            market_price=_number(fields[14]),
            market_value=_number(fields[15]),
            average_cost=_number(fields[16]),
            unrealised_pnl=_number(fields[17]),
            realised_pnl=_number(fields[18]),
        )
    )


def _account_value(fields: Fields, version: int, zone: ZoneInfo | None) -> Translated:
    return Translated(
        AccountValueReceived(
            account=fields[5],
            key=_required("key", fields[2]),
            value=fields[3],
            currency=fields[4],
            source="updates",
        )
    )


def _account_summary(fields: Fields, version: int, zone: ZoneInfo | None) -> Translated:
    return Translated(
        AccountValueReceived(
            account=_required("account", fields[3]),
            key=_required("key", fields[4]),
            value=fields[5],
            currency=fields[6],
            source="summary",
        )
    )


def _account_update_multi(fields: Fields, version: int, zone: ZoneInfo | None) -> Translated | None:
    currency = fields[7]
    if fields[4]:  # the share of one model is not the account's value
        return None
    return Translated(
        AccountValueReceived(
            account=_required("account", fields[3]),
            key=_required("key", fields[5]),
            value=fields[6],
            currency=currency,
            source="multi",
        )
    )


# ── ids and ends ─────────────────────────────────────────────────────────────────────────────────


def _next_order_id(fields: Fields, version: int, zone: ZoneInfo | None) -> Translated:
    return Translated(NextOrderIdReceived(broker_order_id=int(fields[2])))


def _managed_accounts(fields: Fields, version: int, zone: ZoneInfo | None) -> Translated:
    accounts = tuple(account for account in fields[2].split(",") if account)
    return Translated(ManagedAccountsReceived(accounts=accounts))


def _order_bound(fields: Fields, version: int, zone: ZoneInfo | None) -> Translated:
    return Translated(
        OrderBoundReceived(
            perm_id=int(fields[1]), client_id=int(fields[2]), broker_order_id=int(fields[3])
        )
    )


_Translator = Callable[[Fields, int, ZoneInfo | None], Translated | None]


def _end(kind: EndKind, request_id_at: int | None = None) -> _Translator:
    def translator(fields: Fields, version: int, zone: ZoneInfo | None) -> Translated:
        request_id = None if request_id_at is None else int(fields[request_id_at])
        return Translated(AnswerEndReceived(kind=kind, request_id=request_id))

    return translator


_TRANSLATORS: Final[Mapping[str, _Translator]] = MappingProxyType(
    {
        "3": _order_status,
        "4": _notice,
        "5": _open_order,
        "6": _account_value,
        "7": _portfolio,
        "9": _next_order_id,
        "11": _execution,
        "15": _managed_accounts,
        "53": _end("open_orders"),
        "54": _end("account"),
        "55": _end("executions", 2),
        "59": _commission,
        "61": _position,
        "62": _end("positions"),
        "63": _account_summary,
        "64": _end("account_summary", 2),
        "71": _position_multi,
        "72": _end("positions", 2),
        "73": _account_update_multi,
        "74": _end("account", 2),
        "100": _order_bound,
        "101": _completed_order,
        "102": _end("completed_orders"),
    }
)

#: Market data, contract details, news and the like up to version 178, and the account's clock (8).
_OTHER_PEOPLES: Final = frozenset(
    str(number)
    for part in (range(1, 22), range(45, 59), range(65, 108))
    for number in part
    if str(number) not in _TRANSLATORS
)
