"""What scenarios can say beside faults: a person at TWS, parts of a combination, loose groups."""

from __future__ import annotations

import asyncio

import pytest

from oms.sim.script.commands import Commands
from oms.sim.script.scenarios import ScenarioError, parse
from tests.integration.sim_world import STOCK, World, world

BRACKET = {"orderType": "LMT", "lmtPrice": "150", "orderRef": "entry", "transmit": "0"}


def legs_of(sim: World) -> list[dict[str, str]]:
    ids = [sim.do("quote", symbol=name)["con_id"] for name in ("KO", "PEP")]
    return [
        {"conId": str(con_id), "ratio": ratio, "action": action, "exchange": "SMART"}
        for con_id, ratio, action in zip(ids, ("2", "1"), ("BUY", "SELL"), strict=True)
    ]


# ── a person at TWS ──────────────────────────────────────────────────────────────────────────────


async def test_a_person_transmits_what_waits_with_what_is_attached_to_it() -> None:
    async with world(fills="manual") as sim:
        client = await sim.client()
        parent = client.place(**BRACKET)
        client.place(action="SELL", parentId=str(parent), orderType="STP", auxPrice="120",
                     orderRef="stop", transmit="0")  # fmt: skip
        await client.settle()
        assert client.story("openOrder") == []
        assert not sim.books()["orders"]
        assert [one["order_ref"] for one in sim.books()["untransmitted"]] == ["entry", "stop"]
        sim.do("transmit", order_ref="entry")
        await client.wait_for("orderStatus", orderId=str(parent), status="Submitted")
        await client.wait_for("orderStatus", whyHeld="child,trigger")
        assert not sim.books()["untransmitted"]
        again = sim.commands.do({"do": "transmit", "order_ref": "entry"})
        assert again["error"] == "no such order waits for its transmission"


async def test_a_person_cancels_what_was_never_transmitted() -> None:
    async with world() as sim:
        client = await sim.client()
        order_id = client.place(**BRACKET)
        await client.settle()
        sim.do("cancel", client_id="1", order_id=str(order_id))
        await client.wait_for("errMsg", code="202")
        assert client.story("orderStatus") == ["orderStatus ApiCancelled"]


async def test_an_order_of_a_person_has_any_term_and_a_parent() -> None:
    async with world(fills="manual") as sim:
        client = await sim.client(0)
        client.ask("reqAutoOpenOrders", autoBind="1")
        parent = client.place(orderType="LMT", lmtPrice="150", orderRef="entry")
        await client.settle()
        sim.do("manual_order", symbol="AAPL", side="SELL", quantity="100", order_type="TRAIL",
               aux_price="2", order_ref="stop", client_id="0", order_id="77",
               set={"parentId": str(parent), "ocaGroup": "g", "ocaType": "1"})  # fmt: skip
        row = await client.wait_for("openOrder", orderRef="stop")
        assert (row["parentId"], row["ocaGroup"], row["ocaType"]) == (str(parent), "g", "1")
        sim.do("modify", order_ref="entry", set={"displaySize": "20", "outsideRth": "1"})
        await client.wait_for("openOrder", displaySize="20", outsideRth="1")
        for name in ("action", "conId", "orderRef"):
            told = sim.commands.do({"do": "modify", "order_ref": "entry", "set": {name: "1"}})
            assert told["error"] == f"set.{name} is no term of an order"


# ── groups, and parts of a combination ───────────────────────────────────────────────────────────


async def test_a_fill_leaves_its_group_alone_where_a_setting_says_so() -> None:
    async with world(fills="manual", oca="ignored") as sim:
        client = await sim.client()
        for ref in ("a", "b", "c"):
            client.place(orderType="LMT", lmtPrice="90", ocaGroup="g", ocaType="1", orderRef=ref)
        await client.settle()
        sim.do("fill", order_ref="a")
        assert [one["status"] for one in sim.books()["orders"]] == [
            "Filled", "Submitted", "Submitted"]  # fmt: skip
        sim.do("setting", name="oca", value="kept")
        sim.do("fill", order_ref="b")
        assert [one["status"] for one in sim.books()["orders"]] == [
            "Filled", "Filled", "Cancelled"]  # fmt: skip


@pytest.mark.parametrize("parts", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
async def test_the_parts_of_a_combination_come_one_at_a_time(parts: tuple[int, ...]) -> None:
    """The same ids, positions and cash as when they come together, whichever comes first."""

    async def filled(one_by_one: bool) -> tuple[list[object], list[object]]:
        async with world(fills="manual", commission="none") as sim:
            client = await sim.client()
            client.place(secType="BAG", symbol="KO", comboLegs=legs_of(sim), totalQuantity="3",
                         orderType="LMT", lmtPrice="1")  # fmt: skip
            await client.settle()
            last = {name: sim.do("quote", symbol=name)["last"] for name in ("KO", "PEP")}
            price = str(2 * float(last["KO"]) - float(last["PEP"]))
            if one_by_one:
                for part in parts:
                    sim.do("fill", order="1", leg=str(part), **({} if part else {"price": price}))
                    rows = sim.books()["executions"]
                    assert (sim.books()["orders"][0]["status"] == "Filled") == (
                        len(rows) > parts.index(0))  # fmt: skip
            else:
                sim.do("fill", order="1", price=price)
            books = sim.books()
            told = [(one["exec_id"], one["side"], one["quantity"]) for one in books["executions"]]
            held = sorted((one["symbol"], one["quantity"]) for one in books["positions"])
            return sorted(told), [*held, *books["cash"]]

    assert await filled(one_by_one=True) == await filled(one_by_one=False)


async def test_a_leg_is_refused_where_there_is_none() -> None:
    async with world(fills="manual") as sim:
        client = await sim.client()
        client.place(orderRef="a")
        client.place(secType="BAG", symbol="KO", comboLegs=legs_of(sim), orderRef="c")
        await client.settle()
        sim.do("fill", order_ref="c", leg="1", quantity="40")
        sim.do("fill", order_ref="c", leg="1")
        for fields, said in (
            ({"order_ref": "a", "leg": "1"}, "that order is no combination"),
            ({"order_ref": "c", "leg": "3"}, "it has no leg 3"),
            ({"order_ref": "c", "leg": "1"}, "nothing remains of that leg"),
            ({"order_ref": "c", "leg": "2", "quantity": "1e9"}, None),
            ({"order_ref": "c", "leg": "1", "quantity": "1e9"}, "the leg would be filled too far"),
        ):
            told = sim.commands.do({"do": "fill", **fields})
            assert told.get("error") == said


# ── messages ─────────────────────────────────────────────────────────────────────────────────────


async def test_a_superseded_revision_can_be_sent_again() -> None:
    async with world() as sim:
        client = await sim.client()
        client.place()
        first = await client.wait_for("execDetails")
        sim.do("correct", exec_id=first["execId"], price="1")
        await client.settle()
        client.forget()
        sim.do("send", message="execDetails", exec_id=first["execId"])
        assert await client.wait_for("execDetails") == first
        assert not Commands(sim.gateway).do({"do": "bust", "exec_id": first["execId"]})["ok"]


@pytest.mark.parametrize(
    ("fault", "answered"),
    [("delay seconds=0.02", "178"), ("edit set.serverVersion=165", "165"), ("drop", None)],
)
async def test_the_frame_with_the_version_has_faults(fault: str, answered: str | None) -> None:
    script = f"start\n  fault direction=out message=serverVersion times=1 action={fault}"
    async with world(script=script) as sim:
        loop = asyncio.get_running_loop()
        began = loop.time()
        reader, writer = await asyncio.open_connection("127.0.0.1", sim.port)
        writer.write(b"API\0\0\0\0\x09v157..178")
        if answered is None:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await reader.read(1)
        else:
            await reader.readexactly(4)
            assert (await reader.readuntil(b"\0"))[:-1].decode() == answered
            assert "delay" not in fault or loop.time() - began >= 0.02
        writer.close()
        await writer.wait_closed()
        # The next client is answered as ever.
        assert (await sim.socket()).version == 178


async def test_a_fault_of_any_message_leaves_the_version_alone() -> None:
    script = "start\n  fault direction=out message=* action=drop times=1"
    async with world(script=script) as sim:
        assert (await sim.socket()).version == 178
        assert len(sim.gateway.faults.faults) == 1


async def test_commands_say_what_their_trigger_has() -> None:
    script = """
before placeOrder whatIf=1
  send message=openOrder to={client_id} set.orderId={orderId} set.orderRef=before-{orderRef}
when order=1 status=Submitted
  send_notice code=399 text="{order_ref} of {client_id} rests" id={order_id}
then after 0
  send_notice code=2100 text="still {order_ref}"
"""
    async with world(script=script) as sim:
        client = await sim.client(5)
        order_id = client.place(**{**BRACKET, "transmit": "1", "orderRef": "q", "whatIf": "1"})
        await client.wait_for("openOrder", whatIf="1")
        shown = [one["orderRef"] for name, one in client.received if name == "openOrder"]
        assert shown == ["before-q", "q"]
        order_id = client.place(**{**STOCK, **BRACKET, "transmit": "1"})
        notice = await client.wait_for("errMsg", code="399")
        assert (notice["reqId"], notice["text"]) == (str(order_id), "entry of 5 rests")
        assert (await client.wait_for("errMsg", code="2100"))["text"] == "still entry"


def test_a_field_that_the_trigger_lacks_is_a_mistake_of_the_file() -> None:
    with pytest.raises(ScenarioError, match=r"line 2: \{order_ref\}: the block's trigger has"):
        parse("on placeOrder\n  cancel order_ref={order_ref}")
    with pytest.raises(ScenarioError, match=r"\{orderRef\}.* has nothing"):
        parse("start\n  cancel order_ref={orderRef}")
    assert parse('start\n  raw fields="{n}"')
