"""Reading the accounts: the rows of the books, made into one value by `core.portfolio`.

For whoever has a reader of the database: the daemon, a strategy, the command line. Nothing is asked
of the broker here; what IB says of its accounts is in the log already, and each figure says how old
it is (`broker.accounts` asks again from time to time).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, cast

from oms.core.fold.records import AccountValue, AnyRecord, Position
from oms.core.portfolio import Account, Mark, accounts_of
from oms.errors import NotFound


class Rows(Protocol):
    """Where records are: in the database, or in the past."""

    async def rows(self, table: str, where: Mapping[str, object] | None = None) -> list[AnyRecord]:
        """Return records whose columns have the values given."""
        ...


async def read_accounts(
    books: Rows, *, accounts: Sequence[str] = (), marks: Mapping[int, Mark] | None = None
) -> tuple[Account, ...]:
    """Return the accounts with their figures, balances and holdings, sorted by name.

    `accounts` names those that are wanted, all by default; raises `NotFound` for one that the books
    do not know. `marks` are prices that were heard, by con_id; the newer of them and IB's own mark
    counts.
    """
    where = {"account": list(accounts)} if accounts else None
    positions = cast("list[Position]", await books.rows("positions", where))
    values = cast("list[AccountValue]", await books.rows("account_values", where))
    found = accounts_of(positions, values, marks)
    missing = sorted(set(accounts) - {one.account for one in found})
    if missing:
        raise NotFound(
            f"the books know no account {', '.join(missing)}",
            hint="accounts are known from the first reconciliation on; `oms status` names them",
        )
    return found
