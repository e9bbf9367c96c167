"""The codec keeps every event, and the chain shows every change.

Goal: `decode(encode(event)) == event` for every type with any content, in one canonical text, and
one flipped byte anywhere in the log is found at exactly its sequence.
Method: draw events from their own annotations; link a few into a chain and flip a byte of it.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from oms.core.codec import GENESIS, Header, decode, encode, link, time_text
from oms.core.events import Event
from tests import strategies
from tests.lives import START


@given(strategies.events())
def test_event_reads_back_as_it_was_written(event: Event) -> None:
    payload = encode(event)
    again = decode(type(event).__name__, event.VERSION, payload)
    assert again == event
    assert encode(again) == payload


@given(st.lists(strategies.events(), min_size=1, max_size=5), st.data())
def test_flipped_byte_breaks_the_chain_exactly_there(
    events: list[Event], data: st.DataObject
) -> None:
    payloads = [encode(e).encode() for e in events]
    hashes = _chain(events, payloads)
    at = data.draw(st.integers(0, len(events) - 1), label="event")
    byte = data.draw(st.integers(0, len(payloads[at]) - 1), label="byte")
    bit = data.draw(st.integers(0, 6), label="bit")
    flipped = bytearray(payloads[at])
    flipped[byte] ^= 1 << bit
    payloads[at] = bytes(flipped)
    assert _first_broken(events, payloads, hashes) == at


def _chain(events: list[Event], payloads: list[bytes]) -> list[bytes]:
    hashes, previous = [], GENESIS
    for n, event in enumerate(events):
        previous = link(previous, _header(n, event), _text(payloads[n]), None)
        hashes.append(previous)
    return hashes


def _first_broken(events: list[Event], payloads: list[bytes], hashes: list[bytes]) -> int | None:
    previous = GENESIS
    for n, event in enumerate(events):
        if link(previous, _header(n, event), _text(payloads[n]), None) != hashes[n]:
            return n
        previous = hashes[n]
    return None


def _text(payload: bytes) -> str:
    # A flipped bit can leave text that is not UTF-8; latin-1 keeps every byte apart.
    return payload.decode("latin-1")


def _header(n: int, event: Event) -> Header:
    return Header(
        sequence=n + 1,
        type_name=type(event).__name__,
        version=event.VERSION,
        recorded_at=time_text(START),
        occurred_at=None,
        lease_epoch=1,
        session_epoch=1,
        actor="broker",
        correlation_id=None,
        causation_sequence=None,
        natural_key=None,
    )
