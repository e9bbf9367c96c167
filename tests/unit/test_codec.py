"""The text that the hash covers: canonical, readable, and one link after the other."""

from __future__ import annotations

from decimal import Decimal

import pytest

from oms.core import codec
from oms.core.codec import (
    GENESIS,
    Header,
    check_header_text,
    decode,
    decode_wire,
    encode,
    encode_wire,
    link,
    natural_key,
    same_fact,
    time_text,
)
from oms.core.events import (
    CommissionReceived,
    ExecutionReceived,
    GapOpened,
    OrderStatusReceived,
    Stamp,
)
from oms.errors import UnknownEventType
from tests.lives import START, Life, play

RECEIVED = Stamp(START, 178, 1)
SENT = Stamp(START, 178)
HEADER = Header(
    sequence=1,
    type_name="GapOpened",
    version=1,
    recorded_at="2026-03-02T14:30:00.000000+00:00",
    occurred_at=None,
    lease_epoch=1,
    session_epoch=0,
    actor="daemon",
    correlation_id=None,
    causation_sequence=None,
    natural_key=None,
)


def test_text_is_canonical() -> None:
    event = OrderStatusReceived(
        broker_order_id=1,
        status="Submitted",
        filled=Decimal("0.10"),
        remaining=Decimal("9.90"),
        perm_id=7,
        client_id=1,
    )
    assert encode(event) == (
        '{"broker_order_id":1,"status":"Submitted","filled":"0.10","remaining":"9.90",'
        '"perm_id":7,"parent_broker_order_id":0,"client_id":1,"why_held":""}'
    )


@pytest.mark.parametrize(
    ("name", "version", "payload", "match"),
    [
        ("Nonsense", 1, "{}", "not known"),
        ("GapOpened", 2, '{"cause":"x"}', "newer"),
        ("GapOpened", 0, '{"cause":"x"}', "no upcaster"),
        ("GapOpened", 1, '{"reason":"x"}', "cannot be read"),
        ("GapOpened", 1, '{"cause":', "cannot be read"),
    ],
)
def test_what_this_program_does_not_know_is_refused(
    name: str, version: int, payload: str, match: str
) -> None:
    with pytest.raises(UnknownEventType, match=match):
        decode(name, version, payload)


def test_older_shape_is_lifted_step_by_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(GapOpened, "VERSION", 3)
    monkeypatch.setitem(codec.UPCASTERS, ("GapOpened", 1), lambda t: t.replace("why", "reason"))
    monkeypatch.setitem(codec.UPCASTERS, ("GapOpened", 2), lambda t: t.replace("reason", "cause"))
    assert decode("GapOpened", 1, '{"why":"1100"}') == GapOpened(cause="1100")


@pytest.mark.parametrize(
    "fields", [None, (), ("3", "1", "Submitted"), ("", "Zürich", "a\x1fb", 'quote"')]
)
def test_wire_text_reads_back(fields: tuple[str, ...] | None) -> None:
    for stamp in (None, RECEIVED, SENT) if fields is not None else (None,):
        assert decode_wire(encode_wire(fields, stamp)) == (fields, stamp)


def test_wire_text_that_is_not_utf8_stays_readable() -> None:
    broken = b"caf\xe9".decode("utf-8", "surrogateescape")
    assert decode_wire(encode_wire(("4", broken), RECEIVED)) == (("4", "caf\\udce9"), RECEIVED)


def test_wire_text_says_when_a_message_passed_the_socket() -> None:
    assert encode_wire(("3", "1"), RECEIVED) == (
        '{"received_at":"2026-03-02T14:30:00.000000+00:00","server":178,"decoder":1,'
        '"fields":["3","1"]}'
    )
    assert encode_wire(("4", "1"), SENT) == (
        '{"sent_at":"2026-03-02T14:30:00.000000+00:00","server":178,"fields":["4","1"]}'
    )


def test_wire_text_of_a_log_before_there_were_stamps_is_read() -> None:
    assert decode_wire('["3","1"]') == (("3", "1"), None)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "7",
        "{}",
        '{"received_at":"noon","server":1,"decoder":1,"fields":[]}',
        '{"sent_at":"2026-03-02T14:30:00.000000+00:00","server":178}',
    ],
)
def test_wire_text_that_is_neither_form_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode_wire(text)


def test_time_sorts_as_text() -> None:
    assert time_text(START) == "2026-03-02T14:30:00.000000+00:00"


# ── one fact, one key ────────────────────────────────────────────────────────────────────────────


def _execution(text: str) -> ExecutionReceived:
    event = play(text).envelopes[-1].event
    assert isinstance(event, ExecutionReceived)
    return event


def test_execution_has_one_key_however_it_was_delivered() -> None:
    pushed = _execution("fill 40 @ 10 exec=x.1.01")
    fetched = _execution("fill 40 @ 10 exec=x.1.01 fetched=yes id=2147483647")
    assert natural_key(pushed) == natural_key(fetched) == "execution:DU1:x.1.01"
    assert same_fact(pushed, fetched)


@pytest.mark.parametrize("other", ["41 @ 10", "40 @ 11", "40 @ 10 side=SELL", "40 @ 10 con=2"])
def test_execution_with_other_contents_is_not_the_same_fact(other: str) -> None:
    one = _execution("fill 40 @ 10 exec=x.1.01")
    assert not same_fact(one, _execution(f"fill {other} exec=x.1.01"))


def test_commission_that_is_not_known_yet_does_not_take_the_key_of_the_report() -> None:
    unknown = CommissionReceived(exec_id="x.1.01", commission=None, currency="USD")
    report = CommissionReceived(exec_id="x.1.01", commission=Decimal(1), currency="USD")
    assert natural_key(unknown) != natural_key(report)
    assert natural_key(report) == "commission:x.1.01"


def test_intent_is_kept_once_and_a_status_every_time() -> None:
    intent, status = (
        e.event for e in Life().play("intent BUY 1 MKT\nstatus Submitted 0").envelopes
    )
    assert (natural_key(intent), natural_key(status)) == ("intent:A", None)
    assert same_fact(status, status)


def test_key_is_printable_whatever_ib_sends() -> None:
    weird = _execution("fill 40 @ 10").evolve(exec_id="a\x1fb")
    assert natural_key(weird) == "execution:DU1:a\\x1fb"


# ── the chain ────────────────────────────────────────────────────────────────────────────────────


def test_every_part_of_an_event_is_in_its_hash() -> None:
    base = link(GENESIS, HEADER, '{"cause":"1100"}', '["4"]')
    changed = [
        link(bytes(31) + b"\x01", HEADER, '{"cause":"1100"}', '["4"]'),
        link(GENESIS, HEADER, '{"cause":"1101"}', '["4"]'),
        link(GENESIS, HEADER, '{"cause":"1100"}', '["5"]'),
        link(GENESIS, HEADER, '{"cause":"1100"}', None),
    ]
    for name in Header._fields:
        value = getattr(HEADER, name)
        other = value + 1 if isinstance(value, int) else f"{value or ''}2"
        other = 9 if name == "causation_sequence" else other
        header = HEADER._replace(**{name: other})
        changed.append(link(GENESIS, header, '{"cause":"1100"}', '["4"]'))
    assert len({base, *changed}) == len(changed) + 1


def test_parts_cannot_run_into_each_other() -> None:
    one = HEADER._replace(actor="ab", correlation_id="c")
    other = HEADER._replace(actor="a", correlation_id="bc")
    assert link(GENESIS, one, "{}", None) != link(GENESIS, other, "{}", None)


def test_header_text_must_be_printable() -> None:
    check_header_text("actor", "person:Zoë")
    check_header_text("correlation_id", None)
    with pytest.raises(ValueError, match="actor must be printable"):
        check_header_text("actor", "a\x1fb")
