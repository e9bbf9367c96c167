"""Why an event is there: what it names, what is presumed, and what the fold has joined."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import get_args

from oms.core.beginnings import BEGINNINGS
from oms.core.causes import Link, attributions, role_of, stated
from oms.core.events import (
    EVENT_TYPES,
    AlarmKind,
    AlarmRaised,
    AnswerEndReceived,
    CheckpointSigned,
    Context,
    Envelope,
    GapOpened,
    OpenOrderReceived,
    OrderIntended,
    OrderRequested,
    PositionReceived,
    QueryAsked,
    ReconciliationStarted,
    ServerTimeRead,
    Terms,
)
from oms.core.sought import CLOCKED, sought
from oms.report.why import ClockBound, Step
from oms.report.why_view import role_text
from oms.settings import Settings
from tests.lives import ACCOUNT, ACME, START, Life, play
from tests.stored_events import example_of


def reasons(text: str) -> dict[str, str]:
    """Return the reason of the last event of each type in the story of order A."""
    life = play(text)
    story = [e for e in life.envelopes if ("A", e.sequence) in life.books.links()]
    links = attributions(story)
    names = {e.sequence: type(e.event).__name__ for e in story}
    return {names[s]: f"{names[links[s].sequence]} {links[s].text}" for s in names if s in links}


def test_a_status_is_joined_by_its_number_and_a_commission_by_its_execution() -> None:
    found = reasons(
        "intent BUY 100 LMT 10\nsent\nopen Submitted\nstatus Submitted 0\n"
        "fill 40 @ 10 exec=x.1.01\ncommission x.1.01 1\nnotice 399"
    )
    assert found["OrderStatusReceived"] == "OrderMessageSent by its number 1 in session 1"
    assert found["NoticeReceived"] == "OrderMessageSent by its number 1 in session 1"
    assert found["OpenOrderReceived"] == "OrderMessageSent by its orderRef A"
    assert found["CommissionReceived"] == "ExecutionReceived by its execution x.1.01"


def test_a_status_of_a_later_session_is_joined_by_the_permanent_number() -> None:
    found = reasons(
        "intent BUY 100 LMT 10\nsent\nopen Submitted\nstatus Submitted 0\nlost\nsession\n"
        "status Submitted 0"
    )
    assert found["OrderStatusReceived"].startswith("OpenOrderReceived by its permanent number")


def test_a_start_that_leaves_an_order_in_doubt_is_not_there_because_of_it() -> None:
    found = reasons("session\nintent BUY 100 LMT 10\nsent\ncrash")
    assert found["OrderMessageSent"]
    assert "DaemonStarted" not in found


def test_a_checkpoint_that_a_person_signed_is_not_there_because_of_a_setting() -> None:
    signed = Envelope(9, example_of(CheckpointSigned, whole=True), Context("person:anna"), START)
    assert not sought(signed)
    by_itself = replace(signed, context=Context("daemon"))
    assert [w.settings for w in sought(by_itself)] == [("checkpoint_events", "checkpoint_seconds")]


def test_rows_that_ib_does_not_mark_only_presume_their_question() -> None:
    life = Life().play("session\nintent BUY 100 LMT 10\nsent\nopen Submitted\nposition 10 10")
    asked = Context("broker", 1, None, "R1", 2)
    found = {
        type(one.event): stated(replace(one, context=asked))
        for one in life.envelopes
        if isinstance(one.event, OpenOrderReceived | PositionReceived)
    }
    assert [link.how for link in found[OpenOrderReceived]] == ["presumed"]
    assert found[PositionReceived] == (Link(2, "named", "it answers this question"),)


def test_a_bound_grows_with_the_time_from_the_reading() -> None:
    read = ServerTimeRead(server_time=START, offset_ms=-40, round_trip_ms=2, error_ms=5, answers=7)
    early = Envelope(9, read, Context("watchman", 3), START)
    late = replace(early, sequence=99, recorded_at=START + timedelta(hours=1))
    found = ClockBound.at(START + timedelta(minutes=50), [early, late])
    assert found is not None
    assert (found.read.sequence, found.offset_ms, found.error_ms) == (99, -40, 125)
    assert found.text == (
        "the gateway's clock was 40 ms behind ours, off by at most 125 ms (event 99, session 3)"
    )
    assert ClockBound.at(START, []) is None


def test_a_message_that_answers_nothing_and_names_no_order_says_so() -> None:
    told = PositionReceived(account=ACCOUNT, contract=ACME, quantity=Decimal(1))
    by_itself = Envelope(1, told, Context("broker", 1), START)
    assert step(by_itself).beginning.startswith("IB sent it without being asked")
    assert not step(by_itself, Link(1, "attributed", "by its number")).beginning
    # A log of an earlier version joins the rows of a run, and does not say by which question.
    joined = step(replace(by_itself, context=Context("broker", 1, None, "R1"))).beginning
    assert joined == "it belongs to R1; the log does not show which question it answers"
    end = replace(by_itself, event=AnswerEndReceived(kind="positions"))
    assert step(end).beginning == "the log does not show which question it answers"


def test_every_event_without_an_earlier_one_says_who_or_what_began_it() -> None:
    assert set(BEGINNINGS) == set(EVENT_TYPES.values())
    for cls in EVENT_TYPES.values():
        began = step(Envelope(9, example_of(cls, whole=False), Context("person:anna"), START))
        assert began.beginning == BEGINNINGS[cls].format(actor="anna")


def test_the_settings_that_call_for_something_exist() -> None:
    runs = (ReconciliationStarted(run_id="R1", trigger=one) for one in CLOCKED)
    alarms = (
        AlarmRaised(alarm_id=f"{kind}:x", kind=kind, subject="x", since=START, text="x")
        for kind in get_args(AlarmKind)
    )
    asked = (
        QueryAsked(query_id="q", kind="account", run_id=run, timeout_seconds=Decimal(1))
        for run in ("", "G1", "N1")
    )
    lost = (GapOpened(cause=cause) for cause in ("silence", "unanswered", "1100", "closed"))
    named = {
        name
        for event in (*runs, *alarms, *asked, *lost)
        for wanted in sought(Envelope(9, event, Context("daemon"), START))
        for name in wanted.settings
    }
    assert named <= set(Settings.model_fields)
    assert {"reconcile_interval_seconds", "alarm_outage_seconds"} <= named


def test_what_a_sentence_begins_with_does_not_stand_before_it_again() -> None:
    terms = Terms(side="BUY", quantity=Decimal(1), order_type="MKT")
    asked = OrderRequested(order_id="A", account=ACCOUNT, contract=ACME, terms=terms)
    assert role_text(step(Envelope(1, asked, Context("person:anna"), START))) == ""
    ended = AnswerEndReceived(kind="positions")
    assert role_text(step(Envelope(1, ended, Context("broker", 1), START))) == ""
    intended = OrderIntended(order_id="A", account=ACCOUNT, contract=ACME, terms=terms)
    assert role_text(step(Envelope(1, intended, Context("daemon"), START))) == "intended: "


def step(envelope: Envelope, *causes: Link) -> Step:
    return Step(envelope, role_of(envelope), causes)
