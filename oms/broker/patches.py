"""Every place where we reach below the public interface of ib_async (`VERSIONS`, `TOUCHED`).

Nothing else in the project replaces a method of ib_async or reads one of its privates. `TOUCHED`
names each function of it that we replace or whose inner workings we rely on, and why;
`tests/unit/test_patches.py` holds the digest of each, and fails where a version of ib_async has
changed one: read the new source beside the reason, then adopt the digest.

The functions work on one `IB` object and leave every other in the program alone. They are called
before its first connection, and hold for its whole life.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

import ib_async

#: The versions whose source was read; what is installed is pinned to them.
VERSIONS: Final = ">=2.1,<2.2"
#: By its name below `ib_async`: what we do to it, or what it must go on doing for us.
TOUCHED: Final[Mapping[str, str]] = MappingProxyType(
    {
        "client.Client.__init__": "makes one decoder and one connection for its whole life, which"
        " we tap; connects its own handler to `hasData`; keeps its logger in `_logger`",
        "client.Client.reset": "keeps the next request id in `_reqIdSeq`, which we read",
        "client.Client.getReqId": "replaced: order ids and request ids come from one counter",
        "client.Client.sendMsg": "sends at once where `MaxRequests` is 0, and only through"
        " `conn.sendMsg`: the outbox keeps the pace",
        "client.Client._onSocketHasData": "called with one whole frame at a time, which `frames`"
        " has cut; takes the id of nextValidId and the accounts, says `apiStart`, and only"
        " then passes the message on; passes every other message to `decoder.interpret`",
        "client.Client._onSocketDisconnected": "moved behind our listener, which has the last"
        " messages read; fails the questions under way with ConnectionError, which lookups and the"
        " server clock rely on",
        "connection.Connection.reset": "keeps the socket in `transport`, None without one",
        "connection.Connection.sendMsg": "replaced: what leaves is recorded; drops what it is given"
        " without a transport",
        "connection.Connection.data_received": "says `hasData` with the bytes",
        "connection.Connection.connection_lost": "forgets the transport, then says `disconnected`"
        " with the reason as text",
        "decoder.Decoder.__init__": "keeps its logger in `logger` and the server's version in"
        " `serverVersion`, which, unlike the client's, outlives the connection",
        "decoder.Decoder.interpret": "replaced: every message is recorded before its handler runs,"
        " and the handlers of order messages never run",
        "ib.IB.__init__": "connects `_onError` to `errorEvent`; keeps its logger in `_logger`",
        "ib.IB._onError": "disconnected: on every 1102 it would subscribe to the account summary"
        " again, until IB refuses (322)",
        "wrapper.Wrapper.startReq": "called: makes the future of a question that we send ourselves",
        "wrapper.Wrapper.connectionClosed": "fails every future that `startReq` made",
        "wrapper.Wrapper.error": "writes a notice to its logger `_logger` in words that"
        " `library_log` reads; leaves a question open that is refused with a warning (321)",
    }
)

#: Takes the fields of a message that came.
Interpret = Callable[[list[str]], None]
#: Takes the bytes of a message that leaves, its length in front.
Send = Callable[[bytes], None]


def new_ib() -> ib_async.IB:
    """Return an `IB` object that decides nothing by itself: it neither paces nor resubscribes."""
    # nan for "no price": ib_async's default of -1 is a price that spreads do have.
    ib = ib_async.IB(ib_async.IBDefaults(emptyPrice=math.nan, emptySize=math.nan))
    parts: Any = ib
    parts.client.MaxRequests = 0
    parts.errorEvent.disconnect(parts._onError)
    return ib


def speak_through(ib: ib_async.IB, logger: logging.Logger) -> None:
    """Give the object and its parts a logger of their own."""
    parts: Any = ib
    for part in (parts, parts.client, parts.wrapper):
        part._logger = logger
    parts.client.decoder.logger = logger


def tap_received(ib: ib_async.IB, take: Interpret) -> Interpret:
    """Have every message that comes given to `take`; return what ib_async would do with one."""
    decoder = _client(ib).decoder
    interpret: Interpret = decoder.interpret
    decoder.interpret = take
    return interpret


def tap_sent(ib: ib_async.IB, send: Send) -> Send:
    """Have every message that leaves given to `send`; return what hands one to the socket."""
    connection = _client(ib).conn
    write: Send = connection.sendMsg
    connection.sendMsg = send
    return write


def read_with(
    ib: ib_async.IB, feed: Callable[[bytes], None], finish: Callable[[], None]
) -> Callable[[bytes], None]:
    """Have the bytes of each packet given to `feed`, and `finish` called when the socket is gone,
    before ib_async forgets the connection; return what takes one whole frame.
    """
    client = _client(ib)
    take: Callable[[bytes], None] = client._onSocketHasData
    client.conn.hasData.disconnect(take)
    client.conn.hasData.connect(feed)
    client.conn.disconnected.disconnect(client._onSocketDisconnected)
    client.conn.disconnected.connect(lambda _: finish(), keep_ref=True)
    client.conn.disconnected.connect(client._onSocketDisconnected)
    return take


def hear_loss(ib: ib_async.IB, hear: Callable[[str], None]) -> None:
    """Call with the reason when the socket is gone, after `transport` has become None."""
    _client(ib).conn.disconnected.connect(hear)


def draw_ids_from(ib: ib_async.IB, draw: Callable[[], int]) -> None:
    """Have every request id drawn by `draw`, those included that ib_async draws by itself."""
    _client(ib).getReqId = draw


def offered_order_id(ib: ib_async.IB) -> int:
    """Return the id of nextValidId, at `apiStart`."""
    return int(_client(ib)._reqIdSeq)


def server_version(ib: ib_async.IB) -> int:
    """Return the version in which the messages of the latest connection are written."""
    return int(_client(ib).decoder.serverVersion)


def transport(ib: ib_async.IB) -> asyncio.Transport | None:
    """Return the socket, None without one."""
    found: asyncio.Transport | None = _client(ib).conn.transport
    return found


def can_write(ib: ib_async.IB) -> bool:
    """Say whether bytes that are sent now go to a socket that is not on its way out."""
    socket = transport(ib)
    return socket is not None and not socket.is_closing()


def has_backlog(ib: ib_async.IB) -> bool:
    """Say whether bytes that were handed over wait for a gateway that does not read."""
    socket = transport(ib)
    return socket is not None and socket.get_write_buffer_size() > 0


def start_question(
    ib: ib_async.IB, key: int | str, contract: ib_async.Contract | None = None
) -> asyncio.Future[Any]:
    """Return a future for the answer to a question that is sent next, under its request id or under
    the name by which ib_async knows a question without one.

    It fails with `ConnectionError` when the connection is lost.
    """
    wrapper: Any = ib.wrapper
    answer: asyncio.Future[Any] = wrapper.startReq(key, contract)
    return answer


def _client(ib: ib_async.IB) -> Any:
    # Any: ib_async's annotations do not allow what Python does, to replace a method of an object.
    return ib.client
