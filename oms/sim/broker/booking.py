"""The back office: executions and what they do to positions and cash."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any, Final

from oms.sim.broker import ledger
from oms.sim.broker.books import Books
from oms.sim.broker.catalogue import Catalogue
from oms.sim.broker.checks import Refusal
from oms.sim.broker.instruments import Contract
from oms.sim.broker.ledger import ZERO, Position
from oms.sim.broker.market import Market
from oms.sim.broker.orders import Execution, Order
from oms.sim.clock import Clock
from oms.sim.protocol.frames import to_int
from oms.sim.settings import Settings

Legs = tuple[tuple[Contract, Decimal], ...]
"""The legs of a combination, each with its ratio: negative when the combination sells it."""
SIDES: Final = frozenset(("BUY", "SELL", "SSHORT"))
History = Execution | tuple[Decimal, Decimal]


class BackOffice:
    """Turns fills into executions.  Execution ids never repeat, over restarts neither."""

    def __init__(
        self,
        *,
        books: Books,
        catalogue: Catalogue,
        market: Market,
        clock: Clock,
        settings: Settings,
    ) -> None:
        self.books = books
        self.catalogue = catalogue
        self.market = market
        self.clock = clock
        self.settings = settings
        identity = random.Random(f"executions:{settings.seed}")
        self._prefix = f"0000{identity.randrange(16**4):04x}"
        self._base = identity.randrange(16**8 // 2)

    def execute(
        self,
        order: Order,
        contract: Contract,
        quantity: Decimal,
        price: Decimal,
        liquidation: bool = False,
    ) -> list[Execution]:
        """The executions of a fill: one, or for a combination its own and one for every leg.

        The order's filled quantity and value must be up to date.  A combination's own execution
        moves no position, its legs do.
        """
        whole = self._execution(order, contract, quantity, price, self.next_exec_id())
        whole.liquidation = liquidation
        filled = order.filled
        if contract.sec_type != "BAG":
            self._book(whole, contract, filled)
            self.books.add_execution(whole)
            return [whole]
        self.books.add_execution(whole)
        rows = [whole]
        stem = whole.stem
        for number, (leg, ratio, leg_price) in enumerate(self.leg_prices(order, price), start=2):
            signed = ratio * quantity * (1 if order.is_buy else -1)
            row = self._execution(order, leg, abs(signed), leg_price, f"{stem}.{number:02d}.01")
            row.side = "BOT" if signed > 0 else "SLD"
            row.cumulative, row.average_price = row.quantity, leg_price
            self._book(row, leg, filled * abs(ratio))
            self.books.add_execution(row)
            rows.append(row)
        return rows

    def next_exec_id(self) -> str:
        stem = f"{self._prefix}.{self._base + self.books.next_number('execution'):08x}.01"
        return f"{stem}.01"

    def _execution(
        self, order: Order, contract: Contract, quantity: Decimal, price: Decimal, exec_id: str
    ) -> Execution:
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
            time=self.clock.now().replace(microsecond=0),
            venue=contract.primary_exchange,
            cumulative=order.filled,
            average_price=order.average_price,
            model_code=str(order.terms.get("modelCode", "")),
        )

    def legs(self, order: Order) -> Legs:
        """The legs of a combination with their signed ratios."""
        return combo_legs(self.catalogue, order.terms.get("comboLegs", ()))

    def leg_prices(
        self, order: Order, price: Decimal
    ) -> Iterator[tuple[Contract, Decimal, Decimal]]:
        """Each leg at its last price; the first one makes up for the difference to `price`."""
        legs = self.legs(order)
        lasts = [self.market.quote(leg).last for leg, _ in legs]
        total = sum((ratio * last for (_, ratio), last in zip(legs, lasts, strict=True)), ZERO)
        for number, ((leg, ratio), last) in enumerate(zip(legs, lasts, strict=True)):
            yield leg, ratio, last + (price - total) / ratio if number == 0 else last

    def _book(self, row: Execution, contract: Contract, filled: Decimal) -> None:
        """Charge an execution and change its position.  `filled` is of the whole order, with it.

        The minimum is one for the order: what it has paid already counts.
        """
        schedule = self.settings.commission
        charge = ledger.commission(contract, filled, row.price, schedule)
        charge -= ledger.commission(contract, filled - row.quantity, row.price, schedule)
        charge = max(charge, ZERO)
        row.commission, row.commission_currency = charge, contract.currency
        before = self.books.position(row.account, row.con_id)
        after, row.realized = before.after(row.signed, row.price, contract.multiplier, charge)
        self.books.set_position(row.account, row.con_id, after)
        self._pay(row, contract, 1)

    def _pay(self, row: Execution, contract: Contract, times: int) -> None:
        charge = row.commission or ZERO
        flows = ledger.cash_flows(contract, row.signed, row.price, row.realized, charge)
        for currency, amount in flows.items():
            self.books.add_cash(row.account, currency, amount * times)

    # -- changes without an order -----------------------------------------------------------------

    def adjust_position(
        self, account: str, contract: Contract, quantity: Decimal, cost: Decimal | None
    ) -> Position:
        """Assignment, exercise, expiry, split, transfer: no execution says so."""
        old = self.books.position(account, contract.con_id)
        total = old.quantity + quantity
        average = cost if cost is not None else old.average_cost
        row = Position(total, average if total else ZERO, old.realized)
        self.books.set_position(account, contract.con_id, row)
        self.books.add_adjustment(account, contract.con_id, total, row.average_cost)
        return row

    def correct(
        self, old: Execution, contract: Contract, quantity: Decimal | None, price: Decimal | None
    ) -> Execution:
        """Replace an execution by its next revision, with a commission of its own.

        A bust is a revision to quantity 0.
        """
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
        schedule = self.settings.commission
        new.commission = max(
            (old.commission or ZERO)
            + ledger.commission(contract, new.quantity, new.price, schedule)
            - ledger.commission(contract, old.quantity, old.price, schedule),
            ZERO,
        )
        old.superseded = True
        self._pay(old, contract, -1)
        self.books.save_execution(old)
        self.books.add_execution(new)
        self.books.save(order)
        self._recount(new, contract)
        self._pay(new, contract, 1)
        return new

    def _recount(self, corrected: Execution, contract: Contract) -> None:
        """Rebuild a position from its history: a correction changes what came after it too."""
        row = Position()
        for entry in _revised(self.books.history(corrected.account, corrected.con_id)):
            if isinstance(entry, Execution):
                row, realized = row.after(
                    entry.signed, entry.price, contract.multiplier, entry.commission or ZERO
                )
                if entry.exec_id == corrected.exec_id:
                    corrected.realized = realized
                    self.books.save_execution(corrected)
            else:
                row = Position(entry[0], entry[1], row.realized)
        self.books.set_position(corrected.account, corrected.con_id, row)


def combo_legs(catalogue: Catalogue, said: Iterable[Mapping[str, str]]) -> Legs:
    """The legs that a client names, with signed ratios.  Raises the Refusal of what cannot be."""
    legs: list[tuple[Contract, Decimal]] = []
    for leg in said:
        contract = catalogue.by_id(to_int(leg["conId"]))
        ratio = to_int(leg["ratio"])
        known = contract is not None and contract.sec_type != "BAG"
        if contract is None or not known or ratio <= 0 or leg["action"] not in SIDES:
            raise Refusal(313, f"The combo details for leg '{len(legs)}' are invalid.")
        legs.append((contract, Decimal(ratio if leg["action"] == "BUY" else -ratio)))
    if not legs:
        raise Refusal(314, "Security type 'BAG' requires combo leg details.")
    if len(legs) < 2:
        raise Refusal(312, "The combo details are invalid.")
    return tuple(legs)


def _revised(entries: Iterable[History]) -> Iterator[Any]:
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
