"""The connection to the gateway: made, watched, lost, made again, and closed for good.

A supervisor task owns it. It connects with a growing delay, checks before anything else that the
gateway is the one that the settings mean (version, accounts, paper or live), watches it with a
question that must be answered in time (TCP alone does not notice a half-open line for hours, and
what comes by itself proves nothing about what does not), and appends what happened as facts:
`SessionOpened`, `SessionClosed`, `ConnectFailed`, `GapOpened`, `GapClosed`. What the gaps are is
decided in `core.gap`.

One attempt to connect is a `Handshake`; ids are drawn from `OrderIds`. What has to be asked after a
connect is the reconciliation's business; it learns from `SessionUp` and `LineRecovered` that it is
time.

If the process dies, the log holds a session without an end; the next start closes nothing in its
name, it opens a new one with a higher epoch.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final, cast
from zoneinfo import ZoneInfo

import ib_async

from oms.broker import patches
from oms.broker.capture import Capture, Captured
from oms.broker.frames import Frames
from oms.broker.gap_keeper import GapKeeper
from oms.broker.handshake import ConnectionSettings, Handshake
from oms.broker.news import News, SessionDown, SessionUp
from oms.broker.order_ids import OrderIds
from oms.broker.paced_requests import PacedRequests
from oms.broker.server_clock import ServerClock
from oms.broker.sink import Durable, Sink
from oms.broker.translate import offset_shown
from oms.clock import Clock
from oms.core.events import (
    ConnectFailed,
    Context,
    Event,
    NoticeReceived,
    Pending,
    ServerTimeRead,
    SessionClosed,
    SessionOpened,
)
from oms.core.gap import Signal, signal_of_code
from oms.errors import IBConnectionError, OmsError
from oms.telemetry import get_logger

ACTOR: Final = "daemon"
#: The client whose orders are those that people enter in TWS as well.
MANUAL_CLIENT_ID: Final = 0
#: Facts that wait for the disk, above which no more is read: one transaction's worth, so that an
#: order of ours waits for little more than the one under way.
WAITING_MAX: Final = 2_000
#: How long a closed socket may take to say so.
_CLOSE_SECONDS: Final = 2.0

_log = get_logger("broker.session")


class Session:
    """The one connection of this process to the gateway."""

    def __init__(
        self,
        settings: ConnectionSettings,
        ib: ib_async.IB,
        capture: Capture,
        sink: Sink,
        clock: Clock,
        *,
        requests: PacedRequests,
        first_epoch: int,
        highest_broker_order_id: int = 0,
        open_gap_sequence: int = 0,
        zone: ZoneInfo | None = None,
        on_failure: Callable[[BaseException], None],
        uniform: Callable[[], float] = random.random,
    ) -> None:
        """`first_epoch`, `highest_broker_order_id` and `open_gap_sequence` (the fact that opened
        the gap since the last daemon, 0 for none) continue what the log has seen; `zone` is the
        gateway's by the settings.
        """
        self.settings = settings
        self.epoch = 0
        self.accounts: tuple[str, ...] = ()
        self.server_version = 0
        self.connection_time = ""
        self.listeners: list[Callable[[News], None]] = []
        self._ended: asyncio.Future[OmsError | None] | None = None
        self._ib = ib
        self._capture = capture
        self._requests = requests
        self._sink = sink
        self._clock = clock
        self._next_epoch = first_epoch
        self._on_failure = on_failure
        self._uniform = uniform
        self._zone = zone
        self._is_open = False
        self._closing = False
        self._leave_reason = ""
        self._close_reason = ""
        self._transport_gone = asyncio.Event()
        #: When the gateway last answered, and when a whole message last came.
        self._answered_at = 0.0
        self._heard_at = 0.0
        self._supervisor: asyncio.Task[None] | None = None
        self._handshake = Handshake(settings)
        self._ids = OrderIds(ib, capture, requests, highest_seen=highest_broker_order_id)
        self._server_clock = ServerClock(ib, clock, requests)
        self._gap = GapKeeper(
            clock,
            append=self._append,
            publish=self._publish,
            give_up=self._give_up,
            open_gap_sequence=open_gap_sequence,
        )
        self._frames = Frames(
            take=self._on_frame,
            refuse=self._on_nonsense,
            socket=lambda: patches.transport(ib),
            now=clock.now,
            monotonic=clock.monotonic,
            must_wait=lambda: sink.waiting > WAITING_MAX,
        )
        self._read_frame = patches.read_with(ib, self._frames.feed, self._frames.finish)
        self._hook()

    # ── for callers ──────────────────────────────────────────────────────────────────────────────

    @property
    def client_id(self) -> int:
        """Return the client id under which orders leave."""
        return self.settings.client_id

    @property
    def current_epoch(self) -> int:
        """Return the number of the session that is open, 0 without one."""
        return self.epoch if self._is_open else 0

    @property
    def ended(self) -> asyncio.Future[OmsError | None]:
        """A future that resolves when the session stays down: with None after `close`, else why."""
        assert self._ended is not None, "open the session first"
        return self._ended

    @property
    def is_up(self) -> bool:
        """Say whether a session is open."""
        return self._is_open

    @property
    def gap_is_open(self) -> bool:
        """Say whether the broker may know things that we do not."""
        return self._gap.state.gap_is_open

    async def open(self, *, fail_fast: bool = False) -> None:
        """Start the supervisor.

        With `fail_fast` the first attempt is awaited and its error raised: `IBConnectionError` and
        its kinds, `LiveAccountRefused` or `ConfigurationError`. Without it the supervisor tries for
        ever, except against a gateway that the settings do not mean.
        """
        assert self._supervisor is None, "a session is opened once"
        first: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._ended = asyncio.get_running_loop().create_future()
        self._supervisor = asyncio.create_task(self._supervise(first, fail_fast), name="session")
        self._supervisor.add_done_callback(self._supervisor_ended)
        if fail_fast:
            await asyncio.shield(first)

    async def close(self, reason: str) -> None:
        """Close the connection and stay down."""
        self._closing = True
        self._close_reason = reason
        if self._supervisor is not None and not self._supervisor.done():
            self._supervisor.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._supervisor
        await self._hang_up()
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(None)

    def leave_unanswered(self) -> None:
        """Give the connection up, because it leaves our questions about orders unanswered."""
        self._gap.signal(Signal.UNANSWERED, self.epoch)

    def next_broker_order_id(self) -> int:
        """Return an order id that was never used: above the log's, the gateway's, and every id that
        other clients have shown. Raises `IBConnectionError` without a session.
        """
        if not self._is_open:
            raise IBConnectionError("there is no session with the gateway")
        return self._ids.draw()

    # ── the supervisor ───────────────────────────────────────────────────────────────────────────

    async def _supervise(self, first: asyncio.Future[None], fail_fast: bool) -> None:
        attempt = 0
        while True:
            attempt += 1
            try:
                await self._connect()
            except OmsError as error:
                gives_up = not error.transient or (fail_fast and not first.done())
                delay = None if gives_up else self._delay(attempt)
                self._fail_attempt(attempt, error, delay)
                if delay is None:
                    self._stay_down(error, first)
                    return
            else:
                if not first.done():
                    first.set_result(None)
                opened_at = self._clock.monotonic()
                await self._watch()
                # A gateway that takes the connection and drops it at once gets longer delays too.
                if self._clock.monotonic() - opened_at > self.settings.reconnect_delays_seconds[-1]:
                    attempt = 0
                delay = self._delay(attempt + 1)
            await asyncio.sleep(delay)

    def _supervisor_ended(self, supervisor: asyncio.Task[None]) -> None:
        if not supervisor.cancelled() and supervisor.exception() is not None:
            self._on_failure(cast(BaseException, supervisor.exception()))

    def _delay(self, attempt: int) -> float:
        delays = self.settings.reconnect_delays_seconds
        base = delays[min(max(attempt, 1), len(delays)) - 1]
        return base * (1 + self.settings.reconnect_jitter_fraction * (2 * self._uniform() - 1))

    def _fail_attempt(self, attempt: int, error: OmsError, delay: float | None) -> None:
        retry = None if delay is None else Decimal(f"{delay:.3f}")
        _log.warning("connect_failed", attempt=attempt, reason=error.message, hint=error.hint)
        self._append(
            ConnectFailed(attempt=attempt, reason=error.message, retry_after_seconds=retry), epoch=0
        )

    def _stay_down(self, error: OmsError, first: asyncio.Future[None]) -> None:
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(error)
        if not first.done():
            first.set_exception(error)
            first.exception()  # seen, also where `open` does not wait for the first attempt

    async def _connect(self) -> None:
        self._leave_reason = ""
        self._transport_gone.clear()
        self._handshake = Handshake(self.settings)
        # What comes before the session is announced (accounts, a refusal) belongs to it already.
        self._capture.session_epoch = self._next_epoch
        self._answered_at = self._clock.monotonic()
        try:
            await self._handshake.run(self._ib)
        except BaseException:
            await self._hang_up()
            raise
        if self._is_open:
            self._publish(SessionUp(self.epoch, self.server_version, self.accounts))

    async def _watch(self) -> None:
        """Return when the transport is gone; take care that a dead one goes."""
        while not self._transport_gone.is_set():
            await self._wait_for_loss(self.settings.probe_interval_seconds - self._unanswered_for())
            if self._transport_gone.is_set():
                return
            if self._gap_is_overdue():
                self._gap.signal(Signal.OVERDUE, self.epoch)
            elif self._is_probe_due() and not await self._answers():
                self._gap.signal(Signal.SILENCE, self.epoch)
            if self._gap.state.phase == "leaving":
                await self._hang_up()

    def _unanswered_for(self) -> float:
        return self._clock.monotonic() - self._answered_at

    def _is_probe_due(self) -> bool:
        return self._unanswered_for() >= self.settings.probe_interval_seconds

    def _gap_is_overdue(self) -> bool:
        is_cut_off = self._gap.state.phase == "cut_off"
        return is_cut_off and self._gap.seconds_open() >= self.settings.gap_patience_seconds

    async def _wait_for_loss(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, seconds)):
                await self._transport_gone.wait()

    async def _answers(self) -> bool:
        """Ask for the time, and return whether the answer came in time.

        While whole messages come it may be behind them, so that it has more time then, but not for
        ever: a gateway that only talks does not listen.
        """
        seconds = self.settings.probe_timeout_seconds
        held_before = self._frames.held_seconds
        try:
            await self._server_clock.ask(seconds, more_time=self._hears_messages)
        except TimeoutError:
            # While our own log let nothing be read, the gateway may have said anything.
            if self._frames.held_seconds - held_before < seconds:
                return False
        except ConnectionError:
            return True  # the transport has gone, and says so itself
        self._answered_at = self._clock.monotonic()
        return True

    async def hear_out(self) -> None:
        """Return when the gateway has answered a question of this moment, so that whatever it had
        sent before has been read; also where it does not answer in time.
        """
        with contextlib.suppress(TimeoutError, ConnectionError):
            await self._server_clock.ask(
                self.settings.probe_timeout_seconds, more_time=self._hears_messages
            )

    def _hears_messages(self) -> bool:
        heard_ago = self._clock.monotonic() - self._heard_at
        return self._frames.behind or heard_ago < self.settings.probe_timeout_seconds

    async def read_clock(self, *, once: bool = False) -> ServerTimeRead | None:
        """Return how far the gateway's clock is from ours, by one answer or, over some seconds, by
        as many as it takes; None where no answer comes in time.
        """
        ask = self._server_clock.ask if once else self._server_clock.measure
        with contextlib.suppress(TimeoutError, ConnectionError):
            return await ask(self.settings.probe_timeout_seconds)
        return None

    def _give_up(self, reason: str) -> None:
        """Let go of a connection that has no future, without waiting for the other side."""
        self._leave_reason = f"given up: {reason}"
        _log.warning("connection_given_up", reason=reason)
        transport = patches.transport(self._ib)
        if transport is not None:
            transport.abort()

    async def _hang_up(self) -> None:
        """Close the socket and wait until it is gone; a peer that does not read cannot delay it."""
        transport = patches.transport(self._ib)
        if transport is None:
            return
        if self._closing:
            transport.close()
            await self._wait_for_loss(_CLOSE_SECONDS)
        if patches.transport(self._ib) is not None:
            transport.abort()
            await self._wait_for_loss(_CLOSE_SECONDS)

    # ── hooks, called by the socket ──────────────────────────────────────────────────────────────

    def _hook(self) -> None:
        patches.hear_loss(self._ib, self._on_transport_lost)
        self._ib.client.apiStart.connect(self._on_handshake_done)
        self._capture.listeners.append(self._on_captured)

    def _on_frame(self, frame: bytes, received_at: datetime) -> None:
        self._capture.received_at = received_at
        self._heard_at = self._clock.monotonic()
        with self._guarded():
            self._handshake.hear_frame(frame)
            try:
                self._read_frame(frame)
            except (ValueError, LookupError) as error:
                # ib_async reads the handshake itself; every later message goes to our tap.
                self._on_nonsense(f"a message of the handshake cannot be read: {error}")

    def _on_nonsense(self, reason: str) -> None:
        self._handshake.hear_nonsense(reason)
        self._give_up(reason)

    def _on_handshake_done(self) -> None:
        with self._guarded():
            accounts = tuple(self._ib.client.getAccounts())
            if not self._handshake.welcomes(accounts):
                return
            try:
                opened = self._opened(accounts)
            except ValueError:
                self._on_nonsense(
                    "its connection time, accounts or first order id are none that IB sends"
                )
                return
            self._open_session(opened)

    def _opened(self, accounts: tuple[str, ...]) -> SessionOpened:
        connection_time = self._handshake.connection_time
        return SessionOpened(
            host=self.settings.host,
            port=self.settings.port,
            client_id=self.settings.client_id,
            server_version=self._handshake.server_version,
            connection_time=connection_time,
            accounts=accounts,
            # The client has just taken the number from nextValidId; nothing was drawn since.
            next_broker_order_id=patches.offered_order_id(self._ib),
            gateway_zone="" if self._zone is None else self._zone.key,
            zone_utc_offset_minutes=self._zone_offset(),
            shown_utc_offset_minutes=offset_shown(connection_time, self._clock.wall()),
        )

    def _open_session(self, opened: SessionOpened) -> None:
        self.epoch = self._next_epoch
        self._next_epoch += 1
        self.accounts = opened.accounts
        self.server_version = opened.server_version
        self.connection_time = opened.connection_time
        self._ids.stay_above(opened.next_broker_order_id - 1)
        self._is_open = True
        self._requests.open()
        self._append(opened)
        self._gap.signal(Signal.TRANSPORT_UP, self.epoch)
        if self.client_id == MANUAL_CLIENT_ID:
            # Those entered from now on; `queries` binds those that were there before.
            self._requests.enqueue(lambda: cast(Any, self._ib.client).reqAutoOpenOrders(True))

    def _zone_offset(self) -> int | None:
        if self._zone is None:
            return None
        offset = self._clock.wall().astimezone(self._zone).utcoffset()
        return None if offset is None else offset // timedelta(minutes=1)

    def _on_transport_lost(self, text: str) -> None:
        with self._guarded():
            self._transport_gone.set()
            self._handshake.hear_loss()
            self._requests.close()
            if not self._is_open:
                return
            self._is_open = False
            deliberate = self._closing
            reason = self._close_reason if deliberate else self._leave_reason or text
            reason = reason or "the gateway closed the connection"
            self._append(SessionClosed(reason=reason, deliberate=deliberate))
            self._gap.signal(Signal.CLOSED if deliberate else Signal.TRANSPORT_LOST, self.epoch)
            self._publish(SessionDown(self.epoch, reason, deliberate))

    def _on_captured(self, captured: Captured) -> None:
        notice = captured.event
        if isinstance(notice, NoticeReceived):
            self._handshake.hear_notice(notice)
            signal = signal_of_code(notice.code)
            if signal is not None:
                self._gap.signal(signal, self.epoch)

    @contextlib.contextmanager
    def _guarded(self) -> Iterator[None]:
        """Report what goes wrong in a callback; ib_async's events would swallow it."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - see above
            self._on_failure(error)

    # ── facts and news ───────────────────────────────────────────────────────────────────────────

    def _append(self, event: Event, epoch: int | None = None) -> Durable | None:
        context = Context(actor=ACTOR, session_epoch=self.epoch if epoch is None else epoch)
        try:
            return self._sink.append(Pending(event, context))
        except OmsError as error:
            self._on_failure(error)
            return None

    def _publish(self, news: News) -> None:
        for listener in list(self.listeners):
            listener(news)
