"""What changes positions and cash though nobody trades: exercise, assignment, expiry, split,
symbol change, transfer.

IB says so with position rows and nothing else, unless it is asked to tell of an exercise as it
tells of the holder's own: by an execution at price 0.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import ROUND_DOWN, Decimal
from typing import TYPE_CHECKING

from oms.sim.broker.instruments import Contract
from oms.sim.broker.ledger import ZERO, Position
from oms.sim.broker.orders import Execution

if TYPE_CHECKING:
    from oms.sim.broker.desk import Desk


@dataclass(frozen=True, slots=True)
class Change:
    """What became of one position."""

    account: str
    contract: Contract
    quantity: Decimal
    average_cost: Decimal


class CorporateLife:
    """Each method changes the books, tells who subscribed to positions, and returns what changed.

    Raises ValueError for what cannot be; then nothing has changed.
    """

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.books = desk.books

    # -- options ----------------------------------------------------------------------------------

    def exercise(
        self, account: str, option: Contract, quantity: Decimal, *, told: bool = False
    ) -> list[Change]:
        """The holder exercises `quantity` long options: they go, shares come or go at the strike.

        What was paid for the options goes into the cost of the shares, as IB's tax lots have it.
        With `told` there are executions as for the holder's own exercise: the option bought at
        price 0, the shares at the strike.  They belong to no order and client 0 hears them.
        """
        held = self.books.position(account, option.con_id)
        self._check_option(option, quantity, held.quantity, "long")
        return self._deliver(account, option, quantity, told=told)

    def assign(
        self, account: str, option: Contract, quantity: Decimal, *, told: bool = False
    ) -> list[Change]:
        """The writer of `quantity` short options is assigned; `told` as for an exercise."""
        held = self.books.position(account, option.con_id)
        self._check_option(option, quantity, -held.quantity, "short")
        return self._deliver(account, option, -quantity, told=told)

    def expire(self, contract: Contract, settlement: Decimal | None = None) -> list[Change]:
        """A contract's end, in every account.

        An option that is a cent or more in the money is exercised or assigned, any other is worth
        nothing; a future pays what it gained, an option on one what it is worth, in cash (IB would
        deliver the future).  `settlement` is the price of the underlying stock,
        or of the future; without it the last price is.  Orders for the contract end.
        """
        if contract.sec_type not in ("OPT", "FUT", "FOP"):
            raise ValueError(f"{contract.local_symbol} does not expire")
        price = settlement if settlement is not None else self._settlement(contract)
        for order in self.books.affected_by(contract.con_id):
            if not order.ended and any(one == contract.con_id for one, _ in order.exposure()):
                self.desk.end(order)
        changes: list[Change] = []
        for (account, con_id), row in list(self.books.positions.items()):
            if con_id != contract.con_id or not row.quantity:
                continue
            if contract.sec_type == "OPT" and _gain(contract, price) >= Decimal("0.01"):
                changes += self._deliver(account, contract, row.quantity, told=False)
            else:
                last = price if contract.sec_type == "FUT" else _worth_at_expiry(contract, price)
                after, gained = row.after(-row.quantity, last, contract.multiplier, ZERO)
                flow = row.quantity * last * contract.multiplier
                if contract.sec_type == "FUT":
                    flow = gained or ZERO
                self.books.add_cash(account, contract.currency, flow)
                changes.append(self._set(account, contract, after, "expiry"))
        return changes

    def settle_expired(self) -> list[Change]:
        """The night's work: every contract that expired and is still held."""
        held = {con_id: None for (_, con_id), row in self.books.positions.items() if row.quantity}
        changes: list[Change] = []
        for contract in map(self.desk.contract, held):
            if self.desk.catalogue.expired(contract):
                changes += self.expire(contract)
        return changes

    # -- stocks -----------------------------------------------------------------------------------

    def split(self, contract: Contract, ratio: Decimal) -> list[Change]:
        """`ratio` new shares for each old one: quantities, costs and the quote follow.

        A fraction that whole shares leave behind is paid in cash at the new price.  Orders and
        options on the stock stay as they are, for their owner to change.
        """
        if contract.sec_type != "STK" or not ratio.is_finite() or ratio <= 0:
            raise ValueError(f"{contract.local_symbol} cannot be split {ratio} to one")
        self.desk.market.split(contract, ratio)
        last = self.desk.market.quote(contract).last
        changes = []
        for (account, con_id), row in list(self.books.positions.items()):
            if con_id != contract.con_id or not row.quantity:
                continue
            exact = row.quantity * ratio
            step = Decimal(1) if row.quantity == row.quantity.to_integral_value() else None
            kept = exact.quantize(step, rounding=ROUND_DOWN) if step is not None else exact
            after = Position(exact, row.average_cost / ratio, row.realized)
            if exact != kept:
                after, _ = after.after(kept - exact, last, Decimal(1), ZERO)
                self.books.add_cash(account, contract.currency, (exact - kept) * last)
            changes.append(self._set(account, contract, after, "split"))
        return changes

    def change_symbol(self, contract: Contract, symbol: str, con_id: int = 0) -> list[Change]:
        """A stock gets another symbol, and another con id if one is given.

        With a new con id the positions move to it: the old rows go to zero.
        """
        if contract.sec_type != "STK" or not symbol:
            raise ValueError(f"{contract.local_symbol} cannot be renamed to {symbol!r}")
        catalogue = self.desk.catalogue
        if con_id and con_id != contract.con_id and catalogue.by_id(con_id) is not None:
            raise ValueError(f"con id {con_id} is another contract's")
        new = catalogue.rename(contract, symbol.upper(), con_id or contract.con_id)
        self.books.keep_contract(new)
        self.desk.market.rename(contract, new)
        changes, renamed = [], "symbol_change"
        for (account, held), row in list(self.books.positions.items()):
            if held != contract.con_id or not row.quantity:
                continue
            if new.con_id != contract.con_id:
                gone, kept = Position(realized=row.realized), replace(row, realized=ZERO)
                changes.append(self._set(account, contract, gone, renamed))
                changes.append(self._set(account, new, kept, renamed))
            else:
                changes.append(self._set(account, new, row, renamed))
        return changes

    def transfer(
        self,
        account: str,
        contract: Contract,
        quantity: Decimal,
        *,
        cost: Decimal | None = None,
        to_account: str = "",
    ) -> list[Change]:
        """Move `quantity` into an account (out of it when negative), from nowhere one can see.

        With `to_account` it goes from one account to the other.  `cost` is the average cost of
        what arrives; without it that of the giving account, else of what is held, else the last
        price.  No cash moves.
        """
        if not quantity or to_account == account:
            raise ValueError("a transfer needs a quantity, and two accounts if it names a second")
        held = self.books.position(account, contract.con_id)
        if cost is None:
            cost = held.average_cost
            if not held.quantity:
                cost = self.desk.market.quote(contract).last * contract.multiplier
        if not to_account:
            return [self._arrive(account, contract, quantity, cost)]
        return [
            self._arrive(account, contract, -quantity, cost),
            self._arrive(to_account, contract, quantity, cost),
        ]

    # -- what they share --------------------------------------------------------------------------

    def _check_option(self, option: Contract, quantity: Decimal, held: Decimal, side: str) -> None:
        if option.sec_type != "OPT":
            raise ValueError(f"{option.local_symbol} is no option")
        if not 0 < quantity <= held:
            raise ValueError(
                f"{quantity} of {option.local_symbol}: {max(held, ZERO)} are held {side}"
            )

    def _settlement(self, contract: Contract) -> Decimal:
        under = self.desk.catalogue.by_id(contract.under_id)
        return self.desk.market.quote(under or contract).last

    def _deliver(
        self, account: str, option: Contract, signed: Decimal, *, told: bool
    ) -> list[Change]:
        """Shares for options at the strike.  `signed` options go: short ones are negative."""
        stock = self.desk.contract(option.under_id)
        strike = option.strike or ZERO
        shares = signed * option.multiplier * (1 if option.right == "C" else -1)
        before = self.books.position(account, option.con_id)
        # What the option cost, or brought in, per share: part of what the shares cost, or bring.
        premium = before.average_cost / option.multiplier
        paid = strike + (premium if option.right == "C" else -premium)
        left = before.quantity - signed
        options = Position(left, before.average_cost if left else ZERO, before.realized)
        after, _ = self.books.position(account, stock.con_id).after(shares, paid, Decimal(1), ZERO)
        self.books.add_cash(account, stock.currency, -shares * strike)
        if told:
            side = "BOT" if shares > 0 else "SLD"
            self._tell(account, option, abs(signed), ZERO, "BOT" if signed > 0 else "SLD")
            self._tell(account, stock, abs(shares), strike, side)
        kind = "exercise" if signed > 0 else "assignment"
        return [
            self._set(account, option, options, kind),
            self._set(account, stock, after, kind, strike),
        ]

    def _tell(
        self, account: str, contract: Contract, quantity: Decimal, price: Decimal, side: str
    ) -> None:
        """An execution that belongs to no order.  It moves nothing: the adjustment does."""
        row = Execution(
            exec_id=self.desk.back_office.next_exec_id(),
            perm_id=0,
            client_id=0,
            order_id=0,
            order_ref="",
            account=account,
            con_id=contract.con_id,
            side=side,
            quantity=quantity,
            price=price,
            time=self.desk.clock.now().replace(microsecond=0),
            venue=contract.primary_exchange,
            cumulative=quantity,
            average_price=price,
            moves_position=False,
        )
        self.books.remember(contract)
        self.books.add_execution(row)
        self.desk.notify.execution(row)

    def _arrive(self, account: str, contract: Contract, quantity: Decimal, cost: Decimal) -> Change:
        held = self.books.position(account, contract.con_id)
        # A transfer realises nothing, whatever it closes.
        after, _ = held.after(quantity, cost / contract.multiplier, contract.multiplier, ZERO)
        row = replace(after, realized=held.realized)
        return self._set(account, contract, row, "transfer")

    def _set(
        self,
        account: str,
        contract: Contract,
        row: Position,
        kind: str,
        price: Decimal = ZERO,
    ) -> Change:
        """`kind` is what a statement calls it, and `price` what was paid for what came or went."""
        self.books.remember(contract)
        change = row.quantity - self.books.position(account, contract.con_id).quantity
        if change:
            self.books.add_life(
                account,
                kind,
                con_id=contract.con_id,
                quantity=change,
                price=price,
                at=self.desk.clock.now(),
            )
        self.books.set_position(account, contract.con_id, row)
        self.books.add_adjustment(account, contract.con_id, row.quantity, row.average_cost)
        self.desk.notify.position(account, contract.con_id)
        return Change(account, contract, row.quantity, row.average_cost)


def _gain(option: Contract, stock_price: Decimal) -> Decimal:
    """What exercise would bring for one share."""
    strike = option.strike or ZERO
    return stock_price - strike if option.right == "C" else strike - stock_price


def _worth_at_expiry(option: Contract, price: Decimal) -> Decimal:
    """What an option that is not exercised pays for one unit: on a future its gain, in cash."""
    return max(_gain(option, price), ZERO) if option.sec_type == "FOP" else ZERO
