"""Program messages and metrics: how the OMS tells an operator how it is doing.

Program messages are not the log. The log holds facts and is kept for ever; program messages say
what the program does and may be lost. Each has a stable machine name in `action` (an API: alerts
and crash tests match on it; `docs/reference/log-actions.md` lists them) and carries the same ids as
the events: `sequence`, `order_id`, `session_epoch`, `run_id`. structlog calls that key `event`; the
word is ours, so it is renamed.

They go to stderr, because stdout is for results. `configure` sets that up for a process of our own;
a program that embeds the OMS keeps its own structlog configuration, and ours follows it.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import sys
import threading
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from socketserver import ThreadingMixIn
from typing import Final, Literal, TextIO, cast
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, make_wsgi_app
from structlog.typing import EventDict, ExcInfo, FilteringBoundLogger, Processor, WrappedLogger

from oms.access import Access
from oms.core.shown import shown
from oms.errors import ConfigurationError

LogFormat = Literal["auto", "console", "json"]

#: The key that holds the machine name of a program message.
ACTION: Final = "action"
#: The action of every message that a library wrote through the standard library's logging.
LIBRARY_ACTION: Final = "library_message"

#: Libraries that are too talkative at their own level. ib_async formats whole orders at INFO, and
#: what it has to say about them is in the log already, verbatim.
_LIBRARY_LEVELS: Final = {
    "ib_async": logging.WARNING,
    "eventkit": logging.WARNING,
    "sqlalchemy": logging.WARNING,
    "alembic": logging.WARNING,
    "asyncio": logging.WARNING,
    "uvicorn.access": logging.WARNING,
}


def get_logger(room: str) -> FilteringBoundLogger:
    """Return the logger of a room of the house, such as `store` or `service.reconciler`.

    The first argument of each call is the action; everything else is keyword fields.
    """
    return cast(FilteringBoundLogger, structlog.get_logger(room=room))


def configure(
    level: str = "INFO", log_format: LogFormat = "auto", stream: TextIO | None = None
) -> None:
    """Send program messages, and what libraries log, to `stream` (stderr) in one format.

    Call it before the first message: a logger keeps what it finds at its first use. `auto` is the
    console format on a terminal and one JSON object a line elsewhere.
    """
    out = stream if stream is not None else sys.stderr
    chosen = log_format if log_format != "auto" else "console" if out.isatty() else "json"
    threshold = logging.getLevelNamesMapping()[level]
    common: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
        structlog.processors.EventRenamer(ACTION),
    ]
    renderers = _renderers(chosen, colours=out.isatty())
    structlog.configure(
        processors=[*common, *renderers],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.PrintLoggerFactory(cast(TextIO, _Forgiving(out))),
        cache_logger_on_first_use=True,
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[_name_library, *common],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderers],
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(formatter)
    logging.basicConfig(handlers=[handler], level=threshold, force=True)
    for name, least in _LIBRARY_LEVELS.items():
        logging.getLogger(name).setLevel(max(least, threshold))


class _Forgiving:
    """A stream that takes no answer for a loss: what a message tells of matters more than it does.

    Messages often go to a file on the same disk as the log. Were it full, the message that says so
    would raise in the very code that stops trading.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError):
            return self._stream.write(text)
        return 0

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            self._stream.flush()


def _renderers(chosen: str, *, colours: bool) -> list[Processor]:
    if chosen == "console":
        console = structlog.dev.ConsoleRenderer(
            colors=colours,
            event_key=ACTION,
            timestamp_key="at",
            exception_formatter=_write_traceback,
        )
        return [_as_shown, console]
    return [
        structlog.processors.dict_tracebacks,
        # As text: a Decimal or a path in a message must not cost us the message.
        structlog.processors.JSONRenderer(default=str),
    ]


def _as_shown(_: WrappedLogger, __: str, fields: EventDict) -> EventDict:
    """Write out what a terminal would obey; JSON does so by itself."""
    return {key: shown(value) if isinstance(value, str) else value for key, value in fields.items()}


def _write_traceback(out: TextIO, error: ExcInfo) -> None:
    out.write("\n" + shown("".join(traceback.format_exception(*error))))


def _name_library(_: WrappedLogger, __: str, fields: EventDict) -> EventDict:
    """Keep a library's free text out of `action`, whose values are an API."""
    record = fields["_record"]
    fields["library"] = record.name
    fields["message"] = fields["event"]
    fields["event"] = LIBRARY_ACTION
    return fields


# ── metrics ──────────────────────────────────────────────────────────────────────────────────────

REGISTRY: Final = CollectorRegistry(auto_describe=True)

EVENTS_APPENDED: Final = Counter(
    "oms_events_appended",
    "Events that this daemon made durable, by type.",
    ["type"],
    registry=REGISTRY,
)
APPEND_SECONDS: Final = Histogram(
    "oms_append_seconds",
    "Time of one append transaction, from the first event taken to the commit.",
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5),
    registry=REGISTRY,
)
QUEUE_LENGTH: Final = Gauge(
    "oms_append_queue_length",
    "Events that wait for the disk. At OMS_QUEUE_LENGTH_MAX trading stops.",
    registry=REGISTRY,
)
OLDEST_WAITING_SECONDS: Final = Gauge(
    "oms_append_oldest_seconds",
    "How long the event that waits for the disk longest has waited; 0 when none waits.",
    registry=REGISTRY,
)
HEAD_SEQUENCE: Final = Gauge(
    "oms_head_sequence", "Sequence of the last event in the log.", registry=REGISTRY
)
SESSION_UP: Final = Gauge(
    "oms_session_up",
    "1 while a session with the gateway is ready and orders may leave, else 0.",
    registry=REGISTRY,
)
SESSION_EPOCH: Final = Gauge(
    "oms_session_epoch", "Number of the current or last session.", registry=REGISTRY
)
GAP_OPEN: Final = Gauge(
    "oms_gap_open",
    "1 while the broker may know things that we do not, else 0.",
    registry=REGISTRY,
)
ORDERS_IN_DOUBT: Final = Gauge(
    "oms_orders_in_doubt", "Orders whose outcome is not known.", registry=REGISTRY
)
OLDEST_DOUBT_SECONDS: Final = Gauge(
    "oms_oldest_doubt_seconds",
    "Age of the oldest order in doubt; 0 when there is none.",
    registry=REGISTRY,
)
BREAKS_OPEN: Final = Gauge(
    "oms_breaks_open",
    "Open differences between our books and the broker's, by severity.",
    ["severity"],
    registry=REGISTRY,
)
ALARMS_STANDING: Final = Gauge(
    "oms_alarms_standing",
    "Things that have lasted too long, by kind: order_silent, order_waiting, foreign_order, "
    "clock_drift, wrong_zone, unreadable_time, too_fast, outage, gap_unrecovered, stale_price, "
    "log_waits, disk_low, log_damaged, checkpoint_lost or clock_stepped.",
    ["kind"],
    registry=REGISTRY,
)
RECONCILIATIONS: Final = Counter(
    "oms_reconciliations",
    "Reconciliation runs that ended, by verdict: clean, broken or unknown.",
    ["verdict"],
    registry=REGISTRY,
)
MESSAGES_SENT: Final = Counter(
    "oms_messages_sent",
    "Order messages handed to the socket, by kind: place, cancel or global_cancel.",
    ["kind"],
    registry=REGISTRY,
)


@dataclass(frozen=True, slots=True)
class MetricsServer:
    """Where metrics are served, and how to end it."""

    port: int
    stop: Callable[[], None]


def serve_metrics(host: str, port: int, access: Access) -> MetricsServer:
    """Serve the metrics for Prometheus in a thread of their own; port 0 takes a free one.

    Raises `ConfigurationError` where the port cannot be had.
    """
    answer = make_wsgi_app(REGISTRY)

    def guarded(environ: dict[str, str], start_response: Callable[..., object]) -> Iterable[bytes]:
        """Answer whoever may ask."""
        refusal = access.refusal(
            environ.get("HTTP_HOST", ""), environ.get("HTTP_AUTHORIZATION", "")
        )
        if refusal is None:
            return cast(Iterable[bytes], answer(environ, start_response))
        headers = {"content-type": "text/plain; charset=utf-8", **refusal.headers}
        start_response(f"{refusal.status} Refused", list(headers.items()))
        return [refusal.text.encode()]

    try:
        server = make_server(host, port, guarded, _server_class(host), handler_class=_Quiet)
    except OSError as error:
        raise ConfigurationError(
            f"metrics cannot be served on {host}:{port}: {error.strerror or error}",
            hint="set OMS_METRICS_PORT to a free port, or to 0 to turn metrics off",
        ) from error

    thread = threading.Thread(target=server.serve_forever, name="oms-metrics", daemon=True)
    thread.start()

    def stop() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return MetricsServer(server.server_port, stop)


class _Quiet(WSGIRequestHandler):
    """Says nothing about each request."""

    def log_message(self, format: str, *_: object) -> None:
        """Say nothing."""


def _server_class(host: str) -> type[WSGIServer]:
    """Return a server that answers each request in a thread of its own."""

    class Server(ThreadingMixIn, WSGIServer):
        """Of the address's family."""

        daemon_threads = True
        address_family = socket.AF_INET6 if ":" in host else socket.AF_INET

    return Server


@dataclass(frozen=True, slots=True)
class MetricRow:
    """One metric as a person reads it."""

    #: As Prometheus shows it.
    name: str
    kind: str
    description: str


def describe_metrics() -> tuple[MetricRow, ...]:
    """Return one row a metric, by name."""
    rows = [
        MetricRow(
            name=f"{family.name}_total" if family.type == "counter" else family.name,
            kind=family.type,
            description=family.documentation,
        )
        for family in REGISTRY.collect()
    ]
    return tuple(sorted(rows, key=lambda row: row.name))
