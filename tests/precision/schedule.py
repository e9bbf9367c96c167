"""Seeded differences of every class, injected while fills race, and what must be reported of them.

Goal: every injected difference is reported with its class, and nothing else is (recall and
precision 1.0); after the faults stop and people have had their say, the books equal the simulator's
within a bounded number of runs; and one more run writes nothing.

Method: a gateway and an OMS in one process. The OMS trades until both sides agree. Then a seed
chooses some kinds of difference, each on a contract of its own, and injects them at the broker,
behind the back of the OMS or on the wire. While one reconciliation asks and compares, other orders
trade. Then IB's statement is compared, with what IB says there first. What both report is judged
against what was injected, each difference once. Then every fault is taken back, a person
books what only a person can, and a few runs must make everything equal by the independent checker.

    python -m tests.precision --seeds 1000 --jobs 2
    python -m tests.precision --first 17 --seeds 1        # one seed again
"""

from __future__ import annotations

import asyncio
import random
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import oms
from oms.core.events import (
    BooksAdjusted,
    BreakClosed,
    BreakOpened,
    BreakUpdated,
    CaseAction,
    CaseRequested,
    CashOpened,
    Cause,
    CommissionRestated,
    Context,
    DoubtResolved,
    Finding,
    OpeningPositionRecorded,
    OrderAdopted,
    Pending,
    ReconciliationCompleted,
)
from oms.core.fold.records import BreakCase, OrderState
from oms.service.daemon import open_oms
from oms.service.manager import Ticket
from oms.service.statement import Checked, check_statement, events_of
from oms.service.subsystem import Oms
from oms.sim.checker import check, read_file
from oms.sim.gateway.gateway import Gateway
from oms.sim.script.commands import Commands
from oms.sim.settings import Settings as SimSettings
from tests.world import new_database, settings_for

CLIENT: Final = 7
ACCOUNTS: Final = ("DU1000001", "DU1000002")
#: The differences of a seed are on these, one contract each.
SYMBOLS: Final = ("AAPL", "MSFT", "AMZN", "GOOG", "TSLA", "NVDA", "META", "IBM", "KO", "PEP")
#: What trades while the comparison runs.
RACING: Final = ("SPY", "QQQ")
#: Things that are done meanwhile; the outbox sends about as many a second.
RACE_ORDERS_MAX: Final = 25
#: Runs that may pass until everything is equal.
RUNS_MAX: Final = 3
DEADLINE_SECONDS: Final = 60.0
_REPAIRS: Final = (
    BooksAdjusted,
    BreakClosed,
    BreakOpened,
    BreakUpdated,
    CashOpened,
    CommissionRestated,
    DoubtResolved,
    OpeningPositionRecorded,
    OrderAdopted,
)
#: A difference as it is injected and reported: its class, and the symbol, currency or account.
Difference = tuple[str, str]


@dataclass
class Outcome:
    """What one seed showed."""

    seed: int
    injected: Counter[Difference]
    reported: Counter[Difference]
    #: What does not hold after the faults stopped, by claim.
    unequal: dict[str, Any] = field(default_factory=dict)
    #: Events that a run over equal books wrote all the same.
    rewritten: list[str] = field(default_factory=list)

    @property
    def found(self) -> int:
        """Return how many injected differences were reported with their class."""
        return (self.injected & self.reported).total()

    @property
    def missed(self) -> list[Difference]:
        """Return what was injected and not reported."""
        return sorted((self.injected - self.reported).elements())

    @property
    def made_up(self) -> list[Difference]:
        """Return what was reported and not injected."""
        return sorted((self.reported - self.injected).elements())

    @property
    def ok(self) -> bool:
        """Say whether the seed showed what it must."""
        return not (self.missed or self.made_up or self.unequal or self.rewritten)


class World:
    """A gateway and an OMS in this process."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.rng = random.Random(seed)
        self.database = folder / "oms.sqlite"
        parts = self.rng.choice((1, 1, 3))
        self.gateway = Gateway(SimSettings(port=0, seed=seed, accounts=ACCOUNTS, parts=parts))
        self.commands = Commands(self.gateway)
        self.port = 0
        self.oms: Oms = None  # type: ignore[assignment] # set by `running`
        #: What a unit of an expired contract was worth in the end, by con_id; a person knows it.
        self.settlements: dict[int, Decimal] = {}
        #: Undoes what an injection left at the broker or on the wire.
        self.undo: list[Callable[[], Awaitable[None]]] = []
        #: Happens after the broker has answered: only the statement tells of it.
        self.overnight: list[Callable[[], Awaitable[None]]] = []
        self.statement = folder / "statement.xml"

    def do(self, verb: str, **fields: Any) -> dict[str, Any]:
        """Run a command of the simulator's, now."""
        answer = self.commands.do({"do": verb, **fields})
        assert answer["ok"], (verb, fields, answer)
        self.gateway.flush()
        return answer

    @asynccontextmanager
    async def running(self) -> AsyncIterator[World]:
        """Run both sides for as long as the block lasts."""
        new_database(self.database)
        self.port = await self.gateway.start()
        try:
            settings = settings_for(
                self.port,
                self.database,
                client_id=CLIENT,
                commission_settle_seconds=0,
                # A person settles doubts here: time would do it somewhere in the middle.
                doubt_settle_seconds=3600,
                request_timeout_seconds=DEADLINE_SECONDS,
            )
            async with open_oms(settings) as self.oms:
                await self.oms.ready(DEADLINE_SECONDS)
                yield self
        finally:
            await self.gateway.stop()

    async def checked(self) -> Checked:
        """Compare the books with the broker's statement as of now, and write what becomes of it."""
        await self.oms.log.flush()
        text = self.do("statement")["xml"]
        await asyncio.to_thread(self.statement.write_text, text)
        checked = await check_statement(self.oms.reader, self.statement)
        context = Context(actor="person:test", correlation_id=checked.run_id)
        events = await events_of(self.oms.reader, checked)
        await self.oms.log.append_together([Pending(event, context) for event in events])
        return checked

    @property
    def anomalies(self) -> int:
        """Return how many things the books hold that must not be passed over."""
        return len(self.oms.log.books.tables["anomalies"])

    async def until(self, condition: Callable[[], object]) -> None:
        """Return when our books say so."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            await self.oms.view.until(lambda: bool(condition()))

    async def reconcile(self) -> ReconciliationCompleted:
        """Ask and compare now."""
        return await self.oms.reconciler.run("test")

    async def bought(self, symbol: str, quantity: int, account: str = ACCOUNTS[0]) -> Ticket:
        """Buy at the market, and wait for executions and commissions."""
        ticket = await self.oms.manager.submit(
            oms.Stock(symbol), oms.Market("BUY", quantity), account=account
        )
        await self.until(lambda: ticket.state is OrderState.FILLED and ticket.order.commissions)
        return ticket

    async def option(self, side: str, symbol: str, right: str, expiry: str, strike: Decimal) -> int:
        """Deal in two options at the market, and return their con_id."""
        contract = oms.Option(symbol, expiry, strike, right)
        terms = oms.Market("BUY" if side == "BUY" else "SELL", 2)
        ticket = await self.oms.manager.submit(contract, terms, account=ACCOUNTS[0])
        await self.until(lambda: ticket.state is OrderState.FILLED and ticket.order.commissions)
        return ticket.order.contract.con_id

    def at_the_money(self, symbol: str) -> Decimal:
        """Return a strike near the price of an underlying."""
        underlying = self.gateway.floor.catalogue.one(symbol)
        assert underlying is not None
        return (underlying.base_price / 5).quantize(Decimal(1)) * 5

    async def resting(self, symbol: str, quantity: int = 10) -> Ticket:
        """Send an order that rests, and wait until IB has it."""
        ticket = await self.oms.manager.submit(
            oms.Stock(symbol), oms.Limit("BUY", quantity, "5"), account=ACCOUNTS[0]
        )
        await self.until(lambda: ticket.state is OrderState.WORKING)
        return ticket

    def newest(self, symbol: str) -> dict[str, Any]:
        """Return the newest execution in a contract."""
        rows = [e for e in self.do("books")["executions"] if e["symbol"] == symbol]
        found: dict[str, Any] = rows[-1]
        return found

    async def race(self, stop: asyncio.Event) -> None:
        """Trade in other contracts until told to stop: fills, resting orders, changes, cancels."""
        rng, manager = self.rng, self.oms.manager
        resting: list[Ticket] = []
        for _ in range(RACE_ORDERS_MAX):
            if stop.is_set():
                return
            contract = oms.Stock(rng.choice(RACING))
            match rng.randrange(4):
                case 0 | 1:
                    side = rng.choice(("BUY", "SELL"))
                    terms = oms.Market(side, rng.randint(1, 50))
                    await manager.submit(contract, terms, account=rng.choice(ACCOUNTS))
                case 2:
                    terms = oms.Limit("BUY", rng.randint(1, 50), "5")
                    resting.append(await manager.submit(contract, terms, account=ACCOUNTS[0]))
                case _ if resting:
                    ticket = resting.pop()
                    if ticket.order.live and ticket.state is not OrderState.INTENDED:
                        await ticket.cancel()
                case _:
                    pass
            await asyncio.sleep(rng.choice((0, 0, 0.002, 0.01)))

    async def at_rest(self) -> None:
        """Return when nothing is on its way any more."""
        moving = {OrderState.INTENDED, OrderState.IN_FLIGHT, OrderState.CANCEL_PENDING}
        await self.until(lambda: all(o.state not in moving for o in self.oms.view.orders.values()))

    async def person(
        self,
        case: BreakCase,
        action: CaseAction,
        cause: Cause | None,
        price: Decimal | None = None,
    ) -> None:
        """Let a person do something about a case, and wait until it is done."""
        request = CaseRequested(
            request_id=uuid.uuid4().hex,
            break_id=case.break_id,
            action=action,
            text="as injected",
            cause=cause,
            price=price,
        )
        pending = Pending(request, Context(actor="person:test", correlation_id=case.break_id))
        await self.oms.log.append(pending)
        await self.until(lambda: not self.oms.view.breaks[case.break_id].live)


# ── what can be injected ─────────────────────────────────────────────────────────────────────────

Injection = Callable[[World, str], Awaitable[list[Difference]]]


async def missing_fill(world: World, symbol: str) -> list[Difference]:
    """An order fills, and nobody tells us."""
    ticket = await world.resting(symbol)
    async with _deaf(world):
        world.do("fill", order_ref=ticket.order_id, price="5")
    return [("missing_fill", symbol)] * _executions(world, symbol)


async def extra_fill(world: World, symbol: str) -> list[Difference]:
    """IB's executions leave one out that we have."""
    await world.bought(symbol, 10)
    exec_id = world.newest(symbol)["exec_id"]
    world.undo.append(_fault(world, "execDetails", "drop", execId=exec_id))
    return [("extra_fill", symbol)]


async def corrected_fill(world: World, symbol: str) -> list[Difference]:
    """An execution is corrected, and nobody tells us."""
    await world.bought(symbol, 10)
    exec_id = world.newest(symbol)["exec_id"]
    async with _deaf(world):
        world.do("correct", exec_id=exec_id, price="7")
    return [("corrected_fill", symbol)]


async def statement_cancel(world: World, symbol: str) -> list[Difference]:
    """IB takes a deal back overnight, and its statement is the first to say so."""
    await world.bought(symbol, 10)
    exec_id = world.newest(symbol)["exec_id"]

    async def overnight() -> None:
        async with _deaf(world):
            world.do("bust", exec_id=exec_id)

    world.overnight.append(overnight)
    return [("corrected_fill", symbol)]


async def unknown_order(world: World, symbol: str) -> list[Difference]:
    """A person enters an order in TWS."""
    world.do(
        "manual_order",
        symbol=symbol,
        side="BUY",
        quantity="3",
        order_type="LMT",
        limit_price="5",
        account=ACCOUNTS[0],
    )
    return [("unknown_order", symbol)]


async def manual_fill(world: World, symbol: str) -> list[Difference]:
    """A person trades in TWS: an order that we did not send, and a fill that we lacked."""
    world.do(
        "manual_order",
        symbol=symbol,
        side="BUY",
        quantity="3",
        order_type="MKT",
        account=ACCOUNTS[0],
    )
    fills = [("missing_fill", symbol)] * _executions(world, symbol)
    return [("unknown_order", symbol), *fills]


async def lost_order(world: World, symbol: str) -> list[Difference]:
    """IB's lists leave out an order that is live."""
    ticket = await world.resting(symbol)
    world.undo.append(_fault(world, "openOrder", "drop", permId=str(ticket.order.perm_id)))
    return [("lost_order", symbol)]


async def wrong_state(world: World, symbol: str) -> list[Difference]:
    """IB says that an order is cancelled, and goes on to work it."""
    ticket = await world.resting(symbol)
    world.do("send", message="orderStatus", order_ref=ticket.order_id, set={"status": "Cancelled"})
    await world.until(lambda: ticket.state is OrderState.CANCELLED)

    async def undo() -> None:
        world.do("cancel", order_ref=ticket.order_id)

    world.undo.append(undo)
    return [("wrong_state", symbol)]


async def wrong_terms(world: World, symbol: str) -> list[Difference]:
    """Somebody else changes the price of our order."""
    ticket = await world.resting(symbol)
    world.do("modify", order_ref=ticket.order_id, limit_price="6")

    async def undo() -> None:
        world.do("modify", order_ref=ticket.order_id, limit_price="5")

    world.undo.append(undo)
    return [("wrong_terms", symbol)]


async def two_perm_ids(world: World, symbol: str) -> list[Difference]:
    """IB shows one order of ours under a second permanent number."""
    ticket = await world.resting(symbol)
    other = str(ticket.order.perm_id + 500_000)
    world.do("send", message="openOrder", order_ref=ticket.order_id, set={"permId": other})
    await world.until(lambda: len(ticket.order.perm_ids) > 1)
    return [("two_perm_ids", symbol)]


async def quantity_drift(world: World, symbol: str) -> list[Difference]:
    """A position changes without an execution, and nothing explains it."""
    await world.bought(symbol, 10)
    world.do("position_adjust", symbol=symbol, quantity="-3", account=ACCOUNTS[0])
    return [("quantity_drift", symbol)]


async def split(world: World, symbol: str) -> list[Difference]:
    """A stock splits; of ten shares one for three leaves a third of one, which is paid in cash."""
    await world.bought(symbol, 10)
    world.do("split", symbol=symbol, ratio=world.rng.choice(("4", "3:2", "1:3")))
    return [("quantity_drift:split", symbol)]


async def transfer(world: World, symbol: str) -> list[Difference]:
    """Shares go from one account to another."""
    await world.bought(symbol, 10)
    world.do("transfer", symbol=symbol, quantity="-4", account=ACCOUNTS[0], to_account=ACCOUNTS[1])
    return [("quantity_drift:transfer", symbol)] * 2


async def symbol_change(world: World, symbol: str) -> list[Difference]:
    """A stock goes on under another name and contract id."""
    await world.bought(symbol, 10)
    world.do("change_symbol", symbol=symbol, new_symbol=f"{symbol}X", new_con_id="990001")
    return [
        ("quantity_drift:symbol_change", symbol),
        ("quantity_drift:symbol_change", f"{symbol}X"),
    ]


async def assignment(world: World, symbol: str) -> list[Difference]:
    """Puts that we wrote are assigned."""
    con_id = await world.option("SELL", symbol, "P", _friday(), world.at_the_money(symbol))
    world.do("assign", con_id=con_id, account=ACCOUNTS[0])
    return [("quantity_drift:assignment", symbol)] * 2


async def exercise(world: World, symbol: str) -> list[Difference]:
    """Calls that we hold are exercised."""
    con_id = await world.option("BUY", symbol, "C", _friday(), world.at_the_money(symbol))
    world.do("exercise", con_id=con_id, account=ACCOUNTS[0])
    return [("quantity_drift:exercise", symbol)] * 2


async def expiry(world: World, symbol: str) -> list[Difference]:
    """Options on an index end without value."""
    return await _ended(world, "P", Decimal(5500))


async def settlement(world: World, symbol: str) -> list[Difference]:
    """Options on an index end in the money: what they are worth is paid, nothing is delivered."""
    return await _ended(world, "C", Decimal(5200))


async def _ended(world: World, right: str, strike: Decimal) -> list[Difference]:
    floor = world.gateway.floor
    today = f"{floor.clock.now().astimezone(floor.zone):%Y%m%d}"
    con_id = await world.option("BUY", "SPX", right, today, strike)
    world.do("expire", con_id=con_id, settlement="5510")
    world.settlements[con_id] = Decimal(310) if right == "C" else Decimal(0)
    return [("quantity_drift:expiry", "SPX")]


async def conversion(world: World, symbol: str) -> list[Difference]:
    """A person converts currencies at TWS: an order and fills that we lacked, and no position."""
    world.do(
        "manual_order",
        symbol="EUR",
        sec_type="CASH",
        currency="USD",
        exchange="FXCONV",
        side="BUY",
        quantity="5000",
        account=ACCOUNTS[0],
    )
    fills = [("missing_fill", "EUR")] * _executions(world, "EUR")
    return [("unknown_order", "EUR"), *fills]


async def wrong_side(world: World, symbol: str) -> list[Difference]:
    """IB executes on the other side than our order asked."""
    ticket = await world.resting(symbol)
    before = world.anomalies
    world.do("fill", order_ref=ticket.order_id, price="5", other_side="yes")
    await world.until(lambda: world.anomalies > before)
    return [("contradiction", symbol)]


async def cost_drift(world: World, symbol: str) -> list[Difference]:
    """IB's average cost is another one."""
    await world.bought(symbol, 10)
    world.undo.append(_fault(world, "position", "edit", set={"avgCost": "3.21"}, symbol=symbol))
    return [("cost_drift", symbol)]


async def commission_missing(world: World, symbol: str) -> list[Difference]:
    """A commission report never comes, not even with the answer."""
    undo = _fault(world, "commissionReport", "drop")
    ticket = await world.oms.manager.submit(
        oms.Stock(symbol), oms.Market("BUY", 10), account=ACCOUNTS[0]
    )
    await world.until(lambda: ticket.state is OrderState.FILLED)
    await undo()
    rows = [e for e in world.do("books")["executions"] if e["symbol"] == symbol]
    for row in rows:
        world.undo.append(_fault(world, "commissionReport", "drop", execId=row["exec_id"]))
    return [("commission_missing", symbol)] * len(rows)


async def commission_different(world: World, symbol: str) -> list[Difference]:
    """IB reports another commission for one execution."""
    ticket = await world.bought(symbol, 10)
    exec_id = world.newest(symbol)["exec_id"]
    before = ticket.order.commissions
    world.do(
        "send",
        message="commissionReport",
        order_ref=ticket.order_id,
        set={"commission": "9.87", "execId": exec_id},
    )
    await world.until(lambda: ticket.order.commissions != before)
    return [("commission_different", symbol)]


async def orphan_commission(world: World, symbol: str) -> list[Difference]:
    """IB charges for an execution that nobody has seen."""
    ticket = await world.bought(symbol, 10)
    exec_id = f"0000aaaa.{symbol.lower()}.01.01"
    world.do("send", message="commissionReport", order_ref=ticket.order_id, set={"execId": exec_id})
    return [("orphan_commission", "")]


async def cash_drift(world: World, symbol: str) -> list[Difference]:
    """Money comes in, in a currency that nothing else of the schedule moves."""
    world.do("cash", amount="123.45", currency="CHF", account=ACCOUNTS[0])
    return [("cash_drift", "CHF")]


async def not_answered(world: World, symbol: str) -> list[Difference]:
    """The account summary leaves out an account."""
    world.undo.append(_fault(world, "accountSummary", "drop", account=ACCOUNTS[1]))
    return [("not_answered", ACCOUNTS[1])]


async def contradiction(world: World, symbol: str) -> list[Difference]:
    """IB sends one execution twice, with different prices."""
    ticket = await world.bought(symbol, 10)
    row = world.newest(symbol)
    before = world.anomalies
    world.do(
        "send",
        message="execDetails",
        order_ref=ticket.order_id,
        set={"execId": row["exec_id"], "price": "1.23"},
    )
    await world.until(lambda: world.anomalies > before)
    return [("contradiction", "")]


async def unreadable_message(world: World, symbol: str) -> list[Difference]:
    """IB sends what nobody can read."""
    before = world.anomalies
    world.do("raw", fields=["3", "7", "Filled", "much", "little"])
    await world.until(lambda: world.anomalies > before)
    return [("unreadable_message", "")]


async def in_doubt(world: World, symbol: str) -> list[Difference]:
    """An order leaves, the line breaks, and it is too early to say what became of it."""
    world.do("drop_next", message="placeOrder", direction="in")
    epoch = world.oms.view.system.session_epoch
    ticket = await world.oms.manager.submit(
        oms.Stock(symbol), oms.Limit("BUY", 10, "5"), account=ACCOUNTS[0]
    )
    await world.until(lambda: ticket.state is OrderState.IN_FLIGHT)
    world.do("cut")
    await world.until(
        lambda: world.oms.view.system.session_epoch > epoch and world.oms.view.system.ready
    )
    return [("in_doubt", symbol)]


async def order_id_rollback(world: World, symbol: str) -> list[Difference]:
    """The gateway counts order ids again from below those that it has shown."""
    await world.resting(symbol)
    epoch, before = world.oms.view.system.session_epoch, world.anomalies
    world.do("restart", roll_back="1")
    await world.until(
        lambda: world.oms.view.system.session_epoch > epoch and world.oms.view.system.ready
    )
    await world.until(lambda: world.anomalies > before)
    return [("order_id_rollback", "")]


INJECTIONS: Final[tuple[Injection, ...]] = (
    missing_fill,
    extra_fill,
    corrected_fill,
    statement_cancel,
    unknown_order,
    manual_fill,
    lost_order,
    wrong_state,
    wrong_terms,
    two_perm_ids,
    quantity_drift,
    split,
    transfer,
    symbol_change,
    assignment,
    exercise,
    expiry,
    settlement,
    conversion,
    wrong_side,
    cost_drift,
    commission_missing,
    commission_different,
    orphan_commission,
    cash_drift,
    not_answered,
    contradiction,
    unreadable_message,
    in_doubt,
    order_id_rollback,
)
#: They break the line, and the run that follows mends what it can: they come first, in this order,
#: for a session after a rollback shows the same rollback again.
_RECONNECTING: Final = (in_doubt, order_id_rollback)


@asynccontextmanager
async def _deaf(world: World) -> AsyncIterator[None]:
    """Lose what the gateway says about orders meanwhile."""
    names = ("execDetails", "commissionReport", "orderStatus", "openOrder")
    undo = [_fault(world, name, "drop") for name in names]
    yield
    for one in undo:
        await one()


def _friday() -> str:
    """Return a Friday on which options end, a week from now or later."""
    day = datetime.now(UTC).date() + timedelta(days=7)
    return f"{day + timedelta(days=(4 - day.weekday()) % 7):%Y%m%d}"


def _executions(world: World, symbol: str) -> int:
    """Return in how many parts a contract traded at the broker."""
    return sum(e["symbol"] == symbol for e in world.do("books")["executions"])


def _fault(
    world: World,
    message: str,
    action: str,
    *,
    set: dict[str, str] | None = None,
    **where: str,
) -> Callable[[], Awaitable[None]]:
    """Put a fault in force; return what takes it back."""
    more: dict[str, Any] = {"where": where} if where else {}
    if set:
        more["set"] = set
    number = world.do("fault", direction="out", message=message, action=action, **more)["fault"]

    async def undo() -> None:
        world.do("clear", fault=number)

    return undo


# ── a seed ───────────────────────────────────────────────────────────────────────────────────────


async def play(folder: Path, seed: int, kinds: Sequence[Injection] = ()) -> Outcome:
    """Play one schedule, and judge it; without `kinds` of difference the seed draws some."""
    world = World(folder, seed)
    async with world.running():
        rng = world.rng
        for account in ACCOUNTS:
            await world.bought(rng.choice(RACING), rng.randint(1, 20), account)
        first = await world.reconcile()
        assert first.verdict == "clean", [f for f in first.findings if f.result != "match"]
        drawn = list(kinds) or rng.sample(INJECTIONS, rng.randint(1, 6))
        drawn.sort(key=[*_RECONNECTING, *(k for k in drawn if k not in _RECONNECTING)].index)
        injected: Counter[Difference] = Counter()
        for kind, symbol in zip(drawn, rng.sample(SYMBOLS, len(drawn)), strict=True):
            injected.update(await kind(world, symbol))
        report = await _while_racing(world)
        for one in world.overnight:
            await one()
        known = {f.key for f in report.findings if f.result == "break"}
        stated = [f for f in (await world.checked()).findings if f.key not in known]
        outcome = Outcome(seed, injected, _reported([*report.findings, *stated]))
        for undo in world.undo:
            await undo()
        outcome.unequal = await _settled(world)
        outcome.rewritten = await _rewritten(world)
    return outcome


async def _while_racing(world: World) -> ReconciliationCompleted:
    stop = asyncio.Event()
    racing = asyncio.create_task(world.race(stop))
    try:
        return await world.reconcile()
    finally:
        stop.set()
        await racing
        await world.at_rest()


def _reported(findings: Iterable[Finding]) -> Counter[Difference]:
    """Return what a report says: breaks, and what was repaired with a class."""
    reported: Counter[Difference] = Counter()
    for finding in findings:
        if finding.break_class is None or finding.result == "unknown":
            continue
        name: str = finding.break_class
        if finding.proposed is not None and finding.proposed.cause is not None:
            name = f"{name}:{finding.proposed.cause}"
        about = finding.account if finding.subject == "account" else finding.symbol
        reported[name, about] += 1
    return reported


async def _settled(world: World) -> dict[str, Any]:
    """Let people and runs make both sides equal; return what is not, after RUNS_MAX runs."""
    unequal: dict[str, Any] = {}
    for _ in range(RUNS_MAX):
        await world.reconcile()
        await world.checked()
        for case in world.oms.view.open_breaks():
            await _by_a_person(world, case)
        await world.at_rest()
        books = world.do("books")
        claims = check(await asyncio.to_thread(read_file, world.database), books)
        unequal = {c.name: c.differences for c in claims if not c.ok}
        report = await world.reconcile()
        stated = [f.text for f in (await world.checked()).breaks]
        if stated:
            unequal["statement"] = stated
        open_cases = [c.finding.key for c in world.oms.view.open_breaks()]
        if open_cases or report.verdict != "clean":
            unequal["reconciliation"] = (report.verdict, open_cases)
        if not unequal:
            break
    return unequal


async def _by_a_person(world: World, case: BreakCase) -> None:
    finding = case.finding
    match finding.break_class:
        case "quantity_drift":
            assert finding.proposed is not None
            cause = finding.proposed.cause or "correction"
            price = world.settlements.get(finding.con_id)
            await world.person(case, "adjust", cause, price)
        case "cash_drift":
            await world.person(case, "adjust", "deposit")
        case "in_doubt":
            await world.oms.manager.resolve(finding.order_id, "not_received", "as injected")
        case "unknown_order":
            await world.person(case, "adopt", None)
        case _:
            await world.person(case, "resolve", None)


async def _rewritten(world: World) -> list[str]:
    """Return what a run writes when there is nothing to write."""
    head = (await world.oms.reader.head()).sequence
    await world.reconcile()
    events = await world.oms.reader.events(head, limit=10_000)
    return [type(e.event).__name__ for e in events if isinstance(e.event, _REPAIRS)]


def summary(outcomes: list[Outcome]) -> str:
    """Return precision and recall in one line, and what went wrong below it."""
    injected = sum(o.injected.total() for o in outcomes)
    reported = sum(o.reported.total() for o in outcomes)
    found = sum(o.found for o in outcomes)
    lines = [
        f"{len(outcomes)} seeds, {injected} differences injected, {reported} reported:"
        f" precision {_share(found, reported)}, recall {_share(found, injected)}"
    ]
    for one in outcomes:
        if not one.ok:
            lines.append(
                f"seed {one.seed}: missed {one.missed}, made up {one.made_up}, unequal"
                f" {one.unequal}, rewritten {one.rewritten}"
            )
    return "\n".join(lines)


def classes(outcomes: list[Outcome]) -> str:
    """Return how often each class was injected and found."""
    injected: Counter[str] = Counter()
    found: Counter[str] = Counter()
    for one in outcomes:
        for (name, _), count in one.injected.items():
            injected[name] += count
        for (name, _), count in (one.injected & one.reported).items():
            found[name] += count
    return "\n".join(f"{n:32} {found[n]:5} of {injected[n]:5}" for n in sorted(injected))


def _share(part: int, whole: int) -> str:
    return f"{Decimal(part) / Decimal(whole):.4f}" if whole else "1.0000"
