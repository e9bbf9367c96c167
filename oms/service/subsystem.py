"""The running subsystem as one value: what the daemon serves and what a strategy holds."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from oms.clock import Clock
from oms.core.events import ConnectFailed
from oms.errors import IBConnectionError
from oms.service.checkpoints import Checkpoints
from oms.service.inquiries import Inquiries
from oms.service.manager import OrderManager
from oms.service.past import PastMaker
from oms.service.recheck import Rechecks
from oms.service.reconciler import Reconciler
from oms.service.requests import Requests
from oms.service.schedule import Schedule
from oms.service.silence import Silence
from oms.service.view import View
from oms.service.watchman import Watchman
from oms.settings import Settings

if TYPE_CHECKING:
    from oms.broker.gateway import Gateway
    from oms.store.log import EventLog
    from oms.store.reader import Reader


@dataclass(slots=True)
class Oms:
    """A running order management subsystem."""

    settings: Settings
    clock: Clock
    log: EventLog
    reader: Reader
    view: View
    gateway: Gateway
    manager: OrderManager
    reconciler: Reconciler
    requests: Requests
    inquiries: Inquiries
    schedule: Schedule
    silence: Silence
    watchman: Watchman
    rechecks: Rechecks
    past: PastMaker
    checkpoints: Checkpoints
    #: Set when somebody asked it to stop.
    stopping: asyncio.Event
    #: Why it cannot go on, once it cannot.
    failure: asyncio.Future[BaseException]

    async def until_ready(self, seconds: float) -> None:
        """Return when orders may leave; raises `IBConnectionError` with what stands in the way, or
        why the subsystem cannot go on.
        """
        try:
            await self.ready(seconds)
        except TimeoutError as error:
            failed = await self.reader.events(type=ConnectFailed.__name__, limit=1, reverse=True)
            event = failed[0].event if failed and not self.gateway.session.is_up else None
            why = f": {event.reason}" if isinstance(event, ConnectFailed) else ""
            raise IBConnectionError(
                f"no gateway at {self.settings.host}:{self.settings.port} answered every question"
                f" within {seconds:g} s{why}"
            ) from error

    async def ready(self, timeout: float = 60.0) -> None:  # noqa: ASYNC109 - a deadline in the caller's words
        """Return when orders may leave; raises TimeoutError, or why the subsystem cannot go on."""
        ready = asyncio.ensure_future(self.view.until(lambda: self.view.system.ready))
        waiting: set[asyncio.Future[Any]] = {ready, self.failure}
        try:
            async with asyncio.timeout(timeout):
                await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ready.cancel()
        if self.failure.done():
            raise self.failure.result()
