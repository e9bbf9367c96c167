"""The folds are collected from where they stand."""

from __future__ import annotations

import pytest

from oms.core.events import EVENT_TYPES
from oms.core.fold import alarms
from oms.core.fold.apply import FOLDS, by_event_type


def test_type_of_event_has_one_fold() -> None:
    with pytest.raises(ValueError, match="AlarmRaised has two folds"):
        by_event_type((*alarms.FOLDS, alarms.FOLDS[0]))


def test_fold_is_of_an_event_that_the_log_can_hold() -> None:
    assert set(FOLDS) <= set(EVENT_TYPES.values())
