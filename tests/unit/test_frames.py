"""From bytes to frames: whole ones in order, however they come, and nothing that IB cannot send."""

from __future__ import annotations

import asyncio
import struct
from datetime import UTC, datetime, timedelta

import pytest

from oms.broker.frames import FRAME_BYTES_MAX, SLICE_SECONDS, Frames

MESSAGES = [b"9\x001\x007\x00", b"4\x002\x00-1\x002104\x00ok\x00\x00", b"15\x001\x00DU1\x00"]

MIDNIGHT = datetime(2026, 1, 5, tzinfo=UTC)


def framed(message: bytes) -> bytes:
    return struct.pack(">I", len(message)) + message


class Line:
    """A socket whose frames are taken, and what was refused."""

    def __init__(self) -> None:
        self.taken: list[bytes] = []
        #: When each frame came, in seconds.
        self.came: list[float] = []
        self.refused: list[str] = []
        self.reading: list[str] = []
        self.now = 0.0
        self.seconds_a_frame = 0.0
        self.log_is_full = False
        self.frames = Frames(
            take=self.take,
            refuse=self.refused.append,
            socket=lambda: self,
            now=lambda: MIDNIGHT + timedelta(seconds=self.now),
            monotonic=lambda: self.now,
            must_wait=lambda: self.log_is_full,
        )

    def take(self, frame: bytes, came: datetime) -> None:
        self.taken.append(frame)
        self.came.append((came - MIDNIGHT).total_seconds())
        self.now += self.seconds_a_frame

    def pause_reading(self) -> None:
        self.reading.append("pause")

    def resume_reading(self) -> None:
        self.reading.append("resume")


@pytest.mark.parametrize("size", [1, 2, 5, 1_000])
def test_frames_come_whole_and_in_order_however_the_bytes_come(size: int) -> None:
    line = Line()
    stream = b"".join(map(framed, MESSAGES))
    for start in range(0, len(stream), size):
        line.frames.feed(stream[start : start + size])
    assert line.taken == [framed(message) for message in MESSAGES]
    assert (line.frames.waiting_bytes, line.refused) == (0, [])


@pytest.mark.parametrize("length", [0, FRAME_BYTES_MAX + 1, 2**31 - 1, 2**32 - 1])
def test_a_length_that_ib_does_not_send_ends_the_stream(length: int) -> None:
    line = Line()
    line.frames.feed(framed(MESSAGES[0]) + struct.pack(">I", length) + framed(MESSAGES[1]))
    line.frames.feed(framed(MESSAGES[2]))
    assert line.taken == [framed(MESSAGES[0])]
    assert [f"{length:,} bytes" in reason for reason in line.refused] == [True]


def test_the_next_connection_begins_with_a_frame() -> None:
    line = Line()
    line.frames.feed(framed(MESSAGES[0])[:-2])
    line.frames.finish()
    line.frames.feed(framed(MESSAGES[1]))
    assert line.taken == [framed(MESSAGES[1])]


async def test_the_loop_has_its_turn_and_the_socket_waits() -> None:
    """A slice is short, and no more is read until what has come is taken."""
    line = Line()
    line.seconds_a_frame = SLICE_SECONDS / 16
    line.frames.feed(framed(MESSAGES[0]) * 100)
    assert (len(line.taken), line.reading) == (16, ["pause"])
    while line.frames.behind:  # noqa: ASYNC110 - the loop's turns are what is tested
        await asyncio.sleep(0)
    assert (len(line.taken), line.reading) == (100, ["pause", "resume"])


async def test_a_hold_of_the_log_is_counted_and_a_flood_is_none() -> None:
    line = Line()
    line.frames.feed(framed(MESSAGES[0]))
    for _ in range(100):
        line.log_is_full = True
        line.frames.feed(framed(MESSAGES[0]))
        line.now += 0.5
        line.log_is_full = False
        line.frames._slice()
    assert (len(line.taken), line.frames.held_seconds) == (101, 0.0)
    line.log_is_full = True
    line.frames.feed(framed(MESSAGES[0]))
    for _ in range(30):
        line.now += 1
        line.frames._slice()
    assert line.frames.held_seconds == 30
    line.log_is_full = False
    line.now += 2
    line.frames._slice()
    assert line.frames.held_seconds == 32
    line.frames.finish()


async def test_no_more_is_taken_while_the_log_has_much_to_write() -> None:
    line = Line()
    line.log_is_full = True
    line.frames.feed(framed(MESSAGES[0]) * 100)
    line.frames._slice()  # A later look, while the log still has too much.
    assert (len(line.taken), line.reading) == (0, ["pause"])
    line.log_is_full = False
    while line.frames.behind:  # noqa: ASYNC110 - the loop's turns are what is tested
        await asyncio.sleep(0)
    assert len(line.taken) == 100


async def test_what_had_come_is_taken_when_the_socket_goes() -> None:
    line = Line()
    line.log_is_full = True
    line.frames.feed(framed(MESSAGES[0]) * 100)
    line.frames.finish()
    assert (len(line.taken), line.frames.behind) == (100, False)


async def test_a_frame_came_when_its_last_byte_was_read_however_long_it_waits() -> None:
    line = Line()
    line.log_is_full = True
    first, second = framed(MESSAGES[0]) * 20, framed(MESSAGES[1])
    line.frames.feed(first)
    line.now = 1.0
    line.frames.feed(second[:3])
    line.now = 2.0
    line.frames.feed(second[3:])
    line.now = 9.0
    line.log_is_full = False
    while line.frames.behind:  # noqa: ASYNC110 - the loop's turns are what is tested
        await asyncio.sleep(0)
    assert line.came == [0.0] * 20 + [2.0]


def test_a_frame_in_two_packets_came_with_the_second() -> None:
    line = Line()
    both = framed(MESSAGES[0]) + framed(MESSAGES[1])
    line.frames.feed(both[:-4])
    line.now = 1.0
    line.frames.feed(both[-4:] + framed(MESSAGES[2]))
    assert line.came == [0.0, 1.0, 1.0]


def test_two_packets_that_are_split_at_any_byte_are_the_same_frames() -> None:
    stream = b"".join(map(framed, MESSAGES))
    for at in range(len(stream) + 1):
        line = Line()
        line.frames.feed(stream[:at])
        line.frames.feed(stream[at:])
        assert line.taken == [framed(message) for message in MESSAGES], at


@pytest.mark.parametrize("at", range(5))
def test_a_length_of_two_gigabytes_is_refused_with_its_last_byte(at: int) -> None:
    """Before that it may be any other; after it nothing more is kept."""
    line = Line()
    bad = struct.pack(">I", 2**31 - 1)
    line.frames.feed(framed(MESSAGES[0]) + bad[:at])
    assert line.refused == [] or at == 4
    line.frames.feed(bad[at:] + bytes(1_000_000))
    assert len(line.refused) == 1
    kept = line.frames.waiting_bytes
    line.frames.feed(bytes(1_000_000))
    assert line.frames.waiting_bytes == kept
