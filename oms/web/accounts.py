"""What accounts have, and what their holdings have made: `oms account` and `oms pnl` as a page."""

from __future__ import annotations

from typing import Final

from oms.history.portfolio import read_accounts
from oms.report.record_json import account_json
from oms.web.page import Page, Visit
from oms.web.past import PAST
from oms.web.query import ZONE

FILTERS: Final = ("account", ZONE, *PAST)
#: Figures of an account, in the order in which they are shown.
FIGURES: Final = (
    *("net_liquidation", "total_cash", "buying_power", "gross_position_value"),
    *("initial_margin", "maintenance_margin", "available_funds", "excess_liquidity"),
    *("realised_pnl", "unrealised_pnl"),
)


async def build(visit: Visit) -> Page:
    """Return the figures, balances and holdings of accounts, each with its age."""
    account = visit.query.text("account")
    found = await read_accounts(visit.books, accounts=[account] if account else ())
    return Page(
        title="Accounts",
        template="accounts",
        kind="accounts",
        values={"accounts": found, "figures": FIGURES},
        json={
            "filters": visit.query.values(),
            "accounts": [account_json(one) for one in found],
        },
    )
