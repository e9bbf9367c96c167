"""The daemon as a program of its own: until a signal or a failure ends it."""

from __future__ import annotations

import asyncio
import gc
import signal
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any

from oms.access import access_for
from oms.service.daemon import open_oms
from oms.service.lifetime import LossWord
from oms.service.subsystem import Oms
from oms.settings import Settings
from oms.telemetry import MetricsServer, serve_metrics


async def run_daemon(
    settings: Settings,
    *,
    ready: Callable[[], None] | None = None,
    accept_loss: LossWord | None = None,
    address: str = "",
    beside: Callable[[Oms], AbstractAsyncContextManager[None]] | None = None,
) -> int:
    """Run until SIGTERM or SIGINT, or until the log cannot be written; returns the exit code.

    `beside` is what goes on while it runs, such as the service for other programs at `address`.
    """
    server = _serve_metrics(settings) if settings.metrics_port else None
    try:
        return await _run(settings, ready, accept_loss, address, beside)
    finally:
        if server is not None:
            server.stop()


def _serve_metrics(settings: Settings) -> MetricsServer:
    host, password = settings.metrics_host, settings.web_password.get_secret_value()
    return serve_metrics(
        host, settings.metrics_port, access_for(host, settings.web_hosts, password)
    )


async def _run(
    settings: Settings,
    ready: Callable[[], None] | None,
    accept_loss: LossWord | None,
    address: str,
    beside: Callable[[Oms], AbstractAsyncContextManager[None]] | None,
) -> int:
    opened = open_oms(settings, actor="daemon", accept_loss=accept_loss, address=address)
    async with opened as oms, beside(oms) if beside is not None else nullcontext():
        _stop_on_signals(oms.stopping)
        _spare_the_collector()
        if ready is not None:
            ready()
        stopped = asyncio.ensure_future(oms.stopping.wait())
        waiting: set[asyncio.Future[Any]] = {stopped, oms.failure}
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
    # Also what failed while it stopped: then the log lacks what IB said last.
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


def _stop_on_signals(stopping: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        try:
            loop.add_signal_handler(number, stopping.set)
        except NotImplementedError:  # Windows: the loop has no signal handlers
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(stopping.set))
