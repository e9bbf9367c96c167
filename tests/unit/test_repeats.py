"""What a broker repeats is counted: it fills neither the log nor the list of breaks."""

from __future__ import annotations

from oms.core.compare.cases import break_id_of
from oms.core.events import (
    BreakClosed,
    BreakOpened,
    BrokerMessageUnreadable,
    Finding,
    NaturalKeyConflict,
    ReconciliationStarted,
)
from oms.core.fold.books import KINDS_MAX
from oms.core.fold.records import Anomaly
from tests.lives import Life, working

FLOOD = 2_000


def unreadable(message_id: str = "3", reason: str = "permId", times: int = 1) -> object:
    return BrokerMessageUnreadable(message_id=message_id, reason=reason, times=times)


def anomalies(life: Life) -> list[Anomaly]:
    return [a for a in life.books.all(Anomaly) if a.live]


def test_messages_of_one_kind_are_one_anomaly_that_counts_them() -> None:
    life = working()
    for n in range(FLOOD):
        life.apply(unreadable(reason=f"permId {2**63 + n}", times=2))
    (found,) = anomalies(life)
    assert found.times == 2 * FLOOD
    assert found.last_sequence == life.books.sequence
    assert str(2**63) in found.text
    assert f"4,000 times, the last is event {life.books.sequence}" in found.shown


def test_messages_of_any_number_of_kinds_are_a_bounded_number_of_anomalies() -> None:
    life = working()
    for n in range(FLOOD):
        life.apply(unreadable(message_id=f"x{n}"))
    found = anomalies(life)
    assert len(found) == KINDS_MAX + 1
    assert sum(one.times for one in found) == FLOOD


def test_once_a_person_has_closed_the_break_the_next_message_opens_another() -> None:
    life = working()
    life.apply(unreadable())
    (first,) = anomalies(life)
    finding = Finding(result="break", subject="message", key=f"unreadable_message:{first.key}")
    break_id = break_id_of(finding)
    life.apply(ReconciliationStarted(run_id="run", trigger="person"))
    life.apply(BreakOpened(break_id=break_id, run_id="run", finding=finding))
    life.apply(BreakClosed(break_id=break_id, reason="known", how="resolve"))
    assert anomalies(life) == []
    life.apply(unreadable())
    (second,) = anomalies(life)
    assert (second.times, second.key) == (1, str(life.books.sequence))


def test_contradictions_of_one_key_are_one_anomaly() -> None:
    life = working()
    for n in range(FLOOD):
        life.apply(
            NaturalKeyConflict(
                key="execution:DU1:e.01",
                stored_sequence=1,
                type_name="ExecutionReceived",
                payload=f"{n}",
            )
        )
    assert [one.times for one in anomalies(life)] == [FLOOD]
