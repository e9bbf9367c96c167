"""Every fault and every verb, from a scenario or the control port, seen on a bare socket."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from oms.core.codes import TABLE
from oms.sim.clock import SteppedClock
from oms.sim.protocol import frames
from oms.sim.protocol.messages import END_OF
from oms.sim.protocol.requests import LAYOUT_OF
from oms.sim.script.commands import VERBS
from oms.sim.script.control import ControlPort, call
from tests.integration.sim_world import STOCK, world

NOON = datetime(2026, 1, 5, 17, 0, tzinfo=UTC)
FILL = ("execDetails", "openOrder", "orderStatus", "commissionReport")


async def story_of_a_fill(script: str, *, clock: SteppedClock | None = None) -> list[str]:
    """What a client hears of a market order under a scenario, acknowledgement left out."""
    async with world(script=script, acknowledge="submitted", clock=clock) as sim:
        client = await sim.client()
        client.forget()
        client.place(orderRef="a")
        await client.settle()
        return client.story(*FILL)


NORMAL = ["execDetails", "openOrder Filled", "orderStatus Filled", "commissionReport"]


async def test_without_a_fault_a_fill_is_told_once() -> None:
    assert await story_of_a_fill("") == NORMAL


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("message=orderStatus action=drop", [NORMAL[0], NORMAL[1], NORMAL[3]]),
        ("message=execDetails action=duplicate", [NORMAL[0], *NORMAL]),
        ("message=execDetails action=reorder", [NORMAL[1], NORMAL[0], *NORMAL[2:]]),
        ("message=execDetails action=delay seconds=60", NORMAL[1:]),
        ("message=orderStatus action=edit set.status=Submitted",
         [*NORMAL[:2], "orderStatus Submitted", NORMAL[3]]),
        ("message=orderStatus action=drop where.status=Filled", [*NORMAL[:2], NORMAL[3]]),
        ("message=orderStatus action=drop where.status=Cancelled", NORMAL),
        ("message=orderStatus action=drop client_id=77", NORMAL),
        ("message=* action=drop times=4", []),
    ],
)  # fmt: skip
async def test_a_fault_of_outgoing_messages(fault: str, expected: list[str]) -> None:
    script = f"on startApi\n  fault direction=out {fault}"
    if "times" not in fault:
        script += " times=1"
    assert await story_of_a_fill(script, clock=SteppedClock(NOON)) == expected


async def test_a_commission_may_come_before_its_execution() -> None:
    script = """
        on startApi
          fault direction=out message=execDetails action=hold times=1
    """
    script = "\n".join(line[8:] for line in script.splitlines())
    async with world(script=script) as sim:
        client = await sim.client()
        client.forget()
        client.place(orderRef="a")
        await sim.until(lambda: sim.books()["executions"])
        sim.do("send", message="commissionReport", order_ref="a")
        sim.do("release")
        await client.settle()
        told = client.story("commissionReport", "execDetails")
        assert told == ["commissionReport", "execDetails", "commissionReport"]


async def test_a_delayed_message_comes_when_its_time_has_come() -> None:
    script = "on startApi\n  fault direction=out message=commissionReport action=delay seconds=10"
    async with world(script=script, clock=SteppedClock(NOON)) as sim:
        client = await sim.client()
        client.place()
        await client.settle()
        assert client.story("commissionReport") == []
        sim.do("advance", seconds="10")
        await client.wait_for("commissionReport")


@pytest.mark.parametrize("at_byte", [0, 1, 3, 4, 5, 60])
async def test_the_socket_is_cut_at_any_byte_of_a_frame(at_byte: int) -> None:
    cut = f"fault direction=out message=execDetails action=cut at_byte={at_byte} times=1"
    script = f"on startApi\n  {cut}"
    async with world(script=script) as sim:
        client = await sim.client()
        client.forget()
        client.place()
        await client.until(lambda: client.ended)
        assert client.story("execDetails") == []
        assert len(sim.books()["executions"]) == 1


async def test_a_truncated_message_is_a_shorter_frame() -> None:
    async with world() as sim:
        client = await sim.client()
        sim.do("fault", direction="out", message="managedAccts", action="truncate", at_byte="7",
               times="1")  # fmt: skip
        client.ask("reqManagedAccts")
        client.ask("reqCurrentTime")
        await client.wait_for("currentTime")
        assert client.last("managedAccts")["accounts"] == "DU"


async def test_a_corrupt_byte_keeps_the_stream_in_step() -> None:
    async with world() as sim:
        client = await sim.client()
        sim.do("fault", direction="out", message="currentTime", action="corrupt", at_byte="5",
               times="1")  # fmt: skip
        client.ask("reqCurrentTime")
        client.ask("reqManagedAccts")
        await client.wait_for("currentTime")
        assert "#" in "".join(client.last("currentTime").values())


@pytest.mark.parametrize(
    ("action", "orders", "executions"),
    [("drop", 0, 0), ("duplicate", 1, 1), ("delay seconds=5", 0, 0), ("hold", 0, 0), ("cut", 0, 0)],
)
async def test_a_fault_of_an_incoming_order(action: str, orders: int, executions: int) -> None:
    script = f"on startApi\n  fault direction=in message=placeOrder times=1 action={action}"
    async with world(script=script, clock=SteppedClock(NOON)) as sim:
        client = await sim.client()
        client.place()
        if action == "cut":
            await client.until(lambda: client.ended)
        else:
            await client.settle()
        books = sim.books()
        assert (len(books["orders"]), len(books["executions"])) == (orders, executions)
        if action.startswith("delay"):
            sim.do("advance", seconds="5")
        if action == "hold":
            assert sim.do("release")["released"] == 1
        if action.startswith(("delay", "hold")):
            assert len(sim.books()["orders"]) == 1


async def test_an_incoming_message_can_be_refused_or_edited() -> None:
    async with world() as sim:
        client = await sim.client()
        sim.do("fault", direction="in", message="placeOrder", action="refuse", code="10147",
               text="no", times="1")  # fmt: skip
        first = client.place()
        await client.wait_for("errMsg", reqId=str(first), code="10147", text="no")
        sim.do("fault", direction="in", message="placeOrder", action="edit", times="1",
               set={"totalQuantity": "7"})  # fmt: skip
        client.place()
        await client.settle()
        assert sim.books()["orders"][0]["quantity"] == "7"


async def test_the_broker_may_have_received_without_answering() -> None:
    async with world() as sim:
        client = await sim.client()
        client.forget()
        sim.do("hold", message="placeOrder", what="answer")
        client.place(orderRef="a")
        await sim.until(lambda: len(sim.books()["executions"]) == 1)
        client.ask("reqCurrentTime")
        assert client.story() == []
        sim.do("release")
        await client.wait_for("currentTime")
        assert client.story()[-2:] == ["commissionReport", "currentTime"]


async def test_what_a_gateway_held_is_gone_when_it_restarts() -> None:
    async with world() as sim:
        client = await sim.client()
        sim.do("hold", message="placeOrder", times=1)
        client.place(orderRef="a")
        client.ask("reqCurrentTime")
        await client.wait_for("currentTime")
        sim.do("restart")
        assert sim.do("release")["released"] == 0
        assert sim.books()["orders"] == []


@pytest.mark.parametrize("request_name", ["reqExecutions", "reqOpenOrders", "reqPositions"])
async def test_a_request_is_left_without_answer_end_or_is_refused(request_name: str) -> None:
    async with world() as sim:
        client = await sim.client()
        for mode, expected in (("answer", []), ("end", []), ("refuse", ["errMsg 321"])):
            sim.do("silence", request=request_name, mode=mode)
            client.forget()
            client.ask(request_name, reqId="5")
            await client.settle()
            assert client.story() == expected
            assert sim.do("unsilence", request=request_name)["removed"] == 1
        client.ask(request_name, reqId="5")
        await client.settle()
        assert len(client.story()) == 2


async def test_a_client_is_turned_away_as_often_as_asked() -> None:
    async with world() as sim:
        sim.do("fault", direction="in", message="startApi", action="refuse", code="326",
               text="in use", times="2")  # fmt: skip
        for _ in range(2):
            client = await sim.socket()
            client.send("71", "2", "1", "")
            await client.until(lambda client=client: client.ended)
            assert client.story() == ["errMsg 326"]
        await sim.client(1)


async def test_a_half_open_socket_takes_bytes_and_answers_nothing() -> None:
    async with world() as sim:
        client = await sim.client()
        client.forget()
        sim.do("half_open")
        client.place()
        await client.writer.drain()
        other = await sim.client(2)
        other.place()
        await other.wait_for("commissionReport")
        assert (client.story(), client.ended) == ([], False)


@pytest.mark.parametrize(("reset", "seen"), [("no", "end"), ("yes", "reset")])
async def test_a_socket_is_cut_with_an_end_or_a_reset(reset: str, seen: str) -> None:
    async with world() as sim:
        reader, writer = await asyncio.open_connection("127.0.0.1", sim.port)
        writer.write(b"API\0" + frames.frame(b"v157..178"))
        assert await reader.read(100)
        sim.do("cut", reset=reset)
        try:
            assert (await reader.read(), seen) == (b"", "end")
        except ConnectionResetError:
            assert seen == "reset"
        writer.close()


async def test_connections_are_refused_until_they_are_accepted() -> None:
    async with world(clock=SteppedClock(NOON)) as sim:
        sim.do("refuse")
        assert (await sim.socket()).ended
        sim.do("accept")
        sim.do("refuse", seconds="5")
        assert (await sim.socket()).ended
        sim.do("advance", seconds="5")
        assert (await sim.client()).version == 178


async def test_the_next_valid_id_rolls_back_on_command() -> None:
    async with world() as sim:
        client = await sim.client()
        for _ in range(4):
            client.place(orderType="LMT", lmtPrice="1")
        await client.settle()
        sim.do("restart", roll_back="3", client_id="1")
        again = await sim.client()
        assert again.next_id == 2


async def test_a_fill_may_arrive_after_the_cancel() -> None:
    async with world() as sim:
        client = await sim.client()
        order_id = client.place(orderType="LMT", lmtPrice="1", orderRef="late")
        client.cancel(order_id)
        await client.settle()
        client.forget()
        sim.do("fill", order_ref="late", quantity="40", price="1")
        await client.settle()
        assert client.story() == [
            "execDetails", "openOrder Cancelled", "orderStatus Cancelled", "commissionReport",
        ]  # fmt: skip
        assert sim.books()["positions"][0]["quantity"] == "40"


async def test_an_order_is_parked_and_comes_back_to_life() -> None:
    async with world() as sim:
        client = await sim.client()
        client.place(orderType="LMT", lmtPrice="1", action="SELL", orderRef="short")
        client.place(orderType="LMT", lmtPrice="1", orderRef="other")
        await client.settle()
        client.forget()
        sim.do("status", order_ref="other", status="Inactive", why_held="locate", code="404",
               text="Order held while securities are located.")  # fmt: skip
        sim.do("quote", symbol="AAPL", ask="0.5", bid="0.49")
        sim.do("status", order_ref="other", status="Submitted")
        sim.do("quote", symbol="AAPL", ask="0.5", bid="0.49")
        await client.settle()
        assert client.story("errMsg", "orderStatus") == [
            "errMsg 404", "orderStatus Inactive", "orderStatus Submitted", "orderStatus Filled",
        ]  # fmt: skip


async def test_a_correction_is_the_next_revision_and_moves_the_books() -> None:
    async with world(commission="none") as sim:
        client = await sim.client()
        client.place(orderRef="a", orderType="LMT", lmtPrice="250")
        await client.settle()
        (first,) = sim.books()["executions"]
        sim.do("correct", exec_id=first["exec_id"], price="150", quantity="90")
        second = await client.wait_for("execDetails", price="150")
        assert second["execId"] == first["exec_id"][:-2] + "02"
        books = sim.books()
        assert books["positions"][0]["quantity"] == "90"
        assert books["positions"][0]["average_cost"] == "150"
        assert [row["superseded"] for row in books["executions"]] == [True, False]
        assert Decimal(books["cash"][0]["amount"]) == Decimal(1_000_000) - 90 * 150
        sim.do("bust", order_ref="a")
        await client.wait_for("execDetails", shares="0")
        assert sim.books()["positions"][0]["quantity"] == "0"
        assert Decimal(sim.books()["cash"][0]["amount"]) == 1_000_000


async def test_a_liquidation_is_marked_and_no_client_owns_it() -> None:
    async with world() as sim:
        zero = await sim.client(0)
        sim.do("position_adjust", symbol="AAPL", quantity="10", average_cost="150")
        sim.do("liquidate", symbol="AAPL", side="SELL", quantity="10")
        row = await zero.wait_for("execDetails")
        assert (row["liquidation"], row["orderId"]) == ("1", "0")
        assert sim.books()["positions"][0]["quantity"] == "0"


async def test_positions_change_without_an_execution() -> None:
    async with world(accounts=("DU1", "DU2")) as sim:
        client = await sim.client()
        client.ask("reqPositions")
        await client.wait_for("positionEnd")
        sim.do("transfer", symbol="AAPL", quantity="100", average_cost="150")
        await client.wait_for("position", position="100", avgCost="150")
        sim.do("split", symbol="AAPL", ratio="4")
        await client.wait_for("position", position="400", avgCost="37.5")
        sim.do("transfer", symbol="AAPL", quantity="400", to_account="DU2")
        await client.wait_for("position", account="DU1", position="0")
        await client.wait_for("position", account="DU2", position="400")
        sim.do("change_symbol", symbol="AAPL", new_symbol="PEAR", new_con_id="4711")
        await client.wait_for("position", conId="4711", symbol="PEAR", position="400")
        sim.do("position_adjust", symbol="PEAR", quantity="-400", account="DU2")
        await client.wait_for("position", conId="4711", position="0", avgCost="0")
        assert sim.books()["executions"] == []


@pytest.mark.parametrize(
    ("verb", "held", "fields", "shares"),
    [
        ("exercise", "2", {}, "200"),
        ("assign", "-2", {}, "-200"),
        ("expire", "2", {"settlement": "250"}, "200"),
        ("expire", "-2", {"settlement": "150"}, "0"),
    ],
)
async def test_options_end_by_exercise_assignment_and_expiry(
    verb: str, held: str, fields: dict[str, str], shares: str
) -> None:
    async with world() as sim:
        call_option = {"symbol": "AAPL", "expiry": "20270115", "strike": "200", "right": "C"}
        sim.do("position_adjust", **call_option, quantity=held, average_cost="500")
        sim.do(verb, **call_option, **fields)
        rows = {row["con_id"]: row["quantity"] for row in sim.books()["positions"]}
        assert rows.pop(265598, "0") == shares
        assert list(rows.values()) == ["0"]
        assert sim.books()["executions"] == []
        assert not sim.commands.do({"do": "exercise", **call_option})["ok"]


async def test_an_exercise_can_be_told_by_executions_at_price_zero_and_the_strike() -> None:
    async with world() as sim:
        client = await sim.client(0)
        call_option = {"symbol": "AAPL", "expiry": "20270115", "strike": "200", "right": "C"}
        sim.do("position_adjust", **call_option, quantity="1", average_cost="500")
        sim.do("exercise", **call_option, executions="yes")
        assert (await client.wait_for("execDetails", secType="OPT"))["price"] == "0"
        assert (await client.wait_for("execDetails", secType="STK"))["price"] == "200"


async def test_orders_of_other_clients_and_of_persons_exist_without_them() -> None:
    async with world() as sim:
        order = {"symbol": "AAPL", "side": "BUY", "quantity": "1", "order_type": "LMT"}
        sim.do("manual_order", **order, limit_price="1")
        sim.do("manual_order", **order, limit_price="1", client_id="8", order_id="40")
        sim.do("modify", client_id="8", order_id="40", limit_price="2")
        rows = [(one["origin"], one["client_id"], one["limit_price"])
                for one in sim.books()["orders"]]  # fmt: skip
        assert rows == [("manual", 0, "1"), ("api", 8, "2")]
        client = await sim.client(8)
        assert (client.next_id, client.story("orderStatus")) == (41, ["orderStatus Submitted"])


async def test_a_message_is_made_up_without_touching_the_books() -> None:
    async with world() as sim:
        client = await sim.client()
        client.place(orderType="LMT", lmtPrice="1", orderRef="a")
        await client.settle()
        before = sim.books()
        client.forget()
        sim.do("send", message="orderStatus", order="1", times="2",
               set={"status": "Filled", "filled": "100", "permId": "0"})  # fmt: skip
        sim.do("send", message="completedOrder", order="last", extra="1|2")
        sim.do("error", order_ref="a", code="10349", text="Order TIF was set to DAY")
        sim.do("send_notice", code="1100", text="Connectivity lost")
        sim.do("raw", fields=["99999", "x"], client_id="77")
        sim.do("send", message="position", symbol="AAPL", set={"position": "5"})
        await client.settle()
        assert client.story() == [
            "orderStatus Filled", "orderStatus Filled", "completedOrder", "errMsg 10349",
            "errMsg 1100", "position",
        ]  # fmt: skip
        assert client.last("position")["localSymbol"] == "AAPL"
        assert sim.books() == before


async def test_a_scenario_plays_its_blocks_in_the_order_of_their_triggers() -> None:
    script = """
title    A fill in the outage window
gateway  fills=manual seed=7

start
  position_adjust symbol=AAPL quantity=100 average_cost=150

on placeOrder orderRef=entry
  send_notice code=1100 text="Connectivity has been lost"
then after 2
  fill order=1 price=150.25
then after 3
  send_notice code=1102 text="Connectivity restored"
then disconnect client_id=1
  fill order=2

before placeOrder nth=2
  send_notice code=2103 text="farm"

when order=2 status=Submitted
  send_notice code=2104 text="farm"

sent execDetails
  send_notice code=2106 text="farm"
"""
    async with world(script=script, clock=SteppedClock(NOON)) as sim:
        client = await sim.client()
        client.forget()
        client.place(orderRef="entry", orderType="LMT", lmtPrice="150.25")
        await client.settle()
        assert client.story("errMsg") == ["errMsg 1100"]
        sim.do("advance", seconds="2")
        sim.do("advance", seconds="3")
        await client.wait_for("errMsg", code="1102")
        client.place(orderType="LMT", lmtPrice="1")
        await client.settle()
        told = client.story("errMsg", "execDetails")
        assert told == ["errMsg 1100", "execDetails", "errMsg 2106", "errMsg 1102", "errMsg 2103",
                        "errMsg 2104"]  # fmt: skip
        await client.stop()
        await sim.until(lambda: len(sim.books()["executions"]) == 2)


async def test_before_a_message_is_before_it_is_acted_on() -> None:
    async with world(script="before placeOrder\n  quote symbol=AAPL bid=50 ask=50.5") as sim:
        client = await sim.client()
        client.place()
        assert (await client.wait_for("execDetails"))["price"] == "50.5"


async def test_the_same_seed_hits_the_same_messages() -> None:
    told = []
    for seed in (3, 3, 4):
        async with world(seed=seed) as sim:
            client = await sim.client()
            sim.do("fault", direction="out", message="*", action="drop", probability="0.3",
                   client_id="1")  # fmt: skip
            for _ in range(20):
                client.place(totalQuantity="1")
            await sim.until(lambda: len(sim.books()["executions"]) == 20)
            sim.do("clear")
            await client.settle()
            told.append(client.story())
    assert told[0] == told[1] != told[2]


# -- the control port ------------------------------------------------------------------------------


async def test_the_control_port_answers_a_line_for_a_line() -> None:
    async with world() as sim:
        control = ControlPort(sim.commands)
        port = await control.start(0)
        answer = await call(port, {"do": "clients"})
        assert (answer["ok"], answer["clients"]) == (True, [])
        wrong = await call(port, {"do": "nonsense"})
        assert (wrong["ok"], "nonsense" in wrong["error"], "books" in wrong["hint"]) == (
            False, True, True,
        )  # fmt: skip
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"not json\n[1]\n" + json.dumps({"do": "time"}).encode() + b"\n")
        answers = [json.loads(await reader.readline()) for _ in range(3)]
        assert [one["ok"] for one in answers] == [False, False, True]
        writer.close()
        await writer.wait_closed()
        await control.stop()


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ({"do": "quote"}, "no such contract"),
        ({"do": "quote", "symbl": "AAPL"}, "no field 'symbl'"),
        ({"do": "fill"}, "no order is named"),
        ({"do": "fill", "order": "1"}, "no such order"),
        ({"do": "bust", "exec_id": "x"}, "no such execution"),
        ({"do": "cash"}, "needs the field 'amount'"),
        ({"do": "cash", "amount": "much"}, "is not an amount"),
        ({"do": "advance", "seconds": "1"}, "not stepped"),
        ({"do": "fault", "direction": "up", "message": "*", "action": "drop"}, "direction 'up'"),
        ({"do": "fault", "direction": "in", "message": "*", "action": "bend"}, "no fault of in"),
        (
            {"do": "fault", "direction": "in", "message": "orderStatus", "action": "drop"},
            "no message that clients send",
        ),
        (
            {
                "do": "fault",
                "direction": "out",
                "message": "orderStatus",
                "action": "edit",
                "set": {"staus": "Filled"},
            },
            "set.staus is no field",
        ),
        ({"do": "raw_bytes", "hex": "xyz"}, "not hexadecimal"),
        ({"do": "cut", "after_bytes": "3", "reset": "yes"}, "do not go together"),
        ({"do": "silence", "request": "reqIds", "mode": "end"}, "no end message"),
        ({"do": "send", "message": "x"}, "no server message"),
        ({"do": "manual_order", "symbol": "AAPL", "side": "BUY", "quantity": "0"}, "zero"),
    ],
)
async def test_a_command_that_cannot_be_done_says_why(command: dict[str, str], said: str) -> None:
    async with world() as sim:
        answer = sim.commands.do(command)
        assert answer["ok"] is False
        assert said in answer["error"]


def test_every_verb_is_described() -> None:
    assert [name for name, one in VERBS.items() if not one.description] == []


@pytest.mark.parametrize(
    ("command", "field"),
    [
        ({"do": "cash", "amount": "NaN"}, "amount"),
        ({"do": "cash", "amount": "1e999"}, "amount"),
        ({"do": "cash", "amount": "1", "currency": "../x"}, "currency"),
        ({"do": "fill", "order": "1", "quantity": "1e400"}, "quantity"),
        ({"do": "fill", "order": "1", "quantity": "-1"}, "quantity"),
        ({"do": "fill", "order": "1", "price": "0.123456789"}, "price"),
        ({"do": "modify", "order": "1", "quantity": "-1"}, "quantity"),
        ({"do": "modify", "order": "1", "quantity": "0"}, "quantity"),
        ({"do": "status", "order": "1", "status": "Submited"}, "status"),
        ({"do": "quote", "symbol": "AAPL", "bid": "sNaN"}, "bid"),
        ({"do": "quote", "symbol": "AAPL", "bid": "11", "ask": "10"}, "bid"),
        ({"do": "quote", "symbol": "AAPL", "last": "-1"}, "last"),
        ({"do": "split", "symbol": "AAPL", "ratio": "0"}, "ratio"),
        ({"do": "liquidate", "symbol": "AAPL", "side": "X", "quantity": "1"}, "side"),
        ({"do": "raw", "fields": ["3", None]}, "fields[1]"),
        ({"do": "raw", "fields": ["3\0", "4"]}, "fields[0]"),
        ({"do": "error", "order": "1", "code": "1e9"}, "code"),
        ({"do": "position_adjust", "symbol": "AAPL", "quantity": "inf"}, "quantity"),
        ({"do": "manual_order", "symbol": "AAPL", "side": "BUY", "quantity": "1",
          "client_id": "4"}, "order_id"),
        ({"do": "cut", "reset": "maybe"}, "reset"),
    ],
)  # fmt: skip
async def test_a_field_out_of_bounds_is_named_and_changes_nothing(
    command: dict[str, object], field: str
) -> None:
    async with world() as sim:
        enter = {"symbol": "AAPL", "side": "BUY", "quantity": "10", "order_type": "LMT"}
        sim.do("manual_order", **enter, limit_price="1")
        before = (sim.books(), sim.do("quote", symbol="AAPL"))
        answer = sim.commands.do(command)
        assert answer["ok"] is False
        assert field in answer["error"]
        assert (sim.books(), sim.do("quote", symbol="AAPL")) == before


async def test_a_line_that_is_too_long_is_answered_and_the_connection_goes_on() -> None:
    async with world() as sim:
        control = ControlPort(sim.commands)
        port = await control.start(0)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"x" * 3_000_000 + b'\n{"do": "time"}\n')
        answers = [json.loads(await reader.readline()) for _ in range(2)]
        assert [one["ok"] for one in answers] == [False, True]
        writer.close()
        await writer.wait_closed()
        await control.stop()


async def test_a_fill_without_a_price_respects_the_limit_and_with_one_obeys() -> None:
    async with world(fills="manual") as sim:
        client = await sim.client()
        sim.do("quote", symbol="AAPL", bid="99", ask="101")
        client.place(orderType="LMT", lmtPrice="90", orderRef="buy")
        client.place(orderType="LMT", lmtPrice="95", action="SELL", orderRef="sell")
        await client.settle()
        for ref, wanted, paid in (("buy", {}, "90"), ("sell", {}, "99"), ("buy", {"price": "100"},
                                                                         "100")):  # fmt: skip
            client.forget()
            sim.do("fill", order_ref=ref, quantity="10", **wanted)
            assert (await client.wait_for("execDetails"))["price"] == paid


async def test_options_and_combinations_are_named_on_the_control_port() -> None:
    async with world() as sim:
        client = await sim.client(0)
        option = {"symbol": "AAPL", "expiry": "20270115", "strike": "190", "right": "C"}
        sim.do("quote", **option, bid="5", ask="5.1")
        sim.do("manual_order", **option, side="BUY", quantity="1")
        row = await client.wait_for("execDetails", secType="OPT")
        assert (row["strike"], row["right"], row["price"]) == ("190", "C", "5.1")
        client.forget()
        sim.do("manual_order", symbol="KO", legs="KO:1:BUY|PEP:1:SELL", side="BUY", quantity="1")
        await client.wait_for("execDetails", secType="BAG")
        legs = [one["symbol"] for name, one in client.received if name == "execDetails"]
        assert legs == ["KO", "KO", "PEP"]


# -- faults of what clients send, and of the line -----------------------------------------------


async def test_an_incoming_message_is_acted_on_after_the_next_one() -> None:
    async with world() as sim:
        client = await sim.client()
        client.forget()
        sim.do("fault", direction="in", message="reqCurrentTime", action="reorder", times="1")
        client.ask("reqCurrentTime")
        client.ask("reqManagedAccts")
        await client.wait_for("currentTime")
        assert client.story() == ["managedAccts", "currentTime"]


@pytest.mark.parametrize(
    ("action", "at_byte", "story"),
    [("truncate", "4", ["errMsg 320"]), ("corrupt", "0", ["errMsg 320"]),
     ("corrupt", "1", ["errMsg 320"]), ("truncate", "0", ["errMsg 320"])],
)  # fmt: skip
async def test_a_bent_incoming_message_gets_what_such_a_frame_gets(
    action: str, at_byte: str, story: list[str]
) -> None:
    async with world() as sim:
        client = await sim.client()
        client.forget()
        sim.do("fault", direction="in", message="placeOrder", action=action, at_byte=at_byte,
               times="1")  # fmt: skip
        client.place()
        await client.until(lambda: client.ended)
        assert client.story() == story
        assert sim.books()["orders"] == []


async def test_a_corrupt_byte_of_a_text_changes_only_that_text() -> None:
    async with world() as sim:
        client = await sim.client()
        sim.do("fault", direction="in", message="reqMatchingSymbols", action="corrupt", times="1",
               at_byte=str(len(b"81\x007\x00A")))  # fmt: skip
        client.ask("reqMatchingSymbols", reqId="7", pattern="APPLE")
        assert (await client.wait_for("symbolSamples", reqId="7"))["samples"] == []


async def test_a_lost_message_still_sets_off_what_waits_for_it() -> None:
    script = (
        "on startApi\n  fault direction=in message=placeOrder action=drop times=1\n"
        "before placeOrder\n  send_notice code=2103 text=farm\n"
    )
    async with world(script=script) as sim:
        client = await sim.client()
        client.place()
        await client.wait_for("errMsg", code="2103")
        assert sim.books()["orders"] == []


async def test_a_client_that_is_read_slowly_is_served_late_and_wholly() -> None:
    async with world(clock=SteppedClock(NOON)) as sim:
        client, other = await sim.client(1), await sim.client(2)
        sim.do("slow_reads", bytes_per_second="200", client_id="1")
        client.forget()
        for number in range(20):
            client.ask("reqUserInfo", reqId=str(number))
        await other.settle()
        assert len(client.story()) == 0
        for _ in range(60):
            sim.do("advance", seconds="0.05")
            await other.settle()
        assert [one["reqId"] for _, one in client.received] == [str(n) for n in range(20)]
        sim.do("slow_reads", bytes_per_second="0")
        await client.settle()


@pytest.mark.parametrize("count", [0, 1, 5, 40, 300])
async def test_a_connection_is_cut_after_so_many_bytes(count: int) -> None:
    async with world() as sim:
        reader, writer = await asyncio.open_connection("127.0.0.1", sim.port)
        writer.write(b"API\0" + frames.frame(b"v157..178"))
        await reader.read(100)
        writer.write(frames.frame(frames.join(["71", "2", "1", ""])))
        assert await reader.readuntil(b"2158")
        rest = await asyncio.wait_for(reader.read(1000), 60)
        assert rest.startswith(b"\0Sec-def")
        sim.do("cut", after_bytes=str(count))
        sim.do("send_notice", code="2100", text="x" * 1000)
        assert len(await reader.read()) == count
        writer.close()


async def test_any_bytes_can_be_sent_past_every_frame() -> None:
    async with world() as sim:
        reader, writer = await asyncio.open_connection("127.0.0.1", sim.port)
        writer.write(b"API\0" + frames.frame(b"v157..178"))
        await reader.read(100)
        writer.write(frames.frame(frames.join(["71", "2", "1", ""])))
        await reader.readuntil(b"secdefil\0\0")
        sim.do("raw_bytes", hex="7f ff ff ff 39 00")
        assert await reader.readexactly(6) == b"\x7f\xff\xff\xff9\0"
        writer.close()


@pytest.mark.parametrize(
    ("reports", "story"),
    [
        ("after", ["errMsg 1102", "execDetails", "openOrder Filled", "orderStatus Filled"]),
        ("before", ["execDetails", "openOrder Filled", "orderStatus Filled", "errMsg 1102"]),
        ("never", ["errMsg 1102"]),
    ],
)
async def test_the_nightly_reset_holds_reports_and_orders_and_ends_by_itself(
    reports: str, story: list[str]
) -> None:
    farms = ("2103", "2104", "2105", "2106", "2157", "2158")
    async with world(clock=SteppedClock(NOON)) as sim:
        client = await sim.client()
        client.place(orderType="LMT", lmtPrice="50", orderRef="rests")
        await client.settle()
        client.forget()
        sim.do("nightly_reset", seconds="30", reports=reports)
        sim.do("quote", symbol="AAPL", bid="49.9", ask="50")
        client.place(symbol="MSFT", orderRef="waits")
        client.ask("reqExecutions", reqId="5")
        await client.settle()
        assert client.story("errMsg", "orderStatus")[:1] == ["errMsg 1100"]
        assert client.story("execDetailsEnd") == ["execDetailsEnd"]
        assert [one["order_ref"] for one in sim.books()["orders"]] == ["rests"]
        late = await sim.socket()
        late.send("71", "2", "2", "")
        await late.wait_for("errMsg", code="2110")
        client.forget()
        sim.do("advance", seconds="30")
        await client.until(lambda: "waits" in {v.get("orderRef") for _, v in client.received})
        told = [one for one in client.story("errMsg", *FILL[:3])
                if one.removeprefix("errMsg ") not in farms]  # fmt: skip
        assert told[: len(story)] == story
        refs = {values.get("orderRef") for _, values in client.received}
        assert ("rests" in refs) is (reports != "never")


async def test_with_1101_quotes_have_to_be_asked_for_again() -> None:
    async with world() as sim:
        client = await sim.client()
        client.ask("reqMktData", reqId="1", **STOCK)
        for code, told in (("1102", True), ("1101", False)):
            sim.do("outage")
            sim.do("restore", code=code)
            await client.settle()
            client.forget()
            sim.do("quote", symbol="AAPL", bid="50", ask="51")
            await client.settle()
            assert bool(client.story("tickPrice")) is told


async def test_settings_change_while_the_gateway_runs() -> None:
    async with world(clock=SteppedClock(NOON)) as sim:
        client = await sim.client()
        for form, text in (("utc", "20260105-17:00:00"), ("bare", "20260105  12:00:00")):
            sim.do("setting", name="time_form", value=form)
            client.forget()
            client.place()
            assert (await client.wait_for("execDetails"))["time"] == text
        assert not sim.commands.do({"do": "setting", "name": "fills", "value": "never"})["ok"]
        assert not sim.commands.do({"do": "setting", "name": "books", "value": "x"})["ok"]


# -- every code, every request ------------------------------------------------------------------

SILENT = (
    *("reqAutoOpenOrders", "reqMarketDataType", "reqGlobalCancel", "reqRealTimeBars"),
    "reqNewsBulletins",
)
"""Requests that have no answer, here not at once."""
KEPT_REQUESTS = sorted(
    name for name in LAYOUT_OF
    if name.startswith("req") and name not in SILENT
)  # fmt: skip


async def test_every_code_of_the_table_can_be_given_to_a_chosen_order() -> None:
    """At the door, where nothing follows; on a live order, that lives on; as its end."""
    async with world() as sim:
        client = await sim.client()
        live = client.place(orderType="LMT", lmtPrice="1", orderRef="live")
        await client.settle()
        for code in map(str, TABLE):
            sim.do("fault", direction="in", message="placeOrder", action="refuse", code=code,
                   text="no", times="1", where={"orderRef": "refused"})  # fmt: skip
            client.forget()
            refused = client.place(orderRef="refused")
            sim.do("error", order_ref="live", code=code, text="so it is")
            await client.wait_for("errMsg", reqId=str(refused), code=code, text="no")
            await client.wait_for("errMsg", reqId=str(live), code=code, text="so it is")
            assert client.story("orderStatus", "openOrder") == []
        assert [one["status"] for one in sim.books()["orders"]] == ["Submitted"]
        for verb, status in (("reject", "Inactive"), ("cancel", "Cancelled")):
            sim.do("manual_order", symbol="AAPL", side="BUY", quantity="1", order_type="LMT",
                   limit_price="1", client_id="1", order_id=str(client.next_id))  # fmt: skip
            sim.do(verb, order="last", code="10349", text="chosen")
            await client.wait_for("errMsg", reqId=str(client.next_id), code="10349")
            await client.wait_for("orderStatus", orderId=str(client.next_id), status=status)
            client.next_id += 1


async def test_any_request_can_be_left_without_answer_or_be_refused() -> None:
    fields = {**STOCK, "reqId": "7", "account": "DU1234567", "conId": "265598", "tags": "Cushion"}
    fields |= {"group": "All", "tickType": "Last", "barSize": "5", "whatToShow": "TRADES"}
    fields |= {"marketRuleId": "26", "pattern": "AAPL", "subscribe": "1", "snapshot": "0"}
    fields |= {"underlyingConId": "265598", "underlyingSymbol": "AAPL", "underlyingSecType": "STK"}
    async with world() as sim:
        client = await sim.client()
        for name in KEPT_REQUESTS:
            for mode, expected in (("answer", []), ("refuse", ["errMsg 162"])):
                sim.do("silence", request=name, mode=mode, code="162", times="1")
                client.forget()
                client.ask(name, **fields)
                client.ask("reqMatchingSymbols", reqId="900", pattern="IBM")
                await client.wait_for("symbolSamples", reqId="900")
                assert client.story()[:-1] == expected, name
            end = END_OF.get(name)
            for mode in ("end", "none") if end is not None else ("none",):
                if mode == "end":
                    sim.do("silence", request=name, mode="end", times="1")
                client.forget()
                client.ask(name, **{**fields, "reqId": "8", "snapshot": "1"})
                client.ask("reqMatchingSymbols", reqId="900", pattern="IBM")
                await client.wait_for("symbolSamples", reqId="900")
                assert (end in client.story()) is (end is not None and mode == "none"), name
                assert mode == "end" or len(client.story()) > 1, name
