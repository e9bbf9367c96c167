"""Wire fields to facts: what one broker message says, exactly as far as order management needs it.

Pure. Numbers go from the wire's text straight to Decimal, IB's spellings of "not set" become None,
and every field is found by reading from the left. Server versions 157 to 178 (broker notes:
versions). Each family of messages is read in a module of its own; the table is here.

The promise: a message of ours gives a fact, a message of other people (market data, contract
details) gives None, and everything else raises `Unreadable`. There is no fourth outcome, whatever
the fields hold. The caller keeps the wire fields in all cases.

It does not say which of our orders a message belongs to, and drops no repeats: those are folds.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal
from zoneinfo import ZoneInfo

from oms.broker.translate import accounts, executions, orders
from oms.broker.translate.fields import Fields, Translated, Translator
from oms.core.bounds import PROSE, WORD, reason_of
from oms.core.events import (
    AnswerEndReceived,
    BrokerMessageUnreadable,
    NextOrderIdReceived,
    NoticeReceived,
)

#: The number of this translation, which the log keeps beside each fact: one more whenever a message
#: of some kind gives another fact than it did, so that the older ones can be told.
DECODER: Final = 1

OLDEST_VERSION: Final = 157
NEWEST_VERSION: Final = 178

EndKind = Literal[
    "open_orders", "executions", "completed_orders", "positions", "account_summary", "account"
]


class Unreadable(ValueError):
    """The message is one that we must read, or of an unknown kind, and its fields make no sense."""


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


def unreadable(fields: Fields, error: Unreadable) -> BrokerMessageUnreadable:
    """Return the fact that a message could not be translated, whatever the message holds."""
    return BrokerMessageUnreadable(
        message_id=WORD.fitted(fields[0]) if fields else "", reason=PROSE.fitted(str(error))
    )


def _reason(message_id: str, fields: Fields, error: Exception) -> str:
    if isinstance(error, IndexError):
        return f"message {message_id} is short: it ends after {len(fields)} fields"
    return f"message {message_id}: {reason_of(error)}"


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


def _next_order_id(fields: Fields, version: int, zone: ZoneInfo | None) -> Translated:
    return Translated(NextOrderIdReceived(broker_order_id=int(fields[2])))


def _end(kind: EndKind, request_id_at: int | None = None) -> Translator:
    def translator(fields: Fields, version: int, zone: ZoneInfo | None) -> Translated:
        """Read the end of an answer."""
        request_id = None if request_id_at is None else int(fields[request_id_at])
        return Translated(AnswerEndReceived(kind=kind, request_id=request_id))

    return translator


_TRANSLATORS: Final[Mapping[str, Translator]] = MappingProxyType(
    {
        **orders.TRANSLATORS,
        **executions.TRANSLATORS,
        **accounts.TRANSLATORS,
        "4": _notice,
        "9": _next_order_id,
        "53": _end("open_orders"),
        "54": _end("account"),
        "55": _end("executions", 2),
        "62": _end("positions"),
        "64": _end("account_summary", 2),
        "72": _end("positions", 2),
        "74": _end("account", 2),
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
