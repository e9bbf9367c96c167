"""What passed lately: what counts as sent, from when on, and for how long."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import oms
from oms.core.admit.frequency import looks_back
from oms.core.admit.limits import Limits
from oms.core.admit.passed import Passed
from oms.core.admit.proposal import Recent
from oms.core.events import OrderIntended
from oms.core.fold.records import Order

NOW = datetime(2026, 11, 20, 15, 0, tzinfo=UTC)
MINUTE = timedelta(seconds=60)
SPY = oms.Stock("SPY").evolve(con_id=756733)


def intent(order_id: str, contract: oms.Contract = SPY, account: str = "DU1") -> OrderIntended:
    terms = oms.Limit("BUY", 1, "5")
    return OrderIntended(order_id=order_id, account=account, contract=contract, terms=terms)


def booked(order_id: str) -> Order:
    terms = oms.Limit("BUY", 1, "5")
    return Order(
        order_id=order_id, origin="ours", account="DU1", contract=SPY, terms=terms, actor="test"
    )


def names(recent: tuple[Recent, ...]) -> list[str]:
    return [one.order_id for one in recent]


def test_rules_look_back_as_far_as_the_widest_of_their_limits() -> None:
    assert looks_back(Limits()) is None
    assert looks_back(Limits(orders_per_minute_max=5)) == MINUTE
    window = timedelta(minutes=5)
    assert looks_back(Limits(orders_per_minute_max=5, duplicate_window=window)) == window


def test_order_counts_from_the_moment_in_which_it_passed_until_the_horizon() -> None:
    passed = Passed(MINUTE)
    passed.add([intent("a")], NOW)
    passed.add([intent("b")], NOW + timedelta(seconds=1))
    passed.forget_old(NOW + MINUTE - timedelta(seconds=1), {})
    assert names(passed.before(set())) == ["a", "b"]
    passed.forget_old(NOW + MINUTE, {})
    assert names(passed.before(set())) == ["b"]


def test_same_key_again_is_one_order_and_not_its_own_duplicate() -> None:
    passed = Passed(MINUTE)
    passed.add([intent("a"), intent("b")], NOW)
    assert names(passed.before({"a"})) == ["b"]
    passed.add([intent("a")], NOW)
    assert names(passed.before(set())) == ["b", "a"]


def test_what_was_sent_before_this_start_counts() -> None:
    passed = Passed(MINUTE)
    passed.recall([Recent("old", NOW, ("like",))])
    assert names(passed.before(set())) == ["old"]


def test_order_is_at_work_once_it_passed_and_is_counted_once_when_the_books_have_it() -> None:
    passed = Passed(None)
    passed.add([intent("a")], NOW)
    assert passed.at_work(intent("new"), {}) == 1
    assert passed.at_work(intent("new"), {"a": booked("a")}) == 1
    assert passed.at_work(intent("a"), {"a": booked("a")}) == 0


def test_order_of_another_account_or_contract_is_not_at_work_there() -> None:
    passed = Passed(None)
    passed.add([intent("a", account="DU2"), intent("b", SPY.evolve(con_id=1))], NOW)
    assert passed.at_work(intent("new"), {}) == 0


def test_order_that_was_never_intended_leaves_after_its_minute() -> None:
    passed = Passed(None)
    passed.add([intent("a")], NOW)
    passed.forget_old(NOW + MINUTE, {})
    assert passed.at_work(intent("new"), {}) == 0


def test_order_that_the_books_have_had_is_not_at_work_once_they_have_dropped_it() -> None:
    passed = Passed(None)
    passed.add([intent("a")], NOW)
    passed.forget_old(NOW, {"a": booked("a")})
    assert passed.at_work(intent("new"), {}) == 0


def test_new_terms_are_on_the_way_until_the_books_have_their_revision() -> None:
    passed = Passed(None)
    order = booked("a")
    passed.add_change(intent("a"), 1, NOW)
    passed.forget_old(NOW, {"a": order})
    assert list(passed.on_the_way) == ["a"]
    passed.forget_old(NOW, {"a": order.evolve(revision=1)})
    assert not passed.on_the_way
