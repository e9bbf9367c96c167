"""Program messages have one shape, whoever writes them."""

from __future__ import annotations

import base64
import http.client
import io
import json
import logging
import unicodedata
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest
import structlog

from oms import telemetry
from oms.access import Access
from oms.errors import ConfigurationError


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


OPEN = Access(frozenset({"127.0.0.1"}))


def written(level: str = "INFO", log_format: telemetry.LogFormat = "json") -> io.StringIO:
    stream = io.StringIO()
    telemetry.configure(level, log_format, stream)
    return stream


def test_message_is_one_json_object_named_by_its_action() -> None:
    stream = written()
    telemetry.get_logger("store").info("append_failed", sequence=7, price=Decimal("1.10"))
    line = json.loads(stream.getvalue())
    at = datetime.fromisoformat(line.pop("at"))
    assert at.utcoffset() == datetime.now(UTC).utcoffset()
    assert line == {
        "action": "append_failed",
        "level": "info",
        "price": "1.10",
        "room": "store",
        "sequence": 7,
    }


def test_libraries_speak_through_the_same_door() -> None:
    stream = written()
    logging.getLogger("ib_async.client").error("Peer closed %s", "connection")
    line = json.loads(stream.getvalue())
    line.pop("at")
    assert line == {
        "action": "library_message",
        "level": "error",
        "library": "ib_async.client",
        "message": "Peer closed connection",
    }


def test_chatter_of_libraries_is_left_out() -> None:
    stream = written()
    for name in ("ib_async.wrapper", "sqlalchemy.engine.Engine", "alembic.runtime.migration"):
        logging.getLogger(name).info("chatter")
    assert stream.getvalue() == ""


def test_exception_keeps_its_traceback_in_both_doors() -> None:
    stream = written()
    try:
        raise ValueError("disk on fire")
    except ValueError:
        telemetry.get_logger("store").exception("append_failed")
        logging.getLogger("sqlalchemy").exception("it broke")
    for line in map(json.loads, stream.getvalue().splitlines()):
        assert line["exception"][0]["exc_value"] == "disk on fire"


def test_below_the_level_nothing_is_written() -> None:
    stream = written("WARNING")
    telemetry.get_logger("store").info("batch_committed")
    logging.getLogger("some.library").info("hello")
    assert stream.getvalue() == ""


def test_people_get_one_readable_line() -> None:
    stream = written(log_format="console")
    telemetry.get_logger("store").info("lease_taken", holder="desk")
    (line,) = stream.getvalue().splitlines()
    assert "lease_taken" in line
    assert "holder=desk" in line
    assert "{" not in line


def test_auto_means_json_where_there_is_no_terminal() -> None:
    stream = written(log_format="auto")
    telemetry.get_logger("store").info("lease_taken")
    assert json.loads(stream.getvalue())["action"] == "lease_taken"


#: Every character that is neither shown as it is nor a space.
HOSTILE = "".join(
    one
    for one in map(chr, range(0x110000))
    if unicodedata.category(one) in {"Cc", "Cf", "Zl", "Zp"}
)


@pytest.mark.parametrize("log_format", ["console", "json"])
def test_text_of_others_commands_no_terminal(log_format: telemetry.LogFormat) -> None:
    """An order's reference is set by any client of the login."""
    stream = written(log_format=log_format)
    telemetry.get_logger("store").info("order_seen", order_ref=HOSTILE, short="\x1b[2J")
    logging.getLogger("ib_async").warning("said %s", HOSTILE)
    try:
        raise ValueError(HOSTILE)
    except ValueError:
        telemetry.get_logger("store").error("failed", exc_info=True)
    said = stream.getvalue()
    assert not set(said) & (set(HOSTILE) - set("\n\t"))
    assert "\\u001b[2J" in said


def test_metrics_are_served_until_stopped() -> None:
    telemetry.GAP_OPEN.set(1)
    server = telemetry.serve_metrics("127.0.0.1", 0, OPEN)
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    server.stop()
    assert "oms_gap_open 1.0" in text.splitlines()
    with pytest.raises(ConnectionRefusedError):
        connection.request("GET", "/metrics")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 421),
        ({}, 401),
        ({"Authorization": "Basic " + base64.b64encode(b"prometheus:secret").decode()}, 200),
    ],
    ids=["another name", "no password", "password"],
)
def test_metrics_are_served_to_who_may_ask(headers: dict[str, str], status: int) -> None:
    server = telemetry.serve_metrics("127.0.0.1", 0, replace(OPEN, password="secret"))
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
    try:
        connection.request("GET", "/metrics", headers=headers)
        answer = connection.getresponse()
        assert answer.status == status
        assert (b"oms_gap_open" in answer.read()) == (status == 200)
    finally:
        connection.close()
        server.stop()


def test_taken_metrics_port_is_a_configuration_error() -> None:
    server = telemetry.serve_metrics("127.0.0.1", 0, OPEN)
    try:
        with pytest.raises(ConfigurationError, match="metrics cannot be served on 127"):
            telemetry.serve_metrics("127.0.0.1", server.port, OPEN)
    finally:
        server.stop()


def test_every_metric_explains_itself() -> None:
    rows = telemetry.describe_metrics()
    assert {row.name for row in rows} >= {
        "oms_events_appended_total",
        "oms_gap_open",
        "oms_breaks_open",
        "oms_oldest_doubt_seconds",
    }
    for row in rows:
        assert row.name.startswith("oms_"), row
        assert row.kind in {"counter", "gauge", "histogram"}, row
        assert row.description.endswith("."), row
