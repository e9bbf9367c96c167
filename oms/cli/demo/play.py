"""The six steps of the demo, told for a trader.

Orders are entered by the shell's own verbs, and what is shown is what those verbs read back from
the log. The simulator is moved over its control port, where the world outside the OMS happens.
"""

from __future__ import annotations

import io
import os
import sys
import textwrap
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Final

from oms.cli.demo.plot import Plot, moved
from oms.cli.demo.stage import DATABASE, Stage
from oms.cli.outcome import stored_order
from oms.cli.output import write
from oms.cli.request import append
from oms.core.contracts import Stock
from oms.core.events import DoubtResolved, OrderRequested, Terms
from oms.core.fold.records import OrderState, RunRecord, SystemRecord
from oms.errors import OmsError
from oms.store.reader import Reader

#: Far more than the account can pay for, so that IB refuses it with 201.
_TOO_MANY: Final = 5_000_000
_RULE: Final = 100
#: Width of tables where there is no terminal.
_PIPE_WIDTH: Final = 150
#: The log counts as at rest when nothing was written for so many looks.
_QUIET_LOOKS: Final = 25


class Play:
    """One performance."""

    def __init__(self, stage: Stage, seed: int, run_verb: Callable[[Sequence[str]], int]) -> None:
        self._stage = stage
        self._run_verb = run_verb
        self._seed = seed
        self._plot = Plot.of(seed)
        #: Sets this performance's order ids apart from those of earlier ones in one directory.
        self._suffix = ""

    def run(self) -> int:
        """Play the six steps; returns the exit status."""
        if isinstance(sys.stdout, io.TextIOWrapper):
            # Three programs write to one screen; what was said first must stand first.
            sys.stdout.reconfigure(line_buffering=True)
            if not sys.stdout.isatty():
                os.environ.setdefault("COLUMNS", str(_PIPE_WIDTH))
        _say(
            f"ib-oms demo, seed {self._seed}, in {self._stage.directory}. Three programs play: the"
            " gateway simulator as IB, the daemon `oms run`, and the verbs that you would type."
        )
        self._connect()
        self._enter()
        self._cut()
        self._kill()
        self._restart()
        return self._judge()

    # ── the six steps ────────────────────────────────────────────────────────────────────────────

    def _connect(self) -> None:
        stage = self._stage
        _title(1, "The daemon connects")
        gateway = stage.start_gateway()
        _say(
            f"The simulator listens on 127.0.0.1:{gateway['port']} (process {gateway['pid']}) and"
            " speaks the TWS protocol. The daemon connects with an unmodified ib_async. Before it"
            " lets any order leave, it asks the broker everything and compares."
        )
        before = stage.look(_system).session_epoch if stage.has_log() else 0
        process_id = stage.start_daemon()
        system = self._until_ready(after_epoch=before)
        stage.until("what an earlier demo left in doubt to be settled", _is_settled)
        head = stage.look(lambda reader: reader.head())
        first = not stage.look(lambda reader: reader.keys("orders", "demo", limit=1))
        self._suffix = "" if first else f"-{head.sequence}"
        _say(f"Daemon: process {process_id}, session {system.session_epoch}. Look at the ages:")
        self._oms("status")

    def _enter(self) -> None:
        plot = self._plot
        _title(2, "Orders")
        _say(
            "A market order, two that rest below the market, and a bracket whose exits wait at IB"
            " for its entry. Each intent is durable in the log before a byte leaves; our order id"
            " travels in IB's orderRef, so that all that IB says later can be joined to its order."
        )
        quantity = str(plot.market_quantity)
        self._oms("buy", quantity, plot.market, "--order-id", self._id("market"))
        self._until_state("market", OrderState.FILLED)
        for name in ("filled", "cancelled"):
            symbol = getattr(plot, name)
            limit = str(moved(self._bid(symbol), -plot.discount))
            quantity = str(getattr(plot, f"{name}_quantity"))
            key = self._id("patient" if name == "filled" else "doomed")
            self._oms("buy", quantity, symbol, "--limit", limit, "--order-id", key)
        bid = self._bid(plot.bracket)
        self._oms(
            *("bracket", "BUY", str(plot.bracket_quantity), plot.bracket),
            *("--limit", str(moved(bid, -plot.discount))),
            *("--take-profit", str(moved(bid, 40)), "--stop-loss", str(moved(bid, -80))),
            *("--order-id", self._id("bracket")),
        )
        _say("And one that IB refuses, because the account cannot pay for it:")
        key = self._id("greedy")
        self._oms("buy", str(_TOO_MANY), plot.market, "--order-id", key, expected=1)
        _say("The live books:")
        self._oms("orders")
        self._oms("positions")

    def _cut(self) -> None:
        plot, stage = self._plot, self._stage
        _title(3, "The line is cut, and the world goes on")
        epoch = stage.look(_system).session_epoch
        stage.control("refuse")
        stage.control("cut")
        stage.until("the loss of the line to be noticed", _is_down)
        self._oms("log", "--type", "GapOpened", "--limit", "1")
        _say("While the OMS hears nothing, at IB:")
        price = str(moved(self._bid(plot.filled), -plot.discount))
        rest = plot.filled_quantity - plot.first_part
        for quantity in (plot.first_part, rest):
            stage.control(
                "fill", order_ref=self._id("patient"), quantity=str(quantity), price=price
            )
            _point(f"{quantity} {plot.filled} are bought for order {self._id('patient')}")
        stage.control("cancel", order_ref=self._id("doomed"))
        _point(f"IB cancels order {self._id('doomed')} ({plot.cancelled}) by itself")
        by_hand = str(plot.by_hand_quantity)
        stage.control("manual_order", symbol=plot.market, side="SELL", quantity=by_hand)
        _point(f"a person sells {by_hand} {plot.market} by hand in TWS")
        write("")
        stage.control("accept")
        self._until_ready(after_epoch=epoch)
        _say(
            "The line is back. Nothing is assumed: the daemon asks what happened, and the report"
            " says what was asked, how far back the answers reach, and what was learnt. Look for"
            " the two backfilled executions, the cancel, and the adopted order: that one is a"
            " break, because a person must say who traded by hand."
        )
        self._oms("report", "show", "last")

    def _kill(self) -> None:
        plot, stage = self._plot, self._stage
        _title(4, "The daemon is killed between intent and answer")
        order_id = self._id("doubtful")
        if plot.arrives:
            # IB works on the order, and whatever it would say waits.
            stage.control("hold", message="placeOrder", what="answer", times=1)
        else:
            stage.control("drop_next", message="placeOrder", direction="in")
        write(f"$ oms buy {plot.doubtful_quantity} {plot.market} --order-id {order_id}")
        self._request(order_id)
        stage.until("the intent to be durable", lambda reader: stored_order(reader, order_id))
        if plot.arrives:
            self._until_placed(order_id)
        stage.kill_daemon()
        _say(
            "SIGKILL, right after the intent was durable and before IB has answered. This is all"
            " that is known now:"
        )
        self._oms("order", order_id)
        price = moved(self._bid(plot.bracket), -plot.discount - 5)
        stage.control(
            "quote", symbol=plot.bracket, bid=str(price), ask=str(price + Decimal("0.01"))
        )
        stage.control("release")
        stage.control("unsilence")
        _say(
            f"It must not be sent again: perhaps IB has it. Now {plot.bracket} falls to {price} and"
            " the entry of the bracket fills, while no daemon listens."
        )

    def _restart(self) -> None:
        plot, stage = self._plot, self._stage
        _title(5, "The daemon starts again")
        before = stage.look(lambda reader: reader.head()).sequence
        epoch = stage.look(_system).session_epoch
        stage.start_daemon()
        self._until_ready(after_epoch=epoch)
        stage.until("the order in doubt to be settled", _is_settled)
        order = stage.look(lambda reader: stored_order(reader, self._id("doubtful")))
        assert order is not None
        found = (
            "IB had received the order, and its answers name it"
            if plot.arrives
            else "no complete answer of IB names the order, so it never arrived"
        )
        _say(
            "It loads the books, finds an order whose outcome it cannot know, and asks. Evidence"
            f" decides, never a guess: {found}. It is {order.state.value} now, and was not sent"
            " again. The report of the comparison that settled it:"
        )
        report = self._settling_run(before)
        self._oms("report", "show", report)
        _say("The same report for a browser:")
        self._oms("report", "show", report, "--format", "html")
        self._oms("breaks", "--all")

    def _judge(self) -> int:
        stage = self._stage
        _title(6, "The books, and the proof")
        stage.until("the books to rest", _Quiet().look)
        self._oms("orders", "--all")
        self._oms("positions")
        _say("The whole life of the order that was cut off:")
        self._oms("order", self._id("doubtful"))
        _say(
            "Every hash follows from the one before, and a fold of the whole log from its first"
            " event gives the same books, row for row:"
        )
        self._oms("verify")
        self._oms("rebuild", "--check")
        _say(
            "Last, the independent checker, which shares no code with the OMS: it compares the"
            " OMS's file with the simulator's own books."
        )
        write(f"$ python -m oms.sim.checker --database {DATABASE} --control-port ...")
        code = stage.check()
        stage.stop_daemon()
        _say(
            f"To look further: cd {stage.directory}, then for example"
            f" `oms log --limit 500 --database {DATABASE}`."
        )
        write("The books are equal." if code == 0 else "THE BOOKS DIFFER; see above.")
        return code

    # ── asking and waiting ───────────────────────────────────────────────────────────────────────

    def _request(self, order_id: str) -> None:
        """Ask for an order as `oms buy` does, without waiting for what becomes of it."""
        plot = self._plot
        terms = Terms(side="BUY", quantity=Decimal(plot.doubtful_quantity), order_type="MKT")
        request = OrderRequested(
            order_id=order_id, account="", contract=Stock(plot.market), terms=terms
        )
        append(DATABASE, [(request, order_id)])

    def _until_ready(self, *, after_epoch: int) -> SystemRecord:
        async def ready(reader: Reader) -> SystemRecord | None:
            system = await _system(reader)
            return system if system.ready and system.session_epoch > after_epoch else None

        found = self._stage.until("a session whose books were compared", ready)
        assert found is not None
        return found

    def _until_state(self, name: str, state: OrderState) -> None:
        async def reached(reader: Reader) -> bool:
            order = await stored_order(reader, self._id(name))
            return order is not None and order.state is state

        self._stage.until(f"order {self._id(name)} to be {state.value}", reached)

    def _until_placed(self, order_id: str) -> None:
        async def placed(_: Reader) -> bool:
            placements = self._stage.control("books")["placements"]
            return any(row["order_ref"] == order_id for row in placements)

        self._stage.until("IB to have the order", placed)

    def _settling_run(self, after: int) -> str:
        """Return the run that settled the doubt: the one that says so, else the first since."""

        async def find(reader: Reader) -> str:
            for envelope in await reader.order_events(self._id("doubtful")):
                if isinstance(envelope.event, DoubtResolved) and envelope.event.run_id:
                    return envelope.event.run_id
            rows = await reader.rows("runs", order="sequence")
            return next(r.run_id for r in rows if isinstance(r, RunRecord) and r.sequence > after)

        return self._stage.look(find)

    def _bid(self, symbol: str) -> Decimal:
        return Decimal(self._stage.control("quote", symbol=symbol)["bid"])

    def _id(self, name: str) -> str:
        return f"demo-{name}{self._suffix}"

    # ── telling ──────────────────────────────────────────────────────────────────────────────────

    def _oms(self, *words: str, expected: int = 0) -> None:
        """Run a verb as the shell does; raises where it does not end as it should."""
        write(f"$ oms {' '.join(words)}")
        code = self._run_verb(words)
        write("")
        if code != expected:
            raise OmsError(f"`oms {' '.join(words)}` ended with {code}, expected {expected}")


class _Quiet:
    """Says when the log has come to rest."""

    def __init__(self) -> None:
        self._head = -1
        self._looks = 0

    async def look(self, reader: Reader) -> bool:
        """Return True once the log has not grown for a while."""
        head = (await reader.head()).sequence
        self._looks = self._looks + 1 if head == self._head else 0
        self._head = head
        return self._looks >= _QUIET_LOOKS


def _title(number: int, words: str) -> None:
    write(f"── {number}. {words} ".ljust(_RULE, "─") + "\n")


def _say(words: str) -> None:
    write("\n".join(textwrap.wrap(words, _RULE)) + "\n")


def _point(words: str) -> None:
    write(f"  - {words}")


async def _system(reader: Reader) -> SystemRecord:
    found = await reader.one("system", SystemRecord().key)
    return found if isinstance(found, SystemRecord) else SystemRecord()


async def _is_down(reader: Reader) -> bool:
    return not (await _system(reader)).connected


async def _is_settled(reader: Reader) -> bool:
    """Say whether no outcome is unknown, and no break closes the gate for new orders."""
    doubts = await reader.count("orders", {"state": OrderState.IN_DOUBT.value})
    return not doubts and not await reader.count("breaks", {"status": "open", "severity": "high"})
