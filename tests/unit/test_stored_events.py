"""Every event that was ever written still reads, and nothing changes a shape in passing."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from oms.core import codec, events
from oms.core.events import EVENT_TYPES, BooksAdjusted, ReconciliationCompleted
from oms.core.ratio import Ratio
from oms.core.upcasters import UPCASTERS, ratio_as_pair
from oms.core.values import checked
from tests import stored_events
from tests.stored_events import Example, missing, shape_of, stored

HOW = (
    "a stored event changes by a field with a default, or by a new version with an upcaster;"
    " then `python -m tests.stored_events` stores an example of the new shape"
)
EXAMPLES = stored()


@pytest.mark.parametrize("one", EXAMPLES, ids=lambda one: f"{one.type_name}-{one.written_by}")
def test_every_stored_example_reads(one: Example) -> None:
    event = codec.decode(one.type_name, one.version, one.payload)
    assert type(event) is EVENT_TYPES[one.type_name], HOW
    # What was said is said still: nothing is lost on the way to the present shape.
    assert _kept(json.loads(one.payload), json.loads(codec.encode(event))), HOW
    again = codec.encode(event)
    assert codec.decode(one.type_name, event.VERSION, again) == event
    if shape_of(json.loads(again)) == shape_of(json.loads(one.payload)):
        assert again == one.payload  # the hash covers each byte


def _kept(before: Any, now: Any) -> bool:
    """Say whether each value of an old payload stands in the present one, ratios but for their
    form.
    """
    if isinstance(before, dict) and isinstance(now, dict):
        return all(
            name == "ratio" or (name in now and _kept(value, now[name]))
            for name, value in before.items()
        )
    if isinstance(before, list) and isinstance(now, list):
        return len(before) == len(now) and all(map(_kept, before, now))
    return bool(before == now)


def test_every_event_of_every_version_has_an_example() -> None:
    versions = {(name, n) for name, cls in EVENT_TYPES.items() for n in range(1, cls.VERSION + 1)}
    assert versions == {(one.type_name, one.version) for one in EXAMPLES}, HOW


def test_the_shape_of_no_event_has_changed_without_an_example() -> None:
    assert missing("now") == [], HOW


def test_every_step_from_an_earlier_version_has_its_upcaster() -> None:
    steps = {(name, n) for name, cls in EVENT_TYPES.items() for n in range(1, cls.VERSION)}
    assert steps == set(UPCASTERS), HOW


def test_an_example_is_missing_where_a_field_was_added(monkeypatch: pytest.MonkeyPatch) -> None:
    class GapOpened(events.GapOpened):
        weight: Decimal = Decimal(0)

    monkeypatch.setattr(stored_events, "event_types", lambda: [GapOpened])
    (found,) = missing("now")
    assert (found.type_name, json.loads(found.payload)["weight"]) == ("GapOpened", "12.5")


# ── the first upcaster ───────────────────────────────────────────────────────────────────────────


def test_a_quotient_of_an_early_log_becomes_the_pair_that_it_was_made_of() -> None:
    (early,) = (o for o in EXAMPLES if o.type_name == "BooksAdjusted" and '"ratio":"' in o.payload)
    assert '"ratio":"12.5"' in early.payload
    event = codec.decode("BooksAdjusted", 1, early.payload)
    assert isinstance(event, BooksAdjusted)
    assert event.adjustment.ratio == Ratio(new=25, old=2)


def test_a_quotient_inside_of_findings_is_lifted_as_well() -> None:
    early = [
        o
        for o in EXAMPLES
        if o.type_name == "ReconciliationCompleted" and '"ratio":"12.5"' in o.payload
    ]
    assert early
    event = codec.decode("ReconciliationCompleted", 1, early[0].payload)
    assert isinstance(event, ReconciliationCompleted)
    (finding,) = event.findings
    assert finding.proposed is not None
    assert finding.proposed.ratio == Ratio(new=25, old=2)


@pytest.mark.parametrize(
    "payload",
    [
        '{"ratio":{"new":1,"old":3}}',
        '{"reason":"no ratio"}',
        '{"ratio":"a third"}',
        '{"ratio":"NaN"}',
        '{"ratio":"1e999999"}',
        '{"ratio":"0',
    ],
)
def test_what_cannot_be_lifted_is_left_as_it_is(payload: str) -> None:
    assert ratio_as_pair(payload) == payload


def test_a_pair_is_no_more_read_from_its_quotient_elsewhere() -> None:
    with pytest.raises(ValueError, match="Ratio"):
        checked(Ratio, "0.5")
