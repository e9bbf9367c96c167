"""Reading scenario files: what is wrong is named with its line."""

from __future__ import annotations

import asyncio
from dataclasses import fields
from decimal import Decimal

import pytest

from oms.sim.gateway.gateway import Gateway
from oms.sim.script.player import Player
from oms.sim.script.scenarios import Block, ScenarioError, Step, parse
from oms.sim.settings import BOUNDS, CHOICES, RUNNING, Settings


def test_a_file_is_read_as_title_settings_and_blocks() -> None:
    scenario = parse(
        """
# why
title   Two fills
gateway seed=7 accounts=DU1,DU2 cash=5.5 read_only=yes master_client=9
start
  quote symbol=AAPL bid=99 ask=99.01
then on placeOrder orderRef=a nth=2
  fault direction=out message=orderStatus action=edit set.status=Filled set.filled=1 where.orderId=5
after 0.5
  send_notice code=1100 text="two words"
when order=last status=Filled
  raw fields=3|5|Filled
"""
    )
    assert scenario.title == "Two fills"
    assert scenario.blocks == [
        Block(5, "start", steps=[
            Step(6, {"do": "quote", "symbol": "AAPL", "bid": "99", "ask": "99.01"}),
        ]),
        Block(7, "on", "placeOrder", where={"orderRef": "a"}, nth=2, then=True, steps=[
            Step(8, {"do": "fault", "direction": "out", "message": "orderStatus",
                     "action": "edit", "set": {"status": "Filled", "filled": "1"},
                     "where": {"orderId": "5"}}),
        ]),
        Block(9, "after", seconds=0.5, then=True, steps=[
            Step(10, {"do": "send_notice", "code": "1100", "text": "two words"}),
        ]),
        Block(11, "when", "last", where={"status": "Filled"}, steps=[
            Step(12, {"do": "raw", "fields": "3|5|Filled"}),
        ]),
    ]  # fmt: skip
    settings = scenario.apply(Settings())
    assert (settings.seed, settings.accounts, settings.cash) == (7, ("DU1", "DU2"), Decimal("5.5"))
    assert (settings.read_only, settings.master_client) == (True, 9)


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("start\n  nonsense x=1", 2, "nonsense is no verb"),
        ("start\n  quote symbl=AAPL", 2, "no field symbl"),
        ("start\n  quote AAPL", 2, "'AAPL' is not field=text"),
        ("  quote symbol=AAPL", 1, "before the first trigger"),
        ("whenever", 1, "no trigger"),
        ("on", 1, "needs the name of a message"),
        ("on openOrder", 1, "no such message"),
        ("sent placeOrder", 1, "no such message"),
        ("at noon", 1, "a number of seconds"),
        ("gateway sed=7", 1, "sed is no setting"),
        ("gateway cash=NaN", 1, "cash=NaN is out of bounds"),
        ("gateway fills=sometimes", 1, "not one of market, manual"),
        ("gateway zone=Mars/North", 1, "no time zone"),
        ("gateway read_only=maybe", 1, "not yes or no"),
        ("gateway server_version=200", 1, "157 to 178"),
        ("on placeOrder nth=0", 1, "not a number"),
        ("on placeOrder order_ref=x", 1, "order_ref is no field of placeOrder"),
        ("when order=1 state=Filled", 1, "state is no field"),
        ("sent orderStatus each=maybe", 1, "each=maybe"),
        ("at -1", 1, "out of bounds"),
        ("then start", 1, "needs a block before it"),
        ('start\n  send_notice code=1 text="open', 2, "No closing quotation"),
    ],
)
def test_a_mistake_is_named_with_its_line(text: str, line: int, said: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        parse(text)
    assert caught.value.line == line
    assert said in str(caught.value)


def test_a_title_is_free_text() -> None:
    assert parse('title   The broker\'s "late" fill').title == 'The broker\'s "late" fill'


async def test_what_a_running_clock_brings_is_waited_for_beyond_the_bound() -> None:
    player = Player(parse("at 0.2\n  time\nthen after 0.2\n  time\n"), Gateway(Settings(port=0)))
    ended = asyncio.Event()
    player.start()
    player.end_with(ended.set, 0.05)
    await ended.wait()
    assert (player.played, player.waiting, player.failures) == ([1, 3], [], [])


def test_every_setting_has_its_bounds() -> None:
    """A new number without bounds, or a new word without its choices, would take anything."""
    free = {"host", "books", "accounts", "zone", "base_currency"}
    flags = {
        one.name for one in fields(Settings) if isinstance(getattr(Settings(), one.name), bool)
    }
    known = {one.name for one in fields(Settings)}
    assert known - free - flags == (set(CHOICES) | set(BOUNDS)) & known
    assert (set(CHOICES) | set(BOUNDS) | RUNNING) - known == set()
    Settings().check()
