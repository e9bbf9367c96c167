"""Whatever a program gives to the order manager, a ticket or an adapter, it hears in words."""

from __future__ import annotations

import inspect
import random
from collections.abc import Callable
from typing import Any

import pytest

import oms
from oms.service.manager import OrderManager
from oms.service.ticket import Ticket
from tests.hostile.values import OBJECTS
from tests.world import AAPL, LOW, World

pytestmark = pytest.mark.slow

LIMIT = oms.Limit("BUY", 1, LOW)
VALUES = (*OBJECTS, object(), b"x", {"limit": 1}, AAPL, LIMIT, [AAPL], [(AAPL, LIMIT)], [(1, 2)])
#: What is tried of them in one run.
TRIED = 400
PLAIN: dict[str, Any] = {
    "contract": AAPL,
    "terms": LIMIT,
    "entry": LIMIT,
    "orders": [(AAPL, LIMIT), (AAPL, LIMIT)],
    "take_profit": "900",
    "stop_loss": "1",
    "order_id": "rests",
    "outcome": "ended",
    "reason": "because",
}
MANAGER = (
    *("qualify", "submit", "submit_many", "submit_bracket", "submit_oca", "what_if", "order"),
    *("ticket", "modify", "cancel", "resolve", "halt", "resume", "price", "quote", "feed"),
)
TICKET = ("acknowledged", "working", "answered", "resolved", "done", "modify", "cancel")


def cases() -> list[tuple[type, str, str, object]]:
    found: list[tuple[type, str, str, object]] = []
    for owner, names in ((OrderManager, MANAGER), (Ticket, TICKET)):
        for name in names:
            for parameter in parameters(getattr(owner, name)):
                found += [(owner, name, parameter, value) for value in VALUES]
    return found


def parameters(method: Callable[..., Any]) -> dict[str, bool]:
    found = {}
    for name, one in inspect.signature(method).parameters.items():
        if one.kind is one.VAR_KEYWORD:
            found |= dict.fromkeys(("limit", "quantity", "tif", "good_till", "other"), False)
        elif name != "self":
            found[name] = one.default is one.empty
    return found


def test_every_public_method_is_a_door() -> None:
    for owner, names in ((OrderManager, MANAGER), (Ticket, TICKET)):
        public = {
            name
            for name, one in inspect.getmembers(owner, inspect.isfunction)
            if not name.startswith("_") and len(inspect.signature(one).parameters) > 1
        }
        # Of the service alone: what it calls them with is checked by the type checker.
        assert public - {"deny", "recall", "cancel_everything"} == set(names)


async def test_every_value_is_taken_or_refused_in_words(world: World, seed: int) -> None:
    manager = await world.start()
    ticket = await manager.submit(AAPL, LIMIT, order_id="rests")
    owners = {OrderManager: manager, Ticket: ticket}
    refused, taken = 0, 0
    for owner, name, parameter, value in random.Random(seed).sample(cases(), TRIED):
        method = getattr(owners[owner], name)
        names = parameters(getattr(owner, name))
        given = {one: PLAIN[one] for one, needed in names.items() if needed}
        if owner is Ticket and "timeout" in names:
            given["timeout"] = 0.01
        if name in ("submit", "submit_bracket", "submit_oca") and parameter != "order_id":
            given.pop("order_id", None)
        try:
            found = method(**{**given, parameter: value})
            if inspect.isawaitable(found):
                await found
        except oms.OmsError as error:
            assert len(error.message) < 1_000, (name, parameter, error.message)  # noqa: PT017
            refused += 1
        else:
            taken += 1
            if name == "feed":
                found.close()
    assert taken
    assert refused
    assert not world.oms.failure.done()
