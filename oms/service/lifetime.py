"""The life of a subsystem: its first word in the log, what goes on by itself, and its last word."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from oms._version import __version__, parts
from oms.core.bounds import LABEL, PROSE, WORD
from oms.core.events import (
    Context,
    DaemonStarted,
    DaemonStopped,
    PartVersion,
    Pending,
    SettingInForce,
)
from oms.errors import OmsError, StoreUnavailable
from oms.service.subsystem import Oms
from oms.settings import Settings
from oms.telemetry import get_logger

if TYPE_CHECKING:
    from oms.broker.news import News
    from oms.store.log import EventLog

log = get_logger("service.daemon")

#: How long the end of the daemon waits for its last word to be written.
_LAST_WORD_SECONDS: Final = 5


@dataclass(frozen=True, slots=True)
class LossWord:
    """The word of a person who goes on with a log that lacks events which were in it."""

    actor: str
    reason: str


async def say_started(
    event_log: EventLog, settings: Settings, accept_loss: LossWord | None
) -> None:
    """Write that a daemon has started, durably, and after which moment of the log; before that the
    word of a person who accepted a loss, where there is one.
    """
    facts: list[Pending] = []
    loss = event_log.loss
    if loss is not None and accept_loss is not None:
        accepted = loss.accepted(accept_loss.reason)
        facts.append(Pending(accepted, Context(actor=accept_loss.actor)))
    facts.append(
        Pending(
            DaemonStarted(
                program_version=__version__,
                host=socket.gethostname(),
                process_id=os.getpid(),
                client_id=settings.client_id,
                mode=settings.mode,
                last_recorded_at=event_log.head.recorded_at,
                parts=tuple(
                    PartVersion(name=name, version=WORD.fitted(version))
                    for name, version in parts().items()
                ),
                settings=_in_force(settings),
            ),
            Context(actor="daemon"),
        )
    )
    await event_log.append_together(facts)
    if loss is not None and accept_loss is not None:
        log.warning("loss_accepted", actor=accept_loss.actor, loss=loss.text)
    log.info("daemon_started", process_id=os.getpid(), sequence=event_log.books.sequence)


def _in_force(settings: Settings) -> tuple[SettingInForce, ...]:
    return tuple(
        SettingInForce(
            name=row.name,
            value=PROSE.fitted(row.value),
            source=LABEL.fitted(row.source),
        )
        for row in settings.describe()
    )


@asynccontextmanager
async def in_background(oms: Oms, hear: Callable[[News], None]) -> AsyncIterator[None]:
    """Run what goes on by itself while the block lasts, `hear` told of the session's news; an error
    in any of it is the daemon's failure.
    """
    session = oms.gateway.session
    session.listeners.append(hear)
    tasks = [
        asyncio.create_task(oms.requests.serve(), name="requests"),
        asyncio.create_task(oms.inquiries.serve(oms.schedule.ask), name="inquiries"),
        asyncio.create_task(oms.schedule.serve(), name="reconcile"),
        asyncio.create_task(oms.watchman.serve(), name="watchman"),
        asyncio.create_task(oms.watchman.read_clock(), name="clock"),
        asyncio.create_task(oms.rechecks.serve(), name="recheck"),
        asyncio.create_task(oms.past.serve(), name="past"),
        asyncio.create_task(oms.checkpoints.serve(), name="checkpoints"),
        asyncio.create_task(oms.silence.serve(oms.schedule.ask), name="silence"),
    ]
    if oms.settings.account_refresh_seconds:
        tasks.append(asyncio.create_task(_refresh_accounts(oms), name="accounts"))
    for task in tasks:
        task.add_done_callback(lambda t: _task_ended(t, oms.failure))
    oms.failure.add_done_callback(lambda f: tasks.append(asyncio.create_task(_fail_safe(oms, f))))
    try:
        await session.open()
        session.ended.add_done_callback(lambda f: _stays_down(f, oms.failure))
        yield
    finally:
        session.listeners.remove(hear)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _fail_safe(oms: Oms, failure: asyncio.Future[BaseException]) -> None:
    """Hang up when the subsystem cannot go on: without a session every new order is denied."""
    error = failure.result()
    log.critical("daemon_failed", reason=str(error), error=type(error).__name__)
    await oms.gateway.close(f"the daemon failed: {error}")


def _task_ended(task: asyncio.Task[None], failure: asyncio.Future[BaseException]) -> None:
    if not task.cancelled() and (error := task.exception()):
        fail(failure, error)


def fail(failure: asyncio.Future[BaseException], error: BaseException) -> None:
    """Say why the subsystem cannot go on; the first word counts.

    Who finds the log failed is told so by an error whose cause is why it failed: a lease that was
    lost, a full disk. That is what a person must read, whoever was the first to find it.
    """
    if isinstance(error, StoreUnavailable) and isinstance(error.__cause__, OmsError):
        error = error.__cause__
    if not failure.done():
        failure.set_result(error)


def _stays_down(
    ended: asyncio.Future[OmsError | None], failure: asyncio.Future[BaseException]
) -> None:
    """End the daemon with a session that stays down for a reason, such as a live account."""
    if not ended.cancelled() and (error := ended.result()) and not failure.done():
        failure.set_result(error)


async def _refresh_accounts(oms: Oms) -> None:
    """Keep IB's figures of the accounts fresh, from the first comparison on."""
    await oms.view.until(lambda: oms.view.system.ready)
    await oms.gateway.accounts.keep_fresh(oms.settings.account_refresh_seconds)


async def stop(oms: Oms) -> None:
    """Hang up, write why, and let go of the log, whatever of it still works."""
    with contextlib.suppress(OmsError):
        await oms.gateway.close("the daemon stops")
    if not oms.log.failed.done():
        # Not for ever: another program may hold the database.
        with contextlib.suppress(OmsError, TimeoutError):
            async with asyncio.timeout(_LAST_WORD_SECONDS):
                await oms.log.append(
                    Pending(DaemonStopped(reason=_why_stopped(oms)), Context(actor="daemon"))
                )
    log.info("daemon_stopping")
    await oms.reader.close()
    await oms.log.close()
    log.info("daemon_stopped")


def _why_stopped(oms: Oms) -> str:
    if not oms.failure.done():
        return "asked to stop"
    error = oms.failure.result()
    return f"{type(error).__name__}: {error}"
