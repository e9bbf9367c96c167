"""One direction between a client and the gateway, without a socket, by a stepped clock."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from oms.sim.clock import SteppedClock
from oms.sim.gateway.faults import ACTIONS, Action, Direction, Fault
from oms.sim.gateway.link import Link
from oms.sim.protocol.errors import WireError
from oms.sim.protocol.frames import join
from oms.sim.protocol.messages import ServerMessage, encode
from oms.sim.protocol.requests import PLACE_ORDER, parse

IN, OUT = Direction.IN, Direction.OUT


@dataclass(frozen=True)
class Word:
    """A message that is its own payload."""

    text: str

    def edited(self, changes: Mapping[str, str]) -> Word:
        return Word(changes.get("text", self.text))

    def bent(self, bend: Callable[[bytes], bytes]) -> Word:
        return Word(bend(self.text.encode()).decode())


@dataclass
class End:
    """A link, the clock it lives by, and what has come out at its other end."""

    direction: Direction = OUT
    clock: SteppedClock = field(
        default_factory=lambda: SteppedClock(datetime(2026, 1, 5, 17, tzinfo=UTC))
    )
    came: list[str] = field(default_factory=list)
    cuts: list[tuple[str, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.link: Link[Word] = Link(
            self.direction,
            self.clock,
            deliver=lambda word: self.came.append(word.text),
            cut=lambda word, at: self.cuts.append((word.text, at)),
        )

    def take(self, text: str, action: Action | None = None, **parameters: Any) -> list[str]:
        """Give a message to the link, struck by a fault or not; return what has come so far."""
        fault = Fault(self.direction, "*", action, **parameters) if action is not None else None
        self.link.take(Word(text), fault)
        return self.came


@pytest.mark.parametrize("direction", Direction)
def test_messages_come_in_their_order(direction: Direction) -> None:
    end = End(direction)
    assert [list(end.take(text)) for text in "abc"] == [["a"], ["a", "b"], ["a", "b", "c"]]


def test_a_dropped_message_never_comes() -> None:
    end = End()
    end.take("a", Action.DROP)
    end.clock.advance(1e6)
    assert end.take("b") == ["b"]


def test_a_refused_message_goes_no_further() -> None:
    assert End(IN).take("a", Action.REFUSE, code=321) == []


def test_a_duplicate_comes_twice() -> None:
    assert End().take("a", Action.DUPLICATE) == ["a", "a"]


def test_a_delayed_message_comes_when_its_time_has_come_and_not_before() -> None:
    end = End()
    end.take("a", Action.DELAY, delay=timedelta(seconds=2))
    assert end.take("b") == ["b"]
    end.clock.advance(1.999)
    assert end.came == ["b"]
    end.clock.advance(0.001)
    assert end.came == ["b", "a"]


def test_a_reordered_message_comes_after_the_next_one() -> None:
    end = End()
    assert end.take("a", Action.REORDER) == []
    assert end.take("b") == ["b", "a"]
    assert end.take("c") == ["b", "a", "c"]


def test_reordered_messages_wait_for_one_that_passes_and_none_is_lost() -> None:
    end = End()
    end.take("a", Action.REORDER)
    assert end.take("b", Action.REORDER) == []
    assert end.take("c") == ["c", "a", "b"]


def test_a_reordered_message_follows_what_went_past_the_link() -> None:
    end = End()
    end.take("a", Action.REORDER)
    end.link.overtaken()
    assert end.came == ["a"]


def test_an_outgoing_hold_stops_everything_after_it_until_release() -> None:
    end = End(OUT)
    end.take("a", Action.HOLD)
    assert end.take("b") == []
    assert end.take("c", Action.DROP) == []
    assert [word.text for word in end.link.release()] == ["a", "b", "c"]
    assert end.take("d") == ["d"]


def test_an_incoming_hold_keeps_that_message_and_lets_others_pass() -> None:
    end = End(IN)
    end.take("a", Action.HOLD)
    assert end.take("b") == ["b"]
    assert [word.text for word in end.link.held] == ["a"]
    assert [word.text for word in end.link.release()] == ["a"]
    assert not end.link.held


def test_a_message_whose_answer_is_held_comes_at_once() -> None:
    assert End(IN).take("a", Action.HOLD_ANSWER) == ["a"]


def test_a_stopped_link_holds_what_comes() -> None:
    end = End()
    end.link.stop()
    assert end.take("a") == []
    assert len(end.link.release()) == 1


@pytest.mark.parametrize(("at_byte", "left"), [(0, "ab"), (1, "a"), (3, "abc"), (9, "abcd")])
def test_a_truncated_message_ends_at_the_byte_or_half_way(at_byte: int, left: str) -> None:
    assert End().take("abcd", Action.TRUNCATE, at_byte=at_byte) == [left]


@pytest.mark.parametrize(
    ("text", "at_byte", "came"),
    [("abcd", 0, "#bcd"), ("abcd", 3, "abc#"), ("abcd", 5, "a#cd"), ("a#cd", 1, "a$cd")],
)
def test_a_corrupt_byte_is_always_another_one(text: str, at_byte: int, came: str) -> None:
    assert End().take(text, Action.CORRUPT, at_byte=at_byte) == [came]


def test_an_edited_message_has_the_texts_that_were_set() -> None:
    assert End().take("a", Action.EDIT, set={"text": "z"}) == ["z"]


def test_a_cut_ends_the_connection_at_a_byte_and_delivers_nothing() -> None:
    end = End()
    assert end.take("a", Action.CUT, at_byte=7) == []
    assert end.cuts == [("a", 7)]


@pytest.mark.parametrize("direction", Direction)
def test_every_action_of_a_direction_is_done_or_cuts(direction: Direction) -> None:
    for action in ACTIONS[direction]:
        end = End(direction)
        end.take("abcd", action)
        assert bool(end.cuts) is (action is Action.CUT), action


def test_bytes_pass_until_the_cut() -> None:
    link = End().link
    assert (link.passing(b"abc"), link.is_cut) == (b"abc", False)
    link.cut_after(4)
    assert (link.passing(b"abc"), link.is_cut) == (b"abc", False)
    assert (link.passing(b"abc"), link.is_cut) == (b"a", True)
    assert (link.passing(b"abc"), link.is_cut) == (b"", True)


def test_a_message_for_a_client_is_edited_by_name_and_bent_as_bytes() -> None:
    message = ServerMessage("managedAccts", 178, {"accounts": "DU1"})
    assert message.payload == join(encode("managedAccts", 178, {"accounts": "DU1"}))
    assert message.edited({"accounts": "DU2"}).payload == b"15\x001\x00DU2\x00"
    assert message.bent(lambda payload: payload[:6]).payload == b"15\x001\x00D"


def test_a_request_that_is_bent_or_edited_is_read_again() -> None:
    fields = PLACE_ORDER.encode(178, {"id": "3", "orderId": "1", "totalQuantity": "5"})
    request = parse(178, fields)
    assert request.edited({"totalQuantity": "7"}).values["totalQuantity"] == "7"
    assert request.bent(lambda payload: payload).values == request.values
    with pytest.raises(WireError, match="totalQuantity"):
        request.edited({"totalQuantity": "many"})
    with pytest.raises(WireError, match="missing"):
        request.bent(lambda payload: payload[:8])
