"""The counter from which every order id and every request id of this process comes.

A number is an order id or a request id, never both, and is used once in the life of the process. It
is above everything that the log, the gateway and the orders of other clients have shown, because IB
refuses an id that is not (103, and INC-33).
"""

from __future__ import annotations

from typing import Any, Final

import ib_async

from oms.broker import patches
from oms.broker.capture import Capture, Captured
from oms.broker.paced_requests import PacedRequests
from oms.core.events import (
    NextOrderIdReceived,
    NoticeReceived,
    OpenOrderReceived,
    OrderStatusReceived,
)
from oms.telemetry import get_logger

#: IB refuses order ids above it (320). An id near it is a mistake and no floor (INC-35).
HIGHEST_ORDER_ID: Final = 2**31 - 1
_FLOOR_LIMIT: Final = HIGHEST_ORDER_ID - 10_000_000
#: An order id is not above those that the gateway knows of this client.
DUPLICATE_ORDER_ID: Final = 103

_log = get_logger("broker.session")


class OrderIds:
    """Draws ids, and hears from the tap which ones others have used."""

    def __init__(
        self, ib: ib_async.IB, capture: Capture, requests: PacedRequests, *, highest_seen: int
    ) -> None:
        """`highest_seen` is the highest order id in the log."""
        self._client: Any = ib.client
        self._requests = requests
        self._next = highest_seen + 1
        patches.draw_ids_from(ib, self.draw)
        capture.listeners.append(self._on_captured)

    def draw(self) -> int:
        """Return the next id; raises `ConnectionError` without a session."""
        if not self._client.isReady():
            raise ConnectionError("there is no session with the gateway")
        drawn = self._next
        self._next += 1
        return drawn

    def stay_above(self, shown: int) -> None:
        """Draw only ids above this one from now on; one near the limit is passed over."""
        if shown < _FLOOR_LIMIT:
            self._next = max(self._next, shown + 1)
        else:
            _log.warning("order_id_near_the_limit", broker_order_id=shown)

    def _on_captured(self, captured: Captured) -> None:
        match captured.event:
            case (
                OpenOrderReceived(broker_order_id=shown)
                | OrderStatusReceived(broker_order_id=shown)
            ):
                self.stay_above(shown)
            case NextOrderIdReceived(broker_order_id=offered):
                self.stay_above(offered - 1)
            case NoticeReceived(code=code) if code == DUPLICATE_ORDER_ID:
                # The gateway knows higher ids than it has shown; it says so when asked (INC-31).
                self._requests.enqueue(lambda: self._client.reqIds(1))
            case _:
                pass
