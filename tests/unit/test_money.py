"""The door through which numbers enter."""

from __future__ import annotations

from decimal import Decimal

import pytest

from oms.core.money import (
    NotANumber,
    decimal_from_wire,
    figure_from_wire,
    integer_from_wire,
    parse_decimal,
    plain,
    quantity_from_wire,
)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1.7976931348623157E308",
        "1.7976931348623157e+308",
        "-1.7976931348623157E308",
        "2147483647",
        "2147483647.0",
        "-2147483648",
        "9223372036854775807",
        "-9223372036854775808",
        "9.223372036854776E18",
        "-9.223372036854776E+18",
    ],
)
def test_every_spelling_of_not_set_is_none(text: str) -> None:
    assert decimal_from_wire(text) is None
    assert figure_from_wire(text) is None


@pytest.mark.parametrize("text", ["N/A", "n/a", "NaN", "Infinity", "-Infinity", " N/A ", "--"])
def test_a_figure_that_ib_could_not_calculate_is_none(text: str) -> None:
    assert figure_from_wire(text) is None
    with pytest.raises(NotANumber):  # a price or a size it cannot be
        quantity_from_wire(text)


def test_a_figure_is_a_number_or_is_refused() -> None:
    assert figure_from_wire("-12.50") == Decimal("-12.50")
    with pytest.raises(NotANumber):
        figure_from_wire("12,50")


@pytest.mark.parametrize(
    "text", ["0", "-1", "0.1", "1E-7", "123456789.123456789", "2147483646", "2147483648", "-0.0"]
)
def test_number_keeps_every_digit(text: str) -> None:
    assert decimal_from_wire(text) == Decimal(text)


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "abc", "1,5", " ", "0x1"])
def test_what_is_no_number_is_refused_with_its_text(text: str) -> None:
    with pytest.raises(NotANumber, match="expected"):
        decimal_from_wire(text)


def test_quantity_must_be_there() -> None:
    assert quantity_from_wire("0.5") == Decimal("0.5")
    with pytest.raises(NotANumber, match="expected a quantity"):
        quantity_from_wire("")


def test_integer_may_be_unset_and_may_not_be_a_fraction() -> None:
    assert integer_from_wire("-4") == -4
    for text in ("2147483647", "-2147483648", "9223372036854775807", "-9223372036854775808"):
        assert integer_from_wire(text) is None
    with pytest.raises(NotANumber, match="expected an integer"):
        integer_from_wire("1.5")


def test_number_of_a_person_is_read_with_its_spaces_and_refused_with_a_reason() -> None:
    assert parse_decimal(" 10.50 ") == Decimal("10.5")
    for text in ("ten", "NaN", ""):
        with pytest.raises(NotANumber, match="is not a"):
            parse_decimal(text)


@pytest.mark.parametrize(
    ("number", "text"),
    [("1E+2", "100"), ("10.500", "10.5"), ("0E-8", "0"), ("-0.0", "0"), ("-1.10", "-1.1")],
)
def test_number_is_shown_as_people_write_it(number: str, text: str) -> None:
    assert plain(Decimal(number)) == text


def test_missing_number_is_shown_as_nothing() -> None:
    assert plain(None) == ""
