"""Orders on their way out: our own queue, so that "sent" means handed to the socket.

ib_async's queue stays empty (its throttle is off): on a lost line it drops what waits in it without
a word. Ours says so. A message is handed to the socket within the call where the pace allows it, or
waits its turn; what still waits when the line is lost is reported as not sent, and is never sent
later.

Orders have the first lane of the pace, and cancels overtake everything in it but their own order.
A change that waits when the cancel of its order comes is never sent: it would only hold it up.

Waiting is watched, because a process can be stopped and a machine can sleep. While this daemon is
not sure that the log is its own, or the gateway does not read what it was given, nothing is handed
to the socket: messages wait, and leave when that is over. What has become too old meanwhile is not
sent, and says so. Both are looked at again before each message, and the lease once more below the
encoder, as the last thing before the socket (`Capture.may_leave`).

Nothing here is durable. The caller has written the intent before it calls; if the process dies in
between, the order is in doubt and the broker is asked.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from typing import Any, Literal, assert_never

import ib_async

from oms.broker.capture import Capture, Held
from oms.broker.pace import Pace
from oms.broker.patches import can_write, has_backlog
from oms.broker.wire_forms import is_clean, order_for_ib, wire_contract
from oms.clock import Clock
from oms.core.outgoing import Outgoing
from oms.errors import InvalidRequest

#: What became of a message within the call.
Handed = Literal["sent", "queued", "not_sent"]


class Outbox:
    """Sends order messages at the allowed pace, or says that it did not."""

    def __init__(
        self,
        ib: ib_async.IB,
        capture: Capture,
        pace: Pace,
        *,
        clock: Clock,
        on_not_sent: Callable[[Outgoing, str], None],
        queue_length_max: int = 10_000,
        age_seconds_max: float = math.inf,
    ) -> None:
        """`on_not_sent` gets every message that did not leave, with the reason; new orders and
        changes leave within `age_seconds_max` or not at all.
        """
        self._ib = ib
        self._client: Any = ib.client
        self._capture = capture
        self._on_not_sent = on_not_sent
        self._pace = pace
        self._clock = clock
        self._age_seconds_max = age_seconds_max
        self._queue_length_max = queue_length_max
        self._cancels: deque[Outgoing] = deque()
        self._orders: deque[Outgoing] = deque()
        pace.add(self)

    def send(self, message: Outgoing) -> Handed:
        """Send a message, whose intent is durable; raises `InvalidRequest` for text that IB's
        fields cannot hold.
        """
        _check_text(message)
        if not self._line_is_up():
            self._on_not_sent(message, "there is no session with the gateway")
            return "not_sent"
        if self._is_too_old(message):
            self._on_not_sent(message, self._too_old(message))
            return "not_sent"
        # Nobody waits and the pace allows it: the shortest way from a durable intent to the socket.
        is_free = not (self._cancels or self._orders or self._is_blocked())
        if is_free and self._pace.takes_turn(self) and self._write(message):
            return "sent"
        overtakes = self._overtakes(message)
        queue = self._cancels if overtakes else self._orders
        if len(queue) >= self._queue_length_max:
            self._on_not_sent(message, f"{len(queue)} messages wait already, the most allowed")
            return "not_sent"
        queue.append(message)
        if overtakes and message.kind == "cancel":
            number = message.broker_order_id
            self._take_out(
                lambda m: m.broker_order_id == number, "a cancel of the order came first"
            )
        self._pace.schedule()
        return "queued"

    def __len__(self) -> int:
        return len(self._cancels) + len(self._orders)

    @property
    def is_held(self) -> bool:
        """Say whether what waits must go on waiting, with nothing to be said of it yet."""
        return self._is_blocked() and not self._oldest_is_too_old()

    def drop(self, reason: str) -> None:
        """Report everything that waits as not sent. Called when the line is lost."""
        waiting = [*self._cancels, *self._orders]
        self._cancels.clear()
        self._orders.clear()
        for message in waiting:
            self._on_not_sent(message, reason)

    def call_back(self, reason: str) -> tuple[Outgoing, ...]:
        """Report new orders and changes that wait as not sent, and return them; cancels stay.

        A cancel of an order that is called back goes with it: IB never hears of that order.
        """
        placed = {m.broker_order_id for m in self._orders if m.kind == "place"}
        return self._take_out(
            lambda m: (
                m.kind in {"place", "modify"}
                or (m.kind == "cancel" and m.broker_order_id in placed)
            ),
            reason,
        )

    def withdraw(self, message: Outgoing) -> bool:
        """Take back a message that waits, without a word to anybody; False where it has left."""
        for queue in (self._cancels, self._orders):
            if message in queue:
                queue.remove(message)
                return True
        return False

    def send_next(self) -> None:
        """Send the next message, or report all where the line is lost: the socket would swallow
        them without a word.
        """
        if not self._line_is_up():
            self.drop("the line was lost")
            return
        if self._oldest_is_too_old():
            self._expire()
        queue = self._cancels or self._orders
        if queue and not self._is_blocked():
            message = queue.popleft()
            if not self._write(message):
                queue.appendleft(message)

    def _is_blocked(self) -> bool:
        """Say whether nothing may be handed to the socket: the lease may be another's, or what was
        handed over before is not read, and would leave who knows when.
        """
        # Where the line is lost, `send_next` says so and waits for nothing.
        return self._line_is_up() and (not self._capture.may_leave() or has_backlog(self._ib))

    def _oldest_is_too_old(self) -> bool:
        return bool(self._orders) and self._is_too_old(self._orders[0])

    def _expire(self) -> None:
        """Report what has become too old, and with it the cancels of orders that never left."""
        old = [m for m in self._orders if self._is_too_old(m)]
        placed = {m.broker_order_id for m in old if m.kind == "place"}
        self._take_out(
            lambda m: self._is_too_old(m) or (m.kind == "cancel" and m.broker_order_id in placed),
            self._too_old(old[0]),
        )

    def _is_too_old(self, message: Outgoing) -> bool:
        return self._age(message) > self._age_seconds_max

    def _age(self, message: Outgoing) -> float:
        asked_at_ms = message.asked_at_ms
        return 0.0 if asked_at_ms is None else self._clock.monotonic() - asked_at_ms / 1000

    def _too_old(self, message: Outgoing) -> str:
        return (
            f"it was {self._age(message):.1f} s old before it could leave, and more than"
            f" {self._age_seconds_max:g} s (order_age_seconds_max) is too old; send it again if it"
            " is still wanted"
        )

    def _overtakes(self, message: Outgoing) -> bool:
        if message.kind != "cancel":
            return message.kind == "global_cancel"
        # Before its own order, a cancel would be for an order that does not exist yet.
        number = message.broker_order_id
        return not any(m.kind == "place" and m.broker_order_id == number for m in self._orders)

    def _take_out(self, is_meant: Callable[[Outgoing], bool], reason: str) -> tuple[Outgoing, ...]:
        """Report those that are meant as not sent, and return them."""
        kept: deque[Outgoing] = deque()
        out: list[Outgoing] = []
        for message in self._orders:
            (out.append if is_meant(message) else kept.append)(message)
        self._orders = kept
        for message in out:
            self._on_not_sent(message, reason)
        return tuple(out)

    def _line_is_up(self) -> bool:
        return self._ib.client.isReady() and can_write(self._ib)

    # ── the wire ─────────────────────────────────────────────────────────────────────────────────

    def _write(self, message: Outgoing) -> bool:
        """Hand a message to the socket; False where it was held, and nothing of it has left."""
        self._capture.sending = message
        try:
            match message.kind:
                case "place" | "modify" | "what_if":
                    assert message.contract is not None, "only a cancel has no contract"
                    self._client.placeOrder(
                        message.broker_order_id,
                        wire_contract(message.contract),
                        order_for_ib(message),
                    )
                case "cancel":
                    self._client.cancelOrder(message.broker_order_id, "")
                case "global_cancel":
                    self._client.reqGlobalCancel()
                case _:
                    assert_never(message.kind)
        except Held:
            return False
        finally:
            self._capture.sending = None
        return True


def _check_text(message: Outgoing) -> None:
    """Refuse text that would end a field on the wire early and move all that follow."""
    oca_group = message.terms.oca_group if message.terms is not None else ""
    texts = f"{message.order_ref}{message.account}{oca_group}"
    # The contract's form is cached, and so is the check of its text.
    contract = True if message.contract is None else wire_contract(message.contract) is not None
    if not contract or not is_clean(texts):
        raise InvalidRequest(
            f"order {message.order_id!r} holds a zero byte, which ends IB's fields"
        )
