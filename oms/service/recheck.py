"""Lets the whole database be checked beside the daemon's work, and stops new orders where that
fails.

The watchman makes an alarm of it. It outlives a restart: where it stands at the start, no new order
is taken before a check has found all whole. If the process dies, the next one goes on from the last
event that was verified.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from oms.errors import ChainBroken, DatabaseDamaged, OmsError
from oms.service.view import View
from oms.telemetry import get_logger

if TYPE_CHECKING:
    from oms.store.log import EventLog
    from oms.store.recheck import Recheck

log = get_logger("service.recheck")


class Rechecks:
    """Checks at the start and from time to time."""

    def __init__(
        self, *, log: EventLog, check: Recheck, view: View, interval_seconds: float
    ) -> None:
        self._log = log
        self._check = check
        self._interval_seconds = interval_seconds
        if any(alarm.live and alarm.kind == "log_damaged" for alarm in view.alarms.values()):
            log.damage = "the last check failed, and the one after this start has not ended yet"

    async def serve(self) -> None:
        """Check for ever, or once where no interval is set."""
        while True:
            await self._run()
            if not self._interval_seconds:
                return
            await asyncio.sleep(self._interval_seconds)

    async def _run(self) -> None:
        try:
            await asyncio.to_thread(self._check.run)
        except asyncio.CancelledError:
            self._check.stop()
            raise
        except (ChainBroken, DatabaseDamaged) as error:
            log.error("database_damaged", reason=error.message)
            self._log.damage = error.message
        except OmsError as error:
            # It could not be read: that says nothing about what is written there.
            log.warning("recheck_not_done", reason=error.message)
        else:
            log.info("database_checked")
            self._log.damage = ""
