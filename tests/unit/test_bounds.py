"""The table of bounds: what a model takes can be kept, and everything else is refused in words."""

from __future__ import annotations

import types
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import pytest

from oms.broker.translate import Unreadable, translate, unreadable
from oms.core import bounds
from oms.core.bounds import OutOfBounds
from oms.core.codec import decode, encode
from oms.core.contracts import Contract
from oms.core.events import EVENT_TYPES, PositionReceived
from oms.core.members import members
from oms.core.money import NotANumber, decimal_from_wire, integer_from_wire, number
from oms.core.ratio import Ratio
from oms.core.values import Value, checked
from oms.errors import InvalidRequest, InvalidValue


def _unbounded(hint: Any, path: str) -> Iterator[str]:
    """Yield the parts of a type that are numbers, text or times of the table's no row."""
    origin = get_origin(hint)
    if origin is Annotated or origin is Literal:
        return
    if origin in (Union, types.UnionType, tuple):
        for part in get_args(hint):
            yield from _unbounded(part, path)
    elif isinstance(hint, type) and issubclass(hint, Value):
        yield from _fields(hint, path)
    elif hint in (int, str, Decimal, datetime):
        yield f"{path}: {hint.__name__}"


def _fields(model: type[Value], path: str) -> Iterator[str]:
    for name, hint in get_type_hints(model, include_extras=True).items():
        if name in members(model):
            yield from _unbounded(hint, f"{path}.{name}")


@pytest.mark.parametrize("name", sorted(EVENT_TYPES))
def test_every_field_of_an_event_has_its_row_in_the_table(name: str) -> None:
    assert list(_fields(EVENT_TYPES[name], name)) == []


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("con_id", 2**31, "con_id must be less than or equal to 2147483647, found 2147483648"),
        ("con_id", 2**63, "found 9223372036854775808"),
        pytest.param("con_id", 10**5000, "found a whole number of about 4,983", id="digits"),
        ("con_id", True, "con_id must be a valid integer, found True"),
        ("symbol", "K\0O", "symbol must not hold the character NUL"),
        ("symbol", "\ud800", "symbol must be text in UTF-8"),
        ("symbol", "K" * 129, "symbol must have at most 128 characters"),
        ("strike", Decimal("1e9999999999"), "strike must be at most 1,000,000,000,000,000,000"),
        ("strike", Decimal("0e9999999999"), "strike must have at most 400 decimals"),
        ("strike", Decimal("1e-9999999999"), "strike must have at most 400 decimals"),
        ("strike", Decimal("sNaN"), "strike must be a finite number, found sNaN"),
    ],
)
def test_a_model_refuses_what_cannot_be_kept(field: str, value: object, words: str) -> None:
    with pytest.raises(InvalidValue) as refused:
        Contract(**{"symbol": "KO", field: value})  # type: ignore[arg-type]
    assert words in refused.value.message


def test_a_model_takes_what_a_broker_sends() -> None:
    residue = Decimal("-1.1368683772161603E-13")
    taken = PositionReceived(
        account="DU1",
        contract=Contract(symbol="KO", con_id=2**31 - 1),
        quantity=residue,
        average_cost=Decimal("4.9E-324"),
    )
    assert taken.quantity == residue


@pytest.mark.parametrize(
    "text",
    [
        "1e400",
        "-1e30",
        "1e9999999999",
        "1e-9999999999",
        "0e9999999999",
        "9" * 400,
        "0." + "3" * 400,
    ],
)
def test_a_number_that_a_person_gives_is_bounded(text: str) -> None:
    with pytest.raises(InvalidRequest, match=r"^price must "):
        number("price", text)
    with pytest.raises(InvalidRequest, match=r"^price must "):
        number("price", Decimal(text))


@pytest.mark.parametrize("text", ["1_000", "\uff11\uff10", "0x10", "", "1,000", "--1", "1e", "NaN"])
def test_what_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest, match=r"^price: "):
        number("price", text)


def test_a_negative_zero_is_zero() -> None:
    assert str(number("price", "-0")) == "0"


@pytest.mark.parametrize("text", ["1e9999999999", "-1e9999999999", "1e-99999999", "1e310", "1_000"])
def test_a_number_of_the_wire_is_bounded(text: str) -> None:
    with pytest.raises(NotANumber):
        decimal_from_wire(text)


@pytest.mark.parametrize("text", ["1" * 5000, "1_000", "\uff11", "1.0"])
def test_an_integer_of_the_wire_is_plain(text: str) -> None:
    with pytest.raises(NotANumber):
        integer_from_wire(text)


def test_a_ratio_of_an_old_log_is_bounded_before_it_is_a_fraction() -> None:
    with pytest.raises(OutOfBounds):
        checked(Ratio, "1e9999999999")


def test_text_from_outside_can_be_made_to_fit() -> None:
    assert bounds.WORD.fitted("a\0\udcff") == r"a\x00\udcff"
    assert len(bounds.WORD.fitted("\udcff" * 1000)) == bounds.WORD.length


@pytest.mark.parametrize("message_id", ["\udcff\udcfe", "x" * 1_000_000, ""])
def test_a_message_of_any_kind_can_be_kept_as_unreadable(message_id: str) -> None:
    with pytest.raises(Unreadable) as refused:
        translate((message_id, "1"), 176, None)
    event = unreadable((message_id, "1"), refused.value)
    assert decode("BrokerMessageUnreadable", 1, encode(event)) == event


def test_an_instant_stays_in_the_calendar() -> None:
    with pytest.raises(ValueError, match="must be from 1900 to 2200"):
        bounds.MOMENT.check(datetime(9999, 12, 31, tzinfo=UTC))


def _lists(hint: Any, path: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """Yield where a type has a closed list of words, and the list."""
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Literal:
        yield path, parts
    elif origin is Annotated:
        yield from _lists(parts[0], path)
    elif origin in (Union, types.UnionType):
        for part in parts:
            yield from _lists(part, path)
    elif origin is tuple:
        yield from _lists(parts[0], (*path, 0))
    elif isinstance(hint, type) and issubclass(hint, Value):
        for name, one in get_type_hints(hint, include_extras=True).items():
            if name in members(hint):
                yield from _lists(one, (*path, name))


@pytest.mark.parametrize("name", sorted(EVENT_TYPES))
def test_no_word_outside_a_closed_list_can_enter_the_log(name: str) -> None:
    for path, known in _lists(EVENT_TYPES[name], ()):
        for word in {"LONG", "", " ", "buy", 2**63} - set(known):
            given: Any = word
            for part in reversed(path):
                given = (given,) if part == 0 else {part: given}
            with pytest.raises(OutOfBounds) as refused:
                checked(EVENT_TYPES[name], given)
            places = [one["loc"] for one in refused.value.reasons if one["type"] != "missing"]
            assert [place[: len(path)] for place in places] == [path], (path, word)
