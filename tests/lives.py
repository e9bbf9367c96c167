"""A small text form for the lives of orders: a table of "who, what", played into the books.

    session
    intent      BUY 100 LMT 10
    sent
    open        Submitted
    fill        40 @ 10 exec=x.1.01
    status      Submitted 40
    B: intent   SELL 5 MKT

One fact a line, `#` starts a comment. A line is about order A unless it names another ("B:"); the
order with the n-th letter has the order id n and the permanent number 1000 + n. Words of the form
`key=value` override what a fact would say by itself (perm, id, ref, client, account, con, exec,
under, why, tif, next, fetched ...). The tests of this form are in unit/test_lives.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from oms.core.contracts import ComboLeg, Contract
from oms.core.events import (
    BrokerMessageUnreadable,
    CancelDenied,
    CancelIntended,
    CommissionReceived,
    CompletedOrderReceived,
    Context,
    DaemonStarted,
    DoubtResolved,
    Envelope,
    Event,
    ExecutionReceived,
    GapClosed,
    GapOpened,
    ModifyDenied,
    ModifyIntended,
    NoticeReceived,
    OpeningPositionRecorded,
    OpenOrderReceived,
    OrderAdopted,
    OrderBoundReceived,
    OrderDenied,
    OrderDoubted,
    OrderIntended,
    OrderMessageSent,
    OrderNotSent,
    OrderRequested,
    OrderStatusReceived,
    PositionReceived,
    RequestNotTaken,
    SessionClosed,
    SessionOpened,
    Terms,
)
from oms.core.fold.apply import apply, initial
from oms.core.fold.books import Books
from oms.core.fold.records import Fill, Order, Position, SystemRecord
from oms.core.values import checked

START: Final = datetime(2026, 3, 2, 14, 30, tzinfo=UTC)
ACCOUNT: Final = "DU1"
ACME: Final = Contract(con_id=1, symbol="ACME", exchange="SMART")
CLIENT: Final = 1


def number_of(name: str) -> int:
    """Return the order id that a letter stands for."""
    return ord(name) - ord("A") + 1


def perm_id_of(name: str) -> int:
    """Return the permanent number that a letter stands for."""
    return 1000 + number_of(name)


def terms(text: str) -> Terms:
    """Return terms from words: BUY 100 LMT 10, SELL 5 STP 9, BUY 1 STP LMT 9 10."""
    side, quantity, *rest = text.split()
    prices = [Decimal(w) for w in rest if w[0].isdigit()]
    order_type = " ".join(w for w in rest if not w[0].isdigit())
    stop = prices.pop(0) if order_type.startswith("STP") else None
    return Terms(
        side=side,
        quantity=Decimal(quantity),
        order_type=order_type,
        limit_price=prices[0] if prices else None,
        stop_price=stop,
    )


@dataclass
class Line:
    """One line of a table, taken apart."""

    name: str
    verb: str
    words: list[str]
    options: dict[str, str]

    @classmethod
    def of(cls, text: str) -> Line | None:
        """Return the line that a text says, None where it says nothing."""
        text = text.partition("#")[0].strip()
        if not text:
            return None
        name = "A"
        if len(text) > 1 and text[1] == ":":
            name, text = text[0], text[2:]
        verb, *rest = text.split()
        options = dict(w.split("=", 1) for w in rest if "=" in w)
        return cls(name, verb, [w for w in rest if "=" not in w], options)

    def number(self, index: int, default: str = "0") -> Decimal:
        """Return a word as a number."""
        return Decimal(self.words[index] if len(self.words) > index else default)

    def word(self, index: int, default: str = "") -> str:
        """Return a word."""
        return self.words[index] if len(self.words) > index else default

    def ids(self, *names: str) -> dict[str, Any]:
        """Return the ids that a broker message carries."""
        say = self.options.get
        everything: dict[str, Any] = {
            "broker_order_id": int(say("id", str(number_of(self.name)))),
            "perm_id": int(say("perm", str(perm_id_of(self.name)))),
            "client_id": int(say("client", str(CLIENT))),
            "order_ref": say("ref", self.name),
            "account": say("account", ACCOUNT),
        }
        return {name: everything[name] for name in names}


@dataclass
class Life:
    """The books after the lines that were played, and what was asked for on the way."""

    books: Books = field(default_factory=initial)
    envelopes: list[Envelope] = field(default_factory=list)
    epoch: int = 0
    at: datetime = START
    wanted: dict[str, Terms] = field(default_factory=dict)

    def play(self, text: str) -> Life:
        """Apply every line of a table, in order."""
        for row in text.splitlines():
            line = Line.of(row)
            if line is not None:
                self.apply(*_VERBS[line.verb](self, line))
        return self

    def apply(
        self,
        event: Event,
        name: str = "",
        actor: str = "broker",
        *,
        executed_at: datetime | None = None,
    ) -> Envelope:
        """Apply one fact, a second after the one before it."""
        self.at += timedelta(seconds=1)
        envelope = Envelope(
            sequence=self.books.sequence + 1,
            event=event,
            context=Context(
                actor,
                self.epoch,
                occurred_at=executed_at
                or (self.at if isinstance(event, ExecutionReceived) else None),
                correlation_id=name or None,
            ),
            recorded_at=self.at,
        )
        apply(self.books, envelope)
        self.envelopes.append(envelope)
        return envelope

    def wait(self, seconds: float) -> Life:
        """Let time pass."""
        self.at += timedelta(seconds=seconds)
        return self

    def order(self, name: str = "A") -> Order:
        """Return an order."""
        found = self.books.order(name)
        assert found is not None, f"there is no order {name}"
        return found

    def position(self, con_id: int = 1, account: str = ACCOUNT) -> Position:
        """Return a position, flat where there is none."""
        found = self.books.get("positions", f"{account}:{con_id}")
        flat = Position(account=account, contract=contract(con_id))
        return found if isinstance(found, Position) else flat

    def fills(self) -> list[Fill]:
        """Return the fills in the order of first sight."""
        return self.books.all(Fill)

    @property
    def system(self) -> SystemRecord:
        """Return the state of the whole."""
        return self.books.system

    @property
    def last(self) -> int:
        """Return the sequence of the last fact."""
        return self.books.sequence


def play(text: str) -> Life:
    """Return the books after a first session and the lines of a table."""
    return Life().play("session").play(text)


def working(text: str = "") -> Life:
    """Return the books with BUY 100 LMT 10 at work at IB, and the lines of a table played after."""
    return play("intent BUY 100 LMT 10\nsent\nopen Submitted\nstatus Submitted 0").play(text)


def contract(con_id: int = 1, sec_type: str = "STK") -> Contract:
    """Return a contract by its number."""
    return (
        ACME
        if con_id == 1 and sec_type == "STK"
        else Contract(
            con_id=con_id, symbol="ACME" if con_id == 1 else f"C{con_id}", sec_type=sec_type
        )
    )


Fact = tuple[Any, ...]


def _contract(line: Line) -> Contract:
    found = contract(int(line.options.get("con", "1")), line.options.get("sec", "STK"))
    said = [leg.split(":") for leg in line.options.get("legs", "").split("|") if leg]
    if not said:
        return found
    # legs=2:BUY:1|3:SELL:2 names contracts, sides and ratios.
    legs = [checked(ComboLeg, {"con_id": int(c), "side": s, "ratio": int(r)}) for c, s, r in said]
    return found.evolve(con_id=0, sec_type="BAG", legs=tuple(legs))


def _session(life: Life, line: Line) -> Fact:
    life.epoch += 1
    highest = life.system.highest_broker_order_ids.get(CLIENT, 0)
    opened = SessionOpened(
        host="gateway",
        port=4002,
        client_id=CLIENT,
        server_version=178,
        connection_time="",
        accounts=(ACCOUNT,),
        next_broker_order_id=int(line.options.get("next", str(highest + 1))),
    )
    return opened, "", "daemon"


def _crash(life: Life, line: Line) -> Fact:
    started = DaemonStarted(
        program_version="0", host="h", process_id=2, client_id=CLIENT, mode="paper"
    )
    return started, "", "recovery"


def _request(life: Life, line: Line) -> Fact:
    requested = OrderRequested(
        order_id=line.name,
        account=line.options.get("account", ACCOUNT),
        contract=_contract(line),
        terms=terms(" ".join(line.words)),
    )
    return requested, line.name, "person:ann"


def _intent(life: Life, line: Line) -> Fact:
    asked = terms(" ".join(line.words))
    life.wanted[line.name] = asked
    intended = OrderIntended(
        order_id=line.name,
        account=line.options.get("account", ACCOUNT),
        contract=_contract(line),
        terms=asked.evolve(**{"tif": line.options.get("tif", "DAY"), **_oca(line)}),
        transmit=line.options.get("transmit", "yes") == "yes",
        parent_order_id=line.options.get("parent"),
        group_id=line.options.get("group"),
    )
    return intended, line.name, "person:ann"


def _oca(line: Line) -> dict[str, object]:
    """Return group and type of `oca=NAME:TYPE`."""
    name, _, kind = line.options.get("oca", "").partition(":")
    return {"oca_group": name, "oca_type": int(kind)} if name else {}


def _denied(life: Life, line: Line) -> Fact:
    denied = OrderDenied(
        order_id=line.name,
        account=ACCOUNT,
        contract=ACME,
        terms=terms("BUY 100 LMT 10"),
        rule="quantity",
        value="100",
        limit="10",
        text="too large",
    )
    return denied, line.name, "daemon"


def _sent(life: Life, line: Line) -> Fact:
    kind = line.word(0, "place")
    ids = line.ids("client_id", "broker_order_id")
    ref = line.name if kind == "place" else ""
    return OrderMessageSent(kind=kind, order_ref=ref, **ids), line.name, "daemon"


def _modify(life: Life, line: Line) -> Fact:
    asked = life.wanted[line.name].evolve(quantity=line.number(0), limit_price=line.number(1))
    revision = life.order(line.name).revision + 1
    return ModifyIntended(order_id=line.name, revision=revision, terms=asked), line.name, "daemon"


def _open(life: Life, line: Line) -> Fact:
    asked = life.wanted.get(line.name, terms("BUY 100 LMT 10"))
    price = line.number(2, str(asked.limit_price or 0))
    return (
        OpenOrderReceived(
            **line.ids("broker_order_id", "perm_id", "client_id", "order_ref", "account"),
            contract=_contract(line),
            side=asked.side,
            quantity=line.number(1, str(asked.quantity)),
            order_type=asked.order_type,
            limit_price=price,
            stop_price=asked.stop_price or Decimal(0),
            tif=asked.tif,
            status=line.word(0),
            warning_text=line.options.get("warning", ""),
            parent_broker_order_id=int(line.options.get("under", "0")),
            what_if=line.options.get("what_if") == "yes",
        ),
    )


def _status(life: Life, line: Line) -> Fact:
    asked = life.wanted.get(line.name, terms("BUY 100 LMT 10"))
    filled = line.number(1)
    return (
        OrderStatusReceived(
            **line.ids("broker_order_id", "perm_id", "client_id"),
            status=line.word(0),
            filled=filled,
            remaining=asked.quantity - filled,
            why_held=line.options.get("why", ""),
        ),
    )


def _fill(life: Life, line: Line) -> Fact:
    asked = life.wanted.get(line.name, terms("BUY 100 LMT 10"))
    count = sum(isinstance(e.event, ExecutionReceived) for e in life.envelopes) + 1
    return (
        ExecutionReceived(
            **line.ids("broker_order_id", "perm_id", "client_id", "order_ref", "account"),
            contract=_contract(line),
            exec_id=line.options.get("exec", f"x.{count}.01"),
            side=line.options.get("side", asked.side),
            quantity=line.number(0),
            price=line.number(2),
            venue="NYSE",
            time_text="20260302 14:30:00 UTC",
            liquidation=line.options.get("liquidation") == "yes",
            fetched=line.options.get("fetched") == "yes",
        ),
    )


def _commission(life: Life, line: Line) -> Fact:
    amount = line.word(1)
    return (
        CommissionReceived(
            exec_id=line.word(0),
            commission=None if amount == "unknown" else Decimal(amount),
            currency=line.word(2, "USD"),
        ),
    )


def _notice(life: Life, line: Line) -> Fact:
    subject = int(line.options.get("id", str(number_of(line.name))))
    text = " ".join(line.words[1:]) or "a text"
    return (NoticeReceived(subject_id=subject, code=int(line.word(0)), text=text),)


def _completed(life: Life, line: Line) -> Fact:
    asked = life.wanted.get(line.name, terms("BUY 100 LMT 10"))
    return (
        CompletedOrderReceived(
            **line.ids("perm_id", "order_ref", "account"),
            contract=_contract(line),
            side=asked.side,
            quantity=asked.quantity,
            order_type=asked.order_type,
            limit_price=asked.limit_price,
            tif=asked.tif,
            status=line.word(0),
            filled_quantity=line.number(1),
            completed_status=" ".join(line.words[2:]),
        ),
    )


def _adopt(life: Life, line: Line) -> Fact:
    name = line.name
    only_executions = line.options.get("terms") == "unknown"
    asked = life.wanted.get(name, terms("BUY 100 LMT 10"))
    if only_executions:
        asked = Terms(side="BUY", quantity=line.number(1), order_type="", tif="")
    adopted = OrderAdopted(
        order_id=name,
        origin=line.options.get("origin", "manual"),
        account=line.options.get("account", ACCOUNT),
        contract=_contract(line),
        terms=asked,
        perm_id=int(line.options.get("perm", str(perm_id_of(name)))),
        client_id=int(line.options.get("client", "0")),
        broker_order_id=int(line.options.get("id", "0")),
        order_ref=line.options.get("ref", ""),
        status="" if only_executions else line.word(0),
        ended=line.options.get("ended") == "yes",
        completed_status=line.options.get("words", ""),
        evidence=int(line.options.get("evidence", "1")),
        run_id="R1",
    )
    return adopted, "", "reconciler"


def _resolve(life: Life, line: Line) -> Fact:
    by_person = line.options.get("by") == "person"
    resolved = DoubtResolved(
        order_id=line.name,
        outcome=line.word(0),
        text="what we found",
        run_id=None if by_person else "R1",
        evidence=() if by_person else (int(line.options.get("asked", str(life.last))),),
    )
    return resolved, line.name, "person:ann" if by_person else "reconciler"


def _not_taken(life: Life, line: Line) -> Fact:
    not_taken = RequestNotTaken(
        order_id=line.name,
        request=line.word(0),
        text="sent in an earlier session",
        run_id="R1",
        evidence=(int(line.options.get("asked", str(life.last))),),
    )
    return not_taken, line.name, "reconciler"


def _position(life: Life, line: Line) -> Fact:
    cost = line.word(1)
    return (
        PositionReceived(
            account=line.options.get("account", ACCOUNT),
            contract=_contract(line),
            quantity=line.number(0),
            average_cost=Decimal(cost) if cost else None,
        ),
    )


def _opening(life: Life, line: Line) -> Fact:
    opened = OpeningPositionRecorded(
        account=line.options.get("account", ACCOUNT),
        contract=_contract(line),
        quantity=line.number(0),
        average_cost=line.number(1),
        evidence=1,
        run_id="R1",
    )
    return opened, "", "reconciler"


def _bound(life: Life, line: Line) -> Fact:
    return (OrderBoundReceived(**line.ids("perm_id", "client_id", "broker_order_id")),)


def _said(make: Callable[[Line], Event]) -> Callable[[Life, Line], Fact]:
    return lambda _, line: (make(line), line.name, "daemon")


_VERBS: Final[dict[str, Callable[[Life, Line], Fact]]] = {
    "session": _session,
    "lost": _said(lambda _: SessionClosed(reason="connection reset", deliberate=False)),
    "crash": _crash,
    "gap": _said(lambda line: GapOpened(cause=line.word(0))),
    "whole": _said(lambda _: GapClosed(cause="1102", opened_sequence=1)),
    "intent": _intent,
    "denied": _denied,
    "request": _request,
    "sent": _sent,
    "not_sent": _said(lambda line: OrderNotSent(order_id=line.name, text="the line was lost")),
    "doubted": _said(lambda line: OrderDoubted(order_id=line.name, text="no answer")),
    "modify": _modify,
    "modify_refused": _said(
        lambda line: ModifyDenied(order_id=line.name, text="too large", intended=False)
    ),
    "modify_denied": _said(lambda line: ModifyDenied(order_id=line.name, text="not sent")),
    "cancel": _said(lambda line: CancelIntended(order_id=line.name)),
    "cancel_denied": _said(lambda line: CancelDenied(order_id=line.name, text="not sent")),
    "open": _open,
    "status": _status,
    "fill": _fill,
    "commission": _commission,
    "notice": _notice,
    "completed": _completed,
    "adopt": _adopt,
    "resolve": _resolve,
    "not_taken": _not_taken,
    "position": _position,
    "opening": _opening,
    "bound": _bound,
    "unreadable": _said(lambda _: BrokerMessageUnreadable(message_id="3", reason="too short")),
}
