"""What accounts hold and are worth, worked by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from oms.core.contracts import Contract
from oms.core.fold.records import AccountValue, Position
from oms.core.portfolio import Account, Figure, Holding, Mark, accounts_of

D = Decimal
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
MORNING = NOON - timedelta(hours=3)
SAP = Contract(con_id=7, symbol="SAP", currency="EUR")
ES = Contract(con_id=9, symbol="ES", sec_type="FUT", multiplier=D(50))


def said(
    name: str, value: str, currency: str = "", *, account: str = "DU1", at: datetime = MORNING
) -> AccountValue:
    return AccountValue(
        account=account, name=name, currency=currency, value=value, sequence=1, at=at
    )


def held(contract: Contract = SAP, quantity: int = 10, **more: object) -> Position:
    position = Position(account="DU1", contract=contract, quantity=D(quantity))
    return position.evolve(
        average_price=D(100), fill_count=1, moved_at=MORNING - timedelta(days=1), **more
    )


BASE = said("NetLiquidation", "1000.50", "USD")
RATE = said("ExchangeRate", "1.10", "EUR")


def only(*rows: Position | AccountValue, marks: dict[int, Mark] | None = None) -> Account:
    (account,) = accounts_of(
        [row for row in rows if isinstance(row, Position)],
        [row for row in rows if isinstance(row, AccountValue)],
        marks,
    )
    return account


def holding(*rows: Position | AccountValue, marks: dict[int, Mark] | None = None) -> Holding:
    (found,) = only(*rows, marks=marks).holdings
    return found


def test_a_result_in_the_base_currency_has_the_rate_and_its_time() -> None:
    found = holding(held(realised_pnl=D(5)), BASE, RATE, marks={7: Mark(D(103), NOON)})
    assert found.unrealised_pnl == Figure(D(30), "EUR", NOON, "books and quote")
    assert found.rate == Figure(D("1.10"), "", MORNING, "IB")
    # As old as the rate, the older of its two parts.
    assert found.unrealised_pnl_base == Figure(
        D("33.00"), "USD", MORNING, "books and quote at IB's rate"
    )
    assert found.realised_pnl_base == Figure(D("5.50"), "USD", MORNING, "books at IB's rate")


def test_a_multiplier_counts_and_a_short_gains_when_the_price_falls() -> None:
    found = holding(held(ES, -2), BASE, marks={9: Mark(D(98), NOON)})
    assert (found.market_value.value, found.unrealised_pnl.value) == (D(-9800), D(200))
    # The base currency needs no rate of IB.
    assert found.unrealised_pnl_base == Figure(D(200), "USD", NOON, "books and quote")


def test_without_a_price_nothing_is_invented() -> None:
    found = holding(held(), BASE, RATE)
    unknown = Figure(None, "EUR", reason="no price of SAP STK EUR has been heard")
    assert (found.last_price, found.market_value, found.unrealised_pnl) == (unknown,) * 3
    assert found.unrealised_pnl_base == Figure(None, "USD", reason=unknown.reason)


def test_without_a_rate_the_base_currency_stays_unknown_and_says_why() -> None:
    found = holding(held(), BASE, marks={7: Mark(D(103), NOON)})
    assert found.unrealised_pnl.value == D(30)
    assert found.unrealised_pnl_base == Figure(
        None, "USD", reason="IB has sent no exchange rate of EUR for DU1"
    )


def test_a_rate_that_is_none_is_not_used() -> None:
    found = holding(held(), BASE, said("ExchangeRate", "0", "EUR"), marks={7: Mark(D(103), NOON)})
    assert found.unrealised_pnl_base.reason == "IB sent 0 as the exchange rate of EUR"


def test_one_unknown_holding_makes_the_sum_unknown() -> None:
    account = only(held(), held(ES), BASE, RATE, marks={7: Mark(D(103), NOON)})
    assert account.unrealised_pnl == Figure(
        None, "USD", reason="no price of ES FUT USD has been heard"
    )
    assert account.realised_pnl.value == 0


def test_the_newer_of_quote_and_ibs_mark_counts() -> None:
    marked = held(broker_price=D(101), broker_marked_at=NOON)
    older = {7: Mark(D(103), MORNING)}
    newer = {7: Mark(D(103), NOON + timedelta(seconds=1))}
    assert holding(marked, marks=older).last_price == Figure(D(101), "EUR", NOON, "IB")
    assert holding(marked, marks=newer).last_price.source == "quote"


def test_ibs_words_stand_beside_ours() -> None:
    found = holding(held(broker_quantity=D(12), broker_average_cost=D("100.5"), broker_at=NOON))
    assert found.quantity == 10
    assert found.broker_quantity == Figure(D(12), "", NOON, "IB")
    assert found.broker_average_cost == Figure(D("100.5"), "EUR", NOON, "IB")
    assert found.broker_realised_pnl.reason == "IB has sent no portfolio row of SAP STK EUR"


def test_what_is_closed_has_no_average_and_no_open_result() -> None:
    found = holding(held(quantity=0, realised_pnl=D(42)), BASE, RATE)
    assert found.average_price.reason == "nothing is held"
    assert (found.realised_pnl.value, found.unrealised_pnl.value) == (D(42), D(0))


def test_figures_of_several_accounts_and_currencies_stay_apart() -> None:
    rows = [
        BASE,
        said("InitMarginReq", "250", "USD", at=NOON),
        said("AccountReady", "false"),
        said("CashBalance", "500", "USD"),
        said("CashBalance", "-20", "EUR"),
        said("CashBalance", "478", "BASE"),
        said("ExchangeRate", "1.10", "EUR"),
        said("UnrealizedPnL", "12.5", "BASE"),
        said("NetLiquidation", "77", "CHF", account="DU2"),
    ]
    one, two = accounts_of([], rows)
    assert (one.account, one.base_currency, one.is_ready) == ("DU1", "USD", False)
    assert one.initial_margin == Figure(D(250), "USD", NOON, "IB")
    assert one.broker_unrealised_pnl == Figure(D("12.5"), "USD", MORNING, "IB")
    assert [(b.currency, b.cash.value, b.rate.value) for b in one.balances] == [
        ("EUR", D(-20), D("1.10")),
        ("USD", D(500), D(1)),
    ]
    assert (two.base_currency, two.net_liquidation.value) == ("CHF", D(77))
    assert two.maintenance_margin.reason == "IB has not said MaintMarginReq of DU2"


def test_a_figure_that_is_no_number_is_shown_as_what_ib_wrote() -> None:
    account = only(BASE, said("BuyingPower", "", "USD"))
    assert account.buying_power == Figure(
        None, "USD", MORNING, "IB", "IB wrote '' as BuyingPower of DU1"
    )


def test_an_account_whose_base_currency_is_not_known_has_no_totals() -> None:
    account = only(held(), marks={7: Mark(D(103), NOON)})
    assert account.net_liquidation.reason == "IB has not said the base currency of DU1"
    assert account.unrealised_pnl.value is None
    assert account.holdings[0].unrealised_pnl.value == D(30)


def test_an_age_counts_from_when_it_was_said() -> None:
    assert Figure(D(1), at=MORNING).age_seconds(NOON) == 10_800
    assert Figure(D(1)).age_seconds(NOON) is None
