"""The composition root: the only place that constructs the store and the broker.

Order of things, and why:

1. the database is brought up to date, after a backup copy; one that lacks events which were in it
   is left alone, unless a person accepts the loss;
2. the log is opened under the lease, so that nobody else writes for this account and client id;
3. `DaemonStarted` is appended: the fold turns what an earlier process left unanswered into doubt;
4. requests that nobody took up are denied; they are too old to be what the person wants now;
5. the session is opened; each time it comes up, and after each gap, the books are compared, and
   only a comparison whose every question was answered lets orders leave.

What cannot be written stops the daemon: a failed append, a full buffer, a lost lease. It leaves
with the error's exit code and no order leaves after it. SIGTERM and SIGINT close the session on
purpose, write `DaemonStopped` and release the lease. SIGKILL at any instruction loses nothing that
was acknowledged to anybody, see `manager` and `store.writer`.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Protocol, assert_never
from zoneinfo import ZoneInfo

from oms.broker.gateway import Gateway
from oms.broker.handshake import ConnectionSettings
from oms.broker.news import LineLost, LineRecovered, News, SessionDown, SessionUp
from oms.clock import Clock, SteadyClock, SystemClock
from oms.core.events import Envelope, ProjectionsRebuilt
from oms.core.outgoing import Outgoing
from oms.service import metrics
from oms.service.admission import Admission, limits_of
from oms.service.case_requests import CaseRequests
from oms.service.checkpoints import Checkpoints, refuse_loss
from oms.service.halts import Halts
from oms.service.hearing import Hearing
from oms.service.inquiries import Inquiries
from oms.service.left_alone import LeftAlone
from oms.service.lifetime import LossWord, fail, in_background, say_started, stop
from oms.service.manager import OrderManager
from oms.service.past import PastMaker
from oms.service.prices import Prices
from oms.service.quick_check import QuickCheck
from oms.service.recheck import Rechecks
from oms.service.reconciler import Reconciler, Waits
from oms.service.refusals import Refusals
from oms.service.requests import Requests
from oms.service.schedule import Schedule, plan_of
from oms.service.sending import report_not_sent
from oms.service.silence import Silence
from oms.service.storage import disk_free_of
from oms.service.subsystem import Oms
from oms.service.view import View
from oms.service.watchman import Watchman, tolerances_of
from oms.settings import Settings
from oms.store.answers import recall
from oms.store.lease import LeaseRequest
from oms.store.log import EventLog
from oms.store.reader import Reader
from oms.store.recheck import Recheck
from oms.store.upgrade import upgrade_database
from oms.store.writer import Committed
from oms.telemetry import get_logger

log = get_logger("service.daemon")


@dataclass(frozen=True, slots=True)
class _Base:
    """What every part stands on."""

    settings: Settings
    clock: SteadyClock
    log: EventLog
    reader: Reader
    view: View


@asynccontextmanager
async def open_oms(
    settings: Settings,
    *,
    actor: str = "strategy:python",
    clock: Clock | None = None,
    accept_loss: LossWord | None = None,
    address: str = "",
) -> AsyncIterator[Oms]:
    """Run the whole subsystem inside this process for as long as the block lasts.

    Raises `LeaseHeld` when a daemon runs on the same database for the same account and client id,
    and `StoreUnavailable`, `MigrationNeeded` or `ChainBroken` for the log; `LogWentBack` where
    events are missing, unless a person accepts that. `address` is where other programs will find
    it: the lease says so. A gateway that is away is not an error: the
    supervisor goes on trying.
    """
    clock = SteadyClock(clock or SystemClock())
    loss_accepted = accept_loss is not None
    # Before migrations: an emptied file shall not be given new tables.
    await asyncio.to_thread(refuse_loss, settings)
    await asyncio.to_thread(
        upgrade_database,
        settings.database_url,
        clock=clock,
        loss_accepted=loss_accepted,
        lock_seconds_max=settings.database_lock_seconds_max,
    )
    event_log = await EventLog.open(
        settings.database_url,
        clock=clock,
        lease=_lease(settings, address),
        queue_length_max=settings.queue_length_max,
        batch_rows_max=settings.batch_rows_max,
        resident_records_max=settings.resident_records_max,
        poll_seconds=settings.poll_interval_seconds,
        loss_accepted=loss_accepted,
        lock_seconds_max=settings.database_lock_seconds_max,
    )
    try:
        # Before anything is built on the books: it opens the gap that the line has to close.
        await say_started(event_log, settings, accept_loss)
        reader = await Reader.open(
            settings.database_url,
            checked=False,
            cut_off_seconds_max=settings.database_lock_seconds_max,
        )
        head = await reader.head()
        assert head.recorded_at is not None, "the start itself was recorded"
        clock.go_on_from(head.recorded_at)
        # What others append from here on is kept until everything that listens stands.
        missed: list[Committed] = []
        view = View(await event_log.follow(missed.append))
    except BaseException:
        await event_log.close()
        raise
    oms = _assemble(_Base(settings, clock, event_log, reader, view), actor, missed)
    hear = partial(_on_news, oms.view.system.session_epoch + 1, oms.schedule)
    try:
        await oms.manager.recall()
        await oms.requests.deny_stale(oms.reader)
        async with in_background(oms, hear):
            yield oms
    finally:
        await stop(oms)


def _lease(settings: Settings, address: str) -> LeaseRequest:
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
        address=address,
    )


def _assemble(base: _Base, actor: str, missed: list[Committed]) -> Oms:
    settings, clock, event_log, view = base.settings, base.clock, base.log, base.view
    failure: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()

    on_failure = partial(fail, failure)
    gateway = _gateway(base, on_failure)
    session = gateway.session
    manager = OrderManager(
        log=event_log,
        reader=base.reader,
        gateway=gateway,
        view=view,
        admission=_admission(base, gateway),
        clock=clock,
        actor=actor,
        disk_free=disk_free_of(settings),
        wait_seconds_max=settings.request_age_seconds_max,
    )
    reconciler = _reconciler(base, gateway)
    requests = _requests(base, gateway, manager, reconciler)
    inquiries = Inquiries(
        look_for=Refusals(
            log=event_log,
            reader=base.reader,
            queries=gateway.queries,
            session=session,
            clock=clock,
        ).look_for,
        view=view,
        client_id=settings.client_id,
        clock=clock,
        settle_seconds=settings.notice_settle_seconds,
    )
    silence = Silence(
        log=event_log, view=view, clock=clock, seconds_max=settings.acknowledgement_seconds_max
    )
    halts = Halts(log=event_log, session=session, outbox=gateway.outbox)
    left_alone = LeftAlone(session=session, view=view, manager=manager)
    schedule = _schedule(base, gateway, reconciler)
    hearing = Hearing(view, session)
    listeners = (halts, left_alone, reconciler, requests, inquiries, silence, schedule, hearing)
    _listen(base, listeners, missed)
    event_log.failed.add_done_callback(lambda f: None if f.cancelled() else _pass_on(f, on_failure))
    return Oms(
        settings=settings,
        clock=clock,
        log=event_log,
        reader=base.reader,
        view=view,
        gateway=gateway,
        manager=manager,
        reconciler=reconciler,
        requests=requests,
        inquiries=inquiries,
        schedule=schedule,
        silence=silence,
        watchman=_watchman(base, gateway),
        rechecks=Rechecks(
            log=event_log,
            check=Recheck(settings.database_url, clock),
            view=view,
            interval_seconds=settings.recheck_interval_seconds,
        ),
        past=PastMaker(log=event_log, url=settings.database_url, clock=clock),
        checkpoints=Checkpoints(
            settings, log=event_log, reader=base.reader, view=view, clock=clock
        ),
        stopping=asyncio.Event(),
        failure=failure,
    )


class _Listener(Protocol):
    """Who hears of every commit."""

    def note(self, envelopes: Sequence[Envelope]) -> None:
        """Hear of what was committed, after the view has taken it."""


def _listen(base: _Base, listeners: Sequence[_Listener], missed: list[Committed]) -> None:
    """Bring the view up to each commit, and then tell everybody; `missed` are those that came since
    the view was made.
    """

    event_log, view = base.log, base.view

    def note(committed: Committed) -> None:
        if committed.envelopes:
            base.clock.go_on_from(committed.envelopes[-1].recorded_at)
        if any(isinstance(e.event, ProjectionsRebuilt) for e in committed.envelopes):
            log.warning("books_loaded_again", sequence=committed.envelopes[-1].sequence)
            view.restart(committed.changes)
        else:
            view.take_changes(committed.changes)
        metrics.observe(committed, view, base.clock)
        for listener in listeners:
            listener.note(committed.envelopes)

    metrics.watch(event_log)
    for committed in missed:
        note(committed)
    missed.clear()
    event_log.unsubscribe(missed.append)
    event_log.subscribe(note)


def _pass_on(failed: asyncio.Future[None], fail: Callable[[BaseException], None]) -> None:
    error = failed.exception()
    if error is not None:
        fail(error)


def _on_news(first_epoch: int, schedule: Schedule, news: News) -> None:
    """Let the books be compared when the line is there, first or again."""
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
            assert_never(news)


# ── the parts ────────────────────────────────────────────────────────────────────────────────────


def _gateway(base: _Base, on_failure: Callable[[BaseException], None]) -> Gateway:
    """Build the one connection, continuing the numbers that the log has seen."""
    settings, system = base.settings, base.view.system

    def on_not_sent(message: Outgoing, reason: str) -> None:
        report_not_sent(base.log, message, reason, gateway.session.current_epoch)

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
        base.log,
        base.clock,
        zone=ZoneInfo(settings.gateway_zone),
        request_timeout_seconds=settings.request_timeout_seconds,
        messages_per_second_max=settings.messages_per_second_max,
        order_age_seconds_max=settings.order_age_seconds_max,
        market_type=settings.market_type,
        market_lines_max=settings.market_lines_max,
        first_epoch=system.session_epoch + 1,
        open_gap_sequence=system.gap_sequence,
        highest_broker_order_id=system.highest_broker_order_ids.get(settings.client_id, 0),
        on_not_sent=on_not_sent,
        on_failure=on_failure,
    )
    gateway.capture.may_leave = base.log.holds_lease
    gateway.queries.recall = partial(recall, base.reader)
    return gateway


def _admission(base: _Base, gateway: Gateway) -> Admission:
    session = gateway.session
    seconds = base.settings.order_quote_wait_seconds
    return Admission(
        limits=limits_of(base.settings),
        session=session,
        view=base.view,
        clock=base.clock,
        prices=Prices(gateway.markets, session, wait_seconds=seconds),
    )


def _requests(
    base: _Base, gateway: Gateway, manager: OrderManager, reconciler: Reconciler
) -> Requests:
    settings = base.settings
    return Requests(
        log=base.log,
        price=gateway.markets.price,
        manager=manager,
        reconciler=reconciler,
        cases=CaseRequests(
            log=base.log, reader=base.reader, notional_max=settings.break_notional_max
        ),
        clock=base.clock,
        age_seconds_max=settings.request_age_seconds_max,
    )


def _reconciler(base: _Base, gateway: Gateway) -> Reconciler:
    settings = base.settings
    return Reconciler(
        log=base.log,
        reader=base.reader,
        queries=gateway.queries,
        session=gateway.session,
        view=base.view,
        clock=base.clock,
        waits=Waits(
            doubt=timedelta(seconds=settings.doubt_settle_seconds),
            position=timedelta(seconds=settings.position_settle_seconds),
            commission=timedelta(seconds=settings.commission_settle_seconds),
        ),
        policy=settings.adjust_causes,
    )


def _schedule(base: _Base, gateway: Gateway, reconciler: Reconciler) -> Schedule:
    quick_check = QuickCheck(
        log=base.log,
        reader=base.reader,
        queries=gateway.queries,
        session=gateway.session,
        view=base.view,
        clock=base.clock,
        position_settle=timedelta(seconds=base.settings.position_settle_seconds),
    )
    return Schedule(
        plan_of(base.settings),
        clock=base.clock,
        session=gateway.session,
        view=base.view,
        full=reconciler,
        quick=quick_check,
    )


def _watchman(base: _Base, gateway: Gateway) -> Watchman:
    settings = base.settings
    return Watchman(
        tolerances_of(settings),
        log=base.log,
        view=base.view,
        clock=base.clock,
        session=gateway.session,
        look_seconds=settings.watch_interval_seconds,
        clock_seconds=settings.clock_check_seconds,
    )
