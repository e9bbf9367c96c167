"""The composition root: the only place that constructs the store and the broker.

Order of things, and why:

1. the database is brought up to date, after a backup copy;
2. the log is opened under the lease, so that nobody else writes for this account and client id;
3. `DaemonStarted` is appended: the fold turns what an earlier process left unanswered into doubt;
4. requests that nobody took up are denied; they are too old to be what the person wants now;
5. the session is opened; each time it comes up, and after each gap, the books are compared, and
only
   a comparison whose every question was answered lets orders leave.

What cannot be written stops the daemon: a failed append, a full buffer, a lost lease. It leaves
with the error's exit code and no order leaves after it. SIGTERM and SIGINT close the session on
purpose, write `DaemonStopped` and release the lease. SIGKILL at any instruction loses nothing that
was acknowledged to anybody, see `manager` and `store.writer`.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol
from zoneinfo import ZoneInfo

from oms._version import __version__
from oms.broker.gateway import Gateway
from oms.broker.handshake import ConnectionSettings
from oms.broker.news import LineLost, LineRecovered, News, SessionDown, SessionUp
from oms.clock import Clock, SystemClock
from oms.core.events import (
    CancelDenied,
    ConnectFailed,
    Context,
    DaemonStarted,
    DaemonStopped,
    Envelope,
    Event,
    GlobalCancelDenied,
    ModifyDenied,
    OrderNotSent,
    Pending,
    ProjectionsRebuilt,
)
from oms.core.outgoing import Outgoing
from oms.core.portfolio import Account
from oms.errors import IBConnectionError, OmsError
from oms.service import metrics
from oms.service.admission import Admission, limits_of
from oms.service.case_requests import CaseRequests
from oms.service.halts import Halts
from oms.service.inquiries import Inquiries
from oms.service.manager import OrderManager
from oms.service.prices import Prices
from oms.service.quick_check import QuickCheck
from oms.service.reconciler import Reconciler, Waits
from oms.service.requests import Requests
from oms.service.schedule import Schedule, plan_of
from oms.service.silence import Silence
from oms.service.view import View
from oms.service.watchman import Watchman, tolerances_of
from oms.settings import Settings
from oms.store.lease import LeaseRequest
from oms.store.log import EventLog
from oms.store.reader import Reader
from oms.store.upgrade import upgrade_database
from oms.store.writer import Committed
from oms.telemetry import get_logger, serve_metrics

log = get_logger("service.daemon")


@dataclass(slots=True)
class Oms:
    """A running order management subsystem: what the daemon serves and what a strategy holds."""

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
    #: Set when somebody asked it to stop.
    stopping: asyncio.Event
    #: Why it cannot go on, once it cannot.
    failure: asyncio.Future[BaseException]

    async def accounts(self) -> tuple[Account, ...]:
        """Return what the accounts hold and are worth, with the prices heard in this process."""
        return await self.manager.accounts()

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


async def run_daemon(settings: Settings, *, ready: Callable[[], None] | None = None) -> int:
    """Run until SIGTERM or SIGINT, or until the log cannot be written; returns the exit code."""
    server = (
        serve_metrics(settings.metrics_host, settings.metrics_port)
        if settings.metrics_port
        else None
    )
    try:
        return await _run(settings, ready)
    finally:
        if server is not None:
            server.stop()


async def _run(settings: Settings, ready: Callable[[], None] | None) -> int:
    async with open_oms(settings, actor="daemon") as oms:
        _stop_on_signals(oms.stopping)
        _spare_the_collector()
        if ready is not None:
            ready()
        stopped = asyncio.ensure_future(oms.stopping.wait())
        waiting: set[asyncio.Future[Any]] = {stopped, oms.failure}
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if oms.failure.done():
            raise oms.failure.result()
    return 0


def _spare_the_collector() -> None:
    """Take the books out of the garbage collector's way.

    Records are frozen and hold no cycles, so walking them over and over finds nothing; it cost 8 to
    10 % of the write path and the longest pauses (docs/internals/performance.md). Only in a process
    of our own: a strategy's collector is its own affair.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)


@asynccontextmanager
async def open_oms(
    settings: Settings, *, actor: str = "strategy:python", clock: Clock | None = None
) -> AsyncIterator[Oms]:
    """Run the whole subsystem inside this process for as long as the block lasts.

    Raises `LeaseHeld` when a daemon runs on the same database for the same account and client id,
    and `StoreUnavailable`, `MigrationNeeded` or `ChainBroken` for the log. A gateway that is away
    is not an error: the supervisor goes on trying.
    """
    clock = clock or SystemClock()
    await asyncio.to_thread(upgrade_database, settings.database_url, clock=clock)
    event_log = await EventLog.open(
        settings.database_url,
        clock=clock,
        lease=_lease(settings),
        queue_length_max=settings.queue_length_max,
        batch_rows_max=settings.batch_rows_max,
        resident_records_max=settings.resident_records_max,
        poll_seconds=settings.poll_interval_seconds,
    )
    try:
        reader = await Reader.open(settings.database_url)
        # Before anything is built on the books: it opens the gap that the line has to close.
        await _say_started(event_log, settings, (await reader.head()).recorded_at)
        # What others append from here on is kept until everything that listens stands.
        missed: list[Committed] = []
        view = View(await event_log.follow(missed.append))
    except BaseException:
        await event_log.close()
        raise
    oms = _assemble(settings, clock, event_log, reader, actor, view=view, missed=missed)
    try:
        await oms.manager.recall()
        await oms.requests.deny_stale(oms.reader)
        async with _background(oms):
            yield oms
    finally:
        await _stop(oms)


def _lease(settings: Settings) -> LeaseRequest:
    """Ask for the one lease of the database.

    Books, sessions and gaps are of one gateway connection, so a second daemon with another client
    id is refused as well; it belongs on a database of its own.
    """
    accounts = ", ".join(settings.accounts) or "all accounts"
    return LeaseRequest(
        name="daemon",
        holder=f"client id {settings.client_id} on {accounts}",
        host=socket.gethostname(),
        process_id=os.getpid(),
        seconds=settings.lease_seconds,
    )


def _assemble(
    settings: Settings,
    clock: Clock,
    event_log: EventLog,
    reader: Reader,
    actor: str,
    *,
    view: View,
    missed: list[Committed],
) -> Oms:
    failure: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()

    def fail(error: BaseException) -> None:
        if not failure.done():
            failure.set_result(error)

    gateway = _gateway(settings, clock, event_log, view, fail)
    manager = OrderManager(
        log=event_log,
        reader=reader,
        gateway=gateway,
        view=view,
        admission=_admission(settings, clock, gateway, view),
        actor=actor,
    )
    reconciler = _reconciler(settings, clock, event_log, reader, gateway, view)
    requests = Requests(
        log=event_log,
        price=gateway.markets.price,
        manager=manager,
        reconciler=reconciler,
        cases=CaseRequests(log=event_log, reader=reader, notional_max=settings.break_notional_max),
        clock=clock,
        age_seconds_max=settings.request_age_seconds_max,
    )
    inquiries, silence = _watchers(settings, clock, event_log, view)
    halts = Halts(log=event_log, session=gateway.session, outbox=gateway.outbox, manager=manager)
    schedule = _schedule(settings, clock, event_log, reader, gateway, view, reconciler)
    _listen(
        event_log, view, clock, (halts, reconciler, requests, inquiries, silence, schedule), missed
    )
    event_log.failed.add_done_callback(lambda f: None if f.cancelled() else _pass_on(f, fail))
    return Oms(
        settings=settings,
        clock=clock,
        log=event_log,
        reader=reader,
        view=view,
        gateway=gateway,
        manager=manager,
        reconciler=reconciler,
        requests=requests,
        inquiries=inquiries,
        schedule=schedule,
        silence=silence,
        stopping=asyncio.Event(),
        failure=failure,
    )


class _Listener(Protocol):
    """Who hears of every commit."""

    def note(self, envelopes: Sequence[Envelope]) -> None: ...


def _listen(
    event_log: EventLog,
    view: View,
    clock: Clock,
    listeners: Sequence[_Listener],
    missed: list[Committed],
) -> None:
    """Bring the view up to each commit, and then tell everybody; `missed` are those that came since
    the view was made.
    """

    def note(committed: Committed) -> None:
        if any(isinstance(e.event, ProjectionsRebuilt) for e in committed.envelopes):
            log.warning("books_loaded_again", sequence=committed.envelopes[-1].sequence)
            view.restart(committed.changes)
        else:
            view.take_changes(committed.changes)
        metrics.observe(committed, view, event_log, clock)
        for listener in listeners:
            listener.note(committed.envelopes)

    for committed in missed:
        note(committed)
    missed.clear()
    event_log.unsubscribe(missed.append)
    event_log.subscribe(note)


def _admission(settings: Settings, clock: Clock, gateway: Gateway, view: View) -> Admission:
    session = gateway.session
    prices = Prices(gateway.markets, session, wait_seconds=settings.order_quote_wait_seconds)
    return Admission(
        limits=limits_of(settings), session=session, view=view, clock=clock, prices=prices
    )


def _reconciler(  # noqa: PLR0917 - the parts that it connects
    settings: Settings,
    clock: Clock,
    event_log: EventLog,
    reader: Reader,
    gateway: Gateway,
    view: View,
) -> Reconciler:
    return Reconciler(
        log=event_log,
        reader=reader,
        queries=gateway.queries,
        session=gateway.session,
        view=view,
        clock=clock,
        waits=Waits(
            doubt=timedelta(seconds=settings.doubt_settle_seconds),
            position=timedelta(seconds=settings.position_settle_seconds),
            commission=timedelta(seconds=settings.commission_settle_seconds),
        ),
        policy=settings.adjust_causes,
    )


def _schedule(  # noqa: PLR0917 - the parts that it connects
    settings: Settings,
    clock: Clock,
    event_log: EventLog,
    reader: Reader,
    gateway: Gateway,
    view: View,
    reconciler: Reconciler,
) -> Schedule:
    quick_check = QuickCheck(
        log=event_log,
        reader=reader,
        queries=gateway.queries,
        session=gateway.session,
        view=view,
        clock=clock,
        position_settle=timedelta(seconds=settings.position_settle_seconds),
    )
    return Schedule(
        plan_of(settings),
        clock=clock,
        session=gateway.session,
        view=view,
        full=reconciler,
        cheap=quick_check,
    )


def _watchers(
    settings: Settings, clock: Clock, event_log: EventLog, view: View
) -> tuple[Inquiries, Silence]:
    """Build what notices that the broker must be asked about an order."""
    inquiries = Inquiries(
        view=view,
        client_id=settings.client_id,
        clock=clock,
        settle_seconds=settings.notice_settle_seconds,
    )
    seconds = settings.acknowledgement_seconds_max
    return inquiries, Silence(log=event_log, view=view, clock=clock, seconds_max=seconds)


def _gateway(
    settings: Settings,
    clock: Clock,
    event_log: EventLog,
    view: View,
    on_failure: Callable[[BaseException], None],
) -> Gateway:
    """Build the one connection, continuing the numbers that the log has seen."""

    def report_not_sent(message: Outgoing, reason: str) -> None:
        _report_not_sent(event_log, message, reason, gateway.session.current_epoch)

    gateway = Gateway(
        ConnectionSettings(
            host=settings.host,
            port=settings.port,
            client_id=settings.client_id,
            mode=settings.mode,
            accounts=settings.accounts,
            connect_timeout_seconds=settings.connect_timeout_seconds,
            probe_interval_seconds=settings.probe_interval_seconds,
            probe_timeout_seconds=settings.probe_timeout_seconds,
            reconnect_delays_seconds=settings.reconnect_delays_seconds,
            reconnect_jitter_fraction=float(settings.reconnect_jitter_fraction),
        ),
        event_log,
        clock,
        zone=ZoneInfo(settings.gateway_zone),
        request_timeout_seconds=settings.request_timeout_seconds,
        messages_per_second_max=settings.messages_per_second_max,
        market_type=settings.market_type,
        market_lines_max=settings.market_lines_max,
        first_epoch=view.system.session_epoch + 1,
        open_gap_sequence=view.system.gap_sequence,
        highest_broker_order_id=view.system.highest_broker_order_ids.get(settings.client_id, 0),
        on_not_sent=report_not_sent,
        on_failure=on_failure,
    )
    return gateway


def _pass_on(failed: asyncio.Future[None], fail: Callable[[BaseException], None]) -> None:
    error = failed.exception()
    if error is not None:
        fail(error)


def _report_not_sent(event_log: EventLog, message: Outgoing, reason: str, epoch: int) -> None:
    """Write that a message did not leave: an order is over, a change or a cancel is refused."""
    event: Event
    match message.kind:
        case "what_if":
            return  # whoever asked hears of it, and nothing was wanted of the books
        case "place":
            event = OrderNotSent(order_id=message.order_id, text=reason)
        case "modify":
            event = ModifyDenied(order_id=message.order_id, text=f"not sent: {reason}")
        case "global_cancel":
            event = GlobalCancelDenied(text=f"not sent: {reason}")
        case _:
            event = CancelDenied(order_id=message.order_id, text=f"not sent: {reason}")
    context = Context(actor="daemon", session_epoch=epoch, correlation_id=message.order_id)
    log.warning("message_not_sent", kind=message.kind, order_id=message.order_id, reason=reason)
    event_log.append(Pending(event, context))


async def _say_started(
    event_log: EventLog, settings: Settings, last_recorded_at: datetime | None
) -> None:
    await event_log.append(
        Pending(
            DaemonStarted(
                program_version=__version__,
                host=socket.gethostname(),
                process_id=os.getpid(),
                client_id=settings.client_id,
                mode=settings.mode,
                last_recorded_at=last_recorded_at,
            ),
            Context(actor="daemon"),
        )
    )
    log.info("daemon_started", process_id=os.getpid(), sequence=event_log.books.sequence)


async def _stop(oms: Oms) -> None:
    with contextlib.suppress(OmsError):
        await oms.gateway.close("the daemon stops")
    if not oms.log.failed.done():
        with contextlib.suppress(OmsError):
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


@asynccontextmanager
async def _background(oms: Oms) -> AsyncIterator[None]:
    """Run what goes on by itself; an error in any of it is the daemon's failure."""
    first_epoch = oms.view.system.session_epoch + 1
    session = oms.gateway.session

    def hear(news: News) -> None:
        _on_news(news, first_epoch, oms.schedule)

    session.listeners.append(hear)
    tasks = [
        asyncio.create_task(oms.requests.serve(), name="requests"),
        asyncio.create_task(oms.inquiries.serve(oms.schedule.ask), name="inquiries"),
        asyncio.create_task(oms.schedule.serve(), name="reconcile"),
        asyncio.create_task(_watchman(oms).serve(), name="watchman"),
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
    if not task.cancelled() and (error := task.exception()) and not failure.done():
        failure.set_result(error)


def _stays_down(
    ended: asyncio.Future[OmsError | None], failure: asyncio.Future[BaseException]
) -> None:
    """End the daemon with a session that stays down for a reason, such as a live account."""
    if not ended.cancelled() and (error := ended.result()) and not failure.done():
        failure.set_result(error)


def _on_news(news: News, first_epoch: int, schedule: Schedule) -> None:
    match news:
        case SessionUp(epoch=epoch):
            log.info("session_up", epoch=epoch)
            schedule.ask("start" if epoch == first_epoch else "reconnect")
        case LineRecovered(cause=cause):
            schedule.ask(cause)
        case SessionDown(reason=reason):
            log.warning("session_down", reason=reason)
            schedule.line_lost()
        case LineLost():
            schedule.look()
        case _:
            pass


def _watchman(oms: Oms) -> Watchman:
    return Watchman(
        tolerances_of(oms.settings),
        log=oms.log,
        view=oms.view,
        clock=oms.clock,
        session=oms.gateway.session,
        look_seconds=oms.settings.watch_interval_seconds,
        clock_seconds=oms.settings.clock_check_seconds,
    )


async def _refresh_accounts(oms: Oms) -> None:
    """Keep IB's figures of the accounts fresh, from the first comparison on."""
    await oms.view.until(lambda: oms.view.system.ready)
    await oms.gateway.accounts.keep_fresh(oms.settings.account_refresh_seconds)


def _stop_on_signals(stopping: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        try:
            loop.add_signal_handler(number, stopping.set)
        except NotImplementedError:  # Windows: the loop has no signal handlers
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(stopping.set))
