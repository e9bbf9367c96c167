"""What happens to options and futures though nobody trades: exercise, assignment, expiry.

IB says so with position rows and nothing else, unless it is asked to tell of an exercise as it
tells of the holder's own: by an execution at price 0.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from oms.sim.broker.adjustments import Change, set_position
from oms.sim.broker.books.books import ChangeKind
from oms.sim.broker.books.executions import Execution, Side
from oms.sim.broker.books.ledger import ZERO, Position
from oms.sim.broker.books.orders import Order
from oms.sim.broker.exchange.contracts import Contract
from oms.sim.broker.floor import Floor


class Derivatives:
    """Each method changes the books, tells who subscribed to positions, and returns what changed.

    Raises ValueError for what cannot be; then nothing has changed.
    """

    def __init__(
        self, floor: Floor, *, end: Callable[[Order], None], next_exec_id: Callable[[], str]
    ) -> None:
        self.floor = floor
        self.books = floor.books
        self._end = end
        self._next_exec_id = next_exec_id

    def exercise(
        self, account: str, option: Contract, quantity: Decimal, *, told: bool = False
    ) -> list[Change]:
        """Exercise `quantity` long options: they go, shares come or go at the strike.

        What was paid for the options goes into the cost of the shares, as IB's tax lots have it.
        With `told` there are executions as for the holder's own exercise: the option bought at
        price 0, the shares at the strike. They belong to no order and client 0 hears them.
        """
        held = self.books.position(account, option.con_id)
        self._check_option(option, quantity, held.quantity, "long")
        return self._deliver(account, option, quantity, told=told)

    def assign(
        self, account: str, option: Contract, quantity: Decimal, *, told: bool = False
    ) -> list[Change]:
        """Assign `quantity` short options to their writer; `told` as for an exercise."""
        held = self.books.position(account, option.con_id)
        self._check_option(option, quantity, -held.quantity, "short")
        return self._deliver(account, option, -quantity, told=told)

    def expire(self, contract: Contract, settlement: Decimal | None = None) -> list[Change]:
        """End a contract, in every account.

        An option on a stock that is a cent or more in the money is exercised or assigned, any other
        is worth nothing; one on an index pays what it is worth, in cash, and so does one on a
        future (IB would deliver the future); a future pays what it gained. `settlement` is the
        price of the underlying, or of the future; without it the last price is. Orders for the
        contract end.
        """
        if contract.sec_type not in ("OPT", "FUT", "FOP"):
            raise ValueError(f"{contract.local_symbol} does not expire")
        price = settlement if settlement is not None else self._settlement(contract)
        for order in self.books.live.affected_by(contract.con_id):
            if not order.ended and any(one == contract.con_id for one, _ in order.per_unit()):
                self._end(order)
        changes: list[Change] = []
        for (account, con_id), row in list(self.books.positions.items()):
            if con_id != contract.con_id or not row.quantity:
                continue
            delivers = contract.sec_type == "OPT" and not self._is_on_index(contract)
            if delivers and _gain(contract, price) >= Decimal("0.01"):
                changes += self._deliver(account, contract, row.quantity, told=False)
            else:
                changes.append(self._settle(account, contract, row, price))
        return changes

    def settle_expired(self) -> list[Change]:
        """Do the night's work: end every contract that expired and is still held."""
        held = {con_id: None for (_, con_id), row in self.books.positions.items() if row.quantity}
        changes: list[Change] = []
        for contract in map(self.floor.contract, held):
            if self.floor.catalogue.expired(contract):
                changes += self.expire(contract)
        return changes

    def _check_option(self, option: Contract, quantity: Decimal, held: Decimal, side: str) -> None:
        if option.sec_type != "OPT":
            raise ValueError(f"{option.local_symbol} is no option")
        if self._is_on_index(option):
            raise ValueError(f"{option.local_symbol} is settled in cash, at its end")
        if not 0 < quantity <= held:
            raise ValueError(
                f"{quantity} of {option.local_symbol}: {max(held, ZERO)} are held {side}"
            )

    def _settlement(self, contract: Contract) -> Decimal:
        under = self.floor.catalogue.by_id(contract.under_id)
        return self.floor.market.quote(under or contract).last

    def _is_on_index(self, option: Contract) -> bool:
        under = self.floor.catalogue.by_id(option.under_id)
        return under is not None and under.sec_type == "IND"

    def _settle(self, account: str, contract: Contract, row: Position, price: Decimal) -> Change:
        """Pay in cash what a position is worth at its end. `price` is as for `expire`."""
        is_future = contract.sec_type == "FUT"
        pays = contract.sec_type == "FOP" or self._is_on_index(contract)
        last = price if is_future else max(_gain(contract, price), ZERO) if pays else ZERO
        after, gained = row.after(-row.quantity, last, contract.multiplier, ZERO)
        # A future has paid nothing when it was opened: only what it gained is paid.
        flow = (gained or ZERO) if is_future else row.quantity * last * contract.multiplier
        self.books.add_cash(account, contract.currency, flow)
        paid = ZERO if is_future else last
        return set_position(self.floor, account, contract, after, kind="expiry", price=paid)

    def _deliver(
        self, account: str, option: Contract, signed: Decimal, *, told: bool
    ) -> list[Change]:
        """Shares for options at the strike. `signed` options go: short ones are negative."""
        stock = self.floor.contract(option.under_id)
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
            side: Side = "BOT" if shares > 0 else "SLD"
            self._tell(account, option, abs(signed), ZERO, "BOT" if signed > 0 else "SLD")
            self._tell(account, stock, abs(shares), strike, side)
        kind: ChangeKind = "exercise" if signed > 0 else "assignment"
        return [
            set_position(self.floor, account, option, options, kind=kind),
            set_position(self.floor, account, stock, after, kind=kind, price=strike),
        ]

    def _tell(
        self, account: str, contract: Contract, quantity: Decimal, price: Decimal, side: Side
    ) -> None:
        """An execution that belongs to no order. It moves nothing: the adjustment does."""
        row = Execution(
            exec_id=self._next_exec_id(),
            perm_id=0,
            client_id=0,
            order_id=0,
            order_ref="",
            account=account,
            con_id=contract.con_id,
            side=side,
            quantity=quantity,
            price=price,
            time=self.floor.clock.now().replace(microsecond=0),
            venue=contract.primary_exchange,
            cumulative=quantity,
            average_price=price,
            moves_position=False,
        )
        self.books.remember(contract)
        self.books.add_execution(row)
        self.floor.notify.execution(row)


def _gain(option: Contract, stock_price: Decimal) -> Decimal:
    """What exercise would bring for one share."""
    strike = option.strike or ZERO
    return stock_price - strike if option.right == "C" else strike - stock_price
