"""IB's own account figures, asked for account by account.

IB serves one account at a time (reqAccountUpdates): a second subscription silently replaces the
first. So each account in turn is subscribed, heard to the end, and let go. What comes is in the
log: account values, and portfolio rows with IB's marks. It is no proof of anything and no part of a
reconciliation; what fails is reported and asked for again at the next turn.
"""

from __future__ import annotations

import asyncio

from oms.broker.queries import NOT_CONNECTED, Queries
from oms.broker.session import Session
from oms.errors import BrokerError, IBConnectionError
from oms.telemetry import get_logger

_log = get_logger("broker.accounts")


class Accounts:
    """Asks IB for the figures of one account after the other."""

    def __init__(self, session: Session, queries: Queries) -> None:
        self._session = session
        self._queries = queries

    async def refresh(self) -> None:
        """Have IB say the figures of every account again; returns when they are in the log.

        Raises `IBConnectionError` where no whole answer comes in time, `BrokerError` where IB
        refuses.
        """
        for account in self._session.accounts:
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
        answered = (await self._queries.ask("account", account=account)).question
        if answered.outcome == "refused" and answered.code != NOT_CONNECTED:
            raise BrokerError(f"IB gives no figures ({answered.code}): {answered.text}")
        if answered.outcome != "complete":
            raise IBConnectionError(
                f"no whole answer about the figures of {account}: {answered.text}"
            )
