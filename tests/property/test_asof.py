"""Both answers about a moment are right.

Goal: as of a moment by what was known, the books are those that a live fold had then, to the last
letter; by what had happened, they are those of an ideal log, in which every execution was recorded
when it happened, as it was corrected last and with what it cost, and no bust ever was.
Method: random lives, and random executions that come late, are corrected, busted and charged late;
with snapshots every few events that were made at a random time, so that the newest events are in
none and change what older ones say.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oms.core.events import CommissionReceived, Context, Envelope, ExecutionReceived, Pending
from oms.core.fold.apply import apply, initial
from oms.core.fold.books import Books
from oms.core.fold.records import Fill, Order, Position, decode_record
from oms.store import schema
from tests import strategies
from tests.lives import ACCOUNT, ACME, Life
from tests.pasts import Copy, Fact, copy_of, make_snapshots, past, write


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template") / "empty.sqlite"
    schema.upgrade(str(path))
    return path


def new_log(template: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log.sqlite"
        shutil.copyfile(template, path)
        yield path


def facts_of(rows: list[str]) -> list[Fact]:
    envelopes = Life().play("\n".join(rows)).envelopes
    return [(e.recorded_at, Pending(e.event, e.context)) for e in envelopes]


@settings(max_examples=10, deadline=None)
@given(strategies.lives(), st.integers(2, 9), st.integers(0, 30), st.data())
def test_what_was_known_is_the_copy_taken_then(
    template: Path, rows: list[str], chunk_events: int, split: int, draw: st.DataObject
) -> None:
    facts = facts_of(rows)
    for path in new_log(template):
        told = write(path, facts[:split])
        if told:
            make_snapshots(path, chunk_events)
        told += write(path, facts[split:])
        for one in draw.draw(st.lists(st.sampled_from(told), min_size=1, max_size=6)):
            last = max(t.sequence for t in told if t.recorded_at <= one.recorded_at)
            expected = next(t.copy for t in told if t.sequence == last)
            books, found = past(path, one.recorded_at)
            assert books.sequence == last
            assert found == expected
            assert past(path, last)[1] == expected


# ── an ideal log ─────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Deal:
    """One execution as it was in the end, and how the log came to know of it."""

    name: str
    con_id: int
    side: str
    quantity: int
    price: int
    commission: int
    #: Seconds from the first one to this one, and until it, its cost and its correction came.
    after: int
    late: int
    charged: int
    #: What was said at first: None where it was right.
    wrong_price: int | None
    corrected: int
    busted: bool


deals = st.lists(
    st.builds(
        Deal,
        name=st.sampled_from("AB"),
        con_id=st.integers(1, 2),
        side=st.just(""),
        quantity=st.integers(1, 9),
        price=st.integers(1, 50),
        commission=st.integers(0, 3),
        after=st.integers(1, 40),
        late=st.sampled_from((0, 1, 3, 30, 200)),
        charged=st.sampled_from((0, 1, 15, 100)),
        wrong_price=st.sampled_from((None, None, 7)),
        corrected=st.integers(1, 100),
        busted=st.sampled_from((False, False, False, True)),
    ),
    min_size=1,
    max_size=8,
    # IB writes seconds: of two in one second nobody knows the order.
    unique_by=lambda deal: deal.after,
)
#: A is bought, B sold.
SIDES = {"A": "BUY", "B": "SELL"}
INTENTS = "session\nintent BUY 500 LMT 10\nsent\nB: intent SELL 500 LMT 12\nB: sent\n"
#: In which IB acknowledges, and we cancel.
TALK = ("open Submitted", "B: open Submitted", "status Submitted 0", "B: cancel")


def executed(deal: Deal, number: int, at: datetime, revision: int, price: int) -> Pending:
    busted = deal.busted and revision == 2
    event = ExecutionReceived(
        broker_order_id=1 if deal.name == "A" else 2,
        client_id=1,
        perm_id=1001 if deal.name == "A" else 1002,
        order_ref=deal.name,
        account=ACCOUNT,
        contract=ACME,
        exec_id=f"x.{number}.0{revision}",
        side=SIDES[deal.name],
        quantity=Decimal(0 if busted else deal.quantity),
        price=Decimal(price),
        venue="NYSE",
        time_text="",
    )
    return Pending(event, Context("broker", 1, at))


def charged(deal: Deal, number: int, revision: int) -> Pending:
    report = CommissionReceived(
        exec_id=f"x.{number}.0{revision}", commission=Decimal(deal.commission), currency="USD"
    )
    return Pending(report, Context("broker", 1))


def logs(drawn: list[Deal], talk: dict[str, int]) -> tuple[list[Fact], list[Fact], datetime]:
    """Return the log as it came, the ideal one, and when the first execution was."""
    begun = facts_of(INTENTS.splitlines())
    zero = begun[-1][0]
    real, ideal = list(begun), list(begun)
    life = Life().play(INTENTS)
    for row, second in talk.items():
        said = life.play(row).envelopes[-1]
        fact = (zero + timedelta(seconds=second), Pending(said.event, said.context))
        real.append(fact)
        ideal.append(fact)
    for number, deal in enumerate(drawn):
        at = zero + timedelta(seconds=deal.after)
        came = at + timedelta(seconds=deal.late)
        revision = 1
        right = executed(deal, number, at, 1, deal.price)
        if deal.wrong_price is None and not deal.busted:
            real.append((came, right))
        else:
            wrong = deal.price if deal.wrong_price is None else deal.wrong_price
            real.append((came, executed(deal, number, at, 1, wrong)))
            revision = 2
            restated = executed(deal, number, at, 2, deal.price)
            real.append((came + timedelta(seconds=deal.corrected), restated))
        real.append((came + timedelta(seconds=deal.charged), charged(deal, number, 1)))
        if not deal.busted:
            ideal.append((at, executed(deal, number, at, revision, deal.price)))
            ideal.append((at, charged(deal, number, revision)))
    for log in (real, ideal):
        log.sort(key=lambda fact: fact[0])
    return real, ideal, zero


def moments_of(real: list[Fact], ideal: list[Fact]) -> st.SearchStrategy[datetime]:
    """Return the moments at which something happened or came, and those beside them."""
    shift = st.sampled_from([timedelta(seconds=n) for n in (-1, 0, 0, 1, 5)])
    return st.builds(lambda fact, by: fact[0] + by, st.sampled_from(real + ideal), shift)


def fold(facts: list[Fact]) -> Books:
    """Return the books of a log."""
    books = initial()
    for sequence, (at, pending) in enumerate(facts, 1):
        apply(books, Envelope(sequence, pending.event, pending.context, at))
    return books


def money_of(copy: Copy) -> dict[str, Any]:
    """Return what the books say of orders, fills and positions, without when we heard it."""
    found: dict[str, Any] = {}
    for table in ("orders", "fills", "positions"):
        for key, text in copy[table].items():
            match decode_record(table, text):
                case Order() as o:
                    found[key] = (o.state, o.filled, o.notional, o.commissions, o.perm_ids)
                case Fill() as f:
                    about = (f.order_id, f.side, f.quantity, f.price, f.revision)
                    found[key] = (*about, f.commission, f.commission_currency)
                case Position() as p:
                    held = (p.quantity, p.average_price, p.realised_pnl)
                    found[key] = (*held, p.commissions, p.fill_count)
                case _:
                    raise AssertionError(table)
    return found


@settings(max_examples=10, deadline=None)
@given(
    drawn=deals,
    talk=st.dictionaries(st.sampled_from(TALK), st.integers(0, 60), max_size=4),
    chunk_events=st.integers(2, 9),
    split=st.integers(0, 40),
    draw=st.data(),
)
def test_what_had_happened_is_an_ideal_log(
    template: Path,
    *,
    drawn: list[Deal],
    talk: dict[str, int],
    chunk_events: int,
    split: int,
    draw: st.DataObject,
) -> None:
    real, ideal, zero = logs(drawn, talk)
    last = real[-1][0]
    for path in new_log(template):
        if write(path, real[:split]):
            make_snapshots(path, chunk_events)
        write(path, real[split:])
        if split % 3:
            make_snapshots(path, chunk_events)
        for at in draw.draw(st.lists(moments_of(real, ideal), min_size=1, max_size=6)):
            moment = min(max(at, zero), last)
            _, found = past(path, moment, "happened")
            perfect = fold([fact for fact in ideal if fact[0] <= moment])
            assert money_of(found) == money_of(copy_of(perfect)), moment - zero
