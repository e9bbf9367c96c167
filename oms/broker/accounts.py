"""IB's own account figures, asked for account by account.

IB serves one account at a time (reqAccountUpdates): a second subscription silently replaces the
first. So each account in turn is subscribed, heard to the end, and let go. What comes, the tap has
recorded: account values, and portfolio rows with IB's marks. It is no proof of anything and no part
of a reconciliation; what fails is reported and asked for again at the next turn.
"""

from __future__ import annotations

import asyncio
from typing import Any

import ib_async

from oms.broker.capture import Capture, Captured
from oms.broker.news import News, SessionDown
from oms.broker.paced_requests import PacedRequests
from oms.broker.queries import Queries
from oms.broker.session import Session
from oms.core.codes import meaning
from oms.core.events import AnswerEndReceived, NoticeReceived
from oms.errors import BrokerError, IBConnectionError
from oms.telemetry import get_logger

_log = get_logger("broker.accounts")


class Accounts:
    """Asks IB for the figures of one account after the other."""

    def __init__(
        self,
        ib: ib_async.IB,
        capture: Capture,
        session: Session,
        requests: PacedRequests,
        queries: Queries,
        *,
        timeout_seconds: float,
    ) -> None:
        self._client: Any = ib.client
        self._session = session
        self._requests = requests
        self._queries = queries
        self._timeout_seconds = timeout_seconds
        self._ended: asyncio.Future[BrokerError | None] | None = None
        capture.listeners.append(self._on_captured)
        session.listeners.append(self._on_news)

    async def refresh(self) -> None:
        """Have IB say the figures of every account again; returns when they are in the log.

        Raises `IBConnectionError` where no answer comes in time, `BrokerError` where IB refuses.
        """
        for account in self._session.accounts:
            # Refusals of questions without an id name none of them: one at a time.
            async with self._queries.without_id:
                await self._refresh(account)

    async def keep_fresh(self, seconds: float) -> None:
        """Refresh now and at this interval, for ever; a refresh that fails is made good by the
        next.
        """
        while True:
            if self._session.is_up:
                try:
                    await self.refresh()
                except BrokerError as error:
                    _log.warning("account_figures_missed", reason=error.message)
            await asyncio.sleep(seconds)

    async def _refresh(self, account: str) -> None:
        if not self._session.is_up:
            raise IBConnectionError("there is no session with the gateway")
        ended = self._ended = asyncio.get_running_loop().create_future()
        try:
            await self._requests.ask(lambda: self._client.reqAccountUpdates(True, account))
            async with asyncio.timeout(self._timeout_seconds):
                refusal = await ended
        except TimeoutError as error:
            raise IBConnectionError(
                f"the figures of {account} did not come within {self._timeout_seconds:g} seconds"
            ) from error
        except ConnectionError as error:
            raise IBConnectionError("the connection was lost during the question") from error
        finally:
            self._ended = None
            self._requests.enqueue(lambda: self._client.reqAccountUpdates(False, account))
        if refusal is not None:
            raise refusal

    def _on_captured(self, captured: Captured) -> None:
        if self._ended is None or self._ended.done():
            return
        match captured.event:
            case AnswerEndReceived(kind="account"):
                # Durable facts only: the caller reads the rows of the books next.
                ended = self._ended
                captured.durable.add_done_callback(lambda _: _settle(ended, None))
            case NoticeReceived(subject_id=-1, code=code, text=text):
                if meaning(code).kind in ("account", "reject_or_modify_reject", "configuration"):
                    _settle(self._ended, BrokerError(f"IB gives no figures ({code}): {text}"))
            case _:
                pass

    def _on_news(self, news: News) -> None:
        if isinstance(news, SessionDown) and self._ended is not None:
            _settle(self._ended, IBConnectionError(f"the session ended: {news.reason}"))


def _settle(ended: asyncio.Future[BrokerError | None], refusal: BrokerError | None) -> None:
    if not ended.done():
        ended.set_result(refusal)
