"""What can be done to a running gateway from outside: on the control port and in scenarios.

A verb is a function with a docstring and a list of its fields; the reference page is made from
them.  Amounts are text, so that no number passes through binary floating point.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, Final

from oms.sim.checks import Refusal
from oms.sim.instruments import Contract
from oms.sim.orders import Execution, Order

if TYPE_CHECKING:
    from oms.sim.gateway import Gateway
    from oms.sim.session import Session

Answer = dict[str, Any]


class CommandError(Exception):
    """A command that cannot be done, and what to try instead."""

    def __init__(self, text: str, hint: str = "") -> None:
        super().__init__(text)
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Verb:
    """One command: `fields` are its field names, those that may be left out end in `?`."""

    name: str
    group: str
    fields: tuple[str, ...]
    action: Callable[[Commands, Fields], Answer]

    @property
    def description(self) -> str:
        return " ".join((self.action.__doc__ or "").split())


VERBS: Final[dict[str, Verb]] = {}
ORDER_FIELDS: Final = ("order?", "order_ref?", "perm_id?", "client_id?", "order_id?")


def verb(
    group: str, *fields: str
) -> Callable[[Callable[[Commands, Fields], Answer]], Callable[[Commands, Fields], Answer]]:
    """Register a function as a verb under its own name."""

    def register(
        action: Callable[[Commands, Fields], Answer],
    ) -> Callable[[Commands, Fields], Answer]:
        name = action.__name__.rstrip("_")
        VERBS[name] = Verb(name, group, fields, action)
        return action

    return register


class Fields:
    """The fields of one command, read with their types.  A field nobody reads is an error."""

    def __init__(self, verb: Verb, values: Mapping[str, Any]) -> None:
        known = {name.rstrip("?") for name in verb.fields}
        unknown = set(values) - known
        if unknown:
            listed = ", ".join(verb.fields) or "none"
            raise CommandError(f"{verb.name} has no field {sorted(unknown)[0]!r}", listed)
        missing = [name for name in verb.fields if not name.endswith("?") and name not in values]
        if missing:
            raise CommandError(f"{verb.name} needs the field {missing[0]!r}", verb.description)
        self._values = values

    def has(self, name: str) -> bool:
        return self._values.get(name) is not None

    def text(self, name: str, default: str = "") -> str:
        value = self._values.get(name)
        return default if value is None else str(value)

    def integer(self, name: str, default: int = 0) -> int:
        return int(self.text(name, str(default)))

    def integer_or_none(self, name: str) -> int | None:
        return int(self.text(name)) if self.has(name) else None

    def amount(self, name: str) -> Decimal:
        try:
            return Decimal(self.text(name))
        except InvalidOperation as error:
            raise CommandError(f"{name} {self.text(name)!r} is not an amount") from error

    def amount_or_none(self, name: str) -> Decimal | None:
        return self.amount(name) if self.has(name) else None

    def seconds(self, name: str, default: float = 0.0) -> float:
        return float(self.text(name, str(default)))

    def flag(self, name: str) -> bool:
        return self.text(name).lower() in ("1", "true", "yes")

    def mapping(self, name: str) -> dict[str, str]:
        value = self._values.get(name) or {}
        if not isinstance(value, Mapping):
            raise CommandError(f"{name} is not an object", f'{name}.FIELD=TEXT or {{"FIELD": ...}}')
        return {str(key): str(text) for key, text in value.items()}

    def texts(self, name: str) -> list[str]:
        """A list, or one text with `|` between its parts."""
        value = self._values.get(name)
        if isinstance(value, str):
            return value.split("|")
        return [str(one) for one in value or ()]


class Commands:
    """Does commands to one gateway, and finds what they name."""

    def __init__(self, gateway: Gateway, *, on_quit: Callable[[], None] | None = None) -> None:
        self.gateway = gateway
        self.on_quit = on_quit

    def do(self, command: Mapping[str, Any]) -> Answer:
        """Do one command.  Never raises for a command that is wrong: the answer says so."""
        values = dict(command)
        name = values.pop("do", None)
        found = VERBS.get(name) if isinstance(name, str) else None
        if found is None:
            return failure(f"unknown command {name!r}", "one of " + ", ".join(sorted(VERBS)))
        try:
            answer = found.action(self, Fields(found, values))
        except CommandError as error:
            return failure(str(error), error.hint)
        except Refusal as refusal:
            return failure(refusal.text, f"the gateway would answer code {refusal.code}")
        except (ValueError, LookupError) as error:
            return failure(f"{name}: {error}", found.description)
        finally:
            self.gateway.flush()
        return {"ok": True, **answer}

    # -- finding things -------------------------------------------------------------------------

    def sessions(self, fields: Fields) -> list[Session]:
        """The sessions of `client_id`, or all."""
        wanted = fields.integer_or_none("client_id")
        return [one for one in self.gateway.sessions if wanted in (None, one.client_id)]

    def order(self, fields: Fields) -> Order:
        """The order that a command names: see the reference for the ways to name one."""
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

    def _numbered(self, text: str) -> Order | None:
        accepted = self.gateway.desk.accepted_ids
        if text == "last":
            return self.gateway.books.by_perm_id(accepted[-1]) if accepted else None
        number = int(text)
        if not 0 < number <= len(accepted):
            return None
        return self.gateway.books.by_perm_id(accepted[number - 1])

    def live(self, fields: Fields) -> Order:
        order = self.order(fields)
        if order.ended:
            raise CommandError(f"the order has ended: {order.status}")
        return order

    def execution(self, fields: Fields) -> Execution:
        """The execution `exec_id`, or the newest one of an order that is named."""
        if fields.has("exec_id"):
            found = self.gateway.books.execution(fields.text("exec_id"))
        else:
            rows = self.gateway.books.executions_of(self.order(fields).perm_id)
            found = rows[-1] if rows else None
        if found is None:
            raise CommandError("no such execution", "do books to see them")
        if found.superseded:
            raise CommandError("that execution was corrected before", "name the newest revision")
        return found

    def contract(self, fields: Fields) -> Contract:
        catalogue = self.gateway.desk.catalogue
        if fields.has("con_id"):
            found = catalogue.by_id(fields.integer("con_id"))
        else:
            found = catalogue.one(fields.text("symbol"))
        if found is None:
            raise CommandError("no such contract", "symbol (or local symbol), or con_id")
        return found

    def account(self, fields: Fields) -> str:
        accounts = self.gateway.settings.accounts
        account = fields.text("account", accounts[0])
        if account not in accounts:
            raise CommandError(f"no account {account}", ", ".join(accounts))
        return account

    def symbol(self, con_id: int) -> str:
        return self.gateway.desk.contract(con_id).symbol


def failure(error: str, hint: str) -> Answer:
    return {"ok": False, "error": error, "hint": hint}
