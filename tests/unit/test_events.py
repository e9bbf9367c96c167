"""Facts are frozen, strict and named for ever."""

from __future__ import annotations

from decimal import Decimal

import pytest

from oms.core import events
from oms.core.events import EVENT_TYPES, Event, OrderStatusReceived, Pending, Terms
from oms.errors import InvalidValue


def test_every_event_is_registered_under_its_own_name() -> None:
    defined = {
        name: cls
        for name, cls in vars(events).items()
        if isinstance(cls, type) and issubclass(cls, Event) and cls is not Event
    }
    assert defined == EVENT_TYPES


@pytest.mark.parametrize("name", EVENT_TYPES)
def test_event_says_what_it_is_and_has_a_version(name: str) -> None:
    cls = EVENT_TYPES[name]
    assert cls.__doc__
    assert cls.VERSION >= 1


def test_fact_cannot_be_changed() -> None:
    terms = Terms(side="BUY", quantity=Decimal(1), order_type="MKT")
    with pytest.raises(AttributeError, match="immutable"):
        terms.quantity = Decimal(2)  # type: ignore[misc]


def test_fact_takes_no_float_for_money() -> None:
    with pytest.raises(InvalidValue, match="quantity must be an instance of Decimal, found 1"):
        Terms(side="BUY", quantity=1.5, order_type="MKT")  # type: ignore[arg-type]


def test_fact_takes_no_field_that_it_does_not_know() -> None:
    with pytest.raises(InvalidValue, match="colour is not known"):
        Terms(side="BUY", quantity=Decimal(1), order_type="MKT", colour="red")  # type: ignore[call-arg]


def test_who_said_it_is_never_unknown() -> None:
    status = OrderStatusReceived(
        broker_order_id=1,
        status="Filled",
        filled=Decimal(1),
        remaining=Decimal(0),
        perm_id=1,
        client_id=1,
    )
    with pytest.raises(TypeError):
        Pending(status)  # type: ignore[call-arg]
