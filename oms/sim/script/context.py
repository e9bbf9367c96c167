"""What a verb works with: the gateway, and the finding of what a command names."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from oms.sim.broker.books.executions import Execution
from oms.sim.broker.books.orders import Order
from oms.sim.broker.exchange.contracts import Contract, Query
from oms.sim.gateway.gateway import Gateway
from oms.sim.gateway.session import Session
from oms.sim.protocol.fields import is_digits
from oms.sim.script.arguments import CommandError, Fields

log = logging.getLogger("oms.sim.script.context")

#: The ways to name an order.
ORDER_FIELDS: Final = ("order?", "order_ref?", "perm_id?", "client_id?", "order_id?")
#: The ways to name a contract.
CONTRACT_FIELDS: Final = (
    *("symbol?", "con_id?", "sec_type?", "expiry?", "strike?", "right?", "exchange?"),
    *("currency?", "legs?"),
)
#: Fields that spell a contract out, and IB's names for them.
_SPELLED: Final = {
    "sec_type": "secType",
    "expiry": "lastTradeDateOrContractMonth",
    "strike": "strike",
    "right": "right",
    "exchange": "exchange",
    "currency": "currency",
}


class Context:
    """One gateway. Every finder raises CommandError for what is not there."""

    def __init__(self, gateway: Gateway, *, on_quit: Callable[[], None] | None = None) -> None:
        self.gateway = gateway
        self.on_quit = on_quit

    def sessions(self, fields: Fields) -> list[Session]:
        """Return the sessions of `client_id`, or all."""
        wanted = fields.integer_or_none("client_id")
        if wanted is not None and self.gateway.clients.by_id(wanted) is None:
            log.info("client %s is not connected", wanted)
        return [one for one in self.gateway.clients.sessions if wanted in (None, one.client_id)]

    def order(self, fields: Fields) -> Order:
        """Return the order that a command names: see the reference for the ways to name one."""
        books = self.gateway.books
        found: Order | None = None
        if fields.has("perm_id"):
            found = books.by_perm_id(fields.integer("perm_id"))
        elif fields.has("order_ref"):
            found = books.by_ref(fields.text("order_ref"))
        elif fields.has("order_id"):
            found = books.by_client(fields.integer("client_id"), fields.integer("order_id"))
        elif fields.has("order"):
            found = self._numbered(fields.text("order"))
        else:
            raise CommandError("no order is named", "order_ref, perm_id, order_id or order")
        if found is None:
            raise CommandError("no such order", "do books to see them")
        return found

    def untransmitted(self, fields: Fields) -> Order | None:
        """Return the order that a command names among those that wait for their transmission."""
        waiting = self.gateway.intake.untransmitted
        if fields.has("order_ref"):
            ref = fields.text("order_ref")
            return next((one for one in waiting.values() if one.order_ref == ref), None)
        if fields.has("order_id"):
            return waiting.get((fields.integer("client_id"), fields.integer("order_id")))
        return None

    def _numbered(self, text: str) -> Order | None:
        accepted = self.gateway.broker.orders.accepted_ids
        if text == "last":
            return self.gateway.books.by_perm_id(accepted[-1]) if accepted else None
        if not is_digits(text) or not 0 < int(text[:9]) <= len(accepted):
            return None
        number = int(text)
        return self.gateway.books.by_perm_id(accepted[number - 1])

    def live(self, fields: Fields) -> Order:
        """Return the order that a command names, which must not have ended."""
        order = self.order(fields)
        if order.ended:
            raise CommandError(f"the order has ended: {order.status}")
        return order

    def execution(self, fields: Fields, *, any_revision: bool = False) -> Execution:
        """Return the execution `exec_id`, or the newest one of an order that is named; one that was
        corrected since only with `any_revision`.
        """
        if fields.has("exec_id"):
            found = self.gateway.books.execution(fields.text("exec_id"))
        else:
            rows = self.gateway.books.executions_of(self.order(fields).perm_id)
            found = rows[-1] if rows else None
        if found is None:
            raise CommandError("no such execution", "do books to see them")
        if found.superseded and not any_revision:
            raise CommandError("that execution was corrected before", "name the newest revision")
        return found

    def contract(self, fields: Fields) -> Contract:
        """Return the contract that a command names: see the reference for the ways to do it."""
        catalogue = self.gateway.floor.catalogue
        spelled = {
            wire_name: fields.text(name) for name, wire_name in _SPELLED.items() if fields.has(name)
        }
        if fields.has("legs"):
            query = Query.from_wire({"symbol": fields.text("symbol"), **spelled, "secType": "BAG"})
            return catalogue.resolve(query)[0]
        if fields.has("con_id"):
            found = catalogue.by_id(fields.integer("con_id"))
        elif spelled:
            if "secType" not in spelled:
                spelled["secType"] = "OPT" if "strike" in spelled or "right" in spelled else "STK"
            spelled["secType"] = spelled["secType"].upper()
            spelled["right"] = spelled.get("right", "")[:1].upper()
            found = self._spelled(Query.from_wire({"symbol": fields.text("symbol"), **spelled}))
        else:
            found = catalogue.one(fields.text("symbol"))
        if found is None:
            raise CommandError("no such contract", "symbol (or local symbol), con_id, or spell it")
        return found

    def _spelled(self, query: Query) -> Contract | None:
        found = self.gateway.floor.catalogue.resolve(query)
        if len(found) > 1:
            names = ", ".join(one.local_symbol for one in found[:5])
            raise CommandError(f"{len(found)} contracts look so", f"be exact: {names}")
        return found[0] if found else None

    def legs(self, fields: Fields) -> list[dict[str, str]]:
        """Return the legs of a combination: `KO:1:BUY|PEP:2:SELL`, each a symbol or a con id."""
        made = []
        for text in fields.texts("legs"):
            name, _, rest = text.partition(":")
            ratio, _, action = rest.partition(":")
            catalogue = self.gateway.floor.catalogue
            leg = catalogue.by_id(int(name)) if is_digits(name) else catalogue.one(name)
            if leg is None:
                raise CommandError(f"leg {name!r} is no contract", "a symbol or a con id")
            if not is_digits(ratio) or not 0 < int(ratio[:9]) < 1000:
                raise CommandError(f"leg {text!r} has no ratio", "SYMBOL:RATIO:BUY or SELL")
            if action.upper() not in ("BUY", "SELL"):
                raise CommandError(f"leg {text!r} has no side", "SYMBOL:RATIO:BUY or SELL")
            made.append({"conId": str(leg.con_id), "ratio": ratio, "action": action.upper(),
                         "exchange": "SMART"})  # fmt: skip
        return made

    def account(self, fields: Fields) -> str:
        """Return the account that a command names, or the first."""
        accounts = self.gateway.settings.accounts
        account = fields.text("account", accounts[0])
        if account not in accounts:
            raise CommandError(f"no account {account}", ", ".join(accounts))
        return account

    def symbol(self, con_id: int) -> str:
        """Return the symbol of a contract."""
        return self.gateway.floor.contract(con_id).symbol
