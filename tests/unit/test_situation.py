"""The judgement of a situation: what counts, what is believed, and what a reset explains."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from oms.core.codec import Head
from oms.core.contracts import Contract
from oms.core.events import Terms
from oms.core.fold.records import Alarm, Anomaly, Order, RunRecord, SystemRecord
from oms.core.resets import windows_of
from oms.core.situation import Claim, Doubt, Health, Situation, judge, unreadable

NOW = datetime(2026, 3, 9, 12, 0, tzinfo=UTC)
AN_HOUR_AGO = NOW - timedelta(hours=1)
RESET = windows_of("none", ("Mon 11:00-13:30 UTC",))
DAEMON = Claim("line", "oms run", "here", 1, 1, NOW, held=True)
RUN = RunRecord(
    run_id="R1", trigger="start", started_at=AN_HOUR_AGO, finished_at=AN_HOUR_AGO, verdict="clean"
)
WELL = Situation(
    read_at=NOW,
    head=Head(sequence=9, recorded_at=NOW),
    books_sequence=9,
    system=SystemRecord(session_epoch=1, connected=True, ready=True, last_run_id="R1"),
    session=None,
    claims=(DAEMON,),
    orders_by_state={},
    doubts=(),
    open_breaks=(),
    set_aside=(),
    alarms=(),
    last_run=RUN,
    runs_under_way=(),
    heard=None,
)


def system(**changes: Any) -> Situation:
    return replace(WELL, system=WELL.system.evolve(**changes))


def alarm(minutes: int) -> Alarm:
    return Alarm(
        alarm_id=f"stale_price:{minutes}",
        kind="stale_price",
        subject="p",
        since=NOW - timedelta(minutes=minutes),
        text="old",
        account="DU1",
        symbol="AAPL",
        order_id="",
        raised_at=NOW,
        raised_sequence=1,
    )


def codes(health: Health) -> list[str]:
    return [reason.code for reason in health.reasons]


def test_all_is_well_without_a_reason() -> None:
    assert judge(WELL) == Health("ok", ())
    assert judge(WELL).words == "All is well"


def test_log_that_lacks_events_is_down_whatever_else_is_well() -> None:
    health = judge(replace(WELL, loss="the database x ends at event 9"))
    assert (health.level, codes(health)) == ("down", ["log_went_back"])
    assert "The database x ends" in health.reasons[0].text
    assert "--accept-loss" in health.reasons[0].advice


def test_event_left_out_of_the_books_is_a_reason_of_its_own() -> None:
    one = Anomaly(sequence=3, kind="set_aside", text="event 3 is left out", account="DU1")
    two = Anomaly(sequence=5, kind="set_aside", text="event 5 is left out", symbol="KO")
    health = judge(replace(WELL, set_aside=(one, two)))
    assert (health.level, codes(health)) == ("degraded", ["events_set_aside"])
    text, advice = health.reasons[0].text, health.reasons[0].advice
    assert text.startswith("2 events could not be taken into the books; no new order leaves for")
    assert "DU1, KO" in text
    assert "event 3 is left out; and 1 more" in text
    assert "oms resolve" in advice


def test_a_dead_daemon_is_not_believed_to_be_connected() -> None:
    dead = replace(WELL, claims=(replace(DAEMON, held=False, heartbeat_at=AN_HOUR_AGO),))
    assert (dead.running, dead.connected, dead.ready) == (False, False, False)
    (reason,) = judge(dead).reasons
    assert (reason.level, reason.code) == ("down", "daemon_not_running")
    assert reason.text.endswith("its last sign of life was 1 h 0 min ago")


def test_the_gravest_reason_stands_first_and_gives_the_level() -> None:
    lost = system(connected=False, gap_sequence=4, gap_cause="cut", gap_opened_at=AN_HOUR_AGO)
    health = judge(lost)
    assert (health.level, codes(health)) == ("down", ["not_connected", "gap_open"])


def test_a_reset_explains_a_gap_and_only_a_gap() -> None:
    gap = system(gap_sequence=4, gap_cause="1100", gap_opened_at=AN_HOUR_AGO)
    assert not judge(gap).reasons[0].expected
    explained = replace(gap, resets=RESET)
    (reason,) = judge(explained).reasons
    assert reason.expected
    assert "expected, IB resets its servers until 13:30 UTC" in reason.text
    assert replace(WELL, resets=RESET).expected_until is None


def test_alarms_of_a_kind_are_one_reason_with_the_oldest() -> None:
    (reason,) = judge(replace(WELL, alarms=(alarm(90), alarm(30)))).reasons
    assert reason.text == "Stale price 1 h 30 min (DU1 AAPL): old; and 1 more"
    assert reason.code == "alarm_stale_price"


@pytest.mark.parametrize(("minutes", "expected"), [(30, []), (29, ["reconciliation_overdue"])])
def test_a_comparison_is_overdue_after_two_intervals(minutes: int, expected: list[str]) -> None:
    late = replace(WELL, reconcile_interval=timedelta(minutes=minutes))
    assert codes(judge(late)) == expected
    assert codes(judge(replace(late, runs_under_way=(RUN,)))) == []


def test_the_age_of_a_doubt_is_said_where_it_is_known() -> None:
    order = Order(
        order_id="twin",
        origin="ours",
        account="DU1",
        contract=Contract(symbol="AAPL"),
        terms=Terms(side="BUY", quantity=Decimal(10), order_type="MKT"),
        actor="test",
    )
    known = replace(WELL, doubts=(Doubt(order, AN_HOUR_AGO), Doubt(order, None)))
    assert judge(known).reasons[0].text == "2 orders are in doubt, the oldest for 1 h 0 min"
    unknown = replace(WELL, doubts=(Doubt(order, None),))
    assert judge(unknown).reasons[0].text == "1 order is in doubt"


def test_every_reason_says_what_to_do() -> None:
    troubled = replace(
        system(halted=True, ready=False, gap_sequence=4, gap_cause="cut"),
        books_sequence=1,
        alarms=(alarm(1),),
        last_run=RUN.evolve(verdict="unknown"),
        reconcile_interval=timedelta(minutes=1),
    )
    reasons = (*judge(troubled).reasons, *unreadable("it is gone", "").reasons)
    assert len(reasons) == 7
    assert all(reason.advice for reason in reasons)
