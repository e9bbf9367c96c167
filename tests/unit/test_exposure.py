"""What may still fill beside an order, and what a holding can become with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Literal

import pytest

import oms
from oms.core.admit.holding import Unfilled, holdings, unfilled_in, unfilled_of
from oms.core.admit.limits import Limits
from oms.core.admit.proposal import Proposal
from oms.core.admit.rules import check, check_change, in_force, rulings, warning_of
from oms.core.admit.venue import VenueRules
from oms.core.contracts import ComboLeg
from oms.core.events import Adjustment, Finding, OrderIntended, Side
from oms.core.fold.order_state import state_of
from oms.core.fold.records import (
    AdjustmentMade,
    BreakCase,
    Order,
    OrderState,
    Position,
    SystemRecord,
)

KO = oms.Stock("KO").evolve(con_id=8894)
READY = SystemRecord(session_epoch=1, connected=True, ready=True)
REFUSE, WARN = Limits(exposure="refuse"), Limits(exposure="warn")
NOW = datetime(2026, 11, 20, 15, 0, tzinfo=UTC)


def unfilled(
    name: str, side: Side, quantity: int | None, *, oca: str = "", parent: str = ""
) -> Unfilled:
    size = None if quantity is None else Decimal(quantity)
    return Unfilled(name, KO, side, size, oca, parent)


def proposal(
    terms: oms.Terms, held: int | Sequence[int], *beside: Unfilled, **more: Any
) -> Proposal:
    """An order of 'new' in an account that holds so much."""
    could = (held,) if isinstance(held, int) else held
    return replace(
        Proposal(
            account="DU1",
            contract=KO,
            terms=terms,
            rules=VenueRules(),
            managed_accounts=("DU1",),
            system=READY,
            order_id="new",
            held={KO.con_id: tuple(Decimal(one) for one in could)},
            beside=beside,
        ),
        **more,
    )


def order(side: Side, quantity: int, **facts: Any) -> Order:
    """An order 'a' at work."""
    made = Order(
        order_id="a",
        origin="ours",
        account="DU1",
        contract=KO,
        terms=oms.Market(side, quantity),
        actor="test",
    ).evolve(**({"sent": True, "acknowledged": True} | facts))
    return made.evolve(state=state_of(made))


def left(terms: oms.Terms, held: int | Sequence[int], *beside: Unfilled, **more: Any) -> str | None:
    """What the rule says could remain after a closing order; None where it leaves."""
    denied = check(proposal(terms, held, *beside, closing=True, **more), Limits())
    assert denied is None or denied.rule == "exposure"
    return None if denied is None else denied.value


@pytest.mark.parametrize(
    ("side", "quantity", "held", "remains"),
    [
        ("SELL", 76, 76, None),
        ("SELL", 77, 76, "-1"),
        ("BUY", 1, 76, "77"),
        ("BUY", 76, -76, None),
        ("BUY", 77, -76, "1"),
        ("SELL", 1, -76, "-77"),
        ("SELL", 1, 0, "-1"),
        ("BUY", 1, 0, "1"),
    ],
)
def test_a_closing_order_takes_a_holding_to_zero_and_not_through_it(
    side: Side, quantity: int, held: int, remains: str | None
) -> None:
    assert left(oms.Market(side, quantity), held) == remains


def test_a_second_closing_order_counts_what_the_first_may_still_take() -> None:
    first = unfilled("a", "SELL", 76)
    assert left(oms.Market("SELL", 76), 76, first) == "-76"
    assert left(oms.Market("SELL", 6), 76, unfilled("a", "SELL", 70)) is None


def test_a_purchase_that_may_never_fill_does_not_make_room_for_a_sale() -> None:
    assert left(oms.Market("SELL", 80), 76, unfilled("a", "BUY", 10)) == "-4"


def test_the_refusal_says_held_and_working_and_what_would_remain_and_the_way_out() -> None:
    beside = (unfilled("a", "SELL", 70), unfilled("b", "BUY", 5))
    denied = check(proposal(oms.Market("SELL", 10), 76, *beside, closing=True), Limits())
    assert denied is not None
    assert (denied.value, denied.limit) == ("-4", "0")
    assert denied.text == (
        "SELL 10 KO STK USD could leave -4: DU1 holds 76, and other orders may still sell 70"
        " (a: 70). A closing order must not take a holding through zero. Cancel a first"
        " (`oms cancel ORDER`), or send at most 6"
    )


@pytest.mark.parametrize(
    ("held", "beside", "words"),
    [
        (0, (), "It holds nothing that a SELL could close"),
        ((0, 76), (), "`oms reconcile` shows which of the two holdings is right"),
        (4, (), "DU1 holds 4, and no other order may sell. A closing order must not take a"),
        (
            4,
            [replace(unfilled("a", "SELL", 4), awaited="the answer to its cancel")],
            "zero. Wait for what IB has still to send of a: the answer to its cancel",
        ),
        (
            4,
            [replace(unfilled("a", "SELL", 2), awaited="its executions"), unfilled("b", "SELL", 1)],
            "zero. Cancel b first (`oms cancel ORDER`), or send at most 1",
        ),
        (4, [unfilled(n, "SELL", 1) for n in "abcde"], "(a: 1, b: 1, c: 1, and 2 more)"),
        (4, [unfilled(n, "SELL", 1) for n in "abcde"], "Cancel a, b, c and the others first"),
    ],
)
def test_each_refusal_has_a_way_out(
    held: int | Sequence[int], beside: Sequence[Unfilled], words: str
) -> None:
    denied = check(proposal(oms.Market("SELL", 5), held, *beside, closing=True), Limits())
    assert denied is not None
    assert words in denied.text


# ── groups ───────────────────────────────────────────────────────────────────────────────────────


def test_an_oca_group_counts_once_with_its_largest_order() -> None:
    group = (unfilled("a", "SELL", 50, oca="g"), unfilled("b", "SELL", 70, oca="g"))
    assert left(oms.Market("SELL", 6), 76, *group) is None
    assert left(oms.Market("SELL", 7), 76, *group) == "-1"


def test_an_order_of_the_group_itself_counts_only_where_it_is_the_largest() -> None:
    group = (unfilled("a", "SELL", 70, oca="g"), unfilled("x", "SELL", 6))
    member = oms.Limit("SELL", 70, "9").evolve(oca_group="g", oca_type=1)
    assert left(member, 76, *group) is None
    assert left(member.evolve(quantity=Decimal(71)), 76, *group) == "-1"


@pytest.mark.parametrize(
    ("filled", "size", "whole", "sold", "may_sell"),
    [
        (0, 100, 0, 0, 0),
        # What the entry has filled is held, and the exits may sell it.
        (40, 100, 0, 0, 40),
        # They may work in the size that has filled, and grow.
        (40, 40, 100, 0, 40),
        (40, 10, 70, 30, 10),
        # Smaller than the entry, and larger: that takes from what was held before.
        (40, 30, 0, 0, 30),
        (40, 50, 0, 0, 40),
        (40, 150, 0, 0, 90),
        (0, 150, 0, 0, 50),
    ],
)
def test_exits_of_an_entry_at_work_count_against_what_it_has_made(
    filled: int, size: int, whole: int, sold: int, may_sell: int
) -> None:
    entry = replace(unfilled("e", "BUY", 100 - filled), filled=Decimal(filled))
    exits = [
        replace(
            unfilled(name, "SELL", size, parent="e"), whole=Decimal(whole), filled=Decimal(sold)
        )
        for name in ("e-tp", "e-sl")
    ]
    exits[1] = replace(exits[1], filled=Decimal(0))
    held = 76 + filled - sold
    assert left(oms.Market("SELL", held - may_sell), held, entry, *exits) is None
    assert left(oms.Market("SELL", held - may_sell + 1), held, entry, *exits) == "-1"


def test_exits_of_an_entry_that_is_gone_take_from_what_there_is() -> None:
    exits = [unfilled(name, "SELL", 100, parent="e") for name in ("e-tp", "e-sl")]
    assert left(oms.Market("SELL", 1), 100, *exits) == "-1"
    assert left(oms.Market("SELL", 1), 101, *exits) is None


def test_an_attached_order_on_the_side_of_its_parent_counts_whole() -> None:
    beside = (unfilled("p", "SELL", 40), unfilled("c", "SELL", 40, parent="p"))
    assert left(oms.Market("SELL", 1), 80, *beside) == "-1"


def test_an_exit_may_be_a_closing_order_before_its_entry_has_filled() -> None:
    entry, exit_ = unfilled("e", "BUY", 100), oms.Limit("SELL", 100, "70")
    assert left(exit_, 0, entry, parent_order_id="e") is None
    assert left(exit_.evolve(quantity=Decimal(101)), 0, entry, parent_order_id="e") == "-1"


# ── combos and other contracts ───────────────────────────────────────────────────────────────────


def combo(side: Side, quantity: int) -> Unfilled:
    legs = (ComboLeg(con_id=8894, side="SELL", ratio=2), ComboLeg(con_id=5, side="BUY"))
    contract = oms.Combo("KO", legs)
    return Unfilled("bag", contract, side, Decimal(quantity))


def test_the_legs_of_a_combo_count_in_their_contracts() -> None:
    assert left(oms.Market("SELL", 57), 76, combo("BUY", 10)) == "-1"
    assert left(oms.Market("SELL", 56), 76, combo("BUY", 10)) is None
    assert left(oms.Market("SELL", 76), 76, combo("SELL", 10)) is None


def test_a_closing_combo_must_not_take_any_of_its_legs_through_zero() -> None:
    one = combo("BUY", 38)
    held = {8894: (Decimal(76),), 5: (Decimal(-38),)}
    spread = proposal(oms.Limit("BUY", 38, "1"), 0, closing=True, contract=one.contract)
    spread = replace(spread, held=held)
    assert check(spread, Limits()) is None
    denied = check(replace(spread, held=held | {5: (Decimal(-37),)}), Limits())
    assert denied is not None
    assert denied.text.startswith("BUY 38 contract 5, a leg of KO BAG USD, could leave 1")


def test_orders_in_another_contract_do_not_count() -> None:
    other = replace(unfilled("a", "SELL", 76), contract=KO.evolve(con_id=1))
    assert left(oms.Market("SELL", 76), 76, other) is None


# ── what is not known ────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("beside", "words"),
    [
        (unfilled("a", "BUY", None), "IB has named only executions of order a"),
        (
            Unfilled("a", oms.Contract(symbol="KO", sec_type="BAG"), "BUY", Decimal(1)),
            "IB has not said which contract order a in KO is in",
        ),
    ],
)
def test_what_is_not_known_is_not_zero(beside: Unfilled, words: str) -> None:
    order = proposal(oms.Market("SELL", 1), 76, beside)
    denied = check(replace(order, closing=True), Limits())
    assert denied is not None
    assert (denied.rule, denied.value) == ("exposure", "unknown")
    assert denied.text.startswith(words)
    assert denied.text.endswith("`oms reconcile` asks IB")
    assert warning_of(order, WARN).startswith(words)


def test_the_smaller_of_two_holdings_counts_for_a_sale_and_the_larger_for_a_purchase() -> None:
    assert left(oms.Market("SELL", 11), (10, 15)) == "-1"
    assert left(oms.Market("BUY", 11), (-15, -10)) == "1"


def position(ours: int, theirs: int | None, *, moved: int = 5, told: int = 4) -> Position:
    return Position(
        account="DU1",
        contract=KO,
        quantity=Decimal(ours),
        broker_quantity=None if theirs is None else Decimal(theirs),
        moved_sequence=moved,
        broker_sequence=told,
    )


def drift(quantity: int, account: str = "DU1") -> BreakCase:
    finding = Finding(
        result="break",
        subject="position",
        break_class="quantity_drift",
        severity="high",
        key="quantity_drift:x",
        account=account,
        con_id=KO.con_id,
        proposed=Adjustment(account=account, contract=KO, quantity=Decimal(quantity)),
    )
    return BreakCase(
        break_id="B1",
        finding=finding,
        status="open",
        opened_at=NOW,
        opened_sequence=1,
        updated_at=NOW,
    )


@pytest.mark.parametrize(
    ("held", "cases", "could"),
    [
        (None, (), (0,)),
        (None, (drift(15),), (15,)),
        (position(76, None), (), (76,)),
        # An execution is newer than IB's row of before it.
        (position(76, 0), (), (76,)),
        (position(76, 0, told=6), (), (0, 76)),
        # The break says that IB holds 5 more, and the row that showed it agrees.
        (position(10, 15, told=6), (drift(5),), (15,)),
        # Whole answers do not name the position: its last row is of the time before.
        (position(76, 76, told=6), (drift(-76),), (0, 76)),
        # 15 were sold since; that IB holds 5 more is as true as before.
        (position(-5, 15), (drift(5),), (0, 15)),
        (position(10, 10), (drift(5, "DU2"),), (10,)),
    ],
)
def test_what_may_be_held_follows_from_both_sides_and_the_breaks_between_them(
    held: Position | None, cases: tuple[BreakCase, ...], could: tuple[int, ...]
) -> None:
    positions = {} if held is None else {held.key: held}
    assert holdings("DU1", KO, positions, cases) == {KO.con_id: tuple(map(Decimal, could))}


# ── what may still fill of an order ──────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("facts", "most"),
    [
        ({}, 76),
        ({"filled": Decimal(30)}, 46),
        ({"sent": False, "acknowledged": False}, 76),
        ({"doubt": "the line was lost", "filled": Decimal(30)}, 46),
        ({"cancel_pending": True}, 76),
        ({"held": True}, 76),
        ({"modify_pending": True, "pending_terms": oms.Market("SELL", 90)}, 90),
        ({"modify_pending": True, "pending_terms": oms.Market("SELL", 10)}, 76),
        (
            {
                "modify_pending": True,
                "earlier_terms": (oms.Market("SELL", 90),),
                "pending_terms": oms.Market("SELL", 10),
            },
            90,
        ),
        ({"broker_quantity": Decimal(80)}, 80),
        ({"perm_ids": (1, 2)}, 152),
        ({"perm_ids": (1, 2), "ended_perm_ids": (1,)}, 76),
        ({"terms": oms.Market("SELL", 76).evolve(order_type="")}, None),
    ],
)
def test_all_that_may_still_fill_counts_whole(facts: dict[str, Any], most: int | None) -> None:
    found = order("SELL", 76, **facts)
    assert found.live
    assert unfilled_of(found).quantity == (None if most is None else Decimal(most))


def test_of_an_exit_that_works_in_a_part_of_its_size_the_whole_is_known() -> None:
    found = unfilled_of(order("SELL", 40, asked_sizes=(Decimal(100),), filled=Decimal(30)))
    assert (found.quantity, found.whole, found.filled) == (10, 70, 30)


def test_what_is_on_its_way_into_the_books_counts_and_what_has_ended_does_not() -> None:
    def intent(order_id: str, quantity: int, account: str = "DU1") -> OrderIntended:
        terms = oms.Market("SELL", quantity)
        return OrderIntended(order_id=order_id, account=account, contract=KO, terms=terms)

    work = order("SELL", 76)
    ended = order("SELL", 76, end="cancelled").evolve(order_id="b")
    assert ended.state is OrderState.CANCELLED
    elsewhere = order("SELL", 76).evolve(order_id="c", account="DU2")
    coming = {
        "a": intent("a", 90),
        "b": intent("b", 90),
        "d": intent("d", 5),
        "e": intent("e", 5, "DU2"),
    }
    found = unfilled_in("DU1", (work, ended, elsewhere), coming, {}, ())
    assert {one.order_id: one.quantity for one in found} == {"a": 90, "d": 5}


def test_an_ended_order_that_ib_shows_otherwise_may_still_fill() -> None:
    ended = order("SELL", 76, end="cancelled", filled=Decimal(6))
    says = drift(0).finding.evolve(break_class="wrong_state", order_id="a", proposed=None)
    case = drift(0).evolve(finding=says)
    assert [one.quantity for one in unfilled_in("DU1", [ended], {}, {}, [case])] == [70]
    assert list(unfilled_in("DU1", [ended], {}, {}, ())) == []


@pytest.mark.parametrize(
    ("account", "counts"),
    [("DU1", True), ("DU2", False), ("U1", False), ("F7", True), ("DF7", True), ("", True)],
)
def test_an_order_counts_in_its_account_and_an_advisors_in_every_one(
    account: str, *, counts: bool
) -> None:
    found = list(unfilled_in("DU1", [order("SELL", 76, account=account)], {}, {}, ()))
    assert bool(found) is counts


@pytest.mark.parametrize(
    ("facts", "unbooked"),
    [
        ({}, 76),
        ({"filled": Decimal(30)}, 46),
        ({"filled": Decimal(76)}, None),
        ({"filled": Decimal(30), "disputed": Decimal(46)}, None),
        ({"end": "cancelled", "status_filled": Decimal(6)}, 6),
        ({"status_filled": None}, None),
        ({"origin": "manual"}, None),
        ({"end_sequence": 3}, None),
    ],
)
def test_what_ib_has_filled_and_no_execution_has_shown_counts(
    facts: dict[str, Any], unbooked: int | None
) -> None:
    told = {"end": "filled", "status_filled": Decimal(76), "end_sequence": 7}
    held = position(76, None).evolve(adjustments=(AdjustmentMade(sequence=5, quantity=Decimal(1)),))
    ended = order("SELL", 76, **(told | facts))
    found = list(unfilled_in("DU1", [ended], {}, {held.key: held}, ()))
    assert [one.quantity for one in found] == ([] if unbooked is None else [Decimal(unbooked)])
    assert all(one.awaited == "its executions" for one in found)


# ── the setting ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("side", "held", "leaves"),
    [
        ("SELL", 76, True),
        ("SELL", 75, False),
        ("SELL", 0, False),
        ("SELL", -5, False),
        ("BUY", 0, True),
        ("BUY", 5, True),
        ("BUY", -76, True),
        ("BUY", -75, False),
    ],
)
def test_under_refuse_no_order_opens_a_short_position_or_goes_through_zero(
    side: Side, held: int, *, leaves: bool
) -> None:
    new = proposal(oms.Market(side, 76), held)
    denied = check(new, REFUSE)
    assert (denied is None) is leaves
    assert check(new, Limits()) is None, "off is the default"
    assert check(new, WARN) is None
    assert (warning_of(new, WARN) == "") is leaves
    assert warning_of(new, Limits()) == warning_of(new, REFUSE) == ""


def test_the_refusal_of_an_order_that_is_not_closing_names_the_setting() -> None:
    denied = check(proposal(oms.Market("SELL", 5), 0), REFUSE)
    assert denied is not None
    assert "OMS_ORDER_EXPOSURE is refuse" in denied.text


def test_a_pair_can_be_sold_without_a_position_because_that_buys_the_other_currency() -> None:
    pair = oms.Forex("EURUSD").evolve(con_id=8894)
    sale = proposal(oms.Limit("SELL", 20_000, "1.1"), 0, contract=pair)
    assert check(sale, REFUSE) is None
    assert check(replace(sale, held={8894: (Decimal(10),)}), REFUSE) is not None
    assert check(replace(sale, closing=True), Limits()) is not None


@pytest.mark.parametrize(
    ("setting", "closing"), [("off", True), ("warn", False), ("refuse", False)]
)
def test_the_intent_names_the_rule_only_where_it_judged(
    setting: Literal["off", "warn", "refuse"], *, closing: bool
) -> None:
    new = proposal(oms.Market("BUY", 1), -1, closing=closing)
    assert "exposure" in in_force(new, Limits(exposure=setting))
    assert "exposure" not in in_force(replace(new, closing=False), Limits())


def test_a_dry_run_shows_the_rule() -> None:
    def says(limits: Limits, **more: Any) -> str:
        new = proposal(oms.Market("SELL", 77), 76, **more)
        (found,) = (one for one in rulings(new, limits) if one.rule == "exposure")
        return f"{found.outcome} {found.limit}".strip()

    assert says(Limits()) == "off"
    assert says(WARN) == "warned 0"
    assert says(REFUSE) == says(Limits(), closing=True) == "denied 0"
    assert says(REFUSE, contract=oms.Stock("KO")) == "unknown 0"


# ── changes ──────────────────────────────────────────────────────────────────────────────────────


def test_a_change_is_judged_only_where_it_asks_for_more() -> None:
    work = order("SELL", 76, filled=Decimal(6))
    beside = unfilled("b", "SELL", 10)

    def denies(quantity: int, **more: Any) -> str | None:
        new = proposal(oms.Market("SELL", quantity), 76, beside, change_of=work, closing=True)
        denied = check_change(replace(new, **more), Limits())
        return None if denied is None else denied.value

    assert denies(76) is None
    assert denies(50) is None
    # 71 of it and 10 beside it may fill, and 76 are held.
    assert denies(77) == "-5"
    assert denies(77, beside=(unfilled("b", "SELL", 5),)) is None
    assert denies(77, system=READY.evolve(ready=False)) == "unknown"
    assert denies(77, closing=False) is None
