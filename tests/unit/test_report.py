"""A report says the same in three forms, and nothing from outside can break out of it."""

from __future__ import annotations

import io
import json
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, get_args

import pytest
from rich.console import Console, RenderableType

from oms import report
from oms.core import events
from oms.core.contracts import Contract
from oms.core.events import (
    BreakClass,
    Context,
    Envelope,
    Event,
    Finding,
    Question,
    ReconciliationCompleted,
    Terms,
)
from oms.core.fold.records import BreakCase, Order, OrderState
from oms.core.words import counted, duration
from oms.report.words import BREAKS, OUTCOMES, VERDICTS, moment
from tests.conftest import Stored

GOLDEN = Path(__file__).parent / "golden"
NOON = datetime(2026, 3, 9, 12, 0, tzinfo=UTC)
GAP = NOON - timedelta(hours=2, minutes=14)
AAPL = Contract(con_id=265598, symbol="AAPL")
ORDER = "0190f5a2-0000-7000-8000-000000000001"


def question(kind: str, outcome: str = "complete", **changes: Any) -> Question:
    values: dict[str, Any] = {
        "query_id": f"q-{kind}",
        "kind": kind,
        "outcome": outcome,
        "rows": 3 if outcome == "complete" else 0,
        "digest": "ab" * 32 if outcome == "complete" else "",
        "asked_at": NOON,
        "answered_at": NOON + timedelta(milliseconds=400),
        "asked_sequence": 41,
    }
    if kind == "executions" and outcome == "complete":
        values |= {
            "reaches_back_to": datetime(2026, 3, 9, 4, 0, tzinfo=UTC),
            "reach": "midnight in America/New_York",
        }
    return Question(**(values | changes))


KINDS = ("executions", "open_orders", "completed_orders", "positions", "account_summary")

MATCH = Finding(
    result="match",
    subject="position",
    key="position:DU1:1",
    account="DU1234567",
    con_id=1,
    symbol="MSFT",
    ours="200",
    theirs="200",
    evidence=(44,),
)
BACKFILLED = Finding(
    result="match",
    subject="execution",
    key="execution:DU1:0000e0d5.01",
    account="DU1234567",
    con_id=265598,
    symbol="AAPL",
    order_id=ORDER,
    ours="BUY 40 AAPL @ 185.5",
    theirs="BUY 40 AAPL @ 185.5",
    text="execution 0000e0d5.5f3a1b2c.01.01",
    evidence=(45, 46),
    repair="backfilled",
)
ADOPTED = Finding(
    result="match",
    subject="order",
    key="order:77",
    account="DU1234567",
    symbol="SPY",
    ours="WORKING SELL 10 MKT DAY SPY",
    theirs="Submitted",
    evidence=(47,),
    repair="adopted",
)
UPDATED = Finding(
    result="match",
    subject="order",
    key="order:1",
    account="DU1234567",
    symbol="AAPL",
    order_id=ORDER,
    ours="FILLED BUY 40 LMT 185.5 DAY AAPL, 40 filled",
    theirs="Filled",
    evidence=(46,),
    repair="was WORKING, 0 filled",
)
FOREIGN = Finding(
    result="break",
    subject="order",
    break_class="unknown_order",
    severity="medium",
    key="unknown_order:77",
    account="DU1234567",
    symbol="SPY",
    order_id="77",
    ours="not ours",
    theirs="SELL 10 MKT DAY SPY, perm id 77",
    text="an order that we did not send: sent by client 0, which is TWS or a program with that id",
    evidence=(47,),
    repair="adopted",
)
REFUSED = Finding(
    result="unknown",
    subject="question",
    key="question:open_orders",
    text="open orders were refused; what depends on them is not known",
    evidence=(41,),
)
DRIFT = Finding(
    result="break",
    subject="position",
    break_class="quantity_drift",
    severity="high",
    key="position:DU1:265598",
    account="DU1234567",
    con_id=265598,
    symbol="AAPL",
    ours="140",
    theirs="100",
    text="no execution explains -40",
    evidence=(46, 48),
    repair="opened",
)
TERMS = Finding(
    result="break",
    subject="order",
    break_class="wrong_terms",
    severity="medium",
    key="terms:1",
    account="DU1234567",
    symbol="AAPL",
    order_id=ORDER,
    ours="limit 185.5",
    theirs="limit 186",
    evidence=(49,),
    repair="opened",
)
UNCLEAR = Finding(
    result="unknown",
    subject="order",
    key="order:1",
    account="DU1234567",
    symbol="AAPL",
    order_id=ORDER,
    ours="WORKING",
    text="open orders were not answered",
)


def run(verdict: str, findings: tuple[Finding, ...], **changes: Any) -> ReconciliationCompleted:
    values: dict[str, Any] = {
        "run_id": "run-7",
        "trigger": "reconnect",
        "verdict": verdict,
        "started_at": NOON,
        "finished_at": NOON + timedelta(seconds=2, milliseconds=300),
        "gap_opened_at": GAP,
        "server_version": 178,
        "client_id": 1,
        "accounts": ("DU1234567",),
        "books_sequence": 50,
        "questions": tuple(question(kind) for kind in KINDS),
        "findings": findings,
    }
    return ReconciliationCompleted(**(values | changes))


def case(finding: Finding, break_id: str, age: timedelta = timedelta(seconds=1)) -> BreakCase:
    return BreakCase(
        break_id=break_id,
        finding=finding,
        status="open",
        opened_at=NOON - age,
        opened_sequence=51,
        updated_at=NOON,
        seen=2,
    )


def envelope(event: Event, sequence: int = 46, wire: tuple[str, ...] | None = None) -> Envelope:
    context = Context(actor="broker", session_epoch=2, occurred_at=NOON - timedelta(hours=1))
    return Envelope(sequence, event, context, NOON + timedelta(seconds=1), 3, wire)


EXECUTION = events.ExecutionReceived(
    broker_order_id=17,
    client_id=1,
    perm_id=9001,
    order_ref=ORDER,
    account="DU1234567",
    contract=AAPL,
    exec_id="0000e0d5.5f3a1b2c.01.01",
    side="BUY",
    quantity=Decimal(40),
    price=Decimal("185.50"),
    venue="NASDAQ",
    time_text="20260309 07:00:00 America/New_York",
    fetched=True,
)

CLEAN = report.build(run("clean", (MATCH, BACKFILLED, UPDATED)), sequence=60)
BROKEN = report.build(
    run("broken", (MATCH, BACKFILLED, ADOPTED, FOREIGN, TERMS, DRIFT)),
    (
        case(DRIFT, "B-12"),
        case(TERMS, "B-13"),
        case(UNCLEAR.evolve(break_class="in_doubt"), "B-3", timedelta(days=2)),
    ),
    sequence=60,
    events=(envelope(EXECUTION, wire=("11", "-1", "17", "AAPL")),),
)
UNKNOWN = report.build(
    run(
        "unknown",
        (MATCH, REFUSED, UNCLEAR),
        questions=(
            question("executions", "timed_out"),
            question("open_orders", "refused", code=321, text="Read-Only API is set"),
            question("completed_orders", "partial", rows=12),
            question("positions"),
        ),
    ),
    sequence=60,
)
REPORTS = {"clean": CLEAN, "broken": BROKEN, "unknown": UNKNOWN}


def printed(renderable: RenderableType, width: int = 120) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None, legacy_windows=False)
    console.print(renderable)
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().splitlines()
    return "\n".join(line.rstrip() for line in lines) + "\n"


@pytest.mark.parametrize("verdict", REPORTS)
def test_terminal_form_is_as_stored(verdict: str, stored: Stored) -> None:
    stored(GOLDEN / f"report_{verdict}.txt", printed(report.terminal(REPORTS[verdict])))


@pytest.mark.parametrize("verdict", REPORTS)
def test_json_form_is_as_stored(verdict: str, stored: Stored) -> None:
    text = json.dumps(report.as_json(REPORTS[verdict]), indent=2) + "\n"
    stored(GOLDEN / f"report_{verdict}.json", text)


@pytest.mark.parametrize("verdict", REPORTS)
def test_html_form_is_as_stored(verdict: str, stored: Stored) -> None:
    stored(GOLDEN / f"report_{verdict}.html", report.html(REPORTS[verdict]) + "\n")


@pytest.mark.parametrize("verdict", REPORTS)
def test_verdict_and_every_reason_stand_in_all_three_forms(verdict: str) -> None:
    value = REPORTS[verdict]
    terminal = " ".join(printed(report.terminal(value), width=400).split())
    html = " ".join(text_of(report.html(value)).split())
    as_json = report.as_json(value)
    assert as_json["verdict"] == verdict
    assert VERDICTS[value.verdict].upper() in terminal
    assert html.count(VERDICTS[value.verdict]) >= 1
    assert value.reasons
    for sentence in (value.headline, *value.reasons, *value.next_steps):
        assert sentence in terminal
        assert sentence.replace("`", "") in html
        assert sentence in [as_json["headline"], *as_json["reasons"], *as_json["next_steps"]]


def test_repaired_difference_is_no_open_break() -> None:
    assert [group.title for group in CLEAN.repaired] == ["Backfilled", "Brought up to date"]
    assert CLEAN.breaks == ()
    assert CLEAN.next_steps == ("Nothing to do.",)


def test_adopted_order_stays_a_break_until_somebody_says_whose_it_is() -> None:
    value = report.build(run("broken", (ADOPTED, FOREIGN)), (case(FOREIGN, "B-1"),))
    assert [group.title for group in value.repaired] == ["Adopted"]
    assert [item.case and item.case.break_id for item in value.breaks[0].items] == ["B-1"]


def test_failed_question_is_not_counted_as_a_compared_item() -> None:
    assert UNKNOWN.unknown == (UNCLEAR,)
    assert UNKNOWN.reasons[1] == (
        "2 items compared: 1 in agreement, 0 repaired, 0 differing, 1 unknown."
    )


def test_money_that_cannot_be_compared_is_counted_in_the_headline_and_listed_in_every_form() -> (
    None
):
    money = Finding(
        result="unknown", subject="cash", key="cash:DU1:USD", symbol="USD", text="settled every day"
    )
    value = report.build(run("unknown", (money,), questions=(question("positions"),)))
    assert value.headline == "What could be compared agrees; 1 item is unknown"
    assert any("account statement" in step for step in value.next_steps)
    forms = printed(report.terminal(value)), json.dumps(report.as_json(value)), report.html(value)
    for form in forms:
        assert "settled every day" in form


def test_most_severe_class_stands_first() -> None:
    assert [group.break_class for group in BROKEN.breaks] == [
        "quantity_drift",
        "unknown_order",
        "wrong_terms",
    ]


def test_case_of_an_earlier_run_is_listed_apart() -> None:
    assert [older.break_id for older in BROKEN.older_cases] == ["B-3"]


def test_gate_is_never_shut_under_a_clean_verdict_without_the_case_that_shuts_it() -> None:
    stated = Finding(
        result="break",
        subject="statement_position",
        break_class="quantity_drift",
        severity="high",
        key="quantity_drift:DU1:265598",
        account="DU1",
        con_id=265598,
        symbol="AAPL",
    )
    value = report.build(run("clean", ()), (case(stated, "B-9"),))
    assert "1 open case of earlier refuses new orders" in value.headline
    assert (
        "New orders in AAPL of DU1 are refused: break B-9 (position differs, shown"
        " by the broker's statement) is open." in value.reasons
    )
    closed = case(stated, "B-9").evolve(status="closed")
    assert report.build(run("clean", ()), (closed,)).headline == CLEAN.headline


@pytest.mark.parametrize(
    ("reach", "covered", "kinds"),
    [
        (GAP - timedelta(hours=1), True, ["reached", "asking"]),
        (GAP, True, ["reached", "asking"]),
        (GAP + timedelta(hours=1), False, ["unreached", "reached", "asking"]),
        (NOON + timedelta(hours=1), False, ["unreached", "asking"]),
        (None, False, ["unreached", "asking"]),
    ],
)
def test_gap_is_covered_as_far_as_executions_reach(
    reach: datetime | None, covered: bool, kinds: list[str]
) -> None:
    asked = question("executions").evolve(reaches_back_to=reach)
    value = report.build(run("clean", (), questions=(asked,)))
    assert value.covered is covered
    assert [span.kind for span in value.timeline] == kinds


def test_shortest_reach_of_several_accounts_counts() -> None:
    near = question("executions", reaches_back_to=GAP + timedelta(hours=1))
    value = report.build(run("clean", (), questions=(question("executions"), near)))
    assert value.covered is False


@pytest.mark.parametrize("outcome", ["refused", "timed_out", "partial"])
@pytest.mark.parametrize("others", [(), (question("executions"),)], ids=["alone", "one of two"])
def test_unanswered_question_covers_nothing(outcome: str, others: tuple[Question, ...]) -> None:
    asked = (*others, question("executions", outcome))
    value = report.build(run("unknown", (), questions=asked))
    assert value.covered is False
    assert value.next_steps[0] != "Nothing to do."


def test_run_without_a_gap_claims_no_coverage() -> None:
    value = report.build(run("clean", (MATCH,), gap_opened_at=None))
    assert (value.covered, [span.kind for span in value.timeline]) == (None, ["asking"])
    assert "gap" not in " ".join(value.reasons)


def test_evidence_names_what_is_worth_reading_once() -> None:
    assert report.evidence_of(BROKEN.run) == (45, 46, 47, 48, 49)


HOSTILE = '"><script>alert(1)</script><img src=x onerror=y>[bold red]{{ 7 * 7 }}'


def hostile() -> report.Report:
    finding = DRIFT.evolve(
        **dict.fromkeys(("subject", "symbol", "account", "ours", "theirs", "text"), HOSTILE)
        | {"order_id": HOSTILE}
    )
    notice = events.NoticeReceived(subject_id=-1, code=201, text=HOSTILE)
    asked = question("open_orders", "refused", code=321, text=HOSTILE)
    return report.build(
        run(
            "broken",
            (finding, finding.evolve(result="unknown", key="u")),
            run_id=HOSTILE,
            trigger=HOSTILE,
            accounts=(HOSTILE,),
            questions=(asked, question("executions", reach=HOSTILE)),
        ),
        (case(finding, HOSTILE),),
        events=(envelope(notice, wire=(HOSTILE,)),),
    )


def test_html_escapes_everything_from_outside() -> None:
    text = report.html(hostile())
    assert "<script" not in text
    assert "<img" not in text
    assert "49" not in text_of(text).replace(HOSTILE, "")
    assert text_of(text).count(HOSTILE) >= 15


def test_terminal_takes_nothing_from_outside_for_markup() -> None:
    text = printed(report.terminal(hostile()), width=5000)
    # The break with its case 8, the unknown item 7, refusal, reach, next step, trigger, account.
    assert text.count(HOSTILE) == text.count("<script>") == 20


@pytest.mark.parametrize("verdict", REPORTS)
def test_html_needs_nothing_from_elsewhere(verdict: str) -> None:
    text = report.html(REPORTS[verdict])
    assert not re.findall(r"(?:src|href)\s*=\s*[\"']?(?!#)[^\"'\s>]+", text)
    assert not re.findall(r"url\(|@import|//\w|<script|<link|<iframe", text)


@pytest.mark.parametrize("verdict", REPORTS)
def test_html_is_well_formed_and_its_links_resolve(verdict: str) -> None:
    page = Page()
    page.feed(report.html(REPORTS[verdict]))
    page.close()
    assert page.open == []
    assert set(page.links) <= {f"#{identifier}" for identifier in page.ids}


def test_report_of_a_busy_night_stays_small_and_says_what_it_leaves_out() -> None:
    many = [finding.evolve(key=str(n)) for n in range(2_000) for finding in (MATCH, BACKFILLED)]
    log = tuple(envelope(EXECUTION, n, ("11", "-1")) for n in range(1, 2_001))
    value = report.build(run("clean", tuple(many)), events=log)
    html = report.html(value)
    assert len(html) < 1_000_000
    assert html.count("1,500 further rows") == 3
    terminal = printed(report.terminal(value))
    assert len(terminal.splitlines()) < 120
    assert "and 1,980 more" in terminal
    assert len(report.as_json(value)["findings"]) == 4_000


@pytest.mark.slow
def test_breaks_and_unknowns_are_never_cut() -> None:
    many = [
        finding.evolve(key=f"{n}", text=f"number {n}.")
        for n in range(600)
        for finding in (DRIFT, UNCLEAR)
    ]
    value = report.build(run("broken", tuple(many)))
    for text in (report.html(value), printed(report.terminal(value), 200)):
        assert len(re.findall(r"number \d", text)) == 1_200


def test_every_class_outcome_and_verdict_has_words() -> None:
    assert set(BREAKS) == set(get_args(BreakClass))
    assert set(OUTCOMES) == set(get_args(events.Outcome))
    assert set(VERDICTS) == set(get_args(events.Verdict))
    for words in BREAKS.values():
        assert words.meaning.endswith(".")
        assert words.action.endswith(".")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0004, "0 ms"),
        (0.04, "40 ms"),
        (2.34, "2.3 s"),
        (59, "59 s"),
        (61, "1 min 1 s"),
        (8040, "2 h 14 min"),
        (200_000, "2 d 7 h"),
    ],
)
def test_durations_read_as_people_say_them(seconds: float, text: str) -> None:
    assert duration(timedelta(seconds=seconds)) == text


def test_times_are_shown_in_utc_whatever_their_zone() -> None:
    east = datetime.fromisoformat("2026-03-09T21:00:00+09:00")
    assert moment(east) == "2026-03-09 12:00:00 UTC"


def test_counts_agree_with_their_nouns() -> None:
    assert [counted(n, "row") for n in (0, 1, 1200)] == ["0 rows", "1 row", "1,200 rows"]


# ── stories ──────────────────────────────────────────────────────────────────────────────────────

BUY = Terms(
    side="BUY", quantity=Decimal(100), order_type="LMT", limit_price=Decimal("185.50"), tif="DAY"
)
STORY = report.tell(
    ORDER,
    [
        envelope(
            events.NoticeReceived(subject_id=17, code=201, text="Order rejected"),
            49,
            ("4", "2", "17", "201", "Order rejected"),
        ),
        envelope(events.OrderIntended(order_id=ORDER, account="DU1", contract=AAPL, terms=BUY), 45),
        envelope(EXECUTION, 46, ("11", "-1", "17")),
    ],
)


def test_story_is_told_in_the_order_of_the_log() -> None:
    assert [entry.envelope.sequence for entry in STORY.entries] == [45, 46, 49]
    assert STORY.headline == "BUY 100 AAPL LMT 185.5 DAY"
    assert (STORY.entries[2].code, STORY.entries[2].text) == (201, "Order rejected")


def test_story_names_every_id_of_an_execution() -> None:
    assert dict(STORY.entries[1].ids) == {
        "order": "17",
        "client": "1",
        "perm": "9001",
        "exec": "0000e0d5.5f3a1b2c.01.01",
    }


def test_story_says_what_the_books_make_of_the_order() -> None:
    order = Order(
        order_id=ORDER,
        origin="ours",
        account="DU1",
        contract=AAPL,
        terms=BUY,
        actor="person:ada",
        state=OrderState.IN_DOUBT,
        doubt="the line was lost after sending",
        filled=Decimal(40),
        notional=Decimal(7420),
    )
    story = report.tell(ORDER, [], order)
    assert story.headline == (
        "BUY 100 AAPL LMT 185.5 DAY in DU1: IN_DOUBT, filled 40 at 185.5"
        " (the line was lost after sending)"
    )
    assert report.as_json(story)["order"]["filled"] == "40"


def test_wire_text_stands_one_flag_away() -> None:
    assert "message=11" not in printed(report.terminal(STORY))
    shown = printed(report.terminal(STORY, wire=True))
    assert all(text in shown for text in ("message=11", "reqId=-1", "orderId=17"))


@pytest.mark.parametrize("width", [60, 80, 109])
def test_story_leaves_the_sentence_most_of_a_narrow_screen(width: int) -> None:
    console = Console(width=width, highlight=False, color_system=None)
    with console.capture() as capture:
        console.print(report.terminal(STORY))
    lines = capture.get().splitlines()
    assert max(len(line) for line in lines) <= width
    column = next(line for line in lines if "what it says" in line).index("what it says")
    assert column <= 30
    assert any(line[column:].startswith("OrderIntended") for line in lines)
    assert any("We are about to send" in line[column:] for line in lines)
    assert any("perm 9001" in line[column:] for line in lines)


def test_story_forms_are_as_stored(stored: Stored) -> None:
    stored(GOLDEN / "story.txt", printed(report.terminal(STORY, wire=True)))
    stored(GOLDEN / "story.json", json.dumps(report.as_json(STORY), indent=2) + "\n")


class Page(HTMLParser):
    """The skeleton of a page: what is open, what is linked, what can be linked to."""

    VOID = frozenset({"meta", "br", "img"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.VOID:
            self.open.append(tag)
        self.links += [value or "" for name, value in attrs if name == "href"]
        self.ids += [value or "" for name, value in attrs if name == "id"]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def text_of(html: str) -> str:
    page = Page()
    page.feed(html)
    page.close()
    return "".join(page.text)
