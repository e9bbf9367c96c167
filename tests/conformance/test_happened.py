"""The rules of what had happened, each by the smallest log that shows it, with and without
snapshots.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from oms.core.events import Context, Pending
from oms.core.fold.records import EarlyCommission, Fill, Order, Position, decode_record
from tests.conformance.conftest import Place
from tests.lives import START, Life
from tests.pasts import Fact, make_snapshots, past, write


@dataclass(frozen=True)
class Rule:
    """A log, a line a fact, and what had happened at some moments.

    A line begins with the second at which it was recorded and, behind `~`, the one at which it
    happened as the broker says. What had happened is the order's filled quantity, what it cost, and
    the position.
    """

    name: str
    log: str
    at: dict[float, str]


RULES = (
    Rule(
        "an execution was behind the intent whatever the clock of the broker says",
        "0 session\n10 intent BUY 100 LMT 10\n10 sent\n11~5 fill 40 @ 10",
        {7: "- - -", 10.5: "40 - 40", 12: "40 - 40"},
    ),
    Rule(
        "an execution was behind the intent and not only behind what the shell asked for",
        "0 session\n10.8 request BUY 40 LMT 10\n10.86 intent BUY 40 LMT 10\n10.87 sent\n"
        "18 crash\n18.5 session\n19~10 completed Filled 40\n19.1~10 fill 40 @ 10\n"
        "20 commission x.1.01 1",
        {10.5: "- - -", 10.9: "40 1 40", 19: "40 1 40 FILLED", 30: "40 1 40 FILLED"},
    ),
    Rule(
        "an order ended behind its intent, whatever the clock of the broker says",
        "0 session\n10.8 intent BUY 40 LMT 10\n10.87 sent\n19~10 completed Cancelled 0",
        {10.5: "- - -", 10.9: "0 - - CANCELLED", 30: "0 - - CANCELLED"},
    ),
    Rule(
        "an execution was before we heard of it, whatever the clock of the broker says",
        "0 session\n1 intent BUY 100 LMT 10\n2 sent\n20~100 fill 40 @ 10\n26 commission x.1.01 1",
        {19: "0 - -", 25: "40 1 40", 101: "40 1 40"},
    ),
    Rule(
        "what came late has happened when it happened",
        "0 session\n1 intent BUY 100 LMT 10\n2 sent\n3 open Submitted\n30 open Submitted\n"
        "31 open Submitted\n32 open Submitted\n60~20 fill 40 @ 10\n"
        "61 commission x.1.01 1\n62 status Submitted 40",
        {19: "0 - -", 20: "40 1 40", 59: "40 1 40", 62: "40 1 40"},
    ),
    Rule(
        "what came in a later order than it happened is in the order in which it happened",
        "0 session\n1 intent BUY 100 LMT 10\n2 sent\n30~30 fill 40 @ 10 exec=y.1.01\n"
        "30.5~29 fill 10 @ 20 exec=x.1.01\n31 commission y.1.01 1\n32 commission x.1.01 2",
        {28.5: "0 - -", 29.5: "10 2 10", 30: "50 3 50", 32: "50 3 50"},
    ),
    Rule(
        "what a position cost follows the order in which it was traded",
        "0 session\n1 intent BUY 100 LMT 20\n2 sent\n3 B: intent SELL 50 LMT 30\n4 B: sent\n"
        "20~20 fill 10 @ 5 exec=x.1.01\n30~30 B: fill 10 @ 30 exec=y.1.01\n"
        "30.5~29 fill 10 @ 20 exec=z.1.01\n40 open Submitted",
        {21: "10 - 10@5", 29.5: "20 - 20@12.5", 30: "20 - 10@12.5", 40: "20 - 10@12.5"},
    ),
    Rule(
        "what came late is behind what had happened by then and came in time",
        "0 session\n1 intent BUY 100 LMT 20\n2 sent\n3 B: intent SELL 50 LMT 30\n4 B: sent\n"
        "10~10 fill 10 @ 5 exec=x.1.01\n20.5~19.5 fill 10 @ 20 exec=z.1.01\n"
        "60~20 B: fill 10 @ 30 exec=y.1.01",
        {
            15: "10 - 10@5",
            19.7: "20 - 20@12.5",
            20.2: "20 - 10@12.5",
            25: "20 - 10@12.5",
            70: "20 - 10@12.5",
        },
    ),
    Rule(
        "a correction is what the execution was from its beginning",
        "0 session\n1 intent BUY 100 LMT 10\n2 sent\n10~10 fill 40 @ 10\n11 commission x.1.01 1\n"
        "50~10 fill 30 @ 10 exec=x.1.02\n51 commission x.1.02 2",
        {9: "0 - -", 10: "30 2 30", 40: "30 2 30", 60: "30 2 30"},
    ),
    Rule(
        "a correction that says nothing of the cost leaves what was said",
        "0 session\n1 intent BUY 100 LMT 10\n2 sent\n10~10 fill 40 @ 10\n11 commission x.1.01 1\n"
        "50~10 fill 30 @ 10 exec=x.1.02",
        {9: "0 - -", 10: "30 1 30", 40: "30 1 30", 60: "30 1 30"},
    ),
    Rule(
        "an execution that was taken back has never been",
        "0 session\n1 intent BUY 100 LMT 10\n2 sent\n10~10 fill 40 @ 10\n11 commission x.1.01 1\n"
        "50~10 fill 0 @ 10 exec=x.1.02",
        {10: "0 - -", 40: "0 - -", 60: "0 - -"},
    ),
    Rule(
        "what an execution cost was so when it was executed",
        "0 session\n1 intent BUY 100 LMT 10\n2 sent\n10~10 fill 40 @ 10\n90 commission x.1.01 1",
        {9: "0 - -", 10: "40 1 40", 50: "40 1 40", 95: "40 1 40"},
    ),
    Rule(
        "and so it was where it was told soon",
        "0 session\n1 intent BUY 100 LMT 10\n2 sent\n10~10 fill 40 @ 10\n18 commission x.1.01 1\n"
        "19 open Submitted",
        {10: "40 1 40", 17: "40 1 40", 19: "40 1 40"},
    ),
    Rule(
        "what was held before the log began was held from its beginning",
        "0 session\n1 intent BUY 100 LMT 10\n2 sent\n10~10 fill 40 @ 10\n80 opening 60 9",
        {0: "- - 60", 9: "0 - 60", 10: "40 - 100", 90: "40 - 100"},
    ),
    Rule(
        "an order had ended when the broker says, and once",
        "0 session\n1 intent BUY 100 LMT 10\n2 sent\n3 open Submitted\n"
        "90~20 completed Cancelled 0\n95~20 completed Cancelled 0\n96 open Submitted",
        {19: "0 - -", 21: "0 - - CANCELLED", 80: "0 - - CANCELLED"},
    ),
)


def played(log: str) -> list[Fact]:
    """Return the facts of a log, each at its second."""
    facts: list[Fact] = []
    life = Life()
    for line in log.splitlines():
        second, _, row = line.partition(" ")
        recorded, _, occurred = second.partition("~")
        for one in life.play(row).envelopes[len(facts) :]:
            context = one.context
            if occurred:
                context = Context(context.actor, context.session_epoch, at(float(occurred)))
            facts.append((at(float(recorded)), Pending(one.event, context)))
    return facts


def at(second: float) -> datetime:
    return START + timedelta(seconds=second)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name.replace(" ", "_"))
def test_what_had_happened(tmp_path: Path, sqlite_template: Path, rule: Rule) -> None:
    facts = played(rule.log)
    for name in ("from the log", "from snapshots", "from snapshots that were made as it grew"):
        shutil.copyfile(sqlite_template, tmp_path / f"{name}.sqlite")
        place = Place(f"sqlite:///{tmp_path / name}.sqlite")
        for part in [facts] if "grew" not in name else [[one] for one in facts]:
            write(place.url, part)
            if "snapshots" in name:
                make_snapshots(place.url, 2)
        found = {moment: happened(place, at(moment), wanted) for moment, wanted in rule.at.items()}
        assert found == rule.at, name


def happened(place: Place, moment: datetime, wanted: str) -> str:
    copy = past(place.url, moment, "happened")[1]
    orders = [decode_record("orders", text) for text in copy["orders"].values()]
    held = [decode_record("positions", text) for text in copy["positions"].values()]
    order = orders[0] if orders else None
    position = held[0] if held else None
    assert order is None or isinstance(order, Order)
    assert position is None or isinstance(position, Position)
    filled = "-" if order is None else f"{order.filled}"
    costs = dict(order.commissions) if order is not None else {}
    quantity = "-" if position is None or not position.quantity else f"{position.quantity}"
    soon = moment + timedelta(seconds=2)
    fills = [decode_record("fills", text) for text in copy["fills"].values()]
    assert all(isinstance(one, Fill) and one.booked_at and one.booked_at <= soon for one in fills)
    # What an execution cost that never was is nobody's.
    early = [decode_record("early_commissions", one) for one in copy["early_commissions"].values()]
    assert all(isinstance(one, EarlyCommission) and one.joined for one in early)
    if "@" in wanted and position is not None:
        quantity = f"{quantity}@{position.average_price:.4g}"
    state = f" {order.state.value}" if order is not None and wanted.count(" ") == 3 else ""
    return f"{filled} {costs.get('USD', '-')} {quantity}{state}"
