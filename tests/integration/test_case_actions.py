"""What people do about a break: in their own name, in the log, and above a value only by two."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

import oms
from oms.core.events import (
    BooksAdjusted,
    BreakClosed,
    CaseActionProposed,
    CaseRequestDenied,
    CaseRequested,
    Context,
    Pending,
)
from oms.core.fold.records import BreakCase, OrderState
from oms.core.ratio import Ratio
from oms.report.reconciliation import build
from tests.world import AAPL, LOW, MSFT, World

pytestmark = pytest.mark.slow


async def drifted(world: World, **settings: Any) -> BreakCase:
    """Start, buy ten, let the broker hold fifteen, and return the case of it."""
    await world.start(**settings)
    await world.bought(10)
    await world.simulator.do("position_adjust", symbol="AAPL", quantity=5)
    await world.reconcile()
    return world.case("quantity_drift")


async def ask(world: World, case: BreakCase, action: str, who: str = "anna", **fields: Any) -> None:
    """Ask for something about a case as a person, and wait for the answer."""
    request = CaseRequested(
        request_id=uuid.uuid4().hex, break_id=case.break_id, action=action, **fields
    )
    receipt = await world.oms.log.append(Pending(request, Context(actor=f"person:{who}")))
    answered: list[int | None] = []
    unsubscribe = world.oms.log.subscribe(
        lambda committed: answered.extend(e.context.causation_sequence for e in committed.envelopes)
    )
    try:
        later = await world.oms.reader.events(receipt.sequence)
        answered += [e.context.causation_sequence for e in later]
        await world.until(lambda: receipt.sequence in answered)
    finally:
        unsubscribe()


async def test_a_break_is_assigned_and_explained_and_stays_open(world: World) -> None:
    case = await drifted(world)
    await ask(world, case, "assign", text="night desk")
    await ask(world, case, "explain", who="bert", text="shares of the old broker")
    now = world.view.breaks[case.break_id]
    assert (now.assignee, now.explanation, now.explained_by, now.status) == (
        "night desk",
        "shares of the old broker",
        "person:bert",
        "open",
    )
    await world.reconcile()
    assert world.view.breaks[case.break_id].assignee == "night desk"


async def test_an_adjustment_makes_both_sides_equal_and_says_who_and_why(world: World) -> None:
    case = await drifted(world)
    await ask(world, case, "adjust", cause="transfer", text="from the old broker")
    assert (world.position(), world.open_cases()) == (15, [])
    (envelope,) = await world.oms.reader.events(type="BooksAdjusted")
    assert isinstance(envelope.event, BooksAdjusted)
    wanted = envelope.event.adjustment
    assert (envelope.context.actor, envelope.event.reason, wanted.cause, wanted.quantity) == (
        "person:anna",
        "from the old broker",
        "transfer",
        5,
    )
    report = await world.reconcile()
    assert report.verdict == "clean"
    await world.agree()
    await world.stop()
    await world.start()
    assert (world.position(), len(await world.log(BooksAdjusted))) == (15, 1)


async def test_cash_that_came_in_is_a_break_until_a_person_books_it(world: World) -> None:
    await world.start()
    await world.bought(10)
    await world.simulator.do("cash", amount="250.50")
    await world.reconcile()
    case = world.case("cash_drift")
    assert (case.finding.severity, case.finding.symbol) == ("medium", "USD")
    await ask(world, case, "adjust", cause="split", text="no")
    assert world.open_cases() == [("cash_drift", "USD")]
    await ask(world, case, "adjust", cause="deposit", text="wire of Monday")
    await world.bought(5)
    assert ((await world.reconcile()).verdict, world.open_cases()) == ("clean", [])


async def test_above_the_limit_it_takes_somebody_else(world: World) -> None:
    case = await drifted(world, break_notional_max="100")
    await ask(world, case, "adjust", cause="transfer", text="from the old broker")
    waiting = world.view.breaks[case.break_id]
    assert (waiting.status, waiting.waiting_actor, world.position()) == ("open", "person:anna", 10)
    (proposed,) = await world.log(CaseActionProposed)
    assert proposed.limit == 100
    await ask(world, case, "approve")
    (denied,) = await world.log(CaseRequestDenied)
    assert "somebody else" in denied.text
    await ask(world, case, "approve", who="bert")
    assert (world.position(), world.open_cases()) == (15, [])
    (closed,) = await world.log(BreakClosed)
    (adjusted,) = await world.log(BooksAdjusted)
    assert closed.approved_by == adjusted.approved_by == "person:bert"
    assert adjusted.reason == "from the old broker"


async def test_a_break_closed_by_word_is_named_and_hides_no_missing_cash(world: World) -> None:
    case = await drifted(world)
    await ask(world, case, "resolve", text="shares of the old broker")
    clean = await world.reconcile()
    assert clean.verdict == "clean"
    told = build(clean)
    assert told.headline == (
        "Our books and the broker's agree but for 1 difference that a person closed"
    )
    assert any("ours 10, theirs 15" in reason for reason in told.reasons)
    await world.simulator.do("cash", amount="-5000")
    assert (await world.reconcile()).verdict == "broken"
    assert world.open_cases() == [("cash_drift", "USD")]
    await world.reconcile()
    assert world.open_cases() == [("cash_drift", "USD")]


@pytest.mark.parametrize(("limit", "adopted"), [("1000", False), ("20000", True)])
async def test_a_foreign_order_above_the_limit_takes_somebody_else(
    world: World, limit: str, adopted: bool
) -> None:
    await world.start(break_notional_max=limit)
    by_hand = {"side": "SELL", "quantity": 30, "order_type": "LMT", "limit_price": "500"}
    await world.simulator.do("manual_order", symbol="AAPL", **by_hand)
    await world.reconcile()
    case = world.case("unknown_order")
    await ask(world, case, "adopt", text="mine")
    assert (world.open_cases() == []) is adopted
    if not adopted:
        await ask(world, case, "approve", who="bert")
        assert world.open_cases() == []


async def test_only_a_foreign_order_can_be_adopted(world: World) -> None:
    case = await drifted(world)
    by_hand = {"side": "BUY", "quantity": 3, "order_type": "LMT", "limit_price": LOW}
    await world.simulator.do("manual_order", symbol="MSFT", **by_hand)
    await world.reconcile()
    await ask(world, case, "adopt", text="mine")
    await ask(world, world.case("unknown_order"), "adopt", text="mine")
    assert world.open_cases() == [("quantity_drift", "AAPL")]
    report = await world.reconcile()
    assert [f.symbol for f in report.findings if f.break_class == "unknown_order"] == [MSFT.symbol]
    assert world.open_cases() == [("quantity_drift", "AAPL")]


async def test_a_policy_books_what_evidence_names_and_nothing_else(world: World) -> None:
    await world.start(adjust_causes=("split",))
    await world.bought(10)
    await world.bought(10, MSFT)
    await world.simulator.do("split", symbol="AAPL", ratio="4")
    await world.simulator.do("position_adjust", symbol="MSFT", quantity=5)
    await world.reconcile()
    assert (world.position("AAPL"), world.position("MSFT")) == (40, 10)
    assert world.open_cases() == [("quantity_drift", "MSFT")]
    (adjusted,) = await world.log(BooksAdjusted)
    assert (adjusted.adjustment.cause, adjusted.run_id is None) == ("split", False)
    await world.reconcile()
    assert len(await world.log(BooksAdjusted)) == 1


async def test_a_person_names_the_ratio_of_a_split_whose_cost_ib_has_not_divided_yet(
    world: World,
) -> None:
    await world.start()
    await world.bought(300)
    await world.simulator.do("position_adjust", symbol="AAPL", quantity=-200)
    await world.reconcile()
    case = world.case("quantity_drift")
    for ratio in (None, Ratio(new=1, old=4)):
        await ask(world, case, "adjust", cause="split", text="1 for 3", ratio=ratio)
        assert world.position() == 300
    await ask(world, case, "adjust", cause="split", text="1 for 3", ratio=Ratio(new=1, old=3))
    assert (world.position(), world.open_cases()) == (100, [])


async def test_a_closing_order_passes_the_gate_and_only_takes_what_is_held(world: World) -> None:
    case = await drifted(world)
    manager = world.oms.manager
    closed = await manager.submit(AAPL, oms.Market("SELL", 1))
    assert await world.rule_against(closed) == "gate"
    more = await manager.submit(AAPL, oms.Market("SELL", 16), closing=True)
    other_side = await manager.submit(AAPL, oms.Market("BUY", 1), closing=True)
    assert [await world.rule_against(o) for o in (more, other_side)] == ["exposure"] * 2
    out = await manager.submit(AAPL, oms.Market("SELL", 15), closing=True)
    await world.until(lambda: out.state is OrderState.FILLED)
    assert world.view.breaks[case.break_id].live
