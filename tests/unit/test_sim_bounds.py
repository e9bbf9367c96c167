"""Whatever stands in a scenario, a control line or on the simulator's command line: a value that
can be kept, or an error in words. Nothing hangs, and nothing is a fault of the simulator.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from oms.sim import __main__ as command_line
from oms.sim.clock import SteppedClock
from oms.sim.gateway.gateway import Gateway
from oms.sim.protocol.errors import WireError
from oms.sim.protocol.fields import to_decimal
from oms.sim.script.commands import VERBS, Commands
from oms.sim.script.control import ControlPort
from oms.sim.script.scenarios import ScenarioError, parse
from oms.sim.settings import SettingError, Settings
from tests.hostile.doors import no_longer_than
from tests.hostile.values import TEXTS

SECONDS_MAX = 10
#: Each so-manieth of the values at the control port, others with each seed.
STEP = 7
NUMBERS = (0, 1, -1, 2**63, 10**400, 10**5_000, 1.5, 1e300, True, False, None)
LINES = (
    *("at {}\n  books\n", "after {}\n", "on placeOrder nth={}\n", "when order={} status=Filled\n"),
    *("on placeOrder each={}\n", "gateway seed={}\n", "gateway cash={}\n", "{}\n", "start\n  {}\n"),
    *("on {}\n", "sent orderStatus {}\n", "disconnect client_id={}\n"),
)
PLAIN = {
    "symbol": "AAPL",
    "order": "1",
    "side": "BUY",
    "message": "orderStatus",
    "action": "drop",
    "code": "1100",
}


@pytest.mark.parametrize("line", LINES)
def test_every_text_in_a_scenario_is_read_or_refused_with_its_line(line: str) -> None:
    for text in TEXTS:
        with no_longer_than(SECONDS_MAX):
            try:
                parse(line.format(text))
            except ScenarioError as error:
                assert len(str(error)) < 6_000  # noqa: PT017


@pytest.mark.parametrize("text", ["1_000", "\uff11", " 1", "0x10", "nan", "-1", "1e9999999999"])
def test_a_wait_is_a_number_of_seconds_in_plain_digits(text: str) -> None:
    with pytest.raises(ScenarioError, match="seconds"):
        parse(f"at '{text}'\n")


def test_every_setting_is_taken_or_refused() -> None:
    for name in Settings.__dataclass_fields__:
        for text in TEXTS:
            try:
                Settings().put(name, text)
            except SettingError as error:
                assert len(str(error)) < 500  # noqa: PT017


@pytest.mark.parametrize("text", ["1e-9999999999", "1e16", "-1e16", "1_0", "\u0661", "x" * 5_000])
def test_a_number_that_no_order_has_is_no_number(text: str) -> None:
    with pytest.raises(WireError) as refused:
        to_decimal(text)
    assert len(str(refused.value)) < 100


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("1e9999999999", None),
        ("-1e9999999999", None),
        ("0e9999999999", 0),
        ("4.9E-324", "4.9E-324"),
    ],
)
def test_a_number_out_of_all_bounds_is_ibs_not_set(text: str, found: str | None) -> None:
    assert to_decimal(text) == (None if found is None else Decimal(found))


def commands() -> Iterator[dict[str, Any]]:
    for name, verb in sorted(VERBS.items()):
        plain = {one: PLAIN.get(one, "1") for one in verb.fields if not one.endswith("?")}
        for field in verb.fields:
            for value in (*TEXTS, *NUMBERS):
                yield {"do": name} | plain | {field.rstrip("?"): value}


@pytest.mark.parametrize("text", ["1e-9999999999", "0.123456789", "1.0000000001"])
def test_an_amount_of_too_many_decimals_is_refused(tmp_path: Path, text: str) -> None:
    clock = SteppedClock(datetime(2026, 1, 5, 17, tzinfo=UTC))
    control = ControlPort(Commands(Gateway(Settings(port=0), clock=clock)))
    command = {"do": "position_adjust", "symbol": "AAPL", "quantity": "1"}
    command["average_cost"] = text
    with no_longer_than(SECONDS_MAX):
        assert "decimals" in control._answer(json.dumps(command).encode())["error"]


def test_every_control_line_is_answered(tmp_path: Path, seed: int) -> None:
    books = tmp_path / "books.db"
    clock = SteppedClock(datetime(2026, 1, 5, 17, tzinfo=UTC))
    control = ControlPort(Commands(Gateway(Settings(port=0, books=books), clock=clock)))
    lines = []
    for command in list(commands())[seed % STEP :: STEP]:
        try:
            lines.append(json.dumps(command).encode())
        except ValueError:  # of more digits than Python writes
            continue
    lines += [b"[", b"1", b'{"do":1}', b"[" * 100_000, b"\xff", b'{"order":%s}' % (b"9" * 5_000)]
    for line in lines:
        with no_longer_than(SECONDS_MAX):
            answer = control._answer(line)
        assert answer["ok"] or answer["error"], line
        assert "simulator" not in answer.get("hint", ""), (line, answer)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with one of everything that is no scenario; whatever is served ends at once."""
    (tmp_path / "bytes").write_bytes(bytes(range(256)))
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    with (tmp_path / "sparse").open("wb") as sparse:
        sparse.truncate(5 * 2**30)

    def at_once(stopped: asyncio.Event) -> None:
        asyncio.get_running_loop().call_soon(stopped.set)

    monkeypatch.setattr(command_line, "_set_on_signal", at_once)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("verb", ["script", "replay", "record"])
@pytest.mark.parametrize(
    "name", ["bytes", "folder", "pipe", "loop", "sparse", "x" * 300, "/dev/zero"]
)
def test_what_is_no_text_file_is_refused(
    verb: str, name: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with no_longer_than(SECONDS_MAX):
        assert command_line.main([verb, name]) == command_line.EXIT_USAGE
    assert name in capsys.readouterr().err


@pytest.mark.parametrize(
    "option",
    [
        *("--port=99999", "--port=-1", "--control-port=1_0", "--cash=,", "--cash=1e9999999999"),
        *("--part-seconds=-1", "--part-seconds=nan", "--start=0001-01-01T00:00:00+00:00"),
        *("--start=9999-12-31T23:59:59+00:00", "--start=10000-01-01", "--speed=1e400"),
        *("--seed=9223372036854775808", f"--seed={'9' * 5_000}", f"--host={'x' * 70}"),
        *("--host=a\udcff", "--zone=Nowhere/At all", "--zone=../../etc/passwd", "--zone=\u0661"),
        *("--server-version=10000", "--master-client=-1", "--fault=probability=1e999"),
    ],
)
def test_an_option_that_nothing_can_be_is_refused(
    option: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["serve", "--port=0", "--control-port=0", option]
    try:
        code: object = command_line.main(words)
    except SystemExit as error:
        code = error.code
    assert code == command_line.EXIT_USAGE
    assert capsys.readouterr().err
