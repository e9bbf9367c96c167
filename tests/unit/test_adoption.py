"""Orders that IB names and our books do not have: which row adopts them, and what it says."""

from __future__ import annotations

from decimal import Decimal

from oms.core.compare.adoption import adopted_order_id
from oms.core.events import OrderAdopted
from oms.core.fold.records import OrderState
from tests.lives import play, terms
from tests.statements import reconcile


def test_the_fuller_row_adopts_and_only_one_does() -> None:
    life = play("")
    run = reconcile(
        life,
        open_orders="M: open Submitted client=0 id=0 ref=",
        executions="M: fill 40 @ 10 client=0 id=0 ref=\nM: fill 10 @ 10 client=0 id=0 ref=",
        positions="position 50 10",
    )
    (adopted,) = (e for e in run.repairs if isinstance(e, OrderAdopted))
    assert (adopted.order_id, adopted.status) == (adopted_order_id(1013), "Submitted")
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
