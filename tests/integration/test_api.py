"""The service for other programs: every row of its table, who may, and what is told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import websockets

from oms.api.operations import OPERATIONS
from oms.api.places import owner_file
from oms.api.rights import GRANTS, digest_of
from oms.api.server import Listening, listening, serving
from oms.core.events import AccessGranted, AccessRevoked, Context, Event, OrderIntended, Pending
from tests.world import ACCOUNT, LOW, World

pytestmark = pytest.mark.slow

AAPL = {"symbol": "AAPL"}
REST = {"side": "BUY", "quantity": "10", "order_type": "LMT", "limit_price": LOW}
NOW = {"side": "BUY", "quantity": "10", "order_type": "MKT"}


@dataclass
class Client:
    """A program that asks, with a token or as the owner of the database."""

    place: Listening
    token: str

    async def __call__(self, method: str, path: str, expect: int = 200, **given: Any) -> Any:
        headers = {"authorization": f"Bearer {self.token}", **given.pop("headers", {})}
        async with httpx.AsyncClient(base_url=self.place.address, timeout=30) as http:
            said = await http.request(method, f"/v1{path}", headers=headers, **given)
        assert said.status_code == expect, said.text
        return said.json()

    @asynccontextmanager
    async def stream(self, words: str = "") -> AsyncIterator[Callable[[], Awaitable[Any]]]:
        """Open a stream, and give what returns its next message."""
        address = f"{self.place.address}/v1/stream{words}".replace("http", "ws", 1)
        headers = {"authorization": f"Bearer {self.token}"}
        async with websockets.connect(address, additional_headers=headers) as socket:

            async def told() -> Any:
                return json.loads(await asyncio.wait_for(socket.recv(), 30))

            yield told


@dataclass
class Offered:
    """A daemon that answers other programs."""

    world: World
    place: Listening

    @property
    def owner(self) -> Client:
        path = owner_file(f"sqlite:///{self.world.database}")
        assert path is not None
        return Client(self.place, path.read_text().strip())

    async def token(self, name: str, right: Any) -> Client:
        await self.say(AccessGranted(name=name, right=right, digest=digest_of(name)))
        return Client(self.place, name)

    async def say(self, event: Event) -> None:
        said = Pending(event, Context(actor="person:test", correlation_id=GRANTS))
        await self.world.oms.log.append(said)


@pytest.fixture
async def offered(world: World) -> AsyncIterator[Offered]:
    await world.start()
    settings = world.oms.settings
    with listening(settings) as place:
        async with serving(place, world.oms):
            yield Offered(world, place)


def news(message: Any, kind: str) -> list[Any]:
    return [one for one in message["news"] if one["news"] == kind]


async def test_an_order_goes_its_whole_way_over_http(offered: Offered) -> None:
    alpha = await offered.token("strategy:alpha", "trade")
    order = {"contract": AAPL, "terms": REST, "order_id": "k1"}
    first = (await alpha("POST", "/orders", json=order))["order"]
    assert (first["order_id"], first["actor"], first["limit_price"]) == (
        "k1",
        "strategy:alpha",
        LOW,
    )
    again = (await alpha("POST", "/orders", json=order))["order"]
    assert again["intent_sequence"] == first["intent_sequence"]
    assert await offered.world.received("k1") == 1
    other = {**order, "terms": {**REST, "quantity": "11"}}
    refused = await alpha("POST", "/orders", 400, json=other)
    assert "belongs to another order: quantity 10" in refused["message"]
    await offered.world.until(lambda: offered.world.state_of("k1") == "WORKING")
    changed = await alpha("PATCH", "/orders/k1", json={"limit": "11", "reason": "closer"})
    assert changed["order"]["state"] == "MODIFY_PENDING"
    await offered.world.until(lambda: offered.world.view.orders["k1"].terms.limit_price == 11)
    await alpha("DELETE", "/orders/k1", params={"reason": "enough"})
    await offered.world.until(lambda: offered.world.state_of("k1") == "CANCELLED")
    assert (await alpha("GET", "/orders/k1"))["order"]["state"] == "CANCELLED"
    assert (await alpha("GET", "/orders", params={"live": "true"}))["orders"] == []
    await offered.world.agree()


async def test_each_operation_answers_and_is_in_the_document(offered: Offered) -> None:
    owner = offered.owner
    preview = {"contract": AAPL, "terms": NOW}
    order = {"contract": AAPL, "terms": REST}
    orders = {"orders": [{**order, "order_id": f"n{n}"} for n in (1, 2)]}
    bodies: dict[str, Any] = {
        "submit": {**order, "order_id": "one"},
        "submit_many": orders,
        "submit_group": {"orders": [{**order, "order_id": f"g{n}"} for n in (1, 2)]},
        "submit_bracket": {**order, "order_id": "b", "take_profit": "20", "stop_loss": "5"},
        "modify": {"limit": "11"},
        "qualify": {"contract": AAPL},
        "quote": {"contract": AAPL},
        "what_if": preview,
        "halt": {"reason": "lunch"},
    }
    described = (await owner("GET", "/openapi.json"))["paths"]
    # Orders that exist first, and the halt last.
    ranked = sorted(OPERATIONS, key=lambda one: (one.method == "GET", one.right == "operate"))
    ranked.sort(key=lambda one: "{name}" in one.path)
    for one in ranked:
        path = one.path.removeprefix("/v1").replace("{name}", "one")
        expect = 400 if one.name == "resolve" else 200  # nothing is in doubt
        body = bodies.get(one.name, {"outcome": "ended", "reason": "x"} if expect == 400 else {})
        given = {"json": body} if one.body is not None else {}
        said = await owner(one.method, path, expect, **given)
        assert said["kind"] == (one.kind if expect == 200 else "error")
        assert described[one.path][one.method.lower()]["operationId"] == one.name
    assert sum(map(len, described.values())) == len(OPERATIONS)


async def test_nobody_does_more_than_the_token_says(offered: Offered) -> None:
    alpha = await offered.token("strategy:alpha", "trade")
    beta = await offered.token("strategy:beta", "trade")
    screen = await offered.token("screen", "read")
    order = {"contract": AAPL, "terms": REST, "order_id": "k1"}
    await alpha("POST", "/orders", json=order)
    assert "may change its own" in (await beta("DELETE", "/orders/k1", 403))["message"]
    assert "this needs trade" in (await screen("POST", "/orders", 403, json=order))["message"]
    assert "this needs operate" in (await alpha("POST", "/halt", 403, json={}))["message"]
    stranger = Client(offered.place, "oms_guess")
    assert "oms token new" in (await stranger("GET", "/orders", 401))["hint"]
    # Who has no secret names nobody else.
    named = {"headers": {"oms-actor": "strategy:alpha"}}
    assert (await beta("DELETE", "/orders/k1", 403, **named))["error"] == "RightMissing"
    said = await offered.owner("POST", "/orders", json={**order, "order_id": "k2"}, **named)
    assert said["order"]["actor"] == "strategy:alpha"
    rebound = {"headers": {"host": "evil.example"}}
    assert "not called" in (await alpha("GET", "/orders", 401, **rebound))["message"]
    await offered.say(AccessRevoked(name="strategy:alpha"))
    await alpha("GET", "/orders", 401)
    assert (await offered.owner("GET", "/orders/k1"))["order"]["live"]


async def test_what_is_no_request_is_refused_in_words(offered: Offered) -> None:
    owner = offered.owner
    order = {"contract": AAPL, "terms": REST}
    for path, given, words in (
        ("/orders", {"content": b"{"}, "JSON"),
        ("/orders", {"content": b"\xff"}, "UTF-8"),
        ("/orders", {"json": {**order, "prize": 1}}, "prize"),
        ("/orders", {"json": {**order, "terms": {**REST, "quantity": "lots"}}}, "quantity"),
        ("/orders", {"json": {**order, "terms": {**REST, "side": "buy"}}}, "side"),
        ("/orders", {"json": {**order, "order_id": "x" * 200}}, "order_id"),
        ("/halt", {"json": {}}, "a halt needs a reason"),
        ("/groups", {"json": {"orders": [order]}}, "two orders or more"),
    ):
        said = await owner("POST", path, 400, **given)
        assert words in said["message"], said
        assert said["hint"]
    assert (await owner("GET", "/orders", 400, params={"simbol": "A"}))["error"] == "InvalidRequest"
    await owner("GET", "/orders/none", 404)
    await owner("GET", "/nowhere", 404)
    await owner("POST", "/orders", 413, content=b" " * 1_000_001)
    assert await offered.world.log(OrderIntended) == []


async def test_stream_goes_on_where_it_stopped_and_tells_each_fill_once(offered: Offered) -> None:
    alpha = await offered.token("strategy:alpha", "trade")
    beta = await offered.token("strategy:beta", "trade")
    fills: list[str] = []
    states: list[str] = []
    after = 0
    order = {"contract": AAPL, "terms": NOW}
    async with alpha.stream("?mine=true") as told:
        await alpha("POST", "/orders", json={**order, "order_id": "a1"})
        while "FILLED" not in states:
            message = await told()
            after = message["sequence"]
            fills += [one["exec_id"] for one in news(message, "fill")]
            states += [one["state"] for one in news(message, "state")]
    await alpha("POST", "/orders", json={**order, "order_id": "a2"})
    await beta("POST", "/orders", json={**order, "order_id": "b1"})
    world = offered.world
    await world.until(lambda: all(world.state_of(one) == "FILLED" for one in ("a2", "b1")))
    head = world.oms.log.head.sequence
    async with alpha.stream(f"?mine=true&after={after}") as told:
        while after < head:
            message = await told()
            assert message["after"] == after
            after = message["sequence"]
            fills += [one["exec_id"] for one in news(message, "fill")]
            orders = {one["order"]["order_id"] for one in news(message, "order")}
            assert "b1" not in orders
    stored = (await alpha("GET", "/fills", params={"strategy": "alpha"}))["fills"]
    assert sorted(fills) == sorted(one["exec_id"] for one in stored)
    assert len(stored) >= 2


async def test_stream_of_a_revoked_token_ends_and_says_why(offered: Offered) -> None:
    alpha = await offered.token("strategy:alpha", "read")
    async with alpha.stream() as told:
        await offered.say(AccessRevoked(name="strategy:alpha"))
        message = await told()
        while message.get("kind") != "error":
            message = await told()
        assert "revoked" in message["message"]
        with pytest.raises(websockets.ConnectionClosed):
            await told()
    owner = offered.owner
    for words in ("?after=999999", "?after=x", "?mine=perhaps", "?sort=1"):
        async with owner.stream(words) as told:
            assert (await told())["error"] == "InvalidRequest"


async def test_two_at_one_moment_with_one_key_send_one_order(offered: Offered) -> None:
    owner = offered.owner
    order = {"contract": AAPL, "terms": REST, "order_id": "twin"}
    said = await asyncio.gather(*(owner("POST", "/orders", json=order) for _ in range(4)))
    assert len({one["order"]["intent_sequence"] for one in said}) == 1
    assert await offered.world.received("twin") == 1


async def test_owner_file_is_for_its_owner_and_goes_with_the_daemon(
    world: World, tmp_path: Path
) -> None:
    await world.start(api_requests_per_minute_max=2)
    path = owner_file(world.oms.settings.database_url)
    assert path is not None
    with listening(world.oms.settings) as place:
        async with serving(place, world.oms):
            assert path.stat().st_mode & 0o077 == 0
            busy = await Offered(world, place).token("strategy:busy", "read")
            for _ in range(2):
                await busy("GET", "/accounts")
            assert "again in" in (await busy("GET", "/accounts", 429))["hint"]
        assert not path.exists()
    assert ACCOUNT
