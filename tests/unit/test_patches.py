"""What we rely on inside ib_async is as it was when it was read, and is touched in one place."""

from __future__ import annotations

import ast
import asyncio
import hashlib
import inspect
import logging
import tomllib
from functools import reduce
from pathlib import Path
from typing import Any, Final

import ib_async
import pytest

from oms.broker import patches

#: Of the source of each function, as read in ib_async 2.1.0.
DIGESTS: Final = {
    "client.Client.__init__": "92299fdb5b4dc9cb",
    "client.Client.reset": "b6dd95fafb363e17",
    "client.Client.getReqId": "5907d2671b66657e",
    "client.Client.sendMsg": "bb0183b0ff8352e4",
    "client.Client._onSocketHasData": "ef7454cd7dcedaab",
    "client.Client._onSocketDisconnected": "9b4af29442cb1d26",
    "connection.Connection.reset": "8a87b13bd16f3d3f",
    "connection.Connection.sendMsg": "0d096f8281671bbe",
    "connection.Connection.data_received": "286b2de126addd9d",
    "connection.Connection.connection_lost": "b2651953634ef55e",
    "decoder.Decoder.__init__": "75dbc4b88feb4ff4",
    "decoder.Decoder.interpret": "476105d0b834657d",
    "ib.IB.__init__": "d20906070984af44",
    "ib.IB._onError": "c4d41812b1c11dba",
    "wrapper.Wrapper.startReq": "d0a2bd477998d82c",
    "wrapper.Wrapper.connectionClosed": "128169af86c0f766",
    "wrapper.Wrapper.error": "a431872147fac663",
}
#: Parts of an `IB` object whose methods are replaced, or whose privates are read.
BELOW: Final = {"conn", "decoder", "wrapper", "errorEvent", "MaxRequests"}
PRIVATE: Final = {name.rpartition(".")[2] for name in patches.TOUCHED if "._" in name}
PACKAGE: Final = Path(patches.__file__).parents[1]


def source(name: str) -> str:
    """The source of a function of ib_async, empty where there is none of that name."""
    module, *path = name.split(".")
    try:
        found: Any = reduce(getattr, path, __import__(f"ib_async.{module}", fromlist=["_"]))
    except (ImportError, AttributeError):
        return ""
    return inspect.getsource(found)


def digest(name: str) -> str:
    return hashlib.sha256(source(name).encode()).hexdigest()[:16]


@pytest.mark.parametrize("name", patches.TOUCHED)
def test_a_function_that_we_rely_on_is_as_it_was_when_it_was_read(name: str) -> None:
    assert digest(name) == DIGESTS[name], (
        f"ib_async {ib_async.__version__} has another {name}. What oms/broker/patches.py relies on:"
        f" {patches.TOUCHED[name]}. Read the new source; where that still holds, put"
        f" {digest(name)!r} into DIGESTS. The source now:\n{source(name) or '(it is gone)'}"
    )


def test_the_package_is_pinned_to_the_versions_that_were_read() -> None:
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text())["project"]
    assert f"ib_async{patches.VERSIONS}" in project["dependencies"]


def test_every_digest_has_its_reason() -> None:
    assert set(DIGESTS) == set(patches.TOUCHED)


def test_the_parts_that_we_reach_are_where_we_reach_for_them() -> None:
    ib: Any = patches.new_ib()
    client = ib.client
    assert client.conn.transport is None
    assert (client._reqIdSeq, client.decoder.serverVersion) == (0, 0)
    loggers = [ib._logger, client._logger, ib.wrapper._logger, client.decoder.logger]
    assert all(isinstance(one, logging.Logger) for one in loggers)
    for event in (client.conn.hasData, client.conn.disconnected, client.apiStart, ib.errorEvent):
        assert callable(event.connect)
        assert callable(event.disconnect)


def reaches_below(module: ast.Module) -> set[str]:
    """The privates and inner parts of ib_async that a module names."""
    names = {node.attr for node in ast.walk(module) if isinstance(node, ast.Attribute)}
    return names & (BELOW | PRIVATE | {"_reqIdSeq", "_logger"})


def test_only_the_patches_reach_below_the_interface_of_ib_async() -> None:
    modules = {path.name: path.read_text() for path in PACKAGE.rglob("*.py")}
    reaching = {n: reaches_below(ast.parse(t)) for n, t in modules.items() if "ib_async" in t}
    # The one that must be found shows that the others would be.
    assert reaching.pop("patches.py") >= {"conn", "decoder", "wrapper", "_onError", "_reqIdSeq"}
    assert {name: found for name, found in reaching.items() if found} == {}


async def test_a_client_of_ours_sends_at_once_and_reacts_to_nothing_by_itself() -> None:
    ib: Any = patches.new_ib()
    sent: list[bytes] = []
    patches.tap_sent(ib, sent.append)
    ib.client.connState, ib.client._apiReady = ib.client.CONNECTED, True
    for _ in range(200):
        ib.client.reqIds(1)
    ib.client.decoder.interpret(["4", "2", "-1", "1102", "restored", ""])
    for _ in range(3):
        await asyncio.sleep(0)  # a task that ib_async would start has run by then
    assert len(sent) == 200


async def test_the_listener_for_bytes_hears_before_the_decoder() -> None:
    ib: Any = patches.new_ib()
    order: list[str] = []
    take = patches.read_with(ib, lambda b: (order.append("bytes"), take(b)), lambda: None)
    patches.tap_received(ib, lambda _: order.append("message"))
    ib.client._serverVersion, ib.client._apiReady = 178, True
    ib.client.conn.data_received(b"\0\0\0\x07" + b"9\x001\x005\x00\0")
    assert order == ["bytes", "message"]


async def test_an_id_that_ib_async_draws_comes_from_our_counter() -> None:
    ib: Any = patches.new_ib()
    patches.draw_ids_from(ib, lambda: 41)
    assert ib.client.getReqId() == 41


async def test_a_socket_on_its_way_out_takes_nothing_more() -> None:
    ib: Any = patches.new_ib()
    assert not patches.can_write(ib)
    ib.client.conn.transport = Closing()
    assert not patches.can_write(ib)
    ib.client.conn.transport = None


class Closing:
    """A transport after `close`."""

    def is_closing(self) -> bool:
        return True
