"""Plays one incident: the simulator's part from a `.scenario` file, ours from the `.oms` file
beside it.

The scenario says what the broker did, in the simulator's own format
(docs/reference/simulator-scenarios.md). The other file says what our side did and what must be true
at the end, a line each:

    submit NAME BUY|SELL QTY SYMBOL MKT|LMT|STP [limit=P] [stop=P] [tif=DAY]
        [account=A]
    bracket NAME BUY|SELL QTY SYMBOL limit=P take_profit=P stop_loss=P
                                orders NAME, NAME-tp and NAME-sl
    modify NAME [limit=P] [stop=P] [quantity=Q]
    cancel NAME
    wait NAME STATE[|STATE...] [filled=Q] until the order looks so
    wait session N                        until the N-th session is ready
    wait gap | wait connected | wait ready
    wait position SYMBOL QTY              until our books hold so much
    wait event TYPE [N] [FIELD=TEXT ...]  until the log holds N (1) events of that type
    wait played                           until every trigger of the scenario has happened
    broker VERB field=text ...            a command of the simulator's control port, now
    request NAME BUY|SELL QTY SYMBOL MKT|LMT|STP [limit=P] [stop=P]
                                as submit, but asked for at a shell: a line in the log
    refused VERB ...                      our side says at once that it cannot be done
    settings name=text ...                of our side, from its next start on; first lines: at once
    stop | start | restart                our side goes down, comes up, both
    reconcile                             ask and compare now

    expect NAME STATE [filled=Q] [fills=N] [commission=C] [code=N] [placements=N] [average=P]
                      [uncharged=N]       fills whose commission is not known
                      [status=S]          IB's own word, last heard
                      [why_held=W]        as IB last said
                      [refusal=N]         code of the cancel or modify that was refused last
                      [warning=N]         code of the last warning
                      [reason=TEXT]       IB's words for the end contain this
                      [perm_ids=N]        how many permanent numbers IB has shown for it
                      [remaining=Q] [side=S] [type=T] [stop=P] [symbol=S]
    expect position SYMBOL QTY [realised=P] [account=A] [average=P] [cost=C]
                                          by our books; the broker must say the same; `cost` is
                                          the broker's figure per unit
    expect fill SYMBOL [quantity=Q] [price=P] [time=ISO|unknown] [liquidation=yes|no]
                                          at least one fill looks so
    expect answer KIND OUTCOME            how the last reconciliation's question was answered
    expect fills N                        in the log, all orders together
    expect orders N                       in our books, whoever sent them
    expect event TYPE N|some|none [FIELD=TEXT ...]   only those whose fields have these texts;
                                          `*` is any text, but not none
    expect breaks none | CLASS[,CLASS...] the open ones, each class named once for each case
    expect verdict clean|broken|unknown   of a reconciliation made now

A name is our order id, so scenarios say `order_ref=NAME`. At the end the independent checker
compares both sides, unless the file says `checker off REASON` (where the incident itself is that
the two must differ).
"""

from __future__ import annotations

import asyncio
import shlex
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import oms
from oms.clock import SystemClock
from oms.core.events import Context, Event, OrderRequested, Pending, ReconciliationCompleted, Terms
from oms.core.fold.records import Fill, Order, OrderState, Position
from oms.core.money import plain
from oms.errors import OmsError
from oms.service.daemon import open_oms
from oms.service.subsystem import Oms
from oms.sim.checker import check, read_file
from oms.sim.gateway.gateway import Gateway
from oms.sim.script.commands import Commands
from oms.sim.script.player import Player
from oms.sim.script.scenarios import Scenario
from oms.sim.settings import Settings as SimSettings
from oms.store.log import append_foreign
from oms.store.rebuild import rebuild_check
from tests.world import new_database, settings_for

DEADLINE_SECONDS = 60.0


@dataclass(frozen=True)
class Line:
    """One line of an `.oms` file."""

    number: int
    verb: str
    words: tuple[str, ...]
    options: dict[str, str]


@dataclass
class Script:
    """An `.oms` file, understood."""

    lines: list[Line] = field(default_factory=list)
    checker_off: str = ""

    @classmethod
    def read(cls, path: Path) -> Script:
        """Return the script of a file; raises ValueError naming the line that is wrong."""
        script = cls()
        for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            words = shlex.split(text, comments=True)
            if not words:
                continue
            verb, rest = words[0], words[1:]
            if verb == "checker":
                script.checker_off = " ".join(rest[1:])
            elif verb in VERBS:
                plain_words = tuple(w for w in rest if "=" not in w)
                options = dict(w.split("=", 1) for w in rest if "=" in w)
                script.lines.append(Line(number, verb, plain_words, options))
            else:
                raise ValueError(f"{path.name} line {number}: {verb!r} is not a verb")
        return script


async def play(scenario: Path, folder: Path) -> None:
    """Play a `.scenario` with its `.oms`; raises AssertionError when it does not end right."""
    await Incident(scenario, Script.read(scenario.with_suffix(".oms")), folder).play()


class Incident:
    """One incident while it is played."""

    def __init__(self, scenario: Path, script: Script, folder: Path) -> None:
        self.script = script
        self.database = folder / "oms.sqlite"
        read = Scenario.read(scenario)
        # What the file asks for counts, but the port is free and the clock is a test's.
        given = read.apply(SimSettings(port=0, books=folder / "books"))
        self.gateway = Gateway(given)
        self.player = Player(read, self.gateway)
        self.commands = Commands(self.gateway)
        self.port = 0
        self.running: Oms | None = None
        #: Settings of our side that differ from those of other incidents.
        self.changed: dict[str, str] = {}
        self._played = asyncio.Event()
        self.player.end_with(self._played.set)
        self._stack = AsyncExitStack()

    async def play(self) -> None:
        """Play both parts; raises AssertionError naming the line that does not hold."""
        lines = self.script.lines
        new_database(self.database)
        self.player.start()
        self.port = await self.gateway.start()
        try:
            first = next((n for n, one in enumerate(lines) if one.verb != "settings"), len(lines))
            for line in lines[:first]:
                await self._settings(line)
            await self.start()
            for line in lines[first:]:
                try:
                    async with asyncio.timeout(DEADLINE_SECONDS):
                        await getattr(self, f"_{line.verb}")(line)
                except TimeoutError as error:
                    raise AssertionError(f"{_shown(line)}: not in time; {self._state()}") from error
            assert not self.player.failures, self.player.failures
            if not self.script.checker_off:
                self._agree()
        finally:
            await self._stack.aclose()
            await self.gateway.stop()

    async def start(self) -> None:
        """Bring our side up."""
        settings = settings_for(self.port, self.database, **{"client_id": 1, **self.changed})
        self.running = await self._stack.enter_async_context(open_oms(settings))
        await self.running.ready(DEADLINE_SECONDS)

    @property
    def oms(self) -> Oms:
        """Our side."""
        assert self.running is not None, "our side is down"
        return self.running

    def order(self, name: str) -> Order:
        """Return an order by its name, which is its order id; `perm:N` is the N-th foreign one."""
        if name.startswith("foreign"):
            foreign = [o for o in self.oms.view.orders.values() if o.origin != "ours"]
            foreign.sort(key=lambda o: (o.intent_sequence, o.order_id))
            return foreign[int(name.removeprefix("foreign") or 1) - 1]
        return self.oms.manager.order(name)

    # ── our side acts ────────────────────────────────────────────────────────────────────────────

    async def _submit(self, line: Line) -> None:
        name, side, quantity, symbol, order_type = line.words
        assert side in ("BUY", "SELL")
        terms = _terms(side, quantity, order_type, line.options)
        account = line.options.get("account")
        await self.oms.manager.submit(oms.Stock(symbol), terms, account=account, order_id=name)

    async def _request(self, line: Line) -> None:
        name, side, quantity, symbol, order_type = line.words
        assert side in ("BUY", "SELL")
        wanted = OrderRequested(
            order_id=name,
            account="",
            contract=oms.Stock(symbol),
            terms=_terms(side, quantity, order_type, line.options),
        )
        pendings = [Pending(wanted, Context(actor="person:incident"))]
        url = f"sqlite:///{self.database}"
        await asyncio.to_thread(append_foreign, url, pendings, clock=SystemClock())

    async def _refused(self, line: Line) -> None:
        inner = Line(line.number, line.words[0], line.words[1:], line.options)
        try:
            await getattr(self, f"_{inner.verb}")(inner)
        except OmsError:
            return
        raise AssertionError(f"{_shown(line)}: it was done")

    async def _settings(self, line: Line) -> None:
        self.changed |= line.options

    async def _bracket(self, line: Line) -> None:
        name, side, quantity, symbol = line.words
        assert side in ("BUY", "SELL")
        await self.oms.manager.submit_bracket(
            oms.Stock(symbol),
            oms.Limit("BUY" if side == "BUY" else "SELL", quantity, line.options["limit"]),
            take_profit=Decimal(line.options["take_profit"]),
            stop_loss=Decimal(line.options["stop_loss"]),
            order_id=name,
        )

    async def _modify(self, line: Line) -> None:
        await self.oms.manager.modify(
            self.order(line.words[0]).order_id,
            limit=_decimal(line.options.get("limit")),
            stop=_decimal(line.options.get("stop")),
            quantity=_decimal(line.options.get("quantity")),
        )

    async def _cancel(self, line: Line) -> None:
        await self.oms.manager.cancel(self.order(line.words[0]).order_id)

    async def _broker(self, line: Line) -> None:
        command: dict[str, Any] = {"do": line.words[0]}
        for name, text in line.options.items():
            outer, _, inner = name.partition(".")
            if inner:
                command.setdefault(outer, {})[inner] = text
            else:
                command[name] = text
        answer = self.commands.do(command)
        assert answer["ok"], f"{_shown(line)}: {answer}"
        self.gateway.flush()

    async def _stop(self, _: Line) -> None:
        self.running = None
        await self._stack.aclose()

    async def _start(self, _: Line) -> None:
        await self.start()

    async def _restart(self, line: Line) -> None:
        await self._stop(line)
        await self.start()

    async def _reconcile(self, _: Line) -> None:
        await self.oms.reconciler.run("incident")

    async def _wait(self, line: Line) -> None:
        view = self.oms.view
        match line.words:
            case ["session", number]:
                wanted = int(number)
                await view.until(lambda: view.system.session_epoch >= wanted and view.system.ready)
            case ["gap"]:
                await view.until(lambda: bool(view.system.gap_sequence))
            case ["connected"]:
                await view.until(lambda: view.system.connected)
            case ["ready"]:
                await view.until(lambda: view.system.ready)
            case ["played"]:
                await self._played.wait()
            case ["position", symbol, quantity]:
                await view.until(lambda: self._quantity(symbol) == Decimal(quantity))
            case ["event", kind, *times]:
                await self._until_logged(kind, int(times[0]) if times else 1, line.options)
            case [name, states]:
                await view.until(self._looks(name, states, line.options))
            case _:
                raise AssertionError(f"{_shown(line)}: nothing to wait for")

    def _looks(self, name: str, states: str, options: dict[str, str]) -> Callable[[], bool]:
        wanted = {OrderState(s) for s in states.split("|")}
        filled = _decimal(options.get("filled"))

        def looks() -> bool:
            if name.startswith("foreign") and not any(
                o.origin != "ours" for o in self.oms.view.orders.values()
            ):
                return False
            if not name.startswith("foreign") and name not in self.oms.view.orders:
                return False
            order = self.order(name)
            return order.state in wanted and (filled is None or order.filled == filled)

        return looks

    async def _until_logged(self, kind: str, number: int, texts: dict[str, str]) -> None:
        committed = asyncio.Event()
        unsubscribe = self.oms.log.subscribe(lambda _: committed.set())
        try:
            while sum(_reads(e, texts) for e in await self._events(kind)) < number:
                await committed.wait()
                committed.clear()
        finally:
            unsubscribe()
        # What is durable is seen by a reader before the view has it.
        await self.oms.log.flush()

    # ── what must be true ────────────────────────────────────────────────────────────────────────

    async def _expect(self, line: Line) -> None:
        match line.words:
            case ["position", symbol, quantity]:
                self._expect_position(line, symbol, quantity)
            case ["fill", symbol]:
                await self._expect_fill(line, symbol)
            case ["answer", kind, outcome]:
                await self._expect_answer(line, kind, outcome)
            case ["fills", number]:
                fills = await self.oms.reader.rows("fills")
                assert len(fills) == int(number), f"{_shown(line)}: {len(fills)} fills"
            case ["orders", number]:
                rows = await self.oms.reader.rows("orders")
                assert len(rows) == int(number), f"{_shown(line)}: {len(rows)} orders"
            case ["event", kind, times]:
                found = [e for e in await self._events(kind) if _reads(e, line.options)]
                self._expect_events(line, times, found)
            case ["breaks", classes]:
                open_now = Counter(c.finding.break_class for c in self.oms.view.open_breaks())
                wanted = Counter(() if classes == "none" else classes.split(","))
                assert open_now == wanted, f"{_shown(line)}: open are {dict(open_now)}"
            case ["verdict", verdict]:
                report = await self.oms.reconciler.run("expected")
                told = [f.text for f in report.findings if f.result != "match"]
                assert report.verdict == verdict, f"{_shown(line)}: {report.verdict}: {told}"
            case [name, state]:
                await self._expect_order(line, name, state)
            case _:
                raise AssertionError(f"{_shown(line)}: nothing to expect")

    def _held(self, symbol: str, options: dict[str, str]) -> list[Position]:
        return [
            p
            for p in self.oms.view.positions.values()
            if p.contract.symbol == symbol and options.get("account", p.account) == p.account
        ]

    def _quantity(self, symbol: str) -> Decimal:
        return sum((p.quantity for p in self._held(symbol, {})), Decimal(0))

    def _expect_position(self, line: Line, symbol: str, quantity: str) -> None:
        held = self._held(symbol, line.options)
        total = sum((p.quantity for p in held), Decimal(0))
        assert total == Decimal(quantity), f"{_shown(line)}: we hold {plain(total)}"
        known = {
            "realised": plain(sum((p.realised_pnl for p in held), Decimal(0))),
            "account": line.options.get("account", ""),
            "average": " ".join(plain(p.average_price) for p in held),
            "cost": " ".join(plain(p.broker_average_cost) for p in held),
        }
        for option, text in line.options.items():
            assert known[option] == text, f"{_shown(line)}: {option} is {known[option]}"

    async def _expect_fill(self, line: Line, symbol: str) -> None:
        fills = [
            {
                "quantity": plain(f.quantity),
                "price": plain(f.price),
                "time": f.occurred_at.isoformat() if f.occurred_at else "unknown",
                "liquidation": "yes" if f.liquidation else "no",
            }
            for f in await self.oms.reader.rows("fills")
            if isinstance(f, Fill) and f.contract.symbol == symbol
        ]
        assert any(line.options.items() <= f.items() for f in fills), f"{_shown(line)}: {fills}"

    async def _expect_answer(self, line: Line, kind: str, outcome: str) -> None:
        runs = await self.oms.reader.events(type="ReconciliationCompleted", limit=10_000)
        report = runs[-1].event
        assert isinstance(report, ReconciliationCompleted)
        (answer,) = (q for q in report.questions if q.kind == kind)
        assert answer.outcome == outcome, f"{_shown(line)}: {answer.outcome}"

    def _expect_events(self, line: Line, times: str, found: list[Event]) -> None:
        match times:
            case "some":
                assert found, f"{_shown(line)}: none"
            case "none":
                assert not found, f"{_shown(line)}: {found}"
            case _:
                assert len(found) == int(times), f"{_shown(line)}: {len(found)}"

    async def _expect_order(self, line: Line, name: str, state: str) -> None:
        order = self.order(name)
        assert order.state is OrderState(state), (
            f"{_shown(line)}: it is {order.state}, {order.text}"
        )
        fills = [
            f
            for f in await self.oms.reader.rows("fills", {"order_id": order.order_id})
            if isinstance(f, Fill)
        ]
        received = sum(
            row["received"]
            for row in self.commands.do({"do": "books"})["placements"]
            if row["order_ref"] == order.order_ref
        )
        known: dict[str, str] = {
            "filled": plain(order.filled),
            "fills": str(len(fills)),
            "commission": plain(sum((amount for _, amount in order.commissions), Decimal(0))),
            "code": str(order.code),
            "placements": str(received),
            "average": plain(order.average_price),
            "limit": plain(order.terms.limit_price),
            "quantity": plain(order.terms.quantity),
            "origin": order.origin,
            "uncharged": str(sum(f.commission is None for f in fills)),
            "status": order.status,
            "remaining": plain(order.remaining),
            "perm_ids": str(len(order.perm_ids)),
            "side": order.terms.side,
            "type": order.terms.order_type,
            "stop": plain(order.terms.stop_price),
            "symbol": order.contract.symbol,
            "why_held": order.why_held,
            "refusal": order.refusal.partition(" ")[0],
            "warning": order.warning.partition(" ")[0],
        }
        assert line.options.get("reason", "") in order.text, f"{_shown(line)}: {order.text!r}"
        known["reason"] = line.options.get("reason", "")
        for option, text in line.options.items():
            assert known[option] == text, f"{_shown(line)}: {option} is {known[option]}"

    async def _events(self, kind: str) -> list[Event]:
        return [e.event for e in await self.oms.reader.events(type=kind, limit=10_000)]

    def _agree(self) -> None:
        books = self.commands.do({"do": "books"})
        wrong = {c.name: c.differences for c in check(read_file(self.database), books) if not c.ok}
        assert not wrong, wrong
        rebuilt = rebuild_check(f"sqlite:///{self.database}")
        assert rebuilt.equal, rebuilt.first_difference

    def _state(self) -> str:
        if self.running is None:
            return "our side is down"
        orders = [
            f"{o.order_id} {o.state.value} {plain(o.filled)}"
            for o in self.running.view.orders.values()
        ]
        return f"orders {orders}; not played {self.player.waiting}; {self.player.failures}"


VERBS = frozenset(
    [
        *("submit", "bracket", "modify", "cancel", "wait", "broker"),
        *("stop", "start", "restart", "reconcile", "expect"),
        *("request", "refused", "settings"),
    ]
)


def _reads(event: Event, texts: dict[str, str]) -> bool:
    """Say whether the fields of an event have these texts; numbers are written plainly."""
    return all(_reads_as(getattr(event, name), text) for name, text in texts.items())


def _reads_as(seen: object, text: str) -> bool:
    if text == "*":
        return seen is not None and seen != ""
    return (plain(seen) if isinstance(seen, Decimal) else str(seen)) == text


def _terms(side: str, quantity: str, order_type: str, options: dict[str, str]) -> Terms:
    return Terms(
        side="BUY" if side == "BUY" else "SELL",
        quantity=Decimal(quantity),
        order_type=order_type.replace("_", " "),
        limit_price=_decimal(options.get("limit")),
        stop_price=_decimal(options.get("stop")),
        tif=options.get("tif", "DAY"),
    )


def _decimal(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)


def _shown(line: Line) -> str:
    options = [f"{name}={text}" for name, text in line.options.items()]
    return f"line {line.number}: {' '.join([line.verb, *line.words, *options])}"
