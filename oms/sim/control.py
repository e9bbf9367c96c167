"""The control port: one JSON object a line in, one JSON object a line out.

`{"do": "books"}` is answered `{"ok": true, ...}`, a command that cannot be done
`{"ok": false, "error": "...", "hint": "..."}`.  Amounts are text.  The commands are the methods of
`Commands` that are listed in `COMMANDS`; scenarios use the same ones.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from oms.sim import messages
from oms.sim.checks import Refusal
from oms.sim.faults import Fault
from oms.sim.gateway import Gateway
from oms.sim.instruments import Contract
from oms.sim.orders import Execution, Order
from oms.sim.wire import number

log = logging.getLogger("oms.sim.control")

Answer = dict[str, Any]
Command = Mapping[str, Any]


class CommandError(Exception):
    """A command that cannot be done, and what to try instead."""

    def __init__(self, text: str, hint: str = "") -> None:
        super().__init__(text)
        self.hint = hint


class Commands:
    """What can be done to a running gateway from outside."""

    def __init__(self, gateway: Gateway, *, on_quit: Callable[[], None] | None = None) -> None:
        self.gateway = gateway
        self.on_quit = on_quit

    def do(self, command: Command) -> Answer:
        """Do one command.  Never raises for a command that is wrong: the answer says so."""
        verb = command.get("do")
        action = COMMANDS.get(verb) if isinstance(verb, str) else None
        if action is None:
            return _failure(f"unknown command {verb!r}", "one of " + ", ".join(sorted(COMMANDS)))
        try:
            answer = action(self, command)
        except CommandError as error:
            return _failure(str(error), error.hint)
        except Refusal as refusal:
            return _failure(refusal.text, f"the gateway would answer code {refusal.code}")
        except KeyError as error:
            return _failure(f"{verb} needs the field {error}", "see the control reference")
        except (ValueError, LookupError, InvalidOperation) as error:
            return _failure(f"{verb}: {error}", "see the control reference")
        finally:
            self.gateway.flush()
        return {"ok": True, **answer}

    # -- looking --------------------------------------------------------------------------------

    def books(self, command: Command) -> Answer:
        """Everything the broker knows.  `placements` counts placeOrder messages received."""
        gateway = self.gateway
        books = gateway.books
        executions = list(books.executions())
        return {
            "orders": [one.public(self._symbol(one.con_id)) for one in books.orders()],
            "untransmitted": [
                one.public(self._symbol(one.con_id)) for one in gateway.desk.untransmitted.values()
            ],
            "executions": [one.public(self._symbol(one.con_id)) for one in executions],
            "commissions": [
                one.public_commission() for one in executions if one.commission is not None
            ],
            "positions": [
                {
                    "account": account,
                    "con_id": con_id,
                    "symbol": self._symbol(con_id),
                    "quantity": number(row.quantity),
                    "average_cost": number(row.average_cost),
                }
                for (account, con_id), row in books.positions.items()
            ],
            "cash": [
                {"account": account, "currency": currency, "amount": number(amount)}
                for (account, currency), amount in books.cash.items()
            ],
            "placements": self._placements("new"),
            "modifications": self._placements("modify"),
            **self.clients(command),
        }

    def _placements(self, kind: str) -> list[Answer]:
        return [
            {
                "client_id": client_id,
                "order_id": order_id,
                "order_ref": order_ref,
                "received": received,
            }
            for client_id, order_id, order_ref, received in self.gateway.books.placements(kind)
        ]

    def clients(self, command: Command) -> Answer:
        """Client ids connected now."""
        ids = [one.client_id for one in self.gateway.sessions if one.client_id is not None]
        return {"clients": sorted(ids)}

    # -- sockets --------------------------------------------------------------------------------

    def cut(self, command: Command) -> Answer:
        """Reset the sockets of one client (`client_id`) or of all."""
        chosen = self._sessions(command)
        for session in chosen:
            session.cut()
        return {"cut": len(chosen)}

    def half_open(self, command: Command) -> Answer:
        """Keep the sockets, read nothing from them and answer nothing, for ever."""
        chosen = self._sessions(command)
        for session in chosen:
            session.freeze()
        return {"frozen": len(chosen)}

    def refuse(self, command: Command) -> Answer:
        """Reset every new connection, for `seconds` or until `accept`."""
        self.gateway.refusing = True
        if command.get("seconds"):
            self.gateway.clock.call_later(float(command["seconds"]), self._accept)
        return {}

    def accept(self, command: Command) -> Answer:
        """Take connections again."""
        self._accept()
        return {}

    def _accept(self) -> None:
        self.gateway.refusing = False

    def restart(self, command: Command) -> Answer:
        """Restart the gateway: clients dropped, untransmitted orders forgotten, books kept.

        `roll_back` sets the highest order id of `client_id` (or of all) back by so many.
        """
        self.gateway.restart()
        back = int(command.get("roll_back", 0))
        if back:
            books = self.gateway.books
            chosen = [int(command["client_id"])] if "client_id" in command else books.client_ids()
            for client_id in chosen:
                books.set_highest_order_id(
                    client_id, max(books.highest_order_id(client_id) - back, 0)
                )
        return {}

    def quit(self, command: Command) -> Answer:
        """Stop the gateway."""
        if self.on_quit is None:
            raise CommandError("this gateway cannot be stopped from here")
        self.on_quit()
        return {}

    # -- orders ---------------------------------------------------------------------------------

    def fill(self, command: Command) -> Answer:
        """Execute `quantity` (else what remains) of an order at `price` (else the touch)."""
        order = self._order(command)
        quote = self.gateway.desk.quote(order)
        price = _decimal(command, "price") or (quote.ask if order.is_buy else quote.bid)
        quantity = _decimal(command, "quantity") or order.remaining
        if quantity <= 0:
            raise CommandError("nothing remains of that order", "name a quantity to overfill it")
        after_end = order.ended
        rows = self.gateway.desk.fill(order, quantity, price, after_end=after_end)
        return {"exec_id": rows[0].exec_id}

    def cancel(self, command: Command) -> Answer:
        """The broker cancels an order by itself, with `code` (202) and `text`."""
        order = self._live(command)
        text = str(command.get("text", "Order Canceled - reason:"))
        self.gateway.desk.end(order, text=text, code=int(command.get("code", 202)))
        return {"perm_id": order.perm_id}

    def reject(self, command: Command) -> Answer:
        """Reject a live order: error `code` (201), then Inactive."""
        order = self._live(command)
        text = str(command.get("text", "Order rejected - reason:"))
        self.gateway.desk.reject(order, int(command.get("code", 201)), text)
        return {"perm_id": order.perm_id}

    def manual_order(self, command: Command) -> Answer:
        """A person enters an order at TWS: client id 0, order id 0."""
        contract = self._contract(command)
        terms = {}
        for field, name in (("limit_price", "lmtPrice"), ("aux_price", "auxPrice")):
            if command.get(field) is not None:
                terms[name] = number(Decimal(str(command[field])))
        terms["tif"] = str(command.get("tif", "DAY"))
        order = Order(
            perm_id=0,
            client_id=0,
            order_id=0,
            account=self._account(command),
            con_id=contract.con_id,
            exchange="SMART",
            side=str(command["side"]).upper(),
            quantity=Decimal(str(command["quantity"])),
            order_type=str(command.get("order_type", "MKT")),
            order_ref=str(command.get("order_ref", "")),
            terms=terms,
            placed_at=self.gateway.clock.now(),
        )
        order.origin = "manual"
        self.gateway.desk.enter(order)
        return {"perm_id": order.perm_id, "status": order.status}

    # -- the market and the account ---------------------------------------------------------------

    def quote(self, command: Command) -> Answer:
        """Set `bid`, `ask`, `last` of a symbol; orders that cross fill.  Answers the quote."""
        contract = self._contract(command)
        desk = self.gateway.desk
        sides = {name: _decimal(command, name) for name in ("bid", "ask", "last", "size")}
        if any(value is not None for value in sides.values()):
            desk.market.set(contract, **sides)
            desk.on_quote(contract.con_id)
        quote = desk.market.quote(contract)
        return {
            "symbol": contract.symbol,
            "con_id": contract.con_id,
            "bid": number(quote.bid),
            "ask": number(quote.ask),
            "last": number(quote.last),
        }

    def position_adjust(self, command: Command) -> Answer:
        """Change a position without an execution: assignment, exercise, split, transfer."""
        contract = self._contract(command)
        account = self._account(command)
        quantity, cost = Decimal(str(command["quantity"])), _decimal(command, "average_cost")
        row = self.gateway.desk.back_office.adjust_position(account, contract, quantity, cost)
        self.gateway.books.remember(contract)
        self.gateway.position(account, contract.con_id)
        return {"quantity": number(row.quantity), "average_cost": number(row.average_cost)}

    def correct(self, command: Command) -> Answer:
        """Replace an execution by its next revision with another `quantity` or `price`."""
        old = self._execution(command)
        new = self.gateway.desk.correct(
            old, quantity=_decimal(command, "quantity"), price=_decimal(command, "price")
        )
        return {"exec_id": new.exec_id}

    def bust(self, command: Command) -> Answer:
        """Take an execution back: its next revision has quantity 0."""
        new = self.gateway.desk.correct(self._execution(command), quantity=Decimal(0), price=None)
        return {"exec_id": new.exec_id}

    # -- messages -------------------------------------------------------------------------------

    def send_notice(self, command: Command) -> Answer:
        """An errMsg to every client (or `client_id`): `code`, `text`, `id` (-1)."""
        chosen = [one for one in self._sessions(command) if one.ready]
        for session in chosen:
            session.error(int(command.get("id", -1)), int(command["code"]), str(command["text"]))
        return {"sent": len(chosen)}

    def raw(self, command: Command) -> Answer:
        """Send the field list `fields` to one client or to all, as it is."""
        fields = [str(field) for field in command["fields"]]
        chosen = [one for one in self._sessions(command) if one.ready]
        for session in chosen:
            session.send_raw(fields)
        return {"sent": len(chosen)}

    def silence(self, command: Command) -> Answer:
        """Leave a `request` without its answer, without its end, or refuse it (`code`, `text`).

        `times` is how often; left out, until `unsilence`.
        """
        name = str(command["request"])
        mode = str(command.get("mode", "answer"))
        times = int(command["times"]) if command.get("times") is not None else None
        client_id = command.get("client_id")
        if mode == "answer":
            fault = Fault("in", name, "drop", times=times, client_id=client_id)
        elif mode == "end":
            if name not in messages.END_OF:
                raise CommandError(f"{name} has no end message", ", ".join(messages.END_OF))
            fault = Fault("out", messages.END_OF[name], "drop", times=times, client_id=client_id)
        elif mode == "refuse":
            text = str(command.get("text", "Error validating request"))
            code = int(command.get("code", 321))
            fault = Fault(
                "in", name, "refuse", times=times, client_id=client_id, code=code, text=text
            )
        else:
            raise CommandError(f"unknown mode {mode!r}", "answer, end or refuse")
        return {"fault": self.gateway.faults.add(fault).number}

    def unsilence(self, command: Command) -> Answer:
        """Take back the silences of a `request`, or all faults when none is named."""
        plan = self.gateway.faults
        name = command.get("request")
        names = {name, messages.END_OF.get(str(name))}
        gone = [one for one in plan.faults if name is None or one.message in names]
        plan.remove(gone)
        return {"removed": len(gone)}

    def hold(self, command: Command) -> Answer:
        """Hold a client `message` before it is worked on (`what`: processing), or work on it and
        hold everything that client would hear from then on (`what`: answer), until `release`.
        """
        what = str(command.get("what", "processing"))
        if what not in ("processing", "answer"):
            raise CommandError(f"unknown hold {what!r}", "processing or answer")
        times = int(command["times"]) if command.get("times") is not None else None
        do = "hold" if what == "processing" else "hold_answer"
        fault = Fault(
            "in", str(command["message"]), do, times=times, client_id=command.get("client_id")
        )
        return {"fault": self.gateway.faults.add(fault).number}

    def release(self, command: Command) -> Answer:
        """End every hold: held messages are worked on, held answers are sent."""
        gateway = self.gateway
        plan = gateway.faults
        plan.remove([one for one in plan.faults if one.do in ("hold", "hold_answer")])
        for session in gateway.sessions:
            session.release_output()
        held, gateway.held = gateway.held, []
        for session, request in held:
            gateway.receive(session, request)
        return {"released": len(held)}

    def drop_next(self, command: Command) -> Answer:
        """Lose the next `times` (1) messages of that name; `direction` is in or out."""
        fault = Fault(
            str(command.get("direction", "out")),
            str(command["message"]),
            "drop",
            times=int(command.get("times", 1)),
            client_id=command.get("client_id"),
        )
        return {"fault": self.gateway.faults.add(fault).number}

    # -- finding things -------------------------------------------------------------------------

    def _sessions(self, command: Command) -> list[Any]:
        wanted = command.get("client_id")
        return [one for one in self.gateway.sessions if wanted in (None, one.client_id)]

    def _order(self, command: Command) -> Order:
        books = self.gateway.books
        found: Order | None = None
        if "perm_id" in command:
            found = books.by_perm_id(int(command["perm_id"]))
        elif "order_ref" in command:
            found = books.by_ref(str(command["order_ref"]))
        elif "order_id" in command:
            found = books.by_client(int(command.get("client_id", 0)), int(command["order_id"]))
        else:
            raise CommandError("no order is named", "order_ref, perm_id, or client_id and order_id")
        if found is None:
            raise CommandError("no such order", "do books to see them")
        return found

    def _live(self, command: Command) -> Order:
        order = self._order(command)
        if order.ended:
            raise CommandError(f"the order has ended: {order.status}")
        return order

    def _execution(self, command: Command) -> Execution:
        found = self.gateway.books.execution(str(command["exec_id"]))
        if found is None:
            raise CommandError("no such execution", "do books to see them")
        if found.superseded:
            raise CommandError("that execution was corrected before", "name the newest revision")
        return found

    def _contract(self, command: Command) -> Contract:
        catalogue = self.gateway.desk.catalogue
        if "con_id" in command:
            found = catalogue.by_id(int(command["con_id"]))
        else:
            found = catalogue.one(str(command["symbol"]))
        if found is None:
            raise CommandError("no such contract")
        return found

    def _account(self, command: Command) -> str:
        account = str(command.get("account", self.gateway.settings.accounts[0]))
        if account not in self.gateway.settings.accounts:
            raise CommandError(f"no account {account}", ", ".join(self.gateway.settings.accounts))
        return account

    def _symbol(self, con_id: int) -> str:
        return self.gateway.desk.contract(con_id).symbol


COMMANDS: Final[Mapping[str, Callable[[Commands, Command], Answer]]] = {
    "accept": Commands.accept,
    "books": Commands.books,
    "bust": Commands.bust,
    "cancel": Commands.cancel,
    "clients": Commands.clients,
    "correct": Commands.correct,
    "cut": Commands.cut,
    "drop_next": Commands.drop_next,
    "fill": Commands.fill,
    "half_open": Commands.half_open,
    "hold": Commands.hold,
    "manual_order": Commands.manual_order,
    "position_adjust": Commands.position_adjust,
    "quit": Commands.quit,
    "quote": Commands.quote,
    "raw": Commands.raw,
    "refuse": Commands.refuse,
    "reject": Commands.reject,
    "release": Commands.release,
    "restart": Commands.restart,
    "send_notice": Commands.send_notice,
    "silence": Commands.silence,
    "unsilence": Commands.unsilence,
}


class ControlPort:
    """The line protocol over TCP, for the local machine only."""

    LINE_BYTES_MAX: Final = 1024 * 1024

    def __init__(self, commands: Commands) -> None:
        self._commands = commands
        self._server: asyncio.Server | None = None

    async def start(self, port: int) -> int:
        self._server = await asyncio.start_server(
            self._serve, "127.0.0.1", port, limit=self.LINE_BYTES_MAX
        )
        bound: int = self._server.sockets[0].getsockname()[1]
        return bound

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                writer.write(json.dumps(self._answer(line)).encode() + b"\n")
                await writer.drain()
        except (ConnectionError, ValueError):
            log.info("a control connection broke")
        finally:
            writer.close()

    def _answer(self, line: bytes) -> Answer:
        try:
            command = json.loads(line)
        except ValueError as error:
            return _failure(f"not JSON: {error}", 'one object a line, such as {"do": "books"}')
        if not isinstance(command, dict):
            return _failure("not a JSON object", 'one object a line, such as {"do": "books"}')
        return self._commands.do(command)


def _failure(error: str, hint: str) -> Answer:
    return {"ok": False, "error": error, "hint": hint}


def _decimal(command: Command, name: str) -> Decimal | None:
    value = command.get(name)
    return None if value is None else Decimal(str(value))
