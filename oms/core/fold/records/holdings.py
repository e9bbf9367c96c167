"""The records of fills, positions, and what an account is worth."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import ClassVar, Literal, TypedDict

from oms.core.contracts import Contract
from oms.core.events import QueryKind
from oms.core.fold.records.row import Column, ColumnType, Evolving, Part
from oms.core.money import ZERO
from oms.core.ratio import Ratio


class Fill(Evolving):
    """The net effect of one execution after corrections: the highest revision counts."""

    COLUMNS: ClassVar[dict[str, ColumnType]] = {
        "exec_id": "text",
        "order_id": "text",
        "account": "text",
        "symbol": "text",
        "position_key": "text",
        "perm_id": "integer",
        "booked_sequence": "integer",
    }

    account: str
    stem: str
    exec_id: str
    revision: int
    #: Ours, or empty while nobody has claimed the execution.
    order_id: str
    contract: Contract
    side: Literal["BUY", "SELL"]
    quantity: Decimal
    price: Decimal
    venue: str
    time_text: str
    occurred_at: datetime | None = None
    perm_id: int
    client_id: int
    broker_order_id: int
    order_ref: str
    liquidation: bool
    #: True when it was first learnt by asking, not by a push: it was filled while we were away.
    backfilled: bool
    booked_sequence: int
    #: When it came to our books; it cannot have happened later.
    booked_at: datetime | None = None
    last_sequence: int
    superseded: tuple[str, ...] = ()
    commission: Decimal | None = None
    commission_currency: str = ""
    #: Where the commission of this revision was said, 0 where it was not yet.
    commission_sequence: int = 0
    #: What it was before IB said another one for the same execution.
    commission_was: Decimal | None = None
    #: Why it cannot be of the order that IB names with it; it is then no part of what that filled.
    disputed: str = ""
    #: IB's figure for the execution; None where it does not apply. Ours is on the position.
    realised_pnl: Decimal | None = None
    #: Events about it and its earlier revisions that no other field names: an order that claims it
    #: later has them in its story too.
    told_sequences: tuple[int, ...] = ()

    @property
    def told(self) -> set[int]:
        """Return the events about it and its earlier revisions."""
        named = {self.booked_sequence, self.commission_sequence, self.last_sequence}
        return {*self.told_sequences, *named} - {0}

    def after(self, before: Fill | None, sequence: int, **changes: object) -> Fill:
        """Return this, with changes, as the event of a sequence made it of what it was before."""
        told = self.told if before is None else before.told | self.told
        commission = changes.get("commission_sequence", self.commission_sequence)
        told -= {self.booked_sequence, commission, sequence}
        told_sequences = tuple(sorted(told))
        if not changes and (sequence, told_sequences) == (self.last_sequence, self.told_sequences):
            return self
        return self.evolve(**changes, last_sequence=sequence, told_sequences=told_sequences)

    @property
    def key(self) -> str:
        """Return account and stem: what a correction shares with the execution it corrects."""
        return f"{self.account}:{self.stem}"

    @property
    def happened_by(self) -> datetime | None:
        """Return when it happened; where IB's time cannot be read, when it was booked at the
        latest.
        """
        return self.occurred_at or self.booked_at

    @property
    def is_unclaimed(self) -> bool:
        """Say whether an order may still claim it."""
        return not self.order_id and self.perm_id != 0

    @property
    def live(self) -> bool:
        """Never needed in memory: it is read back when something names it."""
        return False

    @property
    def position_key(self) -> str:
        """Return the key of the position that the fill moves."""
        return f"{self.account}:{self.contract.con_id}"

    @property
    def signed_quantity(self) -> Decimal:
        """Return the quantity, negative for a sale."""
        return self.quantity if self.side == "BUY" else -self.quantity

    def columns(self) -> dict[str, Column]:
        """Return the values that readers search by."""
        return {
            "exec_id": self.exec_id,
            "order_id": self.order_id,
            "account": self.account,
            "symbol": self.contract.symbol,
            "position_key": self.position_key,
            "perm_id": self.perm_id,
            "booked_sequence": self.booked_sequence,
        }


class EarlyCommission(Evolving):
    """A commission report whose execution has not been seen (yet)."""

    COLUMNS: ClassVar[dict[str, ColumnType]] = {}

    exec_id: str
    commission: Decimal | None = None
    currency: str
    realised_pnl: Decimal | None = None
    sequence: int
    #: True once its execution came and took it.
    joined: bool = False

    @property
    def key(self) -> str:
        """Return the execution id."""
        return self.exec_id

    @property
    def live(self) -> bool:
        """Say whether its execution is still missing."""
        return not self.joined

    def columns(self) -> dict[str, Column]:
        """Return nothing: it is found by key."""
        return {}


class AdjustmentMade(Part):
    """A change of a position that no execution made, with its place among the fills."""

    sequence: int
    quantity: Decimal
    price: Decimal | None = None
    ratio: Ratio | None = None
    moves_cash: bool = False
    #: What was held when a split was booked: what a later correction changes of it is multiplied.
    held: Decimal | None = None


class Position(Evolving):
    """What an account holds of a contract, from opening balance and executions; IB's own figures
    stand beside.
    """

    COLUMNS: ClassVar[dict[str, ColumnType]] = {
        "account": "text",
        "con_id": "integer",
        "symbol": "text",
    }

    account: str
    contract: Contract
    quantity: Decimal = ZERO
    #: Average price of what is held, in the contract's currency, commissions and multiplier
    #: excluded.
    average_price: Decimal = ZERO
    #: Realised by average cost, multiplier included, commissions excluded, in the contract's
    #: currency.
    realised_pnl: Decimal = ZERO
    commissions: tuple[tuple[str, Decimal], ...] = ()
    #: Of a pair: what conversions bought of its first currency and paid in the other. They move
    #: cash and no position.
    converted: Decimal = ZERO
    converted_cost: Decimal = ZERO
    #: Part of the realised P&L: what was closed at price 0, as exercised and assigned options are.
    closed_at_zero: Decimal = ZERO
    opening_quantity: Decimal = ZERO
    opening_average_price: Decimal = ZERO
    fill_count: int = 0
    adjustments: tuple[AdjustmentMade, ...] = ()
    #: What adjustments changed in cost and realised P&L without any cash that moved.
    uncashed: Decimal = ZERO
    #: None until IB has named the position in a complete answer or a push.
    broker_quantity: Decimal | None = None
    broker_average_cost: Decimal | None = None
    broker_sequence: int = 0
    #: When IB said so last; the event at `broker_sequence` may be older, and have been repeated.
    broker_at: datetime | None = None
    #: When an execution or an opening last moved it; IB's own rows do not count.
    moved_sequence: int = 0
    moved_at: datetime | None = None
    last_sequence: int = 0
    updated_at: datetime | None = None
    #: The mark of IB's last portfolio row, and its results since its own daily reset.
    broker_price: Decimal | None = None
    broker_realised_pnl: Decimal | None = None
    broker_unrealised_pnl: Decimal | None = None
    broker_marked_at: datetime | None = None
    #: The questions whose last whole answer has it.
    said_in: tuple[QueryKind, ...] = ()

    @property
    def key(self) -> str:
        """Return account and contract."""
        return f"{self.account}:{self.contract.con_id}"

    @property
    def live(self) -> bool:
        """Say whether anything is held, by us or by IB's word."""
        return bool(self.quantity) or bool(self.broker_quantity)

    def columns(self) -> dict[str, Column]:
        """Return the values that readers search by."""
        return {
            "account": self.account,
            "con_id": self.contract.con_id,
            "symbol": self.contract.symbol,
        }


class PositionChanges(TypedDict, total=False):
    """What a rule in `positions` says about a position."""

    quantity: Decimal
    average_price: Decimal
    realised_pnl: Decimal
    commissions: tuple[tuple[str, Decimal], ...]
    converted: Decimal
    converted_cost: Decimal
    closed_at_zero: Decimal
    fill_count: int
    opening_quantity: Decimal
    opening_average_price: Decimal
    adjustments: tuple[AdjustmentMade, ...]
    uncashed: Decimal


class AccountValue(Evolving):
    """One value of an account as IB last said it, with its age."""

    COLUMNS: ClassVar[dict[str, ColumnType]] = {"account": "text", "name": "text"}

    account: str
    name: str
    currency: str
    value: str
    sequence: int
    #: When it was said last; the event at `sequence` may be older, and have been repeated since.
    at: datetime
    #: The questions whose last whole answer has it.
    said_in: tuple[QueryKind, ...] = ()

    @property
    def key(self) -> str:
        """Return account, name and currency."""
        return f"{self.account}:{self.name}:{self.currency}"

    @property
    def live(self) -> bool:
        """Account values are overwritten, never read by the fold."""
        return False

    def columns(self) -> dict[str, Column]:
        """Return the values that readers search by."""
        return {"account": self.account, "name": self.name}


def add_commission(
    totals: tuple[tuple[str, Decimal], ...], currency: str, amount: Decimal
) -> tuple[tuple[str, Decimal], ...]:
    """Return commission totals with an amount added, sorted by currency.

    What comes to nothing is left out, so that the same charges leave the same totals on every way:
    a charge of zero, and one that a bust took back.
    """
    if not amount:
        return totals
    sums = dict(totals)
    sums[currency] = sums.get(currency, ZERO) + amount
    return tuple(sorted((name, total) for name, total in sums.items() if total))
