"""The laws of one order's life, under any sequence of messages and deeds.

Goal: whatever IB repeats, skips or reorders, an order's filled quantity is that of its executions,
its facts only accumulate, and an ended order leaves its end only in the ways that are documented.
Method: a rule-based machine plays random lines into the books and checks every step.
"""

from __future__ import annotations

from decimal import Decimal

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from oms.core.events import ExecutionReceived
from oms.core.fold.books import stem_and_revision
from oms.core.fold.order_state import state_of
from oms.core.fold.records import ENDED, Order, OrderState
from tests import strategies
from tests.lives import Life, play


class OrderMachine(RuleBasedStateMachine):
    """One order of ours, and everything that can happen to it."""

    def __init__(self) -> None:
        super().__init__()
        self.life = Life()
        self.before: Order | None = None
        self.line = ""

    @initialize(line=st.sampled_from(("intent BUY 100 LMT 10", "intent BUY 100 LMT 10\nsent")))
    def intend(self, line: str) -> None:
        self.life = play(line)

    @rule(line=strategies.messages)
    def broker_says(self, line: str) -> None:
        self._step(line)

    @rule(line=strategies.deeds)
    def happens(self, line: str) -> None:
        self._step(line)

    def _step(self, line: str) -> None:
        self.before, self.line = self.life.order(), line
        self.life.play(line)

    @invariant()
    def state_follows_from_facts(self) -> None:
        for order in self.life.books.all(Order):
            assert order.state is state_of(order)
            assert (order.ended_at is not None) == (order.state in ENDED)
            assert order.remaining >= 0

    @invariant()
    def filled_is_the_sum_of_the_highest_revisions(self) -> None:
        highest: dict[str, tuple[int, Decimal]] = {}
        for event in (e.event for e in self.life.envelopes):
            if isinstance(event, ExecutionReceived):
                stem, revision = stem_and_revision(event.exec_id)
                highest[stem] = max(highest.get(stem, (0, Decimal(0))), (revision, event.quantity))
        executed = sum((quantity for _, quantity in highest.values()), Decimal(0))
        for order in self.life.books.all(Order):
            assert order.filled == executed

    @property
    def number_is_lost(self) -> bool:
        """Say whether the last line was that the number is another order's: what came by it is not
        this order's.
        """
        was_its_own = self.before is not None and not self.before.number_lost
        return was_its_own and self.life.order().number_lost

    @invariant()
    def facts_only_accumulate(self) -> None:
        if self.before is None:
            return
        after = self.life.order()
        assert after.sent >= self.before.sent
        if self.number_is_lost:
            assert not self.before.named
            return
        assert after.acknowledged >= self.before.acknowledged
        assert after.perm_ids[: len(self.before.perm_ids)] == self.before.perm_ids
        assert not (after.doubt and after.acknowledged)

    @invariant()
    def end_is_left_only_in_documented_ways(self) -> None:
        if self.before is None or self.before.live or not self.life.order().live:
            return
        corrected = self.line.startswith("fill")
        grows = self.before.state is OrderState.FILLED and self.line.startswith(("modify", "open"))
        revived = self.before.concluded or self.before.not_sent or self.number_is_lost
        assert corrected or grows or revived, f"{self.before.state} left by {self.line!r}"

    @invariant()
    def word_of_ib_is_not_taken_back(self) -> None:
        if self.before is None or not self.before.end or self.before.concluded:
            return
        if self.number_is_lost:
            return  # it was a word about another order
        after = self.life.order()
        assert after.end
        assert not after.concluded


TestOrderMachine = OrderMachine.TestCase
TestOrderMachine.settings = settings(max_examples=60, stateful_step_count=20, deadline=None)
