"""What the files of incidents can say: each form, in the smallest incident that needs it."""

from __future__ import annotations

from pathlib import Path

import pytest

from oms.sim.script.scenarios import parse
from tests.incidents_player import Incident, Script

MANUAL = "gateway fills=manual"


async def play(ours: str, folder: Path, theirs: str = MANUAL) -> None:
    played = folder / "played"
    played.mkdir()
    await Incident(parse(theirs), Script.parse(ours), played).play()


async def test_contracts_of_every_class_and_terms_of_every_name(tmp_path: Path) -> None:
    ours = """
submit option SELL 1 AAPL/20270115/150/P LMT limit=99.95 tif=GTC oca_group=g oca_type=1
submit future BUY 1 ES/202612@CME STP stop=9000 outside_rth=yes
submit pair BUY 20000 EUR.USD LMT limit=0.9
submit fop BUY 3 ES/20261218/9000/C@CME LMT limit=1 sec_type=FOP
submit combo BUY 2 KO LMT limit=-500 legs="KO:1:BUY|PEP:1:SELL"
wait option WORKING terms.oca_group=g terms.tif=GTC contract.strike=150 contract.right=P
wait fop WORKING
wait future WORKING contract.expiry~=202612 terms.outside_rth=yes
broker fill order_ref=pair price=0.9
broker fill order_ref=fop
wait pair FILLED
wait fop FILLED contract.sec_type=FOP filled=3
modify option limit=99.90
wait option WORKING limit=99.9
expect position EUR.USD 20000
expect position AAPL/20270115/150/P 0
expect fill ES/202612/9000/C contract.sec_type=FOP price!=0 liquidation=no
expect combo WORKING contract.legs.0.side=BUY contract.legs.1.ratio=1 limit=-500
expect orders 2 state=FILLED
refused submit nothing BUY 1 NOPE MKT
"""
    await play(ours, tmp_path)


async def test_a_group_a_parent_and_an_order_that_only_closes(tmp_path: Path) -> None:
    ours = """
submit a SELL 5 AAPL LMT limit=400 oca_group=g oca_type=1
submit b SELL 5 AAPL STP stop=100 oca_group=g oca_type=1
submit entry BUY 10 MSFT LMT limit=300
submit exit SELL 10 MSFT STP stop=200 parent=entry
wait exit WORKING why_held~=child parent_order_id=entry
# The broker forgets the other one of the group.
broker fill order_ref=a price=400
wait a FILLED
sleep 0.01
expect b WORKING rival_filled=a
broker fill order_ref=entry price=300
broker fill order_ref=b price=100
wait exit WORKING why_held!=child,trigger
wait b FILLED
expect position AAPL -10
expect position MSFT 10 average_price=300
submit close SELL 10 MSFT LMT limit=400 closing=yes
expect close DENIED placements=0
submit over BUY 10 AAPL LMT limit=90 closing=yes
wait over WORKING closing=yes
"""
    await play(ours, tmp_path, MANUAL + " oca=ignored")


async def test_a_what_if_that_another_frame_comes_before(tmp_path: Path) -> None:
    theirs = """
before placeOrder whatIf=1
  send message=openOrder to={client_id} set.orderId=4711 set.permId=99 set.status=PreSubmitted
"""
    ours = """
what_if BUY 100 AAPL LMT limit=150
expect event WhatIfReceived 1 initial_margin_change=*
expect orders 0 origin=ours
broker setting name=read_only value=yes
refused what_if BUY 100 AAPL LMT limit=150
"""
    await play(ours, tmp_path, MANUAL + theirs)


async def test_a_person_decides_cases_and_any_case_or_alarm_counts(tmp_path: Path) -> None:
    ours = """
expect breaks|alarms none
broker position_adjust symbol=KO quantity=5 average_cost=60
reconcile
expect breaks|alarms some
expect breaks 1 finding.break_class=quantity_drift
case assign quantity_drift text=anna by=boss
case explain quantity_drift text="a transfer" by=anna
expect breaks some assignee=anna explained_by~=anna explanation~=transfer
refused case adjust quantity_drift cause=split text="no ratio"
case adjust quantity_drift cause=transfer text="from the other broker" by=anna
expect breaks none
expect cases 1 status=closed closed_by_person=yes
expect position KO 5
expect event BooksAdjusted 1 adjustment.cause=transfer
ask ReconciliationRequested by=anna
wait runs 3 verdict=*
expect findings none result=break
expect report verdict=clean trigger~=request
expect questions 1 kind=positions outcome=complete
expect findings none result=break
expect runs some run_id={runs.run_id}
"""
    await play(ours, tmp_path)


async def test_lines_name_what_orders_have_and_a_person_transmits(tmp_path: Path) -> None:
    theirs = """
start
  fault direction=in message=placeOrder action=drop after=2 times=1
"""
    ours = """
checker off the broker never hears of b-sl
bracket b BUY 10 AAPL limit=150 take_profit=220 stop_loss=120
wait event OrderMessageSent 3
broker transmit order_ref=b
wait b WORKING
wait b-tp WORKING
broker raw fields="3|{b.broker_order_id}|Submitted|0|10|0|{b.perm_id}|0|0|1||0"
broker send_notice code=399 id={b-tp.broker_order_id} text="about {b-tp.order_ref}"
wait b-tp WORKING warning=399
broker send_notice code=2100 text="of {orders.account}"
wait event NoticeReceived code=2100 text~=DU1234567
"""
    await play(ours, tmp_path, MANUAL + theirs)


async def test_a_start_that_is_not_ready_and_a_second_daemon(tmp_path: Path) -> None:
    theirs = """
start
  fault direction=out message=serverVersion action=hold times=1
"""
    ours = """
start ready=no
expect system some ready=no
broker release
wait ready
submit a BUY 1 AAPL LMT limit=150
wait a WORKING
daemon twin
refused start
daemon other log=own
start
expect orders 0 origin=ours
submit theirs BUY 2 MSFT LMT limit=100
wait theirs WORKING client_id=2
daemon main
reconcile
expect foreign WORKING client_id=2 contract.symbol=MSFT
expect breaks unknown_order
stop
daemon twin
start
wait a WORKING
"""
    await play("checker off two daemons, one account" + ours, tmp_path, MANUAL + theirs)


async def test_the_parts_of_a_combination_come_apart(tmp_path: Path) -> None:
    ours = """
submit c BUY 2 KO LMT limit=500 legs="KO:1:BUY|PEP:2:SELL"
wait c WORKING
broker fill order_ref=c leg=2 price=170
wait position PEP -4
expect c WORKING
broker fill order_ref=c leg=0 price=1
wait c FILLED filled=2
broker fill order_ref=c leg=1 price=60
wait position KO 2
expect fills 3
wait event CommissionReceived 2
# A revision that was superseded is told again.
broker correct exec_id={fills.exec_id} price=61
wait event ExecutionReceived 4
broker send message=execDetails exec_id={fills.exec_id}
wait event ExecutionReceived 4
expect fills 3
"""
    await play(ours, tmp_path)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("submit a BUY 1 AAPL LMT limit=1 colour=red", "no such options: {'colour': 'red'}"),
        ("expect system some colour=red", "SystemRecord has no field colour"),
        ("case resolve unknown_order text=x", "0 open breaks of that class"),
        ("ask CaseRequested colour=red", "CaseRequested has no field colour"),
        ("broker cancel order_ref={breaks.order_id}", "there are no breaks"),
        ("expect system none ready=yes", "SystemRecord"),
    ],
)
async def test_a_line_that_does_not_hold_says_why(line: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=said.replace("{", "[{]")):
        await play(line, tmp_path)
