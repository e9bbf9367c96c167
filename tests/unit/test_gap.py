"""Every way to lose the line opens one gap, and every way back closes it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oms.core.gap import Action, GapState, GiveUp, OpenGap, Recover, Signal, signal_of_code, step

UP = Signal.TRANSPORT_UP
LOST = Signal.TRANSPORT_LOST


def run(*signals: Signal) -> tuple[GapState, list[Action]]:
    state, actions = GapState(), []
    for signal in signals:
        state, out = step(state, signal)
        actions += out
    return state, actions


def test_the_first_session_opens_no_gap() -> None:
    assert run(UP) == (GapState("whole"), [])


def test_a_lost_socket_opens_a_gap_and_the_next_session_recovers_it() -> None:
    assert run(UP, LOST) == (GapState("down", "transport_lost"), [OpenGap("transport_lost")])
    state, actions = run(UP, LOST, UP)
    assert state == GapState("whole")
    assert actions == [OpenGap("transport_lost"), Recover("transport_up", subscriptions_lost=True)]


@pytest.mark.parametrize("loss", [Signal.IB_LOST, Signal.SERVER_LOST])
def test_hundreds_of_losses_are_one_gap(loss: Signal) -> None:
    state, actions = run(UP, *[loss] * 833)
    assert state == GapState("cut_off", loss.value, repeats=832)
    assert actions == [OpenGap(loss.value)]


def test_1102_recovers_although_subscriptions_were_kept() -> None:
    _, actions = run(UP, Signal.IB_LOST, Signal.IB_RESTORED)
    assert actions == [OpenGap("1100"), Recover("1102", subscriptions_lost=False)]


def test_1101_recovers_and_says_that_subscriptions_are_gone() -> None:
    _, actions = run(UP, Signal.IB_LOST, Signal.IB_RESTORED_SUBSCRIPTIONS_LOST)
    assert actions == [OpenGap("1100"), Recover("1101", subscriptions_lost=True)]


def test_a_restore_that_nobody_announced_is_a_gap_all_the_same() -> None:
    _, actions = run(UP, Signal.IB_RESTORED)
    assert actions == [OpenGap("1102 unannounced"), Recover("1102", subscriptions_lost=False)]


def test_silence_opens_a_gap_and_gives_the_connection_up() -> None:
    assert run(UP, Signal.SILENCE)[1] == [OpenGap("silence"), GiveUp("silence")]


def test_silence_while_ib_is_out_of_reach_changes_nothing() -> None:
    state, _ = run(UP, Signal.IB_LOST)
    assert step(state, Signal.SILENCE) == (state, ())


def test_a_gap_that_lasts_too_long_gives_the_connection_up_once() -> None:
    _, actions = run(UP, Signal.IB_LOST, Signal.OVERDUE, Signal.OVERDUE)
    assert actions == [OpenGap("1100"), GiveUp("overdue")]


def test_a_changed_port_ends_the_connection() -> None:
    _, actions = run(UP, Signal.PORT_CHANGED, LOST, UP)
    assert actions == [
        OpenGap("1300"),
        GiveUp("1300"),
        Recover("transport_up", subscriptions_lost=True),
    ]


def test_a_socket_that_dies_in_a_gap_keeps_the_gap_and_its_cause() -> None:
    assert run(UP, Signal.IB_LOST, LOST)[0] == GapState("down", "1100")


def test_closing_on_purpose_opens_nothing() -> None:
    assert run(UP, Signal.CLOSED, LOST) == (GapState(), [])


@given(st.lists(st.sampled_from(list(Signal)), max_size=40))
def test_gaps_open_and_recover_in_turn_and_nothing_is_given_up_outside_one(
    signals: list[Signal],
) -> None:
    state, is_open = GapState(), False
    for signal in signals:
        state, actions = step(state, signal)
        for action in actions:
            match action:
                case OpenGap():
                    assert not is_open
                    is_open = True
                case Recover():
                    assert is_open
                    is_open = False
                case GiveUp():
                    assert is_open
        if signal is Signal.CLOSED:
            is_open = False
        assert state.gap_is_open == is_open


@given(st.integers(-10, 11_000))
def test_only_the_notices_about_the_line_are_signals(code: int) -> None:
    signal = signal_of_code(code)
    assert (signal is not None) == (code in {1100, 1101, 1102, 1300, 2110})
