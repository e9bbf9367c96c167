"""One client's session, without a socket: its host notes what it is told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from oms.sim.clock import SteppedClock
from oms.sim.gateway.faults import Action, Direction, Fault, FaultPlan
from oms.sim.gateway.observers import Observers
from oms.sim.gateway.session import Session, Shared
from oms.sim.gateway.upstream import Upstream
from oms.sim.protocol import messages
from oms.sim.protocol.errors import WireError
from oms.sim.protocol.frames import FrameReader, frame, join, split
from oms.sim.protocol.requests import Request
from oms.sim.settings import Settings

START = ("71", "2", "1", "")
TIME = ("49", "1")


def test_the_handshake_is_answered_with_the_lower_version_and_the_time() -> None:
    client = Client(server_version=170)
    client.connect("v157..178")
    assert client.heard == [["170", "20260105 12:00:00 EST"]]


def test_a_client_that_reads_no_version_served_here_is_cut() -> None:
    client = Client()
    client.connect("v179..200")
    assert (client.heard, client.socket.ended) == ([], "cut")


def test_a_request_reaches_the_host_and_its_answer_is_written_after_the_commit() -> None:
    client = Client()
    client.host.act = lambda session, _: session.send("currentTime", {"time": "7"})
    client.connect()
    client.say(*TIME)
    assert client.names() == ["currentTime"]
    assert client.host.told[-2:] == ["reqCurrentTime", "commit"]
    assert client.socket.written_after == client.host.told


def test_a_request_that_the_host_cannot_read_ends_the_session_with_320() -> None:
    client = Client()
    client.host.act = _raising(WireError("no"))
    client.connect()
    client.say(*TIME)
    assert (client.names(), client.socket.ended) == (["errMsg 320"], "closed")


def test_a_mistake_of_the_host_is_answered_with_322_and_the_session_goes_on() -> None:
    client = Client()
    client.host.act = _raising(ArithmeticError("ours"))
    client.connect()
    client.say(*TIME)
    assert (client.names(), client.socket.ended) == (["errMsg 322"], "")


def test_too_many_messages_a_second_get_100_and_the_third_time_ends_it() -> None:
    client = Client(messages_per_second=2)
    client.connect()
    for _ in range(3):
        client.say(*TIME)
    assert client.names() == ["errMsg 100"]
    client.clock.advance(2)
    for _ in range(6):
        client.say(*TIME)
    assert (client.names(), client.socket.ended) == (["errMsg 100"] * 3, "closed")


def test_a_held_request_is_acted_on_when_the_host_says_so() -> None:
    client = Client()
    client.connect()
    client.strike(Direction.IN, "reqCurrentTime", Action.HOLD)
    client.say(*TIME)
    assert client.host.told == ["opened", "commit", "holds", "commit"]
    client.session.act_on_held()
    assert client.host.told[-1] == "reqCurrentTime"


def test_what_a_held_answer_holds_is_struck_by_faults_when_it_is_released() -> None:
    client = Client()
    client.connect()
    client.strike(Direction.OUT, "currentTime", Action.HOLD)
    client.session.send("currentTime", {"time": "1"})
    client.session.send("currentTime", {"time": "2"})
    client.strike(Direction.OUT, "currentTime", Action.DUPLICATE)
    client.session.release_output()
    client.session.flush()
    assert client.names() == ["currentTime"] * 3


def test_a_late_message_comes_after_a_raw_one_as_after_any_other() -> None:
    client = Client()
    client.connect()
    client.strike(Direction.OUT, "currentTime", Action.REORDER)
    client.session.send("currentTime", {"time": "1"})
    client.session.send_raw(messages.encode("currentTime", client.session.version, {"time": "2"}))
    client.session.flush()
    assert [fields[-1] for fields in client.heard[-2:]] == ["2", "1"]


def test_a_refused_start_is_told_why_and_shown_the_door() -> None:
    client = Client()
    client.connect()
    client.strike(Direction.IN, "startApi", Action.REFUSE, code=326, text="in use")
    client.say(*START)
    assert (client.names(), client.socket.ended) == (["errMsg 326"], "closed")


def test_a_cut_within_a_frame_comes_after_the_books_are_durable() -> None:
    client = Client()
    client.connect()
    client.strike(Direction.OUT, "currentTime", Action.CUT, at_byte=6)
    client.session.send("currentTime", {"time": "7"})
    assert client.socket.bytes[-6:] == frame(join(["49", "1", "7"]))[:6]
    assert client.socket.written_after == ["opened", "commit", "commit"]
    assert client.socket.ended == "closed"


def test_a_delayed_message_is_written_nowhere_once_the_socket_is_lost() -> None:
    client = Client()
    client.connect()
    client.strike(Direction.OUT, "currentTime", Action.DELAY, delay=timedelta(seconds=1))
    client.session.send("currentTime", {"time": "7"})
    client.session.connection_lost(None)
    before = client.host.touches
    client.clock.advance(1)
    assert client.host.touches == before


def test_reports_wait_while_the_line_is_down_and_ticks_are_lost() -> None:
    client = Client()
    client.connect()
    client.shared.upstream.up = False
    for name in ("orderStatus", "tickPrice", "errMsg"):
        client.session.send(name)
    client.session.flush()
    assert client.names() == ["errMsg "]
    assert [one.name for one in client.session.reports_waiting] == ["orderStatus"]
    with client.shared.upstream.answering():
        client.session.send("orderStatus")
    client.session.flush()
    assert client.names() == ["errMsg ", "orderStatus"]


def test_a_slow_reader_takes_so_many_bytes_a_second_and_stops_the_socket_meanwhile() -> None:
    client = Client()
    client.connect()
    client.session.slow_reads(200)
    client.say(*TIME)
    assert (client.socket.paused, client.host.told[-1]) == (True, "commit")
    client.clock.advance(0.05)
    assert (client.socket.paused, client.host.told[-2:]) == (False, ["reqCurrentTime", "commit"])


def test_a_half_open_session_reads_and_writes_nothing() -> None:
    client = Client()
    client.connect()
    client.session.freeze()
    client.say(*TIME)
    client.session.send("currentTime", {"time": "7"})
    client.session.flush()
    assert (client.names(), client.host.told, client.socket.ended) == ([], ["opened", "commit"], "")


# -- the client, its socket and the host ----------------------------------------------------------


class Host:
    """Notes what a session reports; `act` answers requests."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.touches = 0
        self.act: Callable[[Session, Request], None] = lambda *_: None
        self.session: Session | None = None

    def opened(self, session: Session) -> None:
        self.session = session
        self.told.append("opened")

    def closed(self, session: Session) -> None:
        self.told.append("closed")

    def receive(self, session: Session, request: Request) -> None:
        self.told.append(request.name)
        self.act(session, request)

    def holds(self, session: Session) -> None:
        self.told.append("holds")

    def touched(self, session: Session) -> None:
        self.touches += 1

    def commit(self) -> None:
        self.told.append("commit")

    def flush(self) -> None:
        self.commit()
        if self.session is not None:
            self.session.flush()


class Socket(asyncio.Transport):
    """Keeps what is written to it, and how it ended."""

    def __init__(self, host: Host) -> None:
        super().__init__()
        self.bytes = b""
        self.ended = ""
        self.paused = False
        self.written_after: list[str] = []
        self._host = host

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if data:
            self.bytes += bytes(data)
            self.written_after = list(self._host.told)

    def close(self) -> None:
        self.ended = self.ended or "closed"

    def abort(self) -> None:
        self.ended = self.ended or "cut"

    def is_closing(self) -> bool:
        return bool(self.ended)

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False


class Client:
    """A session with everything around it."""

    def __init__(self, **settings: Any) -> None:
        self.clock = SteppedClock(datetime(2026, 1, 5, 17, tzinfo=UTC))
        self.shared = Shared(
            Settings(**settings),
            self.clock,
            ZoneInfo("America/New_York"),
            FaultPlan(),
            Observers(),
            Upstream(),
        )
        self.host = Host()
        self.socket = Socket(self.host)
        self.session = Session(self.shared, self.host)

    def connect(self, versions: str = "v157..178") -> None:
        """Connect and shake hands."""
        self.session.connection_made(self.socket)
        self.session.data_received(b"API\0" + frame(versions.encode()))

    def say(self, *fields: str) -> None:
        self.session.data_received(frame(join(fields)))

    def strike(self, direction: Direction, message: str, action: Action, **rest: Any) -> None:
        """Put a fault of one message in force."""
        self.shared.faults.add(Fault(direction, message, action, **rest))

    @property
    def heard(self) -> list[list[str]]:
        return [split(payload) for payload in FrameReader().feed(self.socket.bytes)]

    def names(self) -> list[str]:
        """The names of the messages after the handshake, errors with their code."""
        told = [messages.decode(178, fields) for fields in self.heard[1:]]
        return [f"{name} {row['code']}" if name == "errMsg" else name for name, row in told]


def _raising(error: Exception) -> Callable[[Session, Request], None]:
    def act(session: Session, request: Request) -> None:
        raise error

    return act
