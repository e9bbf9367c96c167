"""A gateway in this process and bare clients on its socket: what the simulator's tests share."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from oms.sim.clock import Clock
from oms.sim.gateway.gateway import Gateway
from oms.sim.gateway.observers import Event
from oms.sim.protocol import frames, messages, requests
from oms.sim.script.commands import Commands
from oms.sim.script.player import Player
from oms.sim.script.scenarios import parse
from oms.sim.settings import Settings

DEADLINE_SECONDS = 60
STOCK = {"symbol": "AAPL", "secType": "STK", "exchange": "SMART", "currency": "USD"}


class WireClient:
    """A TWS client that only writes and reads field lists, and keeps what it read, in order."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.version = 0
        self.next_id = 0
        self.ended = False
        self.received: list[tuple[str, dict[str, Any]]] = []
        self._new = asyncio.Event()
        self._frames = frames.FrameReader()
        self._task: asyncio.Task[None] | None = None

    @classmethod
    async def open(cls, port: int, versions: str = "v157..178") -> WireClient:
        """Connect and shake hands, without startApi."""
        client = cls(*await asyncio.open_connection("127.0.0.1", port))
        client.writer.write(b"API\0" + frames.frame(versions.encode()))
        client._task = asyncio.get_running_loop().create_task(client._read())
        await client.until(lambda: client.version or client.ended)
        return client

    @classmethod
    async def start(cls, port: int, client_id: int, versions: str = "v157..178") -> WireClient:
        """Connect, start the API, and read up to the last greeting."""
        client = await cls.open(port, versions)
        client.send("71", "2", str(client_id), "")
        try:
            # The last of the greetings, in an outage too.
            await client.until(lambda: {"errMsg 2158", "errMsg 2157"} & set(client.story("errMsg")))
        except BaseException:
            await client.stop()
            raise
        client.next_id = int(client.last("nextValidId")["orderId"])
        return client

    async def _read(self) -> None:
        try:
            while chunk := await self.reader.read(65536):
                for payload in self._frames.feed(chunk):
                    fields = frames.split(payload)
                    if not self.version:
                        self.version = int(fields[0])
                    else:
                        self.received.append(messages.decode(self.version, fields))
                self._wake()
        except ConnectionError:
            pass
        finally:
            self.ended = True
            self._wake()

    def _wake(self) -> None:
        self._new.set()
        self._new = asyncio.Event()

    async def until(self, condition: Callable[[], Any]) -> None:
        """Read until the condition holds; the messages so far are in the failure."""
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                while not condition():
                    if self.ended:
                        raise ConnectionError(f"connection lost, after {self.story()[-30:]}")
                    await self._new.wait()
        except TimeoutError:
            raise AssertionError(f"did not come, after {self.story()[-30:]}") from None

    async def wait_for(self, name: str, **where: str) -> dict[str, Any]:
        """The first message of that name, with those fields, that was not yet waited for."""
        await self.until(lambda: self._find(name, where) is not None)
        at = self._find(name, where)
        assert at is not None
        return self.received[at][1]

    def _find(self, name: str, where: Mapping[str, str]) -> int | None:
        for at, (seen, values) in enumerate(self.received):
            if seen == name and all(values.get(key) == text for key, text in where.items()):
                return at
        return None

    def last(self, name: str) -> dict[str, Any]:
        return [values for seen, values in self.received if seen == name][-1]

    def story(self, *names: str) -> list[str]:
        """What came, as short texts: `orderStatus Filled`, `errMsg 202`, `execDetails`."""
        told = []
        for name, values in self.received:
            if names and name not in names:
                continue
            word = {"orderStatus": "status", "openOrder": "status", "errMsg": "code"}.get(name)
            told.append(f"{name} {values[word]}" if word else name)
        return told

    def forget(self) -> None:
        self.received.clear()

    def send(self, *fields: str) -> None:
        self.writer.write(frames.frame(frames.join(fields)))

    def ask(self, name: str, **values: str) -> None:
        """Send a request by its name."""
        number, layout = next(
            (number, layout)
            for number, (known, layout) in requests._REQUESTS.items()
            if known == name
        )
        assert layout is not None
        self.send(*layout.encode(self.version, {"id": str(number), "version": "1", **values}))

    def place(self, **values: Any) -> int:
        """Place an order for 100 AAPL at market unless the values say otherwise; returns its id."""
        order_id = values.pop("orderId", None) or str(self.next_id)
        if int(order_id) == self.next_id:
            self.next_id += 1
        order = {**STOCK, "action": "BUY", "totalQuantity": "100", "orderType": "MKT"}
        order |= {"transmit": "1", "tif": "DAY", "orderId": order_id, "id": "3", **values}
        self.send(*requests.PLACE_ORDER.encode(self.version, order))
        return int(order_id)

    def cancel(self, order_id: int) -> None:
        self.ask("cancelOrder", orderId=str(order_id))

    async def settle(self) -> None:
        """Everything sent before has been answered: the gateway answers in order."""
        token = str(next(_TOKENS))
        self.ask("reqUserInfo", reqId=token)
        await self.wait_for("userInfo", reqId=token)
        self.received = [one for one in self.received if one[0] != "userInfo"]

    async def stop(self) -> None:
        self.writer.close()
        if self._task is not None:
            await self._task


_TOKENS = itertools.count(900_001)


class World:
    """A running gateway, its commands, and the clients that were opened on it."""

    def __init__(self, gateway: Gateway, port: int) -> None:
        self.gateway = gateway
        self.port = port
        self.commands = Commands(gateway)
        self.clients: list[WireClient] = []
        self._new = asyncio.Event()
        gateway.observers.add(self._observe)

    def _observe(self, event: Event) -> None:
        self._new.set()
        self._new = asyncio.Event()

    async def until(self, condition: Callable[[], Any]) -> None:
        """Wait for events of the gateway until the condition holds, with a deadline."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            while not condition():
                await self._new.wait()

    async def client(self, client_id: int = 1, versions: str = "v157..178") -> WireClient:
        client = await WireClient.start(self.port, client_id, versions)
        self.clients.append(client)
        return client

    async def socket(self, versions: str = "v157..178") -> WireClient:
        """A client that has shaken hands and not started the API."""
        client = await WireClient.open(self.port, versions)
        self.clients.append(client)
        return client

    def do(self, verb: str, **fields: Any) -> dict[str, Any]:
        answer = self.commands.do({"do": verb, **fields})
        assert answer["ok"], answer
        return answer

    def books(self) -> dict[str, Any]:
        return self.do("books")


@asynccontextmanager
async def world(
    *, clock: Clock | None = None, script: str = "", **settings: Any
) -> AsyncIterator[World]:
    """A gateway with these settings, playing a scenario if there is one; all closed at the end.

    Filled is said once, so that a story has no line twice.
    """
    gateway = Gateway(Settings(port=0, **{"filled_twice": False, **settings}), clock=clock)
    player = Player(parse(script), gateway) if script else None
    if player is not None:
        player.start()
    made = World(gateway, await gateway.start())
    try:
        yield made
    finally:
        for client in made.clients:
            await client.stop()
        await gateway.stop()
    if player is not None:
        assert (player.failures, player.waiting) == ([], [])
