"""Orders that IB names and our books do not have: which row adopts them, and what it says."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest

from oms.core.compare.adoption import adoptions
from oms.core.compare.sides import Answers, Row, Scope
from oms.core.events import OpenOrderReceived, OrderAdopted
from oms.core.fold.records import BreakCase, Order, OrderState
from oms.core.keys import numbered_id
from tests.lives import CLIENT, START, play, terms, working
from tests.statements import our_side, reconcile


def test_the_fuller_row_adopts_and_only_one_does() -> None:
    life = play("")
    run = reconcile(
        life,
        open_orders="M: open Submitted client=0 id=0 ref=",
        executions="M: fill 40 @ 10 client=0 id=0 ref=\nM: fill 10 @ 10 client=0 id=0 ref=",
        positions="position 50 10",
    )
    (adopted,) = (e for e in run.repairs if isinstance(e, OrderAdopted))
    assert (adopted.order_id, adopted.status) == (numbered_id(1013), "Submitted")
    assert life.order("perm-1013").filled == Decimal(50)


def test_executions_alone_say_the_least_that_the_order_asked_for() -> None:
    life = play("")
    rows = "M: fill 40 @ 10 exec=m.1.01 ref= id=0\nM: fill 30 @ 10 exec=m.1.02 ref= id=0"
    run = reconcile(life, executions=rows, positions="position 30 10")
    (adopted,) = (e for e in run.repairs if isinstance(e, OrderAdopted))
    assert (adopted.terms.quantity, adopted.terms.order_type) == (Decimal(30), "")
    assert (adopted.ended, life.order("perm-1013").filled) == (True, Decimal(30))


def test_executions_of_a_combo_adopt_one_order_of_its_own_size() -> None:
    life = play("")
    legs = ("con=2", "con=3 side=SELL", "sec=BAG con=9")
    rows = "\n".join(f"M: fill 4 @ 10 ref= id=0 {leg}" for leg in legs)
    run = reconcile(life, executions=rows, unanswered={"positions": "refused"})
    (adopted,) = (e for e in run.repairs if isinstance(e, OrderAdopted))
    assert (adopted.contract.sec_type, adopted.terms.quantity) == ("BAG", Decimal(4))
    assert life.order("perm-1013").filled == Decimal(4)


def test_completed_order_without_a_size_is_as_large_as_its_fills() -> None:
    """Broker notes, completed orders: totalQuantity is 0 for filled orders in field samples."""
    life = play("")
    life.wanted["M"] = terms("BUY 0 LMT 10")
    reconcile(
        life,
        completed_orders="M: completed Filled 40 ref=",
        executions="M: fill 40 @ 10 ref= id=0 fetched=yes",
        positions="position 40 10",
    )
    order = life.order("perm-1013")
    assert (order.terms.quantity, order.state) == (Decimal(40), OrderState.FILLED)


# ── an orderRef that IB shows is the key ─────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "rows",
    [
        {"open_orders": "M: open Submitted client=7 id=4 ref=k1"},
        {"completed_orders": "M: completed Filled 100 ref=k1"},
        {"executions": "M: fill 40 @ 10 client=7 id=4 ref=k1 fetched=yes"},
    ],
)
def test_order_that_ib_shows_with_a_key_has_that_key(rows: dict[str, str]) -> None:
    life = play("")
    reconcile(life, **rows)
    assert (life.order("k1").perm_id, life.order("k1").order_ref) == (1013, "k1")
    assert [e for e in reconcile(life, **rows).repairs if isinstance(e, OrderAdopted)] == []


@pytest.mark.parametrize(
    "ref", ["", "x" * 65, "my order", "\x07", "perm-77", "\N{LATIN SMALL LETTER A WITH DIAERESIS}"]
)
def test_order_ref_that_is_no_key_is_nobodys_id(ref: str) -> None:
    row = play("M: open Submitted client=7 id=4").envelopes[-1].event
    assert isinstance(row, OpenOrderReceived)
    answers = Answers(open_orders=(Row(row.evolve(order_ref=ref), 1),))
    scope = Scope(client_id=CLIENT, accounts=(), now=START, doubt_settle=timedelta(0), run_id="R1")
    (adopted,) = adoptions(our_side(play("")), answers, scope)
    assert (adopted.order_id, adopted.order_ref) == ("perm-1013", ref)


def test_order_ref_that_two_orders_have_is_the_id_of_none() -> None:
    life = play("")
    both = "M: open Submitted client=7 id=4 ref=strat\nN: open Submitted client=7 id=5 ref=strat"
    reconcile(life, open_orders=both)
    assert [life.order(f"perm-{n}").order_ref for n in (1013, 1014)] == ["strat", "strat"]


def test_second_order_with_an_order_ref_stays_an_order_of_its_own() -> None:
    life = play("")
    first = "M: open Submitted client=7 id=4 ref=strat"
    reconcile(life, open_orders=first)
    reconcile(life, open_orders=f"{first}\nN: open Submitted client=7 id=5 ref=strat")
    assert (life.order("strat").perm_ids, life.order("perm-1014").perm_ids) == ((1013,), (1014,))


def test_order_of_ours_keeps_its_key_when_it_has_a_second_number() -> None:
    life = working()
    run = reconcile(life, open_orders="open Submitted\nopen Submitted perm=2001")
    assert life.order().perm_ids == (1001, 2001)
    assert [e for e in run.repairs if isinstance(e, OrderAdopted)] == []


# ── what names no order ──────────────────────────────────────────────────────────────────────────


def test_orders_without_any_number_are_reported_and_not_taken_in() -> None:
    life = play("")
    row = "M: open Submitted client=0 id=0 perm=0 ref="
    run = reconcile(life, open_orders=f"{row}\n{row}\n{row} con=2")
    assert set(run.breaks.values()) == {"medium"}
    assert len(run.breaks) == 3
    assert {f.con_id for f in run.findings if f.break_class == "unknown_order"} == {1, 2}
    assert life.books.all(Order) == []
    assert "BUY 100 ACME LMT 10" in next(iter(run.findings)).theirs


def test_case_of_an_order_without_a_number_waits_for_a_person() -> None:
    life = play("")
    row = "M: open Submitted client=0 id=0 perm=0 ref="
    assert len(reconcile(life, open_orders=row).cases()) == 1
    assert reconcile(life, open_orders=row).cases() == []
    # Whether it was filled or cancelled, IB names nobody.
    assert reconcile(life).cases() == []
    assert [case.live for case in life.books.all(BreakCase)] == [True]


def test_order_without_a_number_is_adopted_once_it_has_one() -> None:
    life = play("")
    reconcile(life, open_orders="M: open PreSubmitted client=7 id=4 perm=0 ref=k1")
    assert life.books.order("k1") is None
    reconcile(life, open_orders="M: open Submitted client=7 id=4 ref=k1")
    assert life.order("k1").perm_ids == (1013,)


# ── rows without an orderRef that may be ours ────────────────────────────────────────────────────

IN_DOUBT = "intent BUY 100 LMT 10\nsent\nlost\nsession"


@pytest.mark.parametrize("perm", ["", "perm=0"])
def test_completed_row_that_may_be_an_order_in_doubt_is_no_second_order(perm: str) -> None:
    life = play(IN_DOUBT)
    run = reconcile(life, completed_orders=f"completed Cancelled 0 ref= {perm}")
    assert [o.order_id for o in life.books.all(Order)] == ["A"]
    assert life.order().state is OrderState.IN_DOUBT
    assert run.breaks == {"in_doubt:A": "high"}
    assert "without an orderRef" in run.finding("in_doubt:A").text


@pytest.mark.parametrize(
    "rows",
    [
        {"completed_orders": "B: completed Cancelled 0 ref="},
        {"completed_orders": "completed Cancelled 0 ref=other perm=9"},
        {
            "completed_orders": "completed Filled 100 ref=",
            "executions": "fill 100 @ 10 ref= client=0 id=0 fetched=yes",
        },
    ],
)
def test_row_that_cannot_be_the_order_in_doubt_does_not_keep_it_so(rows: dict[str, str]) -> None:
    life = play(IN_DOUBT)
    life.wanted["B"] = terms("BUY 100 LMT 11")
    reconcile(life, **rows)
    assert life.order().state is OrderState.NOT_SENT
    assert len(life.books.all(Order)) == 2


def test_rows_without_an_order_ref_fill_the_order_in_doubt() -> None:
    life = play(IN_DOUBT)
    rows = {
        "completed_orders": "completed Cancelled 40 ref=",
        "executions": "fill 40 @ 10 ref= exec=x.1.01 fetched=yes",
        "positions": "position 40 10",
    }
    reconcile(life, **rows)
    assert [o.order_id for o in life.books.all(Order)] == ["A"]
    # The completed order came before the execution that joined its number to the order.
    reconcile(life, **rows)
    assert (life.order().state, life.order().filled) == (OrderState.CANCELLED, Decimal(40))


def test_execution_without_any_number_leaves_the_order_in_doubt() -> None:
    life = play(IN_DOUBT)
    run = reconcile(
        life,
        executions="fill 100 @ 10 ref= perm=9 id=2147483647 exec=x.1.01 fetched=yes",
        positions="position 100 10",
    )
    assert [o.order_id for o in life.books.all(Order)] == ["A"]
    assert run.breaks == {"in_doubt:A": "high", "unknown_order:DU1:x.1": "high"}


@pytest.mark.parametrize(
    ("our_client", "row", "origin"),
    [
        (0, "client=0 id=-2 ref=", "manual"),
        (0, "client=0 id=7 ref=", "manual"),  # bound to one of client 0's own numbers
        (0, "client=0 id=7 ref=abc", "previous_session"),
        (0, "client=4 id=7 ref=", "other_client"),
        (1, "client=0 id=0 ref=", "manual"),
        (1, "client=1 id=7 ref=", "previous_session"),
    ],
)
def test_order_of_client_zero_without_a_reference_is_a_persons(
    our_client: int, row: str, origin: str
) -> None:
    life = play("").play(f"M: open Submitted {row}")
    (envelope,) = life.envelopes[-1:]
    assert isinstance(envelope.event, OpenOrderReceived)
    answers = Answers(open_orders=(Row(envelope.event, envelope.sequence),))
    scope = Scope(our_client, (), life.at, timedelta(0), "R1")
    (adopted,) = adoptions(our_side(life), answers, scope)
    assert adopted.origin == origin
