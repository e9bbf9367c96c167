"""The back office: executions and what they do to positions and cash."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from decimal import Decimal

from oms.sim.broker.books import ledger
from oms.sim.broker.books.books import Adjustment
from oms.sim.broker.books.executions import Execution
from oms.sim.broker.books.ledger import ZERO, Charge, Position
from oms.sim.broker.books.orders import Order
from oms.sim.broker.combos import leg_prices, legs_of
from oms.sim.broker.exchange.contracts import CONVERSION_VENUE, Contract
from oms.sim.broker.floor import Floor


class BackOffice:
    """Turns fills into executions. Execution ids never repeat, over restarts neither."""

    def __init__(self, floor: Floor) -> None:
        self.floor = floor
        self.books = floor.books
        self.settings = floor.settings
        identity = random.Random(f"executions:{floor.settings.seed}")
        self._prefix = f"0000{identity.randrange(16**4):04x}"
        self._base = identity.randrange(16**8 // 2)

    def execute(
        self,
        order: Order,
        contract: Contract,
        quantity: Decimal,
        price: Decimal,
        liquidation: bool = False,
        *,
        other_side: bool = False,
    ) -> list[Execution]:
        """Return the executions of a fill: one, or a combination's own and one for every leg.

        The order's filled quantity and value must be up to date. A combination's own execution
        moves no position, its legs do.
        """
        if contract.sec_type == "BAG":
            prices = list(leg_prices(self.floor, order, price))
            whole = self.execute_alone(
                order, contract, quantity, price, liquidation=liquidation, other_side=other_side
            )
            legs = [
                self.execute_leg(order, number, quantity, leg_price, other_side=other_side)
                for number, (_, _, leg_price) in enumerate(prices, start=1)
            ]
            return [whole, *legs]
        row = self._execution(order, contract, quantity, price, self.next_exec_id())
        row.liquidation = liquidation
        filled = order.filled
        if other_side:
            row.side = "SLD" if order.is_buy else "BOT"
            filled = quantity
        self._book(row, contract, filled)
        self.books.add_execution(row)
        return [row]

    def execute_alone(
        self,
        order: Order,
        contract: Contract,
        quantity: Decimal,
        price: Decimal,
        *,
        liquidation: bool = False,
        other_side: bool = False,
    ) -> Execution:
        """Return a combination's own execution, which moves no position, without those of its legs.

        The order's filled quantity and value must be up to date.
        """
        row = self._execution(order, contract, quantity, price, self._part_id(order, 0))
        row.liquidation = liquidation
        row.side = "BOT" if order.is_buy is not other_side else "SLD"
        self.books.add_execution(row)
        return row

    def execute_leg(
        self,
        order: Order,
        number: int,
        quantity: Decimal,
        price: Decimal | None,
        *,
        other_side: bool = False,
    ) -> Execution:
        """Return the execution of a combination's leg, from 1, for so much of the combination; at
        its own last price where none is given. The order stays as it is.
        """
        leg, ratio = legs_of(self.floor, order)[number - 1]
        signed = ratio * quantity * (1 if order.is_buy is not other_side else -1)
        if price is None:
            price = self.floor.market.quote(leg).last
        before = self.executed_of_leg(order, number)
        exec_id = self._part_id(order, number)
        row = self._execution(order, leg, abs(signed), price, exec_id)
        row.side = "BOT" if signed > 0 else "SLD"
        row.cumulative, row.average_price = row.quantity, price
        self._book(row, leg, before + row.quantity)
        self.books.add_execution(row)
        return row

    def executed_of_leg(self, order: Order, number: int) -> Decimal:
        """Return how much of a leg, from 1, has been executed for a combination."""
        return sum((row.quantity for row in self._parts(order)
                    if _part_number(row) == number), ZERO)  # fmt: skip

    def _parts(self, order: Order) -> list[Execution]:
        return [row for row in self.books.executions_of(order.perm_id) if not row.superseded]

    def _part_id(self, order: Order, number: int) -> str:
        """The id of one part of a combination's fill: the first fill that lacks it, else a new one.

        Part 0 is the combination's own.
        """
        fills: dict[str, set[int]] = {}
        for row in self.books.executions_of(order.perm_id):
            fills.setdefault(_fill_of(row), set()).add(_part_number(row))
        fill = next((fill for fill, parts in fills.items() if number not in parts), None)
        if fill is None:
            fill = _fill_of_id(self.next_exec_id())
        return f"{fill}.01.{number + 1:02d}.01" if number else f"{fill}.01.01"

    def next_exec_id(self) -> str:
        """Return an execution id that was never used: the first revision of a new stem."""
        stem = f"{self._prefix}.{self._base + self.books.next_number('execution'):08x}.01"
        return f"{stem}.01"

    def _execution(
        self, order: Order, contract: Contract, quantity: Decimal, price: Decimal, exec_id: str
    ) -> Execution:
        converts = order.exchange == CONVERSION_VENUE
        return Execution(
            exec_id=exec_id,
            perm_id=order.perm_id,
            client_id=order.client_id,
            order_id=order.order_id,
            order_ref=order.order_ref,
            account=order.account,
            con_id=contract.con_id,
            side="BOT" if order.is_buy else "SLD",
            quantity=quantity,
            price=price,
            time=self.floor.clock.now().replace(microsecond=0),
            venue=CONVERSION_VENUE if converts else contract.primary_exchange,
            moves_position=not converts,
            cumulative=order.filled,
            average_price=order.average_price,
            model_code=str(order.terms.get("modelCode", "")),
        )

    def _book(self, row: Execution, contract: Contract, filled: Decimal) -> None:
        """Charge an execution and change its position. `filled` is of the whole order, with it.

        The minimum is one for the order: what it has paid already counts.
        """
        whole = self._charge(contract, filled, row.price)
        paid = self._charge(contract, filled - row.quantity, row.price)
        row.commission = max(whole.amount - paid.amount, ZERO)
        row.commission_currency = whole.currency
        if row.moves_position:
            before = self.books.position(row.account, row.con_id)
            after, row.realized = before.after(
                row.signed, row.price, contract.multiplier, _in_cost(row, contract)
            )
            self.books.set_position(row.account, row.con_id, after)
        self._pay(row, contract, 1)

    def _charge(self, contract: Contract, quantity: Decimal, price: Decimal) -> Charge:
        schedule, base = self.settings.commission, self.settings.base_currency
        return ledger.commission(contract, quantity, price, schedule, base)

    def _pay(self, row: Execution, contract: Contract, times: int) -> None:
        flows = ledger.cash_flows(
            contract, row.signed, row.price, row.realized, row.charge(contract)
        )
        for currency, amount in flows.items():
            self.books.add_cash(row.account, currency, amount * times)

    # ── corrections ──────────────────────────────────────────────────────────────────────────────

    def correct(
        self, old: Execution, *, quantity: Decimal | None, price: Decimal | None
    ) -> Execution:
        """Replace an execution by its next revision, with a commission of its own, and say so.

        A bust is a revision to quantity 0.
        """
        contract = self.floor.contract(old.con_id)
        order = self.books.by_perm_id(old.perm_id)
        if order is None:
            raise LookupError(f"no order with perm id {old.perm_id}")
        new = Execution.from_json(old.to_json())
        new.exec_id = f"{old.stem}.{old.revision + 1:02d}"
        new.quantity = old.quantity if quantity is None else quantity
        new.price = old.price if price is None else price
        order.filled += new.quantity - old.quantity
        order.value += new.quantity * new.price - old.quantity * old.price
        new.cumulative, new.average_price = order.filled, order.average_price
        change = self._charge(contract, new.quantity, new.price).amount
        change -= self._charge(contract, old.quantity, old.price).amount
        new.commission = max((old.commission or ZERO) + change, ZERO)
        old.superseded = True
        self._pay(old, contract, -1)
        self.books.save_execution(old)
        self.books.add_execution(new)
        self.books.save(order)
        self._recount(new, contract)
        self._pay(new, contract, 1)
        notify = self.floor.notify
        notify.execution(new)
        notify.commission(new)
        notify.position(new.account, new.con_id)
        return new

    def _recount(self, corrected: Execution, contract: Contract) -> None:
        """Rebuild a position from its history: a correction changes what came after it too."""
        row = Position()
        for entry in _revised(self.books.history(corrected.account, corrected.con_id)):
            if isinstance(entry, Execution):
                charge = _in_cost(entry, contract)
                row, realized = row.after(entry.signed, entry.price, contract.multiplier, charge)
                if entry.exec_id == corrected.exec_id:
                    corrected.realized = realized
                    self.books.save_execution(corrected)
            else:
                row = Position(entry.quantity, entry.average_cost, row.realized)
        self.books.set_position(corrected.account, corrected.con_id, row)


def _fill_of_id(exec_id: str) -> str:
    """Return what the executions of one fill have in common: a combination's has several."""
    return ".".join(exec_id.split(".")[:2])


def _fill_of(row: Execution) -> str:
    return _fill_of_id(row.exec_id)


def _part_number(row: Execution) -> int:
    """Return which part of a combination an execution is of: 0 for its own, legs from 1."""
    segments = row.exec_id.split(".")
    return int(segments[3]) - 1 if len(segments) > 4 else 0


def _in_cost(row: Execution, contract: Contract) -> Decimal:
    """Return the part of a commission that IB's average cost has in it, in the contract's currency:
    none of a CFD's.
    """
    is_apart = contract.sec_type == "CFD"
    return ZERO if is_apart else row.charge(contract).in_currency(contract.currency)


def _revised(entries: Iterable[Execution | Adjustment]) -> Iterator[Execution | Adjustment]:
    """The last revision of every execution, standing where its first revision stood."""
    rows = list(entries)
    latest = {row.stem: row for row in rows if isinstance(row, Execution)}
    seen: set[str] = set()
    for row in rows:
        if not isinstance(row, Execution):
            yield row
        elif row.stem not in seen:
            seen.add(row.stem)
            yield latest[row.stem]
