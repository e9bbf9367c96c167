"""A gateway of IB: the parts that share one connection, built together and shown as they are.

News of the session go to the listeners in a fixed order: open questions end first, then what waits
in the outbox is reported as not sent, then the service hears of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from zoneinfo import ZoneInfo

from oms.broker.accounts import Accounts
from oms.broker.capture import Capture, Captured
from oms.broker.handshake import ConnectionSettings
from oms.broker.library_log import reroute
from oms.broker.lookup import Lookup
from oms.broker.market_data import Markets
from oms.broker.news import News, SessionDown
from oms.broker.outbox import Outbox
from oms.broker.pace import Pace
from oms.broker.paced_requests import PacedRequests
from oms.broker.patches import new_ib
from oms.broker.previews import Previews
from oms.broker.queries import Queries
from oms.broker.session import Session
from oms.broker.sink import Sink
from oms.clock import Clock
from oms.core.codes import TOO_FAST
from oms.core.events import NoticeReceived
from oms.core.outgoing import Outgoing
from oms.core.quotes import MarketType


class Gateway:
    """A gateway of IB: TWS, IB Gateway or the simulator."""

    def __init__(
        self,
        settings: ConnectionSettings,
        sink: Sink,
        clock: Clock,
        *,
        zone: ZoneInfo,
        first_epoch: int,
        highest_broker_order_id: int = 0,
        open_gap_sequence: int = 0,
        messages_per_second_max: int = 40,
        queue_length_max: int = 10_000,
        order_age_seconds_max: float = math.inf,
        request_timeout_seconds: float = 20,
        market_type: MarketType = "live",
        market_lines_max: int = 100,
        on_failure: Callable[[BaseException], None],
        on_not_sent: Callable[[Outgoing, str], None],
    ) -> None:
        """`first_epoch`, `highest_broker_order_id` and `open_gap_sequence` continue the log; `zone`
        is the gateway's.

        `on_failure` hears that the log no longer takes what the broker says, or of a bug in a
        callback: the daemon must stop. `on_not_sent` hears of every order message that did not
        leave, with the reason.
        """
        self._ib = new_ib()
        reroute(self._ib)
        self.capture = Capture(self._ib, sink, clock=clock, zone=zone, on_failure=on_failure)
        wire, seconds = (self._ib, self.capture), request_timeout_seconds
        # The lanes of the one pace, by rank.
        self._pace = self._counted(Pace(clock, per_second_max=messages_per_second_max))
        self.outbox = Outbox(
            *wire,
            self._pace,
            clock=clock,
            on_not_sent=on_not_sent,
            queue_length_max=queue_length_max,
            age_seconds_max=order_age_seconds_max,
        )
        questions = PacedRequests(self._pace, percent=80)
        market_requests = PacedRequests(self._pace, percent=50)
        self.session = Session(
            settings,
            *wire,
            sink,
            clock,
            requests=questions,
            first_epoch=first_epoch,
            highest_broker_order_id=highest_broker_order_id,
            open_gap_sequence=open_gap_sequence,
            zone=zone,
            on_failure=on_failure,
        )
        tap = (*wire, self.session)
        self.queries = Queries(
            *tap, sink, clock, requests=questions, zone=zone, timeout_seconds=seconds
        )
        self.session.listeners.append(self._drop_what_waits)
        self.previews = Previews(self.capture, self.session, self.outbox, timeout_seconds=seconds)
        self.lookup = Lookup(*tap, questions, timeout_seconds=seconds)
        self.accounts = Accounts(self.session, self.queries)
        self.markets = Markets(
            *tap,
            market_requests,
            clock,
            timeout_seconds=seconds,
            market_type=market_type,
            lines_max=market_lines_max,
        )

    def _counted(self, pace: Pace) -> Pace:
        """Have a pace hear what leaves, and that IB refuses some of it for speed."""

        def hear(captured: Captured) -> None:
            if isinstance(captured.event, NoticeReceived) and captured.event.code == TOO_FAST:
                pace.refused()

        self.capture.sent_listeners.append(pace.note_sent)
        self.capture.listeners.append(hear)
        return pace

    async def close(self, reason: str) -> None:
        """Disconnect and stay down; what still waits is reported as not sent."""
        self.markets.close()
        await self.session.close(reason)
        self.outbox.drop(reason)

    def _drop_what_waits(self, news: News) -> None:
        if isinstance(news, SessionDown):
            self.outbox.drop(f"the session ended: {news.reason}")
