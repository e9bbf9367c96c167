"""Whatever a program gives to the library, it gets a value or an error of ours that says why."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

import oms
from oms.cli import main
from oms.core.contracts import described
from tests.hostile.values import OBJECTS

AAPL = oms.Contract(symbol="AAPL", con_id=265598, exchange="SMART")
LEGS = (
    oms.Leg("BUY", AAPL),
    oms.Leg("SELL", oms.Contract(symbol="MSFT", con_id=272093, exchange="SMART")),
)
#: Arguments that each function takes, beside the hostile one.
PLAIN: dict[str, Any] = {
    "symbol": "AAPL",
    "exchange": "SMART",
    "currency": "USD",
    "expiry": "20270115",
    "strike": "100",
    "right": "C",
    "pair": "EURUSD",
    "side": "BUY",
    "contract": AAPL,
    "legs": LEGS,
    "quantity": 1,
    "price": "10",
    "stop": "10",
    "limit": "11",
    "limit_offset": "1",
    "con_id": 1,
    "order_type": "MKT",
    "terms": oms.Limit("BUY", 1, "10"),
}
#: What is said of a value is short, however long the value is.
WORDS_MAX = 1_000
FUNCTIONS = {
    name: getattr(oms, name)
    for name in oms.__all__
    if inspect.isfunction(getattr(oms, name)) and name != "connect"
}
VALUES = {"Contract": oms.Contract, "ComboLeg": oms.ComboLeg, "Terms": oms.Terms}
MAKERS: dict[str, Callable[..., Any]] = {**FUNCTIONS, **VALUES, "NewOrder": oms.NewOrder}


def parameters(make: Callable[..., Any]) -> dict[str, bool]:
    """Return the names of the parameters, and whether each must be given."""
    found = {}
    for name, one in inspect.signature(make).parameters.items():
        if one.kind is one.VAR_KEYWORD:
            found |= dict.fromkeys(
                ("tif", "good_till", "hidden", "min_quantity", "nonsense"), False
            )
        else:
            found[name] = one.default is one.empty
    return found


def test_every_public_function_is_tried() -> None:
    assert {"Stock", "Option", "Combo", "Leg", "Limit", "TrailingStopLimit"} <= FUNCTIONS.keys()
    assert len(FUNCTIONS) == 18


@pytest.mark.parametrize("name", sorted(MAKERS))
def test_every_value_is_taken_or_refused_in_words(name: str) -> None:
    make, taken = MAKERS[name], 0
    refused: list[tuple[str, str]] = []
    names = parameters(make)
    for parameter in names:
        for value in (*OBJECTS, object(), AAPL, [AAPL], b"x", {"symbol": "X"}, int):
            given = {one: PLAIN[one] for one, needed in names.items() if needed}
            try:
                make(**{**given, parameter: value})
            except oms.OmsError as error:
                refused.append((error.message, error.hint))
            else:
                taken += 1
    assert taken
    assert refused
    assert [words for words, hint in refused if len(words) > WORDS_MAX or not hint] == []


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: oms.Stock(5), "symbol must be a valid string, found 5"),  # type: ignore[arg-type]
        (lambda: oms.Stock("A\0B"), "symbol must not hold the character NUL"),
        (lambda: oms.Contract(symbol="KO", con_id=2**63), "con_id must be less than or equal to"),
        (oms.Contract, "symbol is missing"),  # type: ignore[call-arg]
        (lambda: oms.Market("LONG", 1), "side must be 'BUY' or 'SELL', found 'LONG'"),  # type: ignore[arg-type]
        (lambda: oms.Market("BUY", "1e9999999999"), "quantity must be at most"),
        (lambda: oms.Market("BUY", 1, tif=5), "tif must be a valid string"),  # type: ignore[arg-type]
        (lambda: oms.Market("BUY", 1, nonsense=5), "there is no 'nonsense' in extras"),  # type: ignore[call-arg]
        (lambda: oms.Leg("BUY", "AAPL"), "contract must be a Contract, found 'AAPL'"),  # type: ignore[arg-type]
        (lambda: oms.Combo("X", "AB"), "legs must be a list, found 'AB'"),  # type: ignore[arg-type]
        (lambda: oms.Combo("X", [1, 2]), "legs[0] must be a ComboLeg, found 1"),  # type: ignore[list-item]
        (lambda: oms.NewOrder(AAPL, None), "terms must be a Terms, found None"),  # type: ignore[arg-type]
        (lambda: PLAIN["terms"].evolve(tif=5), "tif must be a valid string"),
    ],
)
def test_a_refusal_names_the_argument_and_the_reason(
    make: Callable[[], object], words: str
) -> None:
    with pytest.raises(oms.OmsError) as refused:
        make()
    assert words in refused.value.message
    assert "correct the value" in refused.value.hint


@pytest.mark.parametrize(
    "given", [{"settings": 5}, {"strategy": "a\nb"}, {"strategy": ""}, {"wait_seconds": "soon"}]
)
async def test_connect_refuses_what_is_no_argument(given: dict[str, Any]) -> None:
    with pytest.raises(oms.OmsError):
        async with oms.connect(**given):
            raise AssertionError("connected")


@pytest.mark.parametrize(
    "given",
    [{"engine": 5}, {"queue_length_max": 0}, {"ready_seconds": float("nan")}, {"settings": "x"}],
)
def test_adapter_refuses_what_is_no_argument(given: dict[str, Any]) -> None:
    with pytest.raises(oms.OmsError):
        oms.IBBrokerAdapter(**given)


@pytest.mark.parametrize("wait", ["-0", "-0.0", "nan", "-1", "1e400", "3601"])
@pytest.mark.parametrize("verb", ["cancel x", "halt x", "statement fetch --out x"])
def test_time_to_wait_is_a_number_from_zero_on(verb: str, wait: str) -> None:
    assert main([*verb.split(), "--wait", wait]) == 2


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((one, "a\x1b[2Jb") for one in ("symbol", "exchange", "currency", "trading_class")),
        *((one, "\u202eevil") for one in ("primary_exchange", "local_symbol", "expiry", "right")),
        ("multiplier", Decimal("1e15")),
        ("strike", Decimal("1234567.123456789")),
    ],
)
def test_contract_that_cannot_leave_as_it_is_written_is_refused(name: str, value: str) -> None:
    """Nobody asks IB for it, so nothing of it is sent."""
    contract = AAPL.evolve(**{name: value})
    with pytest.raises(oms.OmsError, match=f"{name} must"):
        described(contract)
    with pytest.raises(oms.OmsError, match="must be printable"):
        described(oms.Combo("X", LEGS).evolve(legs=(LEGS[0].evolve(exchange="\x07"),)))


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda digits: oms.TrailingStop("SELL", 1, amount=digits), "amount"),
        (lambda digits: oms.Limit("BUY", 1, digits), "price"),
        (lambda digits: oms.Market("BUY", digits), "quantity"),
        (lambda digits: oms.Option("X", "20270115", digits, "C"), "strike"),
    ],
)
def test_number_that_a_double_does_not_keep_is_refused(
    make: Callable[[str], object], name: str
) -> None:
    """IB keeps doubles: of 17 digits it says another number back than the one that was sent."""
    for digits in (
        "123456789.012345",
        "123456789012345e-6",
        "1000000000000",
        "0.000000000001",
        "1.00000000000001e2",
    ):
        make(digits)
    for digits in ("123456789.0123456", "123456789012.123456789"):
        with pytest.raises(oms.OmsError, match="must have at most 15 digits"):
            make(digits)
