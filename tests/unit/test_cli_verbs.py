"""Every verb of the command line: where options stand, what is refused before anything is written,
and what a start costs.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from oms.cli import app, main
from oms.cli.ids import short
from oms.cli.tables import age, clock, note, price
from oms.cli.verbs import VERBS, hoisted
from oms.core.contracts import Contract
from oms.core.events import Terms
from oms.core.fold.records import Order, OrderState
from oms.report.situation_json import age_seconds

NOW = datetime(2026, 3, 9, 14, 30, tzinfo=UTC)


def command_paths() -> list[str]:
    """Return every verb with its group."""
    command: Any = typer.main.get_command(app)
    paths = []
    for name in command.list_commands(None):
        verb = command.get_command(None, name)
        below = getattr(verb, "commands", None)
        paths += [f"{name} {child}" for child in below] if below else [name]
    return paths


# ── where options stand ──────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        (["orders", "--database", "a.sqlite"], ["--database", "a.sqlite", "orders"]),
        (["--config", "c", "orders"], ["--config", "c", "orders"]),
        (["orders", "--config=c", "--all"], ["--config=c", "orders", "--all"]),
        (["report", "list", "--database", "a"], ["--database", "a", "report", "list"]),
        (["resolve", "B", "--reason", "x"], ["resolve", "B", "--reason", "x"]),
        (["order", "--", "--database"], ["order", "--", "--database"]),
        (["orders", "--database"], ["--database", "orders"]),
    ],
)
def test_global_options_stand_anywhere(typed: list[str], meant: list[str]) -> None:
    assert hoisted(typed) == meant


@pytest.mark.parametrize("path", command_paths())
def test_help_of_a_verb_shows_two_examples(path: str) -> None:
    said = CliRunner().invoke(app, [*path.split(), "--help"])
    assert said.exit_code == 0
    assert said.output.count(f"oms {path}") >= 3, "the usage and two examples"
    assert said.output.startswith(f"Usage: oms {path} "), "plain text, without frames"
    assert "│" not in said.output


def test_a_misspelt_verb_is_refused_with_those_close_to_it() -> None:
    said = CliRunner().invoke(app, ["ordrs"])
    assert said.exit_code == 2
    assert "Did you mean 'orders', 'order'?" in said.stderr


def test_list_of_verbs_fits_the_screen() -> None:
    said = CliRunner().invoke(app, ["--help"])
    for name, listed in VERBS.items():
        assert f"  {name:<12}{listed.summary}\n" in said.stdout


def test_main_returns_the_exit_status_and_can_be_called_again(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["version"]) == 0
    assert main(["nonsense"]) == 2
    assert main(["version", "--json"]) == 0
    assert '"kind": "version"' in capsys.readouterr().out


def test_an_option_that_lost_its_meaning_is_taken_with_a_word() -> None:
    said = CliRunner().invoke(app, ["reconcile", "--now", "--database", "nowhere/none.sqlite"])
    assert "--now has no effect" in said.stderr
    assert "--now" not in CliRunner().invoke(app, ["reconcile", "--help"]).stdout


# ── what is refused here ─────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("buy x AAPL", "quantity: 'x' is not a decimal number"),
        ("buy 0 AAPL", "quantity must be above zero, found 0"),
        ("buy NaN AAPL", "quantity: 'NaN' is not a finite number"),
        ("buy 1e400000 AAPL", "quantity must be at most 1,000,000,000,000, found 1E+400000"),
        ("buy 10 AAPL --limit inf", "limit: 'inf' is not a finite number"),
        ("buy 10 AAPL --limit ten", "limit: 'ten' is not a decimal number"),
        ("buy 10 AAPL --tif FOREVER", "time in force must be one of"),
        ("buy 10 AAPL --order-id 'two words'", "cannot travel to IB and back"),
        ("bracket HOLD 1 AAPL --limit 1 --take-profit 2 --stop-loss 1", "side must be BUY or SELL"),
        ("bracket BUY 1 AAPL --limit 5 --take-profit 4 --stop-loss 6", "losing side"),
        ("bracket SELL 1 AAPL --limit 5 --take-profit 6 --stop-loss 4", "losing side"),
        ("cancel", "name the orders to cancel, or say --all"),
        ("cancel abc --all", "name the orders to cancel, or say --all"),
    ],
)
def test_what_cannot_be_an_order_is_refused_before_anything_is_read(typed: str, words: str) -> None:
    said = CliRunner().invoke(app, [*shlex.split(typed), "--database", "nowhere/none.sqlite"])
    assert words in said.stderr
    assert said.exit_code == 2
    assert said.stdout == ""


@pytest.mark.parametrize("typed", ["", "nonsense", "buy", "buy 1 AAPL --limt 3", "log --after -1"])
def test_usage_errors_end_with_2(typed: str) -> None:
    assert CliRunner().invoke(app, typed.split()).exit_code == 2


def test_an_unknown_database_is_named_with_a_hint() -> None:
    said = CliRunner().invoke(app, ["orders", "--database", "mysql://localhost/x"])
    assert said.exit_code == 2
    assert "use sqlite or postgresql" in said.stderr


# ── what a start costs ───────────────────────────────────────────────────────────────────────────


def test_help_loads_neither_a_database_driver_nor_a_broker_library() -> None:
    program = (
        "import sys; sys.argv = ['oms', '--help']\n"
        "import oms.cli\n"
        "oms.cli.main()\n"
        "heavy = {'sqlalchemy', 'alembic', 'ib_async', 'jinja2', 'starlette'}\n"
        "print('loaded:', sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    said = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert said.stderr.strip().splitlines()[-1] == "loaded: []"


# ── words ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("order_id", "shown"),
    [
        ("3f9a12c4d5e64f708192a3b4c5d6e7f8", "3f9a12c4"),
        ("3f9a12c4d5e64f708192a3b4c5d6e7f8-tp", "3f9a12c4-tp"),
        ("rebalance-2026-01-05-aapl", "rebalance-2026-01-05-aapl"),
        ("perm-1638969380", "perm-1638969380"),
        ("", ""),
    ],
)
def test_only_ids_that_nobody_chose_are_shortened(order_id: str, shown: str) -> None:
    assert short(order_id) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, ""),
        (Decimal("185.50"), "185.5"),
        (Decimal(1) / Decimal(3), "0.333333"),
        (Decimal("1E+2"), "100"),
        (Decimal("-0.6"), "-0.6"),
    ],
)
def test_prices_are_plain_and_bounded(value: Decimal | None, shown: str) -> None:
    assert price(value) == shown


def test_ages_are_never_negative() -> None:
    later = NOW + timedelta(seconds=3)
    assert age_seconds(later, NOW) == 0
    assert age(later, NOW).startswith("0")
    assert (age_seconds(None, NOW), age(None, NOW)) == (None, "")


def test_times_of_other_days_show_their_date() -> None:
    assert clock(datetime(2020, 3, 9, 14, 30, 5, tzinfo=UTC)) == "03-09 14:30"
    assert clock(None) == ""


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"doubt": "the line was lost", "code": 201}, "the line was lost"),
        ({"state": OrderState.REJECTED, "code": 201, "text": "no money"}, "201: no money"),
        ({"state": OrderState.CANCELLED, "code": 202, "text": "Order Canceled"}, ""),
        ({"state": OrderState.DENIED, "denied": True, "text": "off tick"}, "off tick"),
        ({"refusal": "too late to cancel"}, "too late to cancel"),
        ({"warning": "outside hours", "code": 399}, "outside hours"),
        ({"origin": "other_client", "client_id": 4}, "adopted: sent by client 4"),
        ({}, ""),
    ],
)
def test_note_says_what_is_most_urgent(changes: dict[str, Any], words: str) -> None:
    order = Order(
        order_id="x",
        origin="ours",
        account="DU1",
        contract=Contract(symbol="AAPL"),
        terms=Terms(side="BUY", quantity=Decimal(1), order_type="MKT"),
        actor="test",
    )
    assert note(order.evolve(**changes)) == words


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_shell_is_taught_the_verbs(shell: str) -> None:
    environment = {"_OMS_COMPLETE": f"complete_{shell}", "COMP_WORDS": "oms b", "COMP_CWORD": "1"}
    asked = environment | {
        "_TYPER_COMPLETE_ARGS": "oms b",
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
    }
    said = CliRunner().invoke(app, [], env=asked, prog_name="oms")
    assert said.exit_code == 0, said.output
    assert "bracket" in said.output
    assert "buy" in said.output
    assert "sell" not in said.output
