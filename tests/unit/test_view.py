"""What the event loop sees of the books is what the last commit left."""

from __future__ import annotations

from oms.core.contracts import Contract
from oms.core.fold.records import Order, OrderState, SystemRecord
from oms.core.order_types import Limit
from oms.service.view import View


def test_row_read_from_the_store_does_not_undo_what_was_published_meanwhile() -> None:
    view = View([])
    view.take([_order(OrderState.WORKING)])
    assert view.recall(_order(OrderState.INTENDED)).state is OrderState.WORKING
    assert view.orders["twin"].state is OrderState.WORKING


def test_row_of_an_order_that_left_memory_is_seen_again() -> None:
    view = View([])
    assert view.recall(_order(OrderState.FILLED)).state is OrderState.FILLED
    assert view.orders["twin"].state is OrderState.FILLED


def test_request_of_an_earlier_session_is_left_unanswered_until_it_is_settled() -> None:
    asked = _order(OrderState.MODIFY_PENDING).evolve(modify_pending=True, pending_epoch=1)
    view = View([asked, SystemRecord(session_epoch=1)])
    assert view.left_unanswered() == ()
    view.take([SystemRecord(session_epoch=2)])
    assert view.left_unanswered() == (asked,)
    view.take([_order(OrderState.WORKING)])
    assert view.left_unanswered() == ()


def _order(state: OrderState) -> Order:
    return Order(
        order_id="twin",
        origin="ours",
        account="DU1",
        contract=Contract(symbol="AAPL"),
        terms=Limit("BUY", 10, "20"),
        actor="test",
        state=state,
    )
