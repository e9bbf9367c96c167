"""No control line, however wrong, goes unanswered or leaves books that cannot be read again."""

from __future__ import annotations

import asyncio
import json
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from oms.sim.clock import SteppedClock
from oms.sim.gateway.gateway import Gateway
from oms.sim.script.commands import VERBS, Commands
from oms.sim.script.control import ControlPort
from oms.sim.settings import Settings

NOON = datetime(2026, 1, 5, 17, 0, tzinfo=UTC)
NUMBERS = [
    "0", "1", "-1", "7", "100", "0.5", "190.25", "1e400", "1e40", "-1e9", "1e9", "1e7", "NaN",
    "sNaN", "-Infinity", "1e999", "0.123456789", "99999999999999999999", "1e-400", "", "x", "²",
]  # fmt: skip
WORDS = [
    "AAPL", "ESZ6", "EUR", "BUY", "SELL", "X", "LMT", "MKT", "STP", "TRAIL", "last", "in", "out",
    "*", "placeOrder", "orderStatus", "openOrder", "drop", "cut", "edit", "Submitted", "Inactive",
    "Filled", "reqExecutions", "answer", "end", "refuse", "\0", "\ud800", "\U0001f600", "yes",
    "KO:1:BUY|PEP:1:SELL", "OPT", "20270115", "C", "USD", "00ff", "1100", "a|b", "3|5",
]  # fmt: skip
values = st.one_of(
    st.sampled_from(NUMBERS),
    st.sampled_from(WORDS),
    st.sampled_from([None, True, False, 0, -3, 1.5, 10**30, [], ["x", None], {}, {"status": None}]),
    st.text(max_size=8),
)
LIKELY = {
    "symbol": st.sampled_from(["AAPL", "MSFT", "EURUSD", "NOPE"]),
    "order": st.sampled_from(["1", "2", "3", "last", "9"]),
    "side": st.sampled_from(["BUY", "SELL", "X"]),
    "quantity": st.sampled_from(NUMBERS),
    "price": st.sampled_from(NUMBERS),
}


@st.composite
def commands(draw: st.DrawFn) -> dict[str, Any]:
    """A verb with most of the fields it needs, some it may have, each now and then absurd."""
    verb = VERBS[draw(st.sampled_from(sorted(VERBS)))]
    command: dict[str, Any] = {"do": verb.name}
    for field in verb.fields:
        name = field.rstrip("?")
        wanted = 0.95 if field == name or name in LIKELY else 0.3
        if draw(st.floats(0, 1)) < wanted:
            likely = draw(st.integers(0, 3)) > 0
            command[name] = draw(LIKELY[name] if likely and name in LIKELY else values)
    return command


def start(books: Path) -> Gateway:
    return Gateway(Settings(port=0, books=books, cash=10**9), clock=SteppedClock(NOON))


async def play(lines: list[bytes], folder: Path) -> None:
    gateway = start(folder / "books.db")
    control = ControlPort(Commands(gateway))
    enter = {"do": "manual_order", "symbol": "AAPL", "side": "BUY", "quantity": "100"}
    prepared = [enter, {**enter, "order_type": "LMT", "limit_price": "100"}]
    for line in [*(json.dumps(one).encode() for one in prepared), *lines]:
        answer = control._answer(line)
        assert isinstance(answer["ok"], bool)
        assert answer["ok"] or answer["error"]
        assert "simulator" not in answer.get("hint", ""), (line, answer)
        json.dumps(answer, allow_nan=False)
    before = Commands(gateway).do({"do": "books"})
    gateway.flush()
    gateway.books.close()
    again = start(folder / "books.db")
    after = Commands(again).do({"do": "books"})
    again.books.close()
    for name in ("orders", "executions", "commissions", "positions", "cash", "placements"):
        assert key(after[name]) == key(before[name]), name


def key(rows: list[dict[str, Any]]) -> list[str]:
    return sorted(json.dumps(row, sort_keys=True, allow_nan=False) for row in rows)


@settings(max_examples=60)
@given(st.lists(commands(), min_size=1, max_size=12))
def test_every_line_has_one_answer_and_the_books_stay_readable(
    given_commands: list[dict[str, Any]],
) -> None:
    lines = [json.dumps(one).encode() for one in given_commands]
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(play(lines, Path(folder)))


@settings(max_examples=20)
@given(st.lists(st.one_of(st.binary(max_size=40), st.sampled_from(
    [b"[" * 100_000, b'{"do": NaN}', b'{"do": "cash", "amount": NaN}', b"9" * 5000, b"{}", b"null"]
)), min_size=1, max_size=5))  # fmt: skip
def test_every_line_that_is_no_command_is_told_so(lines: list[bytes]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(play(lines, Path(folder)))
