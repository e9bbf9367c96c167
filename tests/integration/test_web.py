"""The operator pages over a real database: every address, hostile text, and what cannot be read."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import socket
import sqlite3
import sys
import unicodedata
from collections.abc import AsyncIterator, Iterable
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import httpx
import pytest

from oms.access import LOOPBACK_NAMES, Access
from oms.cli.asking import FILTERS
from oms.clock import ManualClock
from oms.core import events
from oms.core.contracts import Contract
from oms.core.events import Context, Event, Finding, Pending, Question, Terms
from oms.errors import ConfigurationError
from oms.history import query
from oms.settings import Settings
from oms.store import schema
from oms.store.lease import LeaseRequest
from oms.store.log import EventLog
from oms.web import create_app
from oms.web.app import PAGES
from oms.web.query import CONDITIONS
from oms.web.server import serve
from tests import programs
from tests.shell import Shell

MORNING = datetime(2026, 3, 9, 13, 30, tzinfo=UTC)
ACCOUNT = "DU1234567"
HOSTILE = "<script>alert('x')</script>\"><img src=x onerror=alert(1)>"
#: What a terminal or a browser obeys, or shows as nothing.
CONTROLS = frozenset(
    character
    for character in map(chr, range(sys.maxunicode + 1))
    if unicodedata.category(character) in {"Cc", "Cf", "Zl", "Zp"} and character not in "\n\t"
)
#: As another client of the login can write it into an order's reference.
OBEYED = f"{HOSTILE}\x1b]8;;https://example.org\x1b\\{''.join(sorted(CONTROLS - {chr(0)}))}"

AAPL = Contract(con_id=265598, symbol="AAPL", exchange="SMART", primary_exchange="NASDAQ")
MSFT = Contract(con_id=272093, symbol="MSFT", exchange="SMART", primary_exchange="NASDAQ")
SPY = Contract(con_id=756733, symbol="SPY", exchange="SMART", primary_exchange="ARCA")
NVDA = Contract(con_id=4815747, symbol="NVDA", exchange="SMART", primary_exchange="NASDAQ")

FILLED = "0f3b9c1e5a7d4f6e8b2a1c3d5e7f9a0b"
WORKING = "4c2d8e6f1a3b4c5d9e7f8a6b5c4d3e2f"
REJECTED = "7e1f5a9b3c2d4e6f8a0b1c2d3e4f5a6b"
DENIED = "a9b8c7d6e5f44a3b9c2d1e0f9a8b7c6d"
DOUBTED = "d1e2f3a4b5c64d7e8f9a0b1c2d3e4f5a"
ADOPTED = "ib-2000077"

DRIFT = Finding(
    result="break",
    subject="position",
    break_class="quantity_drift",
    severity="high",
    key=f"quantity_drift:{ACCOUNT}:{MSFT.con_id}",
    account=ACCOUNT,
    con_id=MSFT.con_id,
    symbol="MSFT",
    ours="180",
    theirs="150",
    text="no execution explains -30",
)
FOREIGN = Finding(
    result="break",
    subject="order",
    break_class="unknown_order",
    severity="medium",
    key="unknown_order:2000077",
    account=ACCOUNT,
    con_id=SPY.con_id,
    symbol="SPY",
    order_id=ADOPTED,
    ours="not ours",
    theirs="SELL 10 MKT DAY SPY, perm id 2000077",
    text=f"an order that we did not send: {OBEYED}",
    repair="adopted",
)


# ── every page ───────────────────────────────────────────────────────────────────────────────────

#: Address -> what a person must find there.
ADDRESSES = {
    "/": "1 order is in doubt",
    "/orders": "BUY 200 NVDA LMT 880",
    "/orders?show=all": "filled",
    f"/orders/{FILLED}": "IB: DU1234567 bought 40 AAPL at 185.42 on NASDAQ",
    f"/orders/{REJECTED}": "refuses the order",
    "/fills": "0000e0d5.65ed0001.01.01",
    "/positions": "differs",
    "/breaks": "Position differs",
    "/breaks?show=all": "closed",
    "/breaks/B0000drift": "The broker holds another quantity",
    "/reports": "after a reconnect",
    "/reports/R1": "Our books and the broker&#39;s agree",
    "/reports/last": "2 differences between our books and the broker&#39;s are open",
    "/log": "The session was lost",
    "/log/1": "DaemonStarted",
    f"/why/{FILLED}": "What led to it",
    f"/log?order={FILLED}": "Handed to the socket",
    "/orders?as_of=14": '40 <span class="soft">of</span> 100',
    f"/orders/{FILLED}?as_of=14": "partially filled",
    "/positions?as_of=14": "185.42",
    "/positions?as_of=14&by=happened": "by what we know now",
    "/breaks?as_of=14": "No break meets this.",
    "/?as_of=14": "How things stood",
    "/breaks/B0000drift?as_of=2026-03-10": "The broker holds another quantity",
    "/accounts": "",
    "/alarms": "No alarm stands.",
    "/requests": "Nobody has asked for anything.",
}


@pytest.mark.parametrize("address", ADDRESSES)
async def test_page_shows_what_the_log_says(site: Site, address: str) -> None:
    answer = await site.get(address)
    assert answer.status_code == 200
    assert ADDRESSES[address] in answer.text


@pytest.mark.sample(3)
@pytest.mark.parametrize("address", ADDRESSES)
async def test_page_is_whole_and_loads_nothing_from_elsewhere(site: Site, address: str) -> None:
    answer = await site.get(address)
    page = Reading.of(answer.text)
    assert page.unclosed == []
    assert page.tags & {"script", "iframe", "object", "embed", "base", "link:http"} == set()
    assert all(a.startswith(("/", "?", "#")) for a in page.addresses), page.addresses
    assert [name for name in page.attributes if name.startswith("on")] == []


@pytest.mark.sample(3)
@pytest.mark.parametrize("address", ADDRESSES)
async def test_page_has_a_json_form_at_both_addresses(site: Site, address: str) -> None:
    path, _, query = address.partition("?")
    ended = await site.get(f"{'/overview' if path == '/' else path}.json?{query}")
    asked = await site.get(address, accept="application/json")
    assert ended.headers["content-type"] == "application/json"
    assert ended.json() == asked.json()
    assert ended.json()["schema"] == 1
    if "as_of" not in query:
        assert ended.json()["as_of_sequence"] == site.head


async def test_every_page_of_the_site_is_tested() -> None:
    tested = {re.sub(r"^(/\w+/).+", r"\1{name:path}", a.partition("?")[0]) for a in ADDRESSES}
    assert tested == {spec.path for spec in PAGES}


@pytest.mark.long
async def test_no_page_links_to_an_address_that_is_not_there(site: Site) -> None:
    links: set[str] = set()
    for address in ADDRESSES:
        path = address.partition("?")[0]
        found = Reading.of((await site.get(address)).text).addresses
        links |= {link if link.startswith("/") else path + link for link in found if link[0] != "#"}
    # Links that differ in a number only lead to the same code.
    one_of_each = {re.sub(r"\d+", "N", link): link for link in sorted(links)}.values()
    broken = [a for a in one_of_each if (await site.get(a, redirects=True)).status_code != 200]
    assert broken == []


# ── what the pages say ───────────────────────────────────────────────────────────────────────────


async def test_every_age_is_counted_from_the_moment_of_reading(site: Site) -> None:
    before = (await site.get("/positions")).text
    site.clock.advance(3600)
    after = (await site.get("/positions")).text
    assert '<span class="age">1 h' not in before
    assert '<span class="age">1 h' in after


async def test_a_session_of_a_dead_daemon_is_not_called_ready(site: Site) -> None:
    assert "connected, not ready" in (await site.get("/")).text
    site.clock.advance(120)
    page = (await site.get("/")).text
    assert "It was open when the daemon died." in page
    assert "connected, not ready" not in page


async def test_position_that_ib_has_not_named_is_unknown_and_not_zero(site: Site) -> None:
    position = await site.one_position("AAPL")
    assert (position["broker_quantity"], position["agreement"]) == (None, "unknown")
    assert "IB has not said" in (await site.get("/positions?symbol=AAPL")).text


async def test_position_is_worth_ibs_mark_and_without_one_nothing_is_made_up(site: Site) -> None:
    held = await site.one_position("MSFT")
    assert (held["last_price_figure"]["value"], held["last_price_figure"]["source"]) == (
        "410",
        "IB",
    )
    # (410 - 402.1175) x 200, in the base currency without a rate.
    assert held["unrealised_pnl_figure"]["value"] == "1418.85"
    assert held["unrealised_pnl_base_figure"]["value"] == "1418.85"
    assert "1,418.85" in (await site.get("/positions?symbol=MSFT")).text
    unknown = (await site.one_position("AAPL"))["unrealised_pnl_figure"]
    assert (unknown["value"], unknown["reason"]) == (
        None,
        "no price of AAPL STK USD has been heard",
    )


async def test_order_in_doubt_says_why_and_since_when(site: Site) -> None:
    overview = (await site.get("/overview.json")).json()
    (doubt,) = overview["doubts"]
    assert doubt["order_id"] == DOUBTED
    assert doubt["doubt"] == "the line was lost before IB answered: connection reset by peer"
    assert doubt["doubt_since"] < overview["at"]


async def test_story_has_the_wire_text_one_click_away(site: Site) -> None:
    page = (await site.get(f"/orders/{FILLED}")).text
    assert "<summary>as it came over the wire</summary><pre>message=11 | reqId=-1" in page


async def test_beginning_of_an_order_id_leads_to_the_order(site: Site) -> None:
    answer = await site.get(f"/orders/{FILLED[:6]}")
    assert (answer.status_code, answer.headers["location"]) == (307, f"/orders/{FILLED}")
    answer = await site.get(f"/orders/{FILLED[:6]}.json")
    assert answer.headers["location"] == f"/orders/{FILLED}.json"


async def test_check_of_a_statement_says_what_it_covers_and_what_it_could_not_tell(
    site: Site, story: Story
) -> None:
    assert "Checks of the broker" not in (await site.get("/reports")).text
    unknown = Finding(
        result="unknown",
        subject="statement_section",
        key=f"statement_section:{ACCOUNT}:2026-03-08:OpenPositions",
        account=ACCOUNT,
        theirs="not in the file",
        text=f"the query has no section Open Positions {HOSTILE}",
    )
    coverage = events.StatementCoverage(
        account=ACCOUNT,
        kind="activity",
        first_day="2026-03-08",
        last_day="2026-03-08",
        sections=("Trades",),
        missing=("OpenPositions", "CashReport"),
    )
    sequence = await story.say(
        events.StatementChecked(
            run_id="S1",
            digest="ab" * 32,
            accounts=(ACCOUNT,),
            first_day="2026-03-08",
            last_day="2026-03-08",
            coverage=(coverage,),
            verdict="unknown",
            deals=3,
            matches=3,
            findings=(unknown,),
        ),
        actor="person:anna",
    )
    covered = "an activity statement with Trades; not compared: Open Positions, Cash Report"
    assert covered in (await site.get("/reports")).text
    page = (await site.get(f"/log/{sequence}")).text
    assert covered in page
    assert "the query has no section Open Positions &lt;script&gt;" in page
    checks = (await site.get("/reports.json")).json()["statement_checks"]
    assert [one["sequence"] for one in checks] == [sequence]


async def test_report_shows_the_cases_that_were_open_when_it_was_made(site: Site) -> None:
    first = (await site.get("/reports/R1.json")).json()
    second = (await site.get("/reports/R2.json")).json()
    assert [f["break_id"] for f in first["findings"]] == [None]
    assert (first["older_cases"], second["older_cases"]) == ([], [])
    assert [f["break_id"] for f in second["findings"] if f["break_id"]] == [
        "B0000drift",
        "B00foreign",
    ]


# ── filters ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("/orders.json", {WORKING, DOUBTED, ADOPTED}),
        ("/orders.json?show=all", {FILLED, WORKING, REJECTED, DENIED, DOUBTED, ADOPTED}),
        ("/orders.json?symbol=spy&show=all", {REJECTED, ADOPTED}),
        ("/orders.json?state=in_doubt", {DOUBTED}),
        ("/orders.json?state=FILLED", {FILLED}),
        ("/orders.json?origin=manual", {ADOPTED}),
        ("/orders.json?perm_id=1000001", {FILLED}),
        ("/orders.json?account=U999&show=all", set()),
    ],
)
async def test_orders_are_filtered(site: Site, address: str, expected: set[str]) -> None:
    orders = (await site.get(address)).json()["orders"]
    assert {order["order_id"] for order in orders} == expected


async def test_orders_come_newest_first(site: Site) -> None:
    orders = (await site.get("/orders.json?show=all")).json()["orders"]
    created = [order["created_at"] for order in orders]
    assert created == sorted(created, reverse=True)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("type=ordernotsent", set()),
        ("type=SessionClosed", {"SessionClosed"}),
        ("code=201", {"NoticeReceived"}),
        ("actor=person:anna&type=BreakClosed", {"BreakClosed"}),
        ("actor=person:anna&account=DU1234567", {"OrderDenied", "BreakClosed"}),
        ("account=DU1234567&type=OrderAdopted", {"OrderAdopted"}),
        ("symbol=NVDA&type=OrderIntended", {"OrderIntended"}),
        ("since=2026-03-09T13:30Z&until=2026-03-09T13:30:00.3Z", {"DaemonStarted"}),
        ("until=2", {"DaemonStarted"}),
        ("since=2027-01-01", set()),
    ],
)
async def test_log_is_filtered(site: Site, query: str, expected: set[str]) -> None:
    found = (await site.get(f"/log.json?{query}")).json()["events"]
    assert {event["type"] for event in found} == expected


@pytest.mark.parametrize("query", ["", "&account=DU1234567", "&type=ExecutionReceived"])
async def test_paging_through_the_log_meets_every_event_once(site: Site, query: str) -> None:
    whole = (await site.get(f"/log.json?limit=1000{query}")).json()["events"]
    paged: list[int] = []
    address: str | None = f"/log.json?limit=7{query}"
    while address is not None:
        page = (await site.get(address)).json()
        paged += [event["sequence"] for event in page["events"]]
        older = page["older_before"]
        address = f"/log.json?limit=7{query}&before={older}" if older is not None else None
    assert paged == [event["sequence"] for event in whole]
    assert paged == sorted(paged, reverse=True)


async def test_log_names_the_order_that_a_message_of_ib_is_attributed_to(site: Site) -> None:
    query = f"order={FILLED}&type=OrderStatusReceived"
    events = (await site.get(f"/log.json?{query}")).json()["events"]
    assert {tuple(event["order_ids"]) for event in events} == {(FILLED,)}
    page = (await site.get(f"/log?{query}")).text
    assert f'href="/orders/{FILLED}">{FILLED}</a><div class="note">attributed</div>' in page


async def test_lists_take_the_filters_of_the_shell(site: Site) -> None:
    fills = (await site.get("/fills.json?class=STK&side=BUY&since=2026-03-09")).json()["fills"]
    assert fills
    assert (await site.get("/fills.json?side=SELL&class=OPT")).json()["fills"] == []
    counted = (await site.get("/log.json?symbol=NVDA&count_by=type")).json()
    assert sum(one["count"] for one in counted["counts"]) == counted["total"]
    assert counted["total"] == len(
        (await site.get("/log.json?symbol=NVDA&limit=1000")).json()["events"]
    )
    refused = await site.get("/positions?after=201")
    assert refused.status_code == 400
    assert "pages follow the log" in refused.text


async def test_an_altered_event_is_no_page(site: Site) -> None:
    """Whoever may write the file takes the guards away and makes one price another."""
    story = (await site.get(f"/orders/{FILLED}.json")).json()["entries"]
    altered = next(e["sequence"] for e in story if e["type"] == "ExecutionReceived")
    with closing(sqlite3.connect(site.path)) as connection:
        for guard in ("update", "delete", "gap"):
            connection.execute(f"DROP TRIGGER events_refuse_{guard}")
        connection.execute(
            'UPDATE events SET payload = replace(payload, \'"price":"\', \'"price":"9\')'
            " WHERE sequence = ?",
            (altered,),
        )
        connection.commit()
    for address in (f"/orders/{FILLED}", f"/log?order={FILLED}", f"/log/{altered}"):
        for form in ("", ".json"):
            answer = await site.get(
                address.replace("?", f"{form}?") if "?" in address else address + form
            )
            assert answer.status_code == 500
            assert f"event {altered} does not carry the hash" in answer.text
            assert "chain-broken.md" in answer.text


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("/orders?as_of=99999", "the log has no event 99999"),
        ("/orders?as_of=0", "the log has no event 0"),
        ("/orders?as_of=2026-03-01", "before the first event of the log"),
        ("/positions?as_of=2150-01-01", "is in the future"),
        ("/positions?as_of=noon", "is no moment"),
        ("/positions?as_of=2026-03-09T14:03", "has no time zone"),
        ("/positions?as_of=14&by=guess", "by known or by happened"),
        ("/positions?by=happened", "asks for nothing"),
        ("/orders?acount=DU1", "did you mean account?"),
        ("/orders?state=WORKNG", "WORKING"),
        ("/orders?perm_id=12x", "a whole number from 0 up"),
        ("/orders?perm_id=%D9%A3", "a whole number from 0 up"),
        ("/orders?symbol=A&symbol=B", "given twice"),
        ("/log?since=noon", "is no moment"),
        ("/log?since=2026-03-09 13:30", "has no time zone"),
        ("/log?until=2026-03-09T13:30:00Z", "the log has nothing before"),
        ("/log?since=9&until=9", "nothing is from 9 on and before 9"),
        ("/log?limit=0", "a whole number from 1 up"),
        ("/log?type=Nothing", "no type is called"),
        ("/?refresh=7", "one of: 0, 5, 15, 60"),
        (f"/log?actor={'a' * 300}", "too long"),
    ],
)
async def test_filter_that_cannot_be_used_is_refused(site: Site, address: str, words: str) -> None:
    answer = await site.get(address)
    assert answer.status_code == 400
    assert words in answer.text


async def test_page_is_read_again_as_often_as_asked(site: Site) -> None:
    assert '<meta http-equiv="refresh" content="15">' in (await site.get("/")).text
    assert '<meta http-equiv="refresh" content="60">' in (await site.get("/?refresh=60")).text
    assert "http-equiv" not in (await site.get("/?refresh=0")).text
    assert "http-equiv" not in (await site.get(f"/orders/{FILLED}")).text


# ── the past ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("address", ["/orders.json?show=all", "/fills.json?", "/positions.json?"])
async def test_replay_of_the_whole_log_shows_what_the_pages_show(site: Site, address: str) -> None:
    now = (await site.get(address)).json()
    then = (await site.get(f"{address}&as_of={site.head}")).json()
    assert then["filters"].pop("as_of") == str(site.head)
    assert then.pop("as_of")["by"] == "known"
    assert then == now


async def test_past_shows_what_was_known_then(site: Site) -> None:
    events_of_order = (await site.get(f"/orders/{FILLED}.json")).json()["entries"]
    execution = next(e for e in events_of_order if e["type"] == "ExecutionReceived")
    address = f"/orders/{FILLED}.json?as_of="
    by_event = (await site.get(f"{address}{execution['sequence']}")).json()
    by_time = (await site.get(address + execution["recorded_at"].replace("+", "%2B"))).json()
    assert (by_event["state"], by_event["order"]["filled"]) == ("PARTIALLY_FILLED", "40")
    # The commission came one event later.
    assert not by_event["order"]["commissions"]
    assert by_event["entries"][-1]["sequence"] == by_event["as_of_sequence"]
    assert by_time.pop("as_of") == by_event.pop("as_of")
    assert by_time == by_event


async def test_page_of_the_past_says_so_and_counts_ages_from_then(site: Site) -> None:
    page = (await site.get("/orders?as_of=14")).text
    assert "what we knew at" in page
    assert "event #14" in page
    assert "http-equiv" not in page
    assert '<span class="age">0 ms ago' in page


async def test_page_of_what_had_happened_says_what_it_presumes(site: Site) -> None:
    page = (await site.get("/orders?as_of=14&by=happened")).text
    assert "by what we know now" in page
    assert "IB gives the status of an order no time" in page
    assert "/orders?as_of=14&amp;by=known" in page or "?as_of=14&amp;by=known" in page
    presumed = (await site.get("/orders.json?as_of=14&by=happened")).json()["as_of"]["presumed"]
    assert len(presumed) == 4


async def test_past_that_is_too_long_to_replay_is_refused(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("oms.web.past.EVENTS_MAX", 10)
    answer = await site.get("/orders?as_of=11")
    assert (answer.status_code, "would have to be folded again" in answer.text) == (400, True)


# ── the server ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.slow
async def test_command_serves_the_pages_of_a_database(site: Site) -> None:
    words = ("web", "--port", "0", "--database", str(site.path))
    server = await programs.start("oms.cli", *words)
    try:
        async with asyncio.timeout(30):
            said = (await server.stderr.readline()).decode()
            found = re.search(r"http://127\.0\.0\.1:\d+/", said)
            assert found is not None, said
            async with httpx.AsyncClient() as client:
                answer = await client.get(f"{found[0]}orders.json")
                head = await client.head(found[0])
    finally:
        server.terminate()
        await server.wait()
    assert len(answer.json()["orders"]) == 3
    assert (head.status_code, head.content) == (200, b"")
    assert "server" not in answer.headers


async def test_port_that_is_taken_is_a_configuration_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationError, match=f"cannot be served on 127.0.0.1:{port}"):
            serve(Settings(), host="127.0.0.1", port=port, now=datetime.now, ready=print)


# ── nothing gets in ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.sample(3)
@pytest.mark.parametrize("address", [*ADDRESSES, "/orders/" + HOSTILE, "/orders?symbol=" + HOSTILE])
async def test_text_of_the_broker_stays_text(site: Site, address: str) -> None:
    answer = await site.get(address)
    page = Reading.of(answer.text)
    assert page.tags & {"script", "img"} == set()
    assert "<script" not in answer.text.lower()


async def test_hostile_text_is_shown_as_it_came(site: Site) -> None:
    page = (await site.get(f"/orders/{REJECTED}")).text
    assert "&lt;script&gt;alert(" in page


@pytest.mark.sample(3)
@pytest.mark.parametrize("address", ADDRESSES)
async def test_no_control_reaches_a_browser(site: Site, address: str) -> None:
    for accept in ("text/html", "application/json"):
        assert CONTROLS & set((await site.get(address, accept=accept)).text) == set()


async def test_json_of_a_control_is_the_text_that_came(site: Site) -> None:
    shell = Shell(site.path.parent, {"OMS_DATABASE_URL": f"sqlite:///{site.path}"})
    said = await shell.oms("log", "--type", "OrderAdopted", "--json")
    assert said.json["payload"]["order_ref"] == OBEYED


READING_VERBS = [
    *(["orders", "--all"], ["order", REJECTED], ["order", ADOPTED], ["fills"], ["positions"]),
    *(
        ["breaks"],
        ["breaks", "--all"],
        ["breaks", "B0000drift"],
        ["log"],
        ["status"],
        ["doubt", "list"],
    ),
    *(["report", "show"], ["report", "list"], ["account"], ["pnl"], ["verify"]),
]


@pytest.mark.parametrize("words", READING_VERBS, ids=" ".join)
async def test_no_control_reaches_a_terminal(site: Site, words: list[str]) -> None:
    shell = Shell(site.path.parent, {"OMS_DATABASE_URL": f"sqlite:///{site.path}"})
    for form in ([], ["--json"]):
        said = await shell.run(*words, *form)
        assert said.out
        assert CONTROLS & set(said.out + said.err) == set()


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
async def test_every_other_method_is_refused(site: Site, method: str) -> None:
    for address in (*ADDRESSES, "/health", "/metrics", "/nowhere"):
        answer = await site.client.request(method, address)
        assert answer.status_code == 405
        assert answer.headers["allow"] == "GET, HEAD"


async def test_head_is_answered_like_get(site: Site) -> None:
    assert (await site.client.head("/orders")).status_code == 200


@pytest.mark.parametrize(
    "address", ["/", "/reports/R2", "/health", "/metrics", "/nowhere", "/log/0"]
)
async def test_every_answer_forbids_scripts_frames_and_caches(site: Site, address: str) -> None:
    headers = (await site.get(address)).headers
    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; style-src")
    assert "unsafe-inline" not in policy
    assert "script-src" not in policy
    assert headers["x-frame-options"] == "DENY"
    assert headers["cache-control"] == "no-store"
    assert "set-cookie" not in headers


async def test_server_answers_only_to_its_own_names(site: Site) -> None:
    for host in ("localhost:8010", "127.0.0.1:8010", "[::1]:8010"):
        assert (await site.client.get("/", headers={"host": host})).status_code == 200
    foreign = await site.client.get("/", headers={"host": "evil.example:8010"})
    assert foreign.status_code == 421
    assert "order" not in foreign.text


async def test_no_page_answers_without_the_password(site: Site) -> None:
    access = Access(LOOPBACK_NAMES, password="a long password")
    async with Site.over(site.path, site.clock, access) as closed:
        for address in (*ADDRESSES, "/nowhere"):
            refused = await closed.client.get(address)
            assert refused.status_code == 401, address
            assert refused.headers["www-authenticate"].startswith("Basic")
        assert (await closed.client.get("/", auth=("me", "a wrong password"))).status_code == 401
        assert (await closed.client.get("/", auth=("me", "a long password"))).status_code == 200


async def test_pages_write_nothing(site: Site) -> None:
    before = site.path.read_bytes()
    for address in ADDRESSES:
        await site.get(address)
    assert site.path.read_bytes() == before


# ── what is not there ────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "address",
    ["/orders/none", "/breaks/none", "/reports/none", "/log/0", "/log/99999", "/log/x", "/nowhere"],
)
async def test_unknown_name_is_not_found_with_a_hint(site: Site, address: str) -> None:
    answer = await site.get(address, accept="application/json")
    assert answer.status_code == 404
    assert answer.json()["kind"] == "error"
    assert answer.json()["hint"]
    page = (await site.get(address)).text
    assert "Not found" in page
    # It is the address that is wrong; of the whole, the page says nothing.
    assert "/icon-unknown.svg" in page


@pytest.mark.sample(3)
@pytest.mark.parametrize("address", [*ADDRESSES, "/health"])
async def test_database_that_vanished_is_said_and_not_shown_as_empty(
    site: Site, address: str
) -> None:
    assert (await site.get("/")).status_code == 200
    site.path.rename(site.path.with_suffix(".moved"))
    answer = await site.get(address)
    assert answer.status_code == 503
    assert "Traceback" not in answer.text
    assert site.path.name in answer.text
    assert "Read from the log" not in answer.text


async def test_file_that_is_no_database_is_said(tmp_path: Path) -> None:
    path = tmp_path / "oms.sqlite"
    path.write_bytes(b"not a database at all" * 100)
    async with Site.over(path, ManualClock(MORNING)) as site:
        answer = await site.get("/")
        assert answer.status_code == 503
        assert "Unavailable" in answer.text


async def test_empty_log_is_shown_as_such(tmp_path: Path) -> None:
    path = tmp_path / "oms.sqlite"
    schema.upgrade(f"sqlite:///{path}")
    async with Site.over(path, ManualClock(MORNING)) as site:
        for address in ("/", "/orders", "/fills", "/positions", "/breaks", "/reports", "/log"):
            answer = await site.get(address)
            assert answer.status_code == 200
        assert "The log is empty." in (await site.get("/")).text
        assert (await site.get("/health")).json()["reasons"][0]["code"] == "daemon_not_running"


# ── health and metrics ───────────────────────────────────────────────────────────────────────────


async def test_health_names_every_reason(site: Site) -> None:
    answer = await site.get("/health")
    body = answer.json()
    assert (answer.status_code, body["status"]) == (200, "degraded")
    assert [reason["code"] for reason in body["reasons"]] == [
        "not_ready",
        "orders_in_doubt",
        "breaks_open",
    ]


async def test_health_is_down_when_the_daemon_no_longer_beats(site: Site) -> None:
    site.clock.advance(120)
    answer = await site.get("/health")
    assert (answer.status_code, answer.json()["status"]) == (503, "down")
    reason = answer.json()["reasons"][0]
    assert reason["code"] == "daemon_silent"
    assert re.fullmatch(
        r"The daemon \(process \d+\) has written nothing for 2 min \d+ s",
        reason["text"],
    )


async def test_health_is_ok_when_nothing_is_wrong(site: Site, story: Story) -> None:
    await story.settle_everything()
    body = (await site.get("/health")).json()
    assert (body["status"], body["reasons"]) == ("ok", [])
    assert "All is well" in (await site.get("/")).text


async def test_health_notices_that_no_comparison_was_made_for_long(
    site: Site, story: Story
) -> None:
    await story.settle_everything()
    site.clock.advance(21)
    async with Site.over(site.path, site.clock, reconcile_interval_seconds=10) as hurried:
        reasons = (await hurried.get("/health")).json()["reasons"]
    assert [reason["code"] for reason in reasons] == ["reconciliation_overdue"]
    assert (await site.get("/health")).json()["reasons"] == []


async def test_halt_is_shown_with_who_and_why(site: Site, story: Story) -> None:
    await story.say(events.TradingHaltedByPerson(reason="earnings"), actor="person:anna")
    texts = [reason["text"] for reason in (await site.get("/health")).json()["reasons"]]
    assert "New orders are halted by person:anna: earnings" in texts


async def test_metrics_agree_with_the_pages(site: Site) -> None:
    answer = await site.get("/metrics")
    lines = answer.text.splitlines()
    assert answer.headers["content-type"].startswith("text/plain")
    for line in (
        'oms_health{level="degraded"} 1.0',
        "oms_daemon_up 1.0",
        f"oms_head_sequence {float(site.head)}",
        "oms_session_up 0.0",
        "oms_orders_in_doubt 1.0",
        'oms_breaks_open{severity="high"} 1.0',
        'oms_breaks_open{severity="low"} 0.0',
    ):
        assert line in lines


async def test_metrics_of_a_lost_database_are_not_zeros(site: Site) -> None:
    site.path.rename(site.path.with_suffix(".moved"))
    text = (await site.get("/metrics")).text
    assert 'oms_health{level="down"} 1.0' in text
    assert "oms_orders_in_doubt" not in text


# ── the site under test ──────────────────────────────────────────────────────────────────────────


@dataclass
class Reading(HTMLParser):
    """A page as a browser would take it apart."""

    tags: set[str] = field(default_factory=set)
    attributes: set[str] = field(default_factory=set)
    addresses: set[str] = field(default_factory=set)
    unclosed: list[str] = field(default_factory=list)

    VOID = frozenset({"meta", "link", "input", "br", "img"})

    def __post_init__(self) -> None:
        super().__init__()

    @classmethod
    def of(cls, text: str) -> Reading:
        reading = cls()
        reading.feed(text)
        reading.close()
        return reading

    def handle_starttag(self, tag: str, attrs: Iterable[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attrs:
            self.attributes.add(name)
            if name in {"href", "src", "action"}:
                self.addresses.add(value or "")
        if tag not in self.VOID:
            self.unclosed.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.unclosed, f"</{tag}> closes nothing"
        assert self.unclosed.pop() == tag


@dataclass
class Site:
    """The pages over one database, as a browser on this machine meets them."""

    path: Path
    clock: ManualClock
    client: httpx.AsyncClient
    head: int = 0

    @classmethod
    def over(
        cls, path: Path, clock: ManualClock, access: Access | None = None, **changes: Any
    ) -> Site:
        settings = Settings(database_url=f"sqlite:///{path}", **changes)
        app = create_app(settings, now=clock.now, access=access or Access(LOOPBACK_NAMES))
        transport = httpx.ASGITransport(app)
        client = httpx.AsyncClient(transport=transport, base_url="http://localhost:8010")
        return cls(path, clock, client)

    async def __aenter__(self) -> Site:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.client.aclose()

    async def get(
        self, address: str, *, accept: str = "text/html", redirects: bool = False
    ) -> httpx.Response:
        headers = {"accept": accept}
        return await self.client.get(address, headers=headers, follow_redirects=redirects)

    async def one_position(self, symbol: str) -> dict[str, Any]:
        found = (await self.get(f"/positions.json?symbol={symbol}")).json()["positions"]
        assert len(found) == 1
        return dict(found[0])


@dataclass(frozen=True)
class Told:
    """A database that holds the story, and the moment at which its telling ended."""

    path: Path
    ended_at: datetime
    sequence: int


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Told:
    """Tell the story once; the copy is made while the daemon of the story still runs."""
    folder = tmp_path_factory.mktemp("web")
    return asyncio.run(_tell(folder / "live.sqlite", folder / "told.sqlite"))


async def _tell(path: Path, copy: Path) -> Told:
    url = f"sqlite:///{path}"
    schema.upgrade(url)
    clock = ManualClock(MORNING)
    lease = LeaseRequest(f"{ACCOUNT}/1", "oms run", socket.gethostname(), os.getpid(), 60)
    log = await EventLog.open(url, clock=clock, lease=lease)
    story = Story(log, clock)
    await story.tell()
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
    await log.close()
    return Told(copy, clock.now(), story.sequence)


@pytest.fixture
async def site(tmp_path: Path, told: Told) -> AsyncIterator[Site]:
    path = tmp_path / "oms.sqlite"
    shutil.copy(told.path, path)
    async with Site.over(path, ManualClock(told.ended_at)) as site:
        site.head = told.sequence
        yield site


@pytest.fixture
async def story(site: Site) -> AsyncIterator[Story]:
    """Go on telling, while the pages are looked at."""
    url = f"sqlite:///{site.path}"
    log = await EventLog.open(url, clock=site.clock, lease=None)
    yield Story(log, site.clock, epoch=2)
    await log.close()


@dataclass
class Story:
    """A morning with everything that a page must be able to show."""

    log: EventLog
    clock: ManualClock
    epoch: int = 0
    sequence: int = 0

    async def say(
        self,
        event: Event,
        *,
        actor: str = "broker",
        wire: tuple[str, ...] | None = None,
        about: str | None = None,
        happened: datetime | None = None,
        cause: int | None = None,
        after: float = 0.4,
    ) -> int:
        self.clock.advance(after)
        context = Context(
            actor=actor,
            session_epoch=self.epoch,
            occurred_at=happened,
            correlation_id=about,
            causation_sequence=cause,
        )
        self.sequence = (await self.log.append(Pending(event, context, wire))).sequence
        return self.sequence

    async def tell(self) -> None:
        await self.say(
            events.DaemonStarted(
                program_version="0.1.0",
                host=socket.gethostname(),
                process_id=os.getpid(),
                client_id=1,
                mode="paper",
            ),
            actor="daemon",
            after=0,
        )
        await self._connect(next_broker_order_id=17)
        await self._first_comparison()
        await self._filled()
        await self._working()
        await self._rejected()
        await self._denied()
        await self.say(events.TradingHaltedByPerson(reason="earnings"), actor="person:anna")
        await self.say(events.TradingResumed(reason="earnings are out"), actor="person:anna")
        await self._doubted()
        await self._lost_and_found()
        await self._second_comparison()

    async def _connect(self, next_broker_order_id: int) -> None:
        self.epoch += 1
        await self.say(
            events.SessionOpened(
                host="127.0.0.1",
                port=4002,
                client_id=1,
                server_version=178,
                connection_time="20260309 09:30:00 EST",
                accounts=(ACCOUNT,),
                next_broker_order_id=next_broker_order_id,
            ),
            actor="daemon",
        )

    async def _first_comparison(self) -> None:
        await self.say(
            events.ReconciliationStarted(run_id="R1", trigger="start"), actor="reconciler"
        )
        seen = await self.say(
            events.PositionReceived(
                account=ACCOUNT,
                contract=MSFT,
                quantity=Decimal(200),
                average_cost=Decimal("402.1175"),
            ),
            wire=("61", "3", ACCOUNT, "272093", "MSFT", "STK", "200", "402.1175"),
        )
        await self.say(
            events.OpeningPositionRecorded(
                account=ACCOUNT,
                contract=MSFT,
                quantity=Decimal(200),
                average_cost=Decimal("402.1175"),
                evidence=seen,
                run_id="R1",
            ),
            actor="reconciler",
            about="R1",
            cause=seen,
        )
        for key, value in (("NetLiquidation", "1002431.77"), ("BuyingPower", "3104882.10")):
            await self.say(
                events.AccountValueReceived(
                    account=ACCOUNT, key=key, value=value, currency="USD", source="summary"
                ),
                wire=("63", "1", "9001", ACCOUNT, key, value, "USD"),
            )
        match = Finding(
            result="match",
            subject="position",
            key=f"position:{ACCOUNT}:{MSFT.con_id}",
            account=ACCOUNT,
            con_id=MSFT.con_id,
            symbol="MSFT",
            ours="200",
            theirs="200",
            evidence=(seen,),
        )
        await self._complete("R1", "start", "clean", (match,))
        await self.say(events.SessionReady(run_id="R1"), actor="reconciler")

    async def _complete(
        self, run_id: str, trigger: str, verdict: Any, findings: tuple[Finding, ...]
    ) -> None:
        at = self.clock.now()
        kinds: tuple[Any, ...] = (
            "open_orders",
            "completed_orders",
            "executions",
            "positions",
            "account_summary",
        )
        questions = tuple(
            Question(
                query_id=f"{run_id}.{number}",
                kind=kind,
                outcome="complete",
                rows=number,
                digest="ab" * 32,
                reaches_back_to=MORNING - timedelta(hours=9) if kind == "executions" else None,
                asked_at=at,
                answered_at=at + timedelta(seconds=0.3),
                asked_sequence=self.sequence,
            )
            for number, kind in enumerate(kinds)
        )
        self.clock.advance(1.5)
        await self.say(
            events.ReconciliationCompleted(
                run_id=run_id,
                trigger=trigger,
                verdict=verdict,
                started_at=at,
                finished_at=self.clock.now(),
                server_version=178,
                client_id=1,
                accounts=(ACCOUNT,),
                books_sequence=self.sequence,
                questions=questions,
                findings=findings,
            ),
            actor="reconciler",
            about=run_id,
        )

    async def send(
        self, order_id: str, contract: Contract, terms: Terms, number: int, reason: str = ""
    ) -> None:
        intent = await self.say(
            events.OrderIntended(
                order_id=order_id,
                account=ACCOUNT,
                contract=contract,
                terms=terms,
                reason=reason,
                checks=("quantity", "gate"),
            ),
            actor="strategy:opening-range",
            about=order_id,
            after=95,
        )
        await self.say(
            events.OrderMessageSent(
                kind="place", client_id=1, broker_order_id=number, order_ref=order_id
            ),
            actor="daemon",
            about=order_id,
            cause=intent,
            after=0.004,
        )

    async def acknowledge(
        self, order_id: str, contract: Contract, terms: Terms, number: int, perm_id: int
    ) -> None:
        await self.say(
            events.OpenOrderReceived(
                broker_order_id=number,
                client_id=1,
                perm_id=perm_id,
                order_ref=order_id,
                account=ACCOUNT,
                contract=contract,
                side=terms.side,
                quantity=terms.quantity,
                order_type=terms.order_type,
                limit_price=terms.limit_price,
                tif=terms.tif,
                status="Submitted",
            ),
            wire=("5", str(number), str(contract.con_id), contract.symbol, "STK", order_id),
            after=0.08,
        )
        await self.status(number, perm_id, "Submitted", Decimal(0), terms.quantity)

    async def status(
        self, number: int, perm_id: int, status: str, filled: Decimal, remaining: Decimal
    ) -> None:
        await self.say(
            events.OrderStatusReceived(
                broker_order_id=number,
                status=status,
                filled=filled,
                remaining=remaining,
                average_fill_price=Decimal("185.42") if filled else None,
                perm_id=perm_id,
                client_id=1,
            ),
            wire=("3", str(number), status, str(filled), str(remaining), "185.42", str(perm_id)),
            after=0.002,
        )

    async def execute(
        self,
        order_id: str,
        contract: Contract,
        side: Any,
        *,
        number: int,
        perm_id: int,
        part: int,
        quantity: int,
        price: str,
        commission: str | None = "1.0",
        fetched: bool = False,
    ) -> None:
        exec_id = f"0000e0d5.65ed{number - 16:04d}.{part:02d}.01"
        await self.say(
            events.ExecutionReceived(
                broker_order_id=number,
                client_id=1,
                perm_id=perm_id,
                order_ref=order_id,
                account=ACCOUNT,
                contract=contract,
                exec_id=exec_id,
                side=side,
                quantity=Decimal(quantity),
                price=Decimal(price),
                venue="NASDAQ",
                time_text="20260309 09:35:00 America/New_York",
                fetched=fetched,
            ),
            wire=("11", "-1", str(number), contract.symbol, exec_id, str(quantity), price),
            happened=self.clock.now() - timedelta(seconds=0.3),
            after=12,
        )
        if commission is not None:
            await self.say(
                events.CommissionReceived(
                    exec_id=exec_id, commission=Decimal(commission), currency="USD"
                ),
                wire=("59", "1", exec_id, commission, "USD", "", "", ""),
                after=0.01,
            )

    async def _filled(self) -> None:
        terms = Terms(
            side="BUY", quantity=Decimal(100), order_type="LMT", limit_price=Decimal("185.5")
        )
        await self.send(FILLED, AAPL, terms, 17, reason="opening range broken upwards")
        await self.acknowledge(FILLED, AAPL, terms, 17, 1000001)
        await self.execute(
            FILLED, AAPL, "BUY", number=17, perm_id=1000001, part=1, quantity=40, price="185.42"
        )
        await self.status(17, 1000001, "Submitted", Decimal(40), Decimal(60))
        await self.execute(
            FILLED, AAPL, "BUY", number=17, perm_id=1000001, part=2, quantity=60, price="185.45"
        )
        await self.status(17, 1000001, "Filled", Decimal(100), Decimal(0))

    async def _working(self) -> None:
        terms = Terms(
            side="SELL",
            quantity=Decimal(50),
            order_type="LMT",
            limit_price=Decimal("431.2"),
            tif="GTC",
        )
        await self.send(WORKING, MSFT, terms, 18)
        await self.acknowledge(WORKING, MSFT, terms, 18, 1000002)
        await self.execute(
            WORKING,
            MSFT,
            "SELL",
            number=18,
            perm_id=1000002,
            part=1,
            quantity=20,
            price="431.25",
            commission=None,
        )

    async def _rejected(self) -> None:
        terms = Terms(side="BUY", quantity=Decimal(10), order_type="MKT")
        await self.send(REJECTED, SPY, terms, 19)
        text = f"Order rejected - reason: {OBEYED}"
        await self.say(
            events.NoticeReceived(subject_id=19, code=201, text=text),
            wire=("4", "2", "19", "201", text, ""),
        )

    async def _denied(self) -> None:
        await self.say(
            events.OrderDenied(
                order_id=DENIED,
                account=ACCOUNT,
                contract=AAPL,
                terms=Terms(side="BUY", quantity=Decimal(100_000), order_type="MKT"),
                rule="order_quantity_max",
                value="100000",
                limit="5000",
                text="quantity 100000 is more than OMS_ORDER_QUANTITY_MAX = 5000",
            ),
            actor="person:anna",
            about=DENIED,
        )

    async def _doubted(self) -> None:
        terms = Terms(side="BUY", quantity=Decimal(200), order_type="LMT", limit_price=Decimal(880))
        await self.send(DOUBTED, NVDA, terms, 20)

    async def _lost_and_found(self) -> None:
        await self.say(
            events.SessionClosed(reason="connection reset by peer", deliberate=False),
            actor="daemon",
        )
        gap = await self.say(events.GapOpened(cause="transport_lost"), actor="daemon")
        await self.say(
            events.ConnectFailed(
                attempt=1, reason="connection refused", retry_after_seconds=Decimal(2)
            ),
            actor="daemon",
        )
        await self._connect(next_broker_order_id=21)
        await self.say(
            events.GapClosed(cause="transport_up", opened_sequence=gap), actor="daemon", cause=gap
        )

    async def _second_comparison(self) -> None:
        await self.say(
            events.ReconciliationStarted(run_id="R2", trigger="reconnect"), actor="reconciler"
        )
        shown = await self.say(
            events.OpenOrderReceived(
                broker_order_id=0,
                client_id=0,
                perm_id=2000077,
                order_ref=OBEYED,
                account=ACCOUNT,
                contract=SPY,
                side="SELL",
                quantity=Decimal(10),
                order_type="MKT",
                tif="DAY",
                status="Submitted",
            ),
            wire=("5", "0", "756733", "SPY", "STK", OBEYED),
        )
        await self.say(
            events.OrderAdopted(
                order_id=ADOPTED,
                origin="manual",
                account=ACCOUNT,
                contract=SPY,
                terms=Terms(side="SELL", quantity=Decimal(10), order_type="MKT"),
                perm_id=2000077,
                client_id=0,
                broker_order_id=0,
                order_ref=OBEYED,
                status="Submitted",
                evidence=shown,
                run_id="R2",
            ),
            actor="reconciler",
            about="R2",
            cause=shown,
        )
        held = await self.say(
            events.PortfolioReceived(
                account=ACCOUNT,
                contract=MSFT,
                quantity=Decimal(150),
                market_price=Decimal(410),
                average_cost=Decimal("402.1175"),
            ),
            wire=("7", "8", "272093", "MSFT", "STK", "150", "410", "402.1175", ACCOUNT),
        )
        drift = DRIFT.evolve(evidence=(held,))
        foreign = FOREIGN.evolve(evidence=(shown,))
        old = DRIFT.evolve(key="old", severity="low", symbol="AAPL")
        for break_id, finding in (
            ("B0000drift", drift),
            ("B00foreign", foreign),
            ("B000closed", old),
        ):
            await self.say(
                events.BreakOpened(break_id=break_id, run_id="R2", finding=finding),
                actor="reconciler",
                about="R2",
            )
        await self.say(
            events.BreakClosed(break_id="B000closed", run_id=None, reason="a split"),
            actor="person:anna",
        )
        await self._complete("R2", "reconnect", "broken", (drift, foreign))

    async def settle_everything(self) -> None:
        """Answer every doubt and close every case."""
        await self.say(
            events.DoubtResolved(
                order_id=DOUBTED, outcome="not_received", text="no answer names it", run_id="R3"
            ),
            actor="reconciler",
        )
        for break_id in ("B0000drift", "B00foreign"):
            await self.say(
                events.BreakClosed(break_id=break_id, run_id=None, reason="explained"),
                actor="person:anna",
            )
        await self.say(
            events.ReconciliationStarted(run_id="R3", trigger="request"), actor="reconciler"
        )
        await self._complete("R3", "request", "clean", ())
        await self.say(events.SessionReady(run_id="R3"), actor="reconciler")


# ── one language, and the past, everywhere ───────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("address", "count"),
    [
        ("/orders?count_by=state&show=all", "FILLED"),
        ("/fills?count_by=symbol", "AAPL"),
        ("/positions?count_by=account", "DU1234567"),
        ("/breaks?count_by=class&show=all", "quantity_drift"),
        ("/log?count_by=type&during=2026-03&sort=type", "DaemonStarted"),
    ],
)
async def test_every_list_is_counted_by_a_key(site: Site, address: str, count: str) -> None:
    found = (await site.get(address, accept="application/json")).json()
    assert count in [one["value"] for one in found["counts"]]
    assert found["total"] == sum(one["count"] for one in found["counts"])
    assert f"<td>{count}</td>" in (await site.get(address)).text


async def test_every_list_has_all_filters_of_the_shell(site: Site) -> None:
    shell = {"class" if name == "klass" else name for name in FILTERS} - {"limit"} | {"sort"}
    lists = [one for one in PAGES if "since" in one.filters]
    assert len(lists) == 7
    for spec in lists:
        assert shell - set(spec.filters) == set(), spec.path
    assert set(query.CONDITIONS) - set(CONDITIONS) == {"limit", "reverse"}
    assert shell | {"type", "correlation", "limit", "zone"} == {*CONDITIONS, "limit", "zone"}


@pytest.mark.parametrize("by", ["known", "happened"])
async def test_books_of_a_moment_are_on_every_page_of_the_books(site: Site, by: str) -> None:
    """As `--as-of` and `--by` in the shell: orders, fills, positions, P&L, cash, breaks, status."""
    shell = Shell(site.path.parent, {"OMS_DATABASE_URL": f"sqlite:///{site.path}"})
    pages = {
        "orders": "/orders",
        "fills": "/fills",
        "positions": "/positions",
        "pnl": "/accounts",
        "account": "/accounts",
        "breaks": "/breaks",
        "alarms": "/alarms",
        "requests": "/requests",
        "status": "/overview",
    }
    for verb, page in pages.items():
        said = (await shell.oms(verb, "--as-of", "14", "--by", by, "--json")).json
        shown = (await site.get(f"{page}.json?as_of=14&by={by}")).json()
        assert shown["as_of"] == said["as_of"]
        if verb == "status":
            assert shown.items() >= {**said, "kind": "overview", "log": shown["log"]}.items()
            continue
        key = {"pnl": "accounts", "account": "accounts"}.get(verb, verb)
        # The pages show the newest first, and some say more of a row.
        rows = (
            [{name: row[name] for name in said[key][0]} for row in shown[key]] if said[key] else []
        )
        assert sorted(map(str, rows)) == sorted(map(str, said[key])), verb
        assert len(rows) == len(shown[key])


async def test_break_is_told_as_of_a_moment(site: Site) -> None:
    shell = Shell(site.path.parent, {"OMS_DATABASE_URL": f"sqlite:///{site.path}"})
    whole = (await shell.oms("breaks", "B0000drift", "--json")).json
    opened = whole["opened_sequence"]
    then = (await shell.oms("breaks", "B0000drift", "--as-of", str(opened), "--json")).json
    assert (then["as_of"]["sequence"], then["seen"]) == (opened, 1)
    assert max(one["sequence"] for one in then["events"]) == opened
    early = await shell.oms("breaks", "B0000drift", "--as-of", str(opened - 1), expect=1)
    assert "there was no break B0000drift yet" in early.err
    page = await site.get(f"/breaks/B0000drift?as_of={opened - 1}")
    assert (page.status_code, "yet" in page.text) == (404, True)
    assert (await site.get(f"/breaks/B0000drift?as_of={opened}")).status_code == 200
