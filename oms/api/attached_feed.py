"""The market of a contract, as a daemon hears it: a feed for a program that is attached."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
import websockets

from oms.broker.feed import Feed
from oms.core.contracts import Contract
from oms.core.quotes import Bar, FeedKind, MarketItem, Quote, Tick
from oms.core.values import jsonable
from oms.errors import BrokerError, OmsError
from oms.telemetry import get_logger

log = get_logger("api")

_LENGTH_MAX: Final = 1_000
_LOOK_SECONDS: Final = 0.2
_KINDS: Final[dict[str, type[MarketItem]]] = {"quotes": Quote, "bars": Bar}


def followed(
    contract: Contract,
    kind: FeedKind,
    found: Callable[[], Awaitable[tuple[str, dict[str, str]]]],
    error_of: Callable[[dict[str, Any]], OmsError],
) -> Feed:
    """Return a feed that goes on over a daemon that is replaced, until it is closed.

    `found` waits for a daemon: its address, and the headers of a request.
    """

    def close(_: Feed) -> None:
        following.cancel()

    feed = Feed(contract, kind, length_max=_LENGTH_MAX, close=close)
    following = asyncio.create_task(_follow(feed, found, error_of))
    return feed


async def _follow(
    feed: Feed,
    found: Callable[[], Awaitable[tuple[str, dict[str, str]]]],
    error_of: Callable[[dict[str, Any]], OmsError],
) -> None:
    kind = _KINDS.get(feed.kind, Tick)
    asked = json.dumps({"contract": jsonable(feed.contract), "kind": feed.kind})
    while True:
        try:
            address, headers = await found()
            url = f"{address.replace('http', 'ws', 1)}/v1/feed"
            async with websockets.connect(url, additional_headers=headers) as stream:
                await stream.send(asked)
                async for text in stream:
                    message = json.loads(text)
                    if message.get("kind") == "error":
                        error = error_of(message)
                        if not isinstance(error, BrokerError):
                            error = BrokerError(error.message, hint=error.hint)
                        feed.refuse(error)
                        return
                    feed.put(msgspec.convert(message["item"], kind))
        except (OSError, websockets.WebSocketException, OmsError) as error:
            log.warning("feed_lost", con_id=feed.contract.con_id, reason=str(error))
        await asyncio.sleep(_LOOK_SECONDS)
