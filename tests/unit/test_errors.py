"""The tree of errors: what programs that catch them can rely on."""

from __future__ import annotations

import pytest

import oms
from oms import errors


def test_the_old_name_of_the_exception_is_still_taken_with_a_word() -> None:
    for module in (oms, errors):
        with pytest.warns(DeprecationWarning, match="OrderDeniedError") as warned:
            assert module.OrderDenied is errors.OrderDeniedError  # type: ignore[attr-defined]
        assert [one.filename for one in warned] == [__file__]


def test_the_old_name_can_be_imported() -> None:
    with pytest.warns(DeprecationWarning, match="OrderDeniedError"):
        from oms.errors import OrderDenied  # type: ignore[attr-defined]
    with pytest.raises(OrderDenied):
        raise oms.OrderDeniedError


def test_a_name_that_never_was_is_none() -> None:
    with pytest.raises(AttributeError, match="Nonsense"):
        errors.Nonsense  # type: ignore[attr-defined]  # noqa: B018 - the access is the test
