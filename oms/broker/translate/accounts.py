"""Messages about accounts: which there are, their positions and their figures."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final
from zoneinfo import ZoneInfo

from oms.broker.translate.fields import (
    CONTRACT_FIELDS,
    Fields,
    Translated,
    Translator,
    contract_at,
    contract_of,
    figure_of,
    quantity_of,
    required,
)
from oms.core.events import (
    AccountValueReceived,
    ManagedAccountsReceived,
    PortfolioReceived,
    PositionReceived,
)

LEDGER_PREFIX: Final = "$LEDGER-"
#: Values that a currency has and the whole account as well.
OF_ACCOUNT_TOO: Final = frozenset(("AccruedCash",))


def _position(fields: Fields, version: int, zone: ZoneInfo | None) -> Translated:
    return Translated(
        PositionReceived(
            account=required("account", fields[2]),
            contract=contract_at(fields, 3),
            quantity=quantity_of(fields[14]),
            average_cost=figure_of(fields[15]),
        )
    )


def _position_multi(fields: Fields, version: int, zone: ZoneInfo | None) -> Translated | None:
    if fields[17]:  # the share of one model is not what the account holds
        return None
    return Translated(
        PositionReceived(
            account=required("account", fields[3]),
            contract=contract_at(fields, 4),
            quantity=quantity_of(fields[15]),
            average_cost=figure_of(fields[16]),
        )
    )


def _portfolio(fields: Fields, version: int, zone: ZoneInfo | None) -> Translated:
    account = required("account", fields[19])
    return Translated(
        PortfolioReceived(
            account=account,
            contract=contract_of(tuple(fields[2 : 2 + CONTRACT_FIELDS]), True),
            quantity=quantity_of(fields[13]),
            market_price=figure_of(fields[14]),
            market_value=figure_of(fields[15]),
            average_cost=figure_of(fields[16]),
            unrealised_pnl=figure_of(fields[17]),
            realised_pnl=figure_of(fields[18]),
        )
    )


def _key(text: str) -> str:
    """Return the name of a value without what gateways from 10.47 put before those of a currency.

    The accrued cash of a currency keeps it: that of the whole account has the same name, and the
    prefix alone says which of the two it is (IB: TWS API changelog of 8 May 2026).
    """
    key = required("key", text)
    bare = key.removeprefix(LEDGER_PREFIX)
    return bare if bare and bare not in OF_ACCOUNT_TOO else key


def _account_value(fields: Fields, version: int, zone: ZoneInfo | None) -> Translated:
    return Translated(
        AccountValueReceived(
            account=fields[5],
            key=_key(fields[2]),
            value=fields[3],
            currency=fields[4],
            source="updates",
        )
    )


def _account_summary(fields: Fields, version: int, zone: ZoneInfo | None) -> Translated:
    return Translated(
        AccountValueReceived(
            account=required("account", fields[3]),
            key=required("key", fields[4]),
            value=fields[5],
            currency=fields[6],
            source="summary",
        )
    )


def _account_update_multi(fields: Fields, version: int, zone: ZoneInfo | None) -> Translated | None:
    currency = fields[7]
    if fields[4]:  # the share of one model is not the account's value
        return None
    return Translated(
        AccountValueReceived(
            account=required("account", fields[3]),
            key=_key(fields[5]),
            value=fields[6],
            currency=currency,
            source="multi",
        )
    )


def _managed_accounts(fields: Fields, version: int, zone: ZoneInfo | None) -> Translated:
    accounts = tuple(account for account in fields[2].split(",") if account)
    return Translated(ManagedAccountsReceived(accounts=accounts))


#: By message id.
TRANSLATORS: Final[Mapping[str, Translator]] = MappingProxyType(
    {
        "6": _account_value,
        "7": _portfolio,
        "15": _managed_accounts,
        "61": _position,
        "63": _account_summary,
        "71": _position_multi,
        "73": _account_update_multi,
    }
)
