"""Plays one incident: the simulator's part from a `.scenario` file, ours from the `.oms` file
beside it.

The scenario says what the broker did, in the simulator's own format
(docs/reference/simulator-scenarios.md). The other file says what our side did and what must be true
at the end, a line each:

    submit NAME SIDE QTY CONTRACT TYPE [TERM=TEXT ...] [account=A] [parent=NAME] [closing=yes]
    bracket NAME SIDE QTY CONTRACT limit=P take_profit=P stop_loss=P [account=A]
                                orders NAME, NAME-tp and NAME-sl
    what_if SIDE QTY CONTRACT TYPE [TERM=TEXT ...]    its answer is the event WhatIfReceived
    modify NAME CHANGE=TEXT ...           limit, stop, quantity, or any other change
    cancel NAME
    request NAME SIDE QTY CONTRACT TYPE [TERM=TEXT ...]
                                as submit, but asked for at a shell: a line in the log
    ask REQUEST [by=PERSON] [FIELD=TEXT ...]   any other request at a shell, by the name of its
                                event, such as DoubtResolutionRequested; until it is answered
    case ACTION CLASS [by=PERSON] [FIELD=TEXT ...]   a person acts on the open break of that class:
                                fields of CaseRequested, such as text=, cause=, quantity=
    wait NAME STATE[|STATE...] [FIELD=TEXT ...]   until the order looks so
    wait session N                        until the N-th session is ready
    wait gap | wait connected | wait ready
    wait position CONTRACT QTY            until our books hold so much
    wait event TYPE [N] [FIELD=TEXT ...]  until the log holds N (1) events of that type
    wait LIST [N] [FIELD=TEXT ...]        until the list has N (1) rows that look so
    wait played                           until every trigger of the scenario has happened
    sleep SECONDS                         let time pass
    broker VERB field=text ...            a command of the simulator's control port, now
    refused VERB ...                      our side says at once that it cannot be done
    settings name=text ...                of our side, from its next start on; first lines: at once
    stop | start | restart                our side goes down, comes up, both; `ready=no` after start
                                          or restart does not wait until orders may leave
    daemon NAME [log=own]                 the lines that follow are about another one, which is down
                                          at first; `main` is the one that runs from the beginning
    reconcile                             ask and compare now

    expect NAME STATE [FIELD=TEXT ...]    of an order, and beside its own fields
                      [fills=N] [commission=C] [placements=N] [average=P] [limit=P] [stop=P]
                      [quantity=Q] [side=S] [type=T] [symbol=S]
                      [uncharged=N]       fills whose commission is not known
                      [refusal=N]         code of the cancel or modify that was refused last
                      [warning=N]         code of the last warning
                      [reason=TEXT]       IB's words for the end contain this
                      [perm_ids=N]        how many permanent numbers IB has shown for it
    expect position CONTRACT QTY [account=A] [FIELD=TEXT ...] [realised=P] [average=P] [cost=C]
                                          by our books; the broker must say the same; `cost` is
                                          the broker's figure per unit
    expect fill CONTRACT [FIELD=TEXT ...] [time=ISO|unknown]   at least one fill looks so
    expect answer KIND OUTCOME            how the last reconciliation's question was answered
    expect report [FIELD=TEXT ...]        the last reconciliation's report
    expect event TYPE N|some|none [FIELD=TEXT ...]
    expect LIST[|LIST...] N|some|none [FIELD=TEXT ...]   rows that look so
    expect breaks none | CLASS[,CLASS...] the open ones, each class named once for each case
    expect verdict clean|broken|unknown   of a reconciliation made now

A NAME is our order id, so scenarios say `order_ref=NAME`; `foreignN` is the N-th order of others. A
CONTRACT is written as at the shell (AAPL, EUR.USD, ES/202612@CME, AAPL/20270115/200/C), with any
field of a contract beside it (`sec_type=CFD`), or is a combination of `legs="KO:1:BUY|PEP:2:SELL"`.
A TERM is any of an order's (docs/reference/events.md), limit and stop for limit_price and
stop_price.

A LIST is a table of the books (docs/reference/schema.md), `breaks` and `alarms` the open ones and
`cases` all, or what the last report lists: `findings`, `questions`, `matches`. So any case or alarm
is `expect breaks|alarms some`.

A FIELD is any field of the record, with FIELD!=TEXT and FIELD~=TEXT (contains): see
`incident_texts`. `{NAME.FIELD}` in a line is a field of an order as it is then, and `{LIST.FIELD}`
one of the list's newest row: `broker raw fields="3|{entry.broker_order_id}|Filled"`.

At the end the independent checker compares both sides, unless the file says `checker off REASON`
(where the incident itself is that the two must differ).
"""

from __future__ import annotations

import asyncio
import shlex
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

import oms
from oms.clock import SystemClock
from oms.core import events
from oms.core.contracts import Contract
from oms.core.events import (
    CaseRequested,
    Context,
    Event,
    OrderRequested,
    Pending,
    ReconciliationCompleted,
)
from oms.core.fold.records import TABLES, Fill, Order, OrderState, Position
from oms.core.money import plain
from oms.core.receipt import Receipt
from oms.errors import CaseRefused, OmsError
from oms.service.daemon import open_oms
from oms.service.subsystem import Oms
from oms.sim.checker import check, read_file
from oms.sim.gateway.gateway import Gateway
from oms.sim.script.commands import Commands
from oms.sim.script.player import Player
from oms.sim.script.scenarios import Scenario, command_of
from oms.sim.settings import Settings as SimSettings
from oms.store.log import append_foreign
from oms.store.rebuild import rebuild_check
from tests.incident_texts import (
    REFERENCE,
    changes,
    contract,
    contradiction,
    field_of,
    is_named,
    made,
    terms,
    text_of,
    those,
)
from tests.world import new_database, settings_for

DEADLINE_SECONDS = 60.0
#: How a list is read anew.
Rows = Callable[[], Awaitable[list[object]]]


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
    def parse(cls, whole: str) -> Script:
        """Return the script in a text; raises ValueError naming the line that is wrong."""
        script = cls()
        for number, text in enumerate(whole.splitlines(), 1):
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
                raise ValueError(f"line {number}: {verb!r} is not a verb")
        return script


async def play(scenario: Path, folder: Path) -> None:
    """Play a `.scenario` with its `.oms`; raises AssertionError when it does not end right."""
    ours = scenario.with_suffix(".oms").read_text(encoding="utf-8")
    await Incident(Scenario.read(scenario), Script.parse(ours), folder).play()


@dataclass
class Daemon:
    """One of our side: its log, its settings, and the subsystem while it is up."""

    database: Path
    #: Settings that differ from those of other incidents.
    changed: dict[str, str]
    running: Oms | None = None
    stack: AsyncExitStack = field(default_factory=AsyncExitStack)


class Incident:
    """One incident while it is played."""

    def __init__(self, read: Scenario, script: Script, folder: Path) -> None:
        self.script = script
        self.folder = folder
        # What the file asks for counts, but the port is free and the clock is a test's.
        given = read.apply(SimSettings(port=0, books=folder / "books"))
        self.gateway = Gateway(given)
        self.player = Player(read, self.gateway)
        self.commands = Commands(self.gateway)
        self.port = 0
        self.daemons: dict[str, Daemon] = {}
        self.daemon = self._daemon_of("main", own_log=True)
        self._played = asyncio.Event()
        self.player.end_with(self._played.set)

    async def play(self) -> None:
        """Play both parts; raises AssertionError naming the line that does not hold."""
        lines = self.script.lines
        self.player.start()
        self.port = await self.gateway.start()
        try:
            first = next((n for n, one in enumerate(lines) if one.verb != "settings"), len(lines))
            for line in lines[:first]:
                await self._settings(line)
            if not any("start" in (one.verb, *one.words[:1]) for one in lines[first : first + 1]):
                await self.start()
            for line in lines[first:]:
                try:
                    async with asyncio.timeout(DEADLINE_SECONDS):
                        await self._do(line)
                except TimeoutError as error:
                    raise AssertionError(f"{_shown(line)}: not in time; {self._state()}") from error
            assert not self.player.failures, self.player.failures
            if not self.script.checker_off:
                for database in {one.database for one in self.daemons.values()}:
                    self._agree(database)
        finally:
            for daemon in self.daemons.values():
                await daemon.stack.aclose()
            await self.gateway.stop()

    async def _do(self, line: Line) -> None:
        await getattr(self, f"_{line.verb}")(await self._filled_in(line))

    async def start(self, *, ready: bool = True) -> None:
        """Bring our side up, and wait until orders may leave unless told otherwise."""
        daemon = self.daemon
        settings = settings_for(self.port, daemon.database, **daemon.changed)
        daemon.running = await daemon.stack.enter_async_context(open_oms(settings))
        if ready:
            await daemon.running.ready(DEADLINE_SECONDS)

    def _daemon_of(self, name: str, *, own_log: bool) -> Daemon:
        """The daemon of that name; one that is new has a log and a client id of its own, or those
        of `main`.
        """
        if name not in self.daemons:
            logs = len({one.database for one in self.daemons.values()})
            client_id = logs + 1 if own_log else 1
            database = self.folder / f"oms-{client_id}.sqlite"
            if own_log:
                new_database(database)
            self.daemons[name] = Daemon(database, {"client_id": str(client_id)})
        return self.daemons[name]

    @property
    def oms(self) -> Oms:
        """Our side."""
        assert self.daemon.running is not None, "our side is down"
        return self.daemon.running

    def order(self, name: str) -> Order:
        """Return an order by its name, which is its order id; `perm:N` is the N-th foreign one."""
        if name.startswith("foreign"):
            foreign = [o for o in self.oms.view.orders.values() if o.origin != "ours"]
            foreign.sort(key=lambda o: (o.intent_sequence, o.order_id))
            return foreign[int(name.removeprefix("foreign") or 1) - 1]
        return self.oms.manager.order(name)

    # ── our side acts ────────────────────────────────────────────────────────────────────────────

    async def _submit(self, line: Line) -> None:
        name, side, quantity, word, order_type = line.words
        options = dict(line.options)
        wanted = terms(side, quantity, order_type, options)
        traded = await self._contract(word, options)
        closing = options.pop("closing", "no") == "yes"
        account, parent = options.pop("account", None), options.pop("parent", None)
        assert not options, f"{_shown(line)}: no such options: {options}"
        await self.oms.manager.submit(
            traded, wanted, account=account, parent=parent, closing=closing, order_id=name
        )

    async def _what_if(self, line: Line) -> None:
        side, quantity, word, order_type = line.words
        options = dict(line.options)
        wanted = terms(side, quantity, order_type, options)
        traded = await self._contract(word, options)
        await self.oms.manager.what_if(traded, wanted, account=options.get("account"))

    async def _contract(self, word: str, options: dict[str, str]) -> Contract:
        if "legs" not in options:
            return contract(word, options)
        legs = []
        for text in options.pop("legs").split("|"):
            name, ratio, side = text.split(":")
            leg = await self.oms.manager.qualify(contract(name, {}))
            legs.append(oms.Leg(side, leg, int(ratio)))
        return oms.Combo(word, legs)

    async def _request(self, line: Line) -> None:
        name, side, quantity, word, order_type = line.words
        options = dict(line.options)
        wanted = OrderRequested(
            order_id=name,
            account=options.pop("account", ""),
            terms=terms(side, quantity, order_type, options),
            contract=await self._contract(word, options),
            closing=options.pop("closing", "no") == "yes",
        )
        assert not options, f"{_shown(line)}: no such options: {options}"
        await self._append(wanted, "incident")

    async def _append(self, request: Event, person: str) -> Receipt:
        pendings = [Pending(request, Context(actor=f"person:{person}"))]
        url = f"sqlite:///{self.daemon.database}"
        (receipt,) = await asyncio.to_thread(append_foreign, url, pendings, clock=SystemClock())
        return receipt

    async def _ask(self, line: Line) -> None:
        (name,) = line.words
        options = dict(line.options)
        person = options.pop("by", "incident")
        kind = getattr(events, name)
        if "request_id" in kind.__struct_fields__:
            options.setdefault("request_id", f"line {line.number}")
        await self._answered(made(kind, options), person)

    async def _case(self, line: Line) -> None:
        action, break_class = line.words
        options = dict(line.options)
        person = options.pop("by", "incident")
        cases = [c for c in self.oms.view.open_breaks() if c.finding.break_class == break_class]
        assert len(cases) == 1, f"{_shown(line)}: {len(cases)} open breaks of that class"
        named = {"request_id": f"line {line.number}", "break_id": cases[0].break_id}
        await self._answered(made(CaseRequested, {**named, "action": action, **options}), person)

    async def _answered(self, request: Event, person: str) -> None:
        """Ask for something at a shell; returns when it was done, raises CaseRefused where not."""
        receipt = await self._append(request, person)

        async def answers() -> list[object]:
            later = await self.oms.reader.events(receipt.sequence)
            return [e.event for e in later if e.context.causation_sequence == receipt.sequence]

        await self._until_logged(answers, 1, {})
        for answer in await answers():
            if type(answer).__name__.endswith("Denied"):
                raise CaseRefused(text_of(field_of(answer, "text")))

    async def _refused(self, line: Line) -> None:
        inner = Line(line.number, line.words[0], line.words[1:], line.options)
        try:
            await self._do(inner)
        except OmsError:
            return
        raise AssertionError(f"{_shown(line)}: it was done")

    async def _settings(self, line: Line) -> None:
        self.daemon.changed |= line.options

    async def _daemon(self, line: Line) -> None:
        (name,) = line.words
        self.daemon = self._daemon_of(name, own_log=line.options.get("log") == "own")

    async def _sleep(self, line: Line) -> None:
        await asyncio.sleep(float(line.words[0]))

    async def _bracket(self, line: Line) -> None:
        name, side, quantity, word = line.words
        options = dict(line.options)
        take_profit, stop_loss = options.pop("take_profit"), options.pop("stop_loss")
        await self.oms.manager.submit_bracket(
            entry=terms(side, quantity, "LMT", options),
            contract=await self._contract(word, options),
            take_profit=Decimal(take_profit),
            stop_loss=Decimal(stop_loss),
            account=options.get("account"),
            order_id=name,
        )

    async def _modify(self, line: Line) -> None:
        order = self.order(line.words[0])
        await self.oms.manager.modify(order.order_id, **changes(line.options))

    async def _cancel(self, line: Line) -> None:
        await self.oms.manager.cancel(self.order(line.words[0]).order_id)

    async def _broker(self, line: Line) -> None:
        said = [line.words[0], *(f"{name}={text}" for name, text in line.options.items())]
        answer = self.commands.do(command_of(shlex.join(said)))
        assert answer["ok"], f"{_shown(line)}: {answer}"
        self.gateway.flush()

    async def _stop(self, _: Line) -> None:
        self.daemon.running = None
        await self.daemon.stack.aclose()

    async def _start(self, line: Line) -> None:
        await self.start(ready=line.options.get("ready") != "no")

    async def _restart(self, line: Line) -> None:
        await self._stop(line)
        await self._start(line)

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
                rows = self._events_of(kind)
                await self._until_logged(rows, int(times[0]) if times else 1, line.options)
            case [lists, *times] if _are_lists(lists):
                rows = self._rows_of(lists)
                await self._until_logged(rows, int(times[0]) if times else 1, line.options)
            case [name, states]:
                await view.until(self._looks(name, states, line.options))
            case _:
                raise AssertionError(f"{_shown(line)}: nothing to wait for")

    def _looks(self, name: str, states: str, options: dict[str, str]) -> Callable[[], bool]:
        wanted = {OrderState(s) for s in states.split("|")}

        def looks() -> bool:
            if name.startswith("foreign") and not any(
                o.origin != "ours" for o in self.oms.view.orders.values()
            ):
                return False
            if not name.startswith("foreign") and name not in self.oms.view.orders:
                return False
            order = self.order(name)
            return order.state in wanted and not contradiction(order, options, **_names(order))

        return looks

    async def _until_logged(self, rows: Rows, number: int, options: dict[str, str]) -> None:
        committed = asyncio.Event()
        unsubscribe = self.oms.log.subscribe(lambda _: committed.set())
        try:
            while len(those(await rows(), options)) < number:
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
            case ["event", kind, times]:
                _expect_rows(line, times, await self._events_of(kind)())
            case ["report"]:
                wrong = contradiction(await self._report(), line.options)
                assert not wrong, f"{_shown(line)}: {wrong}"
            case [lists, times] if _are_lists(lists) and (times in _SOME or times.isdigit()):
                _expect_rows(line, times, await self._rows_of(lists)())
            case ["breaks", classes]:
                open_now = Counter(c.finding.break_class for c in self.oms.view.open_breaks())
                wanted = Counter(classes.split(","))
                assert open_now == wanted, f"{_shown(line)}: open are {dict(open_now)}"
            case ["verdict", verdict]:
                report = await self.oms.reconciler.run("expected")
                told = [f.text for f in report.findings if f.result != "match"]
                assert report.verdict == verdict, f"{_shown(line)}: {report.verdict}: {told}"
            case [name, state]:
                await self._expect_order(line, name, state)
            case _:
                raise AssertionError(f"{_shown(line)}: nothing to expect")

    def _held(self, word: str, account: str = "") -> list[Position]:
        return [
            p
            for p in self.oms.view.positions.values()
            if is_named(p.contract, word) and account in ("", p.account)
        ]

    def _quantity(self, word: str) -> Decimal:
        return sum((p.quantity for p in self._held(word)), Decimal(0))

    def _expect_position(self, line: Line, word: str, quantity: str) -> None:
        options = dict(line.options)
        held = self._held(word, options.pop("account", ""))
        total = sum((p.quantity for p in held), Decimal(0))
        assert total == Decimal(quantity), f"{_shown(line)}: we hold {plain(total)}"
        realised = plain(sum((p.realised_pnl for p in held), Decimal(0)))
        assert options.pop("realised", realised) == realised, f"{_shown(line)}: it is {realised}"
        for option, text in options.items():
            path = {"average": "average_price", "cost": "broker_average_cost"}.get(option, option)
            found = " ".join(text_of(field_of(p, path)) for p in held)
            assert found == text, f"{_shown(line)}: {option} is {found}"

    async def _expect_fill(self, line: Line, word: str) -> None:
        fills = [
            (one, {"time": text_of(one.occurred_at) if one.occurred_at else "unknown"})
            for one in await self.oms.reader.rows("fills")
            if isinstance(one, Fill) and is_named(one.contract, word)
        ]
        wrong = [contradiction(one, line.options, **known) for one, known in fills]
        assert "" in wrong, f"{_shown(line)}: {wrong}"

    async def _expect_answer(self, line: Line, kind: str, outcome: str) -> None:
        (answer,) = (q for q in (await self._report()).questions if q.kind == kind)
        assert answer.outcome == outcome, f"{_shown(line)}: {answer.outcome}"

    async def _report(self) -> ReconciliationCompleted:
        (report,) = await self.oms.reader.events(
            type="ReconciliationCompleted", limit=1, reverse=True
        )
        assert isinstance(report.event, ReconciliationCompleted)
        return report.event

    # ── lists ────────────────────────────────────────────────────────────────────────────────────

    def _events_of(self, kind: str) -> Rows:
        async def rows() -> list[object]:
            return [e.event for e in await self.oms.reader.events(type=kind, limit=10_000)]

        return rows

    def _rows_of(self, lists: str) -> Rows:
        async def rows() -> list[object]:
            return [row for name in lists.split("|") for row in await self._list(name)]

        return rows

    async def _list(self, name: str) -> list[object]:
        """The rows of a list, the oldest first where they have an age."""
        if name in _OF_REPORT:
            return list(getattr(await self._report(), name))
        open_only = {"live": True} if name in ("breaks", "alarms") else {}
        return list(await self.oms.reader.rows("breaks" if name == "cases" else name, open_only))

    async def _filled_in(self, line: Line) -> Line:
        """The line with what it refers to in place of every reference."""

        async def text_for(text: str) -> str:
            for found in REFERENCE.finditer(text):
                name, path = found.groups()
                rows = await self._list(name) if _are_lists(name) else [self.order(name)]
                assert rows, f"{_shown(line)}: there are no {name}"
                text = text.replace(found[0], text_of(field_of(rows[-1], path)))
            return text

        words = tuple([await text_for(word) for word in line.words])
        options = {name: await text_for(text) for name, text in line.options.items()}
        return Line(line.number, line.verb, words, options)

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
        known = _names(order) | {
            "fills": str(len(fills)),
            "placements": str(received),
            "uncharged": str(sum(f.commission is None for f in fills)),
        }
        options = dict(line.options)
        assert options.pop("reason", "") in order.text, f"{_shown(line)}: {order.text!r}"
        wrong = contradiction(order, options, **known)
        assert not wrong, f"{_shown(line)}: {wrong}"

    def _agree(self, database: Path) -> None:
        books = self.commands.do({"do": "books"})
        wrong = {c.name: c.differences for c in check(read_file(database), books) if not c.ok}
        assert not wrong, wrong
        rebuilt = rebuild_check(f"sqlite:///{database}")
        assert rebuilt.equal, rebuilt.first_difference

    def _state(self) -> str:
        if self.daemon.running is None:
            return "our side is down"
        orders = [
            f"{o.order_id} {o.state.value} {plain(o.filled)}"
            for o in self.daemon.running.view.orders.values()
        ]
        return f"orders {orders}; not played {self.player.waiting}; {self.player.failures}"


VERBS = frozenset(
    [
        *("submit", "bracket", "what_if", "modify", "cancel", "wait", "broker"),
        *("stop", "start", "restart", "daemon", "reconcile", "expect"),
        *("request", "ask", "case", "refused", "settings", "sleep"),
    ]
)
#: What the last report lists.
_OF_REPORT = ("findings", "questions", "matches")
_LISTS = frozenset([*TABLES, *_OF_REPORT, "cases"])
_SOME = ("some", "none")


def _are_lists(words: str) -> bool:
    return _LISTS.issuperset(words.split("|"))


def _expect_rows(line: Line, times: str, rows: list[object]) -> None:
    found = those(rows, line.options)
    match times:
        case "some":
            assert found, f"{_shown(line)}: none"
        case "none":
            assert not found, f"{_shown(line)}: {found}"
        case _:
            assert len(found) == int(times), f"{_shown(line)}: {len(found)}"


def _names(order: Order) -> dict[str, str]:
    """The fields of an order that files call otherwise than the record does."""
    return {
        "commission": plain(sum((amount for _, amount in order.commissions), Decimal(0))),
        "average": text_of(order.average_price),
        "limit": text_of(order.terms.limit_price),
        "stop": text_of(order.terms.stop_price),
        "quantity": plain(order.terms.quantity),
        "side": order.terms.side,
        "type": order.terms.order_type,
        "symbol": order.contract.symbol,
        "perm_ids": str(len(order.perm_ids)),
        "refusal": order.refusal.partition(" ")[0],
        "warning": order.warning.partition(" ")[0],
    }


def _shown(line: Line) -> str:
    options = [f"{name}={text}" for name, text in line.options.items()]
    return f"line {line.number}: {' '.join([line.verb, *line.words, *options])}"
