"""Every fact of the log has words, and the words say what the fact says."""

from __future__ import annotations

import types
import typing
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Literal

import pytest

from oms.core import events
from oms.core.contracts import Contract
from oms.core.events import EVENT_TYPES, Context, Envelope, Event, Terms
from oms.core.members import members
from oms.core.values import Value
from oms.report import sentence
from oms.report.sentences import _say, describe_terms, name_of

NOON = datetime(2026, 3, 9, 12, 0, tzinfo=UTC)
AAPL = Contract(con_id=265598, symbol="AAPL")


def said(event: Event) -> str:
    return sentence(Envelope(1, event, Context(actor="broker"), NOON))


def sample(model: type[Value], *, full: bool) -> Any:
    """Make a value of a model from the types of its fields: all of them, or only the required."""
    hints = typing.get_type_hints(model)
    return model(
        **{
            name: _value(hints[name], name, full=full)
            for name, field in members(model).items()
            if full or field.is_required
        }
    )


def _value(hint: Any, name: str, *, full: bool) -> Any:
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        return parts[0]
    if origin is tuple:
        return (_value(parts[0], name, full=full),)
    if origin in {typing.Union, types.UnionType}:
        return _value(parts[0], name, full=full)
    if isinstance(hint, type) and issubclass(hint, Value):
        return sample(hint, full=full)
    simple: dict[Any, Any] = {
        str: f"<{name}>",
        int: 7,
        bool: True,
        Decimal: Decimal("1.50"),
        datetime: NOON,
    }
    return simple.get(hint, NOON)


@pytest.mark.parametrize("full", [True, False], ids=["full", "bare"])
@pytest.mark.parametrize("name", EVENT_TYPES)
def test_every_event_has_one_line_of_its_own(name: str, full: bool) -> None:
    assert _say.dispatch(EVENT_TYPES[name]) is not _say.dispatch(Event)
    text = said(sample(EVENT_TYPES[name], full=full))
    assert text
    assert text[0].isupper()
    assert "\n" not in text
    assert "None" not in text
    assert not text.endswith((".", ":", " "))
    assert "  " not in text


@pytest.mark.parametrize(
    ("event", "text"),
    [
        (
            events.OrderStatusReceived(
                broker_order_id=17,
                status="Submitted",
                filled=Decimal(40),
                remaining=Decimal(60),
                average_fill_price=Decimal("185.50"),
                perm_id=9,
                client_id=1,
            ),
            "IB: order 17 of client 1 is Submitted, filled 40 at 185.5, 60 remaining",
        ),
        (
            events.NoticeReceived(subject_id=-1, code=1100, text="Connectivity lost"),
            "IB: notice 1100, about the line: Connectivity lost",
        ),
        (
            events.NoticeReceived(subject_id=17, code=99999, text="News"),
            "IB: notice 99999 on id 17, a code we do not know: News",
        ),
        (
            events.CommissionReceived(exec_id="1.01", commission=None, currency="USD"),
            "IB: the commission of execution 1.01 is not known",
        ),
        (
            events.OrderMessageSent(kind="place", client_id=1, broker_order_id=17),
            "Handed to the socket: place order 17 of client 1",
        ),
        (
            events.ConnectFailed(attempt=3, reason="refused", retry_after_seconds=Decimal("4.0")),
            "Attempt 3 to connect failed: refused; next attempt in 4 s",
        ),
        (
            events.PositionReceived(account="DU1", contract=AAPL, quantity=Decimal("-1E+2")),
            "IB: DU1 holds -100 AAPL",
        ),
        (
            events.SessionClosed(reason="peer closed", deliberate=False),
            "The session was lost: peer closed",
        ),
    ],
)
def test_sentence_says_what_the_fact_says(event: Event, text: str) -> None:
    assert said(event) == text


def test_text_of_several_lines_becomes_one() -> None:
    assert "\n" not in said(events.NoticeReceived(subject_id=-1, code=201, text="one\ntwo"))


def test_terms_read_as_a_trader_says_them() -> None:
    terms = Terms(
        side="SELL",
        quantity=Decimal("1E+2"),
        order_type="STP LMT",
        limit_price=Decimal("185.50"),
        stop_price=Decimal("186.00"),
        tif="GTC",
        outside_rth=True,
        oca_group="g1",
    )
    assert describe_terms(terms, AAPL) == (
        "SELL 100 AAPL STP LMT 185.5 stop 186 GTC outside regular hours OCA g1"
    )


@pytest.mark.parametrize(
    ("contract", "name"),
    [
        (AAPL, "AAPL"),
        (Contract(symbol="ES", sec_type="FUT", local_symbol="ESH6"), "ESH6"),
        (
            Contract(
                symbol="SPY", sec_type="OPT", expiry="20260320", strike=Decimal("560.0"), right="C"
            ),
            "SPY 20260320 560 C",
        ),
    ],
)
def test_contract_is_named_so_that_it_is_not_mistaken(contract: Contract, name: str) -> None:
    assert name_of(contract) == name
