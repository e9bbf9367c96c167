"""The fast way of a value is the way of its model: the same text, the same refusals.

The text of an event is hashed, so it may not change by a byte; the model is what first wrote it.
"""

from __future__ import annotations

from typing import Any, get_args

from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from oms.core import codec, models
from oms.core.bounds import OutOfBounds
from oms.core.events import EVENT_TYPES, Event
from oms.core.members import NO_DEFAULT, members
from oms.core.values import Value
from tests import strategies
from tests.hostile.values import OBJECTS


@given(strategies.events())
def test_the_text_of_an_event_is_what_its_model_writes(event: Event) -> None:
    model = models.model_of(type(event))
    text = codec.encode(event)
    assert model.model_validate_json(text).model_dump_json(exclude_none=True) == text


@given(strategies.events())
def test_an_event_reads_back_and_each_reader_reads_the_same(event: Event) -> None:
    text = codec.encode(event)
    again = codec.decode(type(event).__name__, event.VERSION, text)
    assert again == event == models.of_text(type(event), text)
    assert codec.encode(again) == text


@given(st.sampled_from(sorted(EVENT_TYPES)), st.data())
def test_what_a_model_refuses_is_refused_when_it_is_made(name: str, data: st.DataObject) -> None:
    cls = EVENT_TYPES[name]
    event = data.draw(strategies.model(cls))
    field = data.draw(st.sampled_from(sorted(members(cls)) or [""]))
    if not field:
        return
    value = data.draw(st.sampled_from(OBJECTS))
    fields = structs.asdict(event) | {field: value}
    assert _outcome(lambda: cls(**fields)) == _outcome(lambda: models.of_fields(cls, fields))
    assert _outcome(lambda: event.evolve(**{field: value})) == _outcome(lambda: cls(**fields))


def _outcome(made: Any) -> str:
    try:
        return codec.encode(made())
    except OutOfBounds as error:
        return str(error)


def test_a_field_that_may_be_none_can_be_left_out() -> None:
    """The text leaves None out: without a default it would not read back."""
    waiting: list[type[Value]] = [Value]
    while waiting:
        cls = waiting.pop()
        waiting += cls.__subclasses__()
        for name, one in members(cls).items():
            assert one.default is not NO_DEFAULT or type(None) not in get_args(one.hint), (
                cls,
                name,
            )
