"""Event to text and back, natural keys, and the hash that links one event to the next.

The text is what the hash covers and what an auditor reads, so it is canonical: JSON, fields in the
order of the class, numbers of money as strings, absent values left out. `decode(encode(event)) ==
event` for every event.

The chain: ``hash(n) = sha256(hash(n-1) + header(n) + payload(n) + wire(n))`` over UTF-8 with the
unit separator (0x1F) between the parts, and 32 zero bytes before the first event. No part can
contain the separator: JSON escapes control characters, and header fields are checked here. A
verifier needs nothing but the stored text.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache, lru_cache
from typing import Final, NamedTuple, TypedDict

import msgspec

from oms.core.bounds import CON_ID, LABEL, PROSE, OutOfBounds, reason_of
from oms.core.events import (
    EVENT_TYPES,
    CommissionReceived,
    Event,
    EventSetAside,
    ExecutionReceived,
    NaturalKeyConflict,
    OrderIntended,
    OrderRequested,
    SegmentArchived,
    Stamp,
)
from oms.core.upcasters import UPCASTERS
from oms.core.values import json_as_is, read_with_model
from oms.errors import UnknownEventType

GENESIS: Final = bytes(32)
#: Ends the natural key of a broker's fact that is stored again, because the first was set aside.
AGAIN: Final = ":again"

_to_json: Final = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Head:
    """Where the chain ends."""

    sequence: int = 0
    hash: bytes = GENESIS
    #: Of the last event, None in an empty log.
    recorded_at: datetime | None = None


class Header(NamedTuple):
    """The columns of the log that stand beside payload and wire, in the order of the hash.

    A tuple, because one is made for every event that is written or verified, and a frozen dataclass
    of eleven fields costs as much as the hash.
    """

    sequence: int
    type_name: str
    version: int
    recorded_at: str
    occurred_at: str | None
    lease_epoch: int
    session_epoch: int
    actor: str
    correlation_id: str | None
    causation_sequence: int | None
    natural_key: str | None


def encode(event: Event) -> str:
    """Return the canonical text of an event."""
    return _to_json(event).decode()


def decode(type_name: str, version: int, payload: str) -> Event:
    """Return the event that a payload holds, lifted to the current version.

    Raises `UnknownEventType` for a type, version or shape that this program does not know.
    """
    try:
        cls = EVENT_TYPES[type_name]
    except KeyError:
        raise UnknownEventType(f"event type {type_name!r} is not known") from None
    while version < cls.VERSION:
        upcast = UPCASTERS.get((type_name, version))
        if upcast is None:
            raise UnknownEventType(f"no upcaster for {type_name} version {version}")
        payload = upcast(payload)
        version += 1
    if version > cls.VERSION:
        raise UnknownEventType(
            f"{type_name} version {version} is newer than this program's {cls.VERSION}"
        )
    try:
        return _reader(cls)(payload)
    except Exception:  # noqa: BLE001  # what this reader leaves open, the model decides
        try:
            return read_with_model(cls, payload)
        except OutOfBounds as error:
            reason = reason_of(error)
            raise UnknownEventType(f"payload of {type_name} cannot be read: {reason}") from error


@cache
def _reader(cls: type[Event]) -> Callable[[str], Event]:
    return msgspec.json.Decoder(cls).decode


def decode_stored(type_name: str, version: int, payload: str) -> Event:
    """Return the event that a row holds, `EventSetAside` where its text is not one.

    Raises `UnknownEventType` for what only a newer program can have written: a type or a version
    that this one does not know. It must not be passed over. A field or a word that it does not know
    under a version that it does is set aside like any other text that is no event: the version says
    that older programs may do without (decision 0122).
    """
    try:
        return decode(type_name, version, payload)
    except UnknownEventType as error:
        if not isinstance(error.__cause__, OutOfBounds):
            raise
        return EventSetAside(
            type_name=type_name, reason=PROSE.fitted(error.message), **_named_in(payload)
        )


class _Named(TypedDict, total=False):
    order_id: str
    account: str
    con_id: int
    symbol: str


def _named_in(payload: str) -> _Named:
    """Return what a text that is no event still says of its order, account and contract."""
    found = json_as_is(payload)
    named: _Named = {}
    match found:
        case {"order_id": str(order_id)} | {"order_ref": str(order_id)}:
            named["order_id"] = LABEL.fitted(order_id)
    match found:
        case {"account": str(account)}:
            named["account"] = LABEL.fitted(account)
    match found:
        case {"contract": {"con_id": int(con_id)}} if _can_be(con_id):
            named["con_id"] = con_id
    match found:
        case {"contract": {"symbol": str(symbol)}}:
            named["symbol"] = LABEL.fitted(symbol)
    return named


def _can_be(con_id: int) -> bool:
    return type(con_id) is int and CON_ID.low < con_id <= CON_ID.high


def encode_wire(fields: tuple[str, ...] | None, stamp: Stamp | None = None) -> str | None:
    """Return the stored text of a message's wire fields, or None for facts of our own.

    IB sends text in whatever encoding its user typed; what is not UTF-8 reaches us as surrogates,
    which JSON cannot carry, so they are written as escapes that `decode_wire` leaves readable.
    """
    if fields is None:
        return None
    try:
        text = _to_json(fields).decode()
    except UnicodeEncodeError:
        text = _to_json([f.encode("utf-8", "backslashreplace").decode() for f in fields]).decode()
    return text if stamp is None else f'{_stamp_text(stamp)}"fields":{text}}}'


@lru_cache(maxsize=64)
def _stamp_text(stamp: Stamp) -> str:
    """Return the beginning of a stamped text; all messages of one packet share it."""
    at, server, decoder = time_text(stamp.at), stamp.server_version, stamp.decoder
    if decoder:
        return f'{{"received_at":"{at}","server":{server},"decoder":{decoder},'
    return f'{{"sent_at":"{at}","server":{server},'


def decode_wire(text: str | None) -> tuple[tuple[str, ...] | None, Stamp | None]:
    """Return the wire fields that a stored text holds, and the stamp; no stamp in the text of a log
    before there was one, which is the array of fields alone.

    Raises ValueError for what is neither.
    """
    if text is None:
        return None, None
    try:
        found = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(str(error)) from error
    match found:
        case [*fields]:
            return tuple(fields), None
        case {
            "received_at": str(at),
            "server": int(server),
            "decoder": int(decoder),
            "fields": [*fields],
        }:
            return tuple(fields), Stamp(datetime.fromisoformat(at), server, decoder)
        case {"sent_at": str(at), "server": int(server), "fields": [*fields]}:
            return tuple(fields), Stamp(datetime.fromisoformat(at), server)
        case _:
            raise ValueError("the wire text is neither an array nor a stamped message")


def time_text(moment: datetime) -> str:
    """Return an aware UTC time as the log stores it: ISO 8601 with microseconds, so that text sorts
    as time.
    """
    assert moment.tzinfo is not None
    return moment.isoformat(timespec="microseconds")


def natural_key(event: Event) -> str | None:
    """Return the key under which the log stores a fact at most once, or None where repeats are
    facts.

    An execution revision exists once per account, whether it was pushed, fetched or both; a
    commission report is resent with every fetch, and IB's "not known yet" is no report; an order id
    is intended once, which makes it the caller's idempotence key; what contradicts a stored fact in
    the same words contradicts it once.
    """
    match event:
        case ExecutionReceived():
            return execution_key(event.account, event.exec_id)
        case CommissionReceived(commission=None):
            return _printable(f"commission:{event.exec_id}:unknown")
        case CommissionReceived():
            return _printable(f"commission:{event.exec_id}")
        case OrderIntended():
            return f"intent:{event.order_id}"
        case OrderRequested():
            return f"request:{event.order_id}"
        case NaturalKeyConflict():
            claim = f"{event.key}\x1f{event.payload}".encode()
            return f"conflict:{hashlib.sha256(claim).hexdigest()}"
        case SegmentArchived():
            # Told again where the program stopped between the segment and the fact.
            return f"segment:{event.digest}"
        case _:
            return None


def execution_key(account: str, exec_id: str) -> str:
    """Return the natural key of an execution, one revision of it."""
    return _printable(f"execution:{account}:{exec_id}")


def same_fact(one: Event, other: Event) -> bool:
    """Say whether two events with one natural key state the same thing, however they were
    delivered.

    A fetched execution can show another order id than the pushed one (ids belong to a session), and
    times in another zone; account, contract, side, size and price are what was executed.
    """
    if isinstance(one, ExecutionReceived) and isinstance(other, ExecutionReceived):
        return _executed(one) == _executed(other)
    if isinstance(one, OrderIntended) and isinstance(other, OrderIntended):
        # What the rules made of it depends on the moment, not on what was wanted.
        judged = {"checks": (), "limits": (), "warning": ""}
        return one.evolve(**judged) == other.evolve(**judged)
    return one == other


def _executed(event: ExecutionReceived) -> tuple[object, ...]:
    return (
        event.account,
        event.exec_id,
        event.contract.con_id,
        event.side,
        event.quantity,
        event.price,
    )


def link(
    previous: bytes, header: Sequence[str | int | None], payload: str, wire: str | None
) -> bytes:
    """Return the hash of an event, given the hash of the one before; `header` are the values of a
    `Header`, as they come from a row.
    """
    (sequence, type_name, version, recorded, occurred, lease, epoch, actor, group, cause, key) = (
        header
    )
    text = (
        f"{sequence}\x1f{type_name}\x1f{version}\x1f{recorded}\x1f{occurred or ''}"
        f"\x1f{lease}\x1f{epoch}\x1f{actor}\x1f{group or ''}"
        f"\x1f{'' if cause is None else cause}\x1f{key or ''}\x1f{payload}\x1f{wire or ''}"
    )
    return hashlib.sha256(previous + text.encode()).digest()


def check_header_text(name: str, text: str | None) -> None:
    """Raise ValueError where a header field could be mistaken for two."""
    if text is not None and not text.isprintable():
        raise ValueError(f"{name} must be printable text, found {text!r}")


def _printable(text: str) -> str:
    return text if text.isprintable() else text.encode("unicode_escape").decode()
