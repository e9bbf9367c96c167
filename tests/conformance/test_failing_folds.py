"""A fold that fails takes nothing with it: not the daemon, not half of its event, not the rebuild.

Goal: whichever fold fails, at whichever event, before or after it has changed the books, while it
says which rows it needs, or by a row that no database can hold: the log goes on, the books are
those of a log in which the event changes nothing but one anomaly, and a rebuild gives the same
rows.
Method: a life in which everything has ended, with an event of each type at a random place, written
in random transactions by the real writer, with nothing kept in memory.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest

from oms.clock import SystemClock
from oms.core.codec import natural_key
from oms.core.events import Context, Envelope, Event, Pending
from oms.core.fold import apply as folds
from oms.core.fold.books import Books
from oms.core.fold.fold import Fold
from oms.core.fold.records import (
    TABLES,
    Anomaly,
    AnyRecord,
    Order,
    RunRecord,
    encode_record,
)
from oms.core.fold.wants import Want, Wants
from oms.store.backend import connect, parse_url
from oms.store.envelopes import SELECT_EVENTS, draft, envelope
from oms.store.rebuild import rebuild_check
from oms.store.writer import Writer
from tests.conformance.test_wants import ended_life, stories
from tests.lives import START, Life


class Bug(Exception):
    """What a fold with a fault raises, and cannot even say why."""

    def __str__(self) -> str:
        raise ValueError("no words")


def at_once(fold: Fold[Any], chosen: Event) -> Fold[Any]:
    """Fail before anything has changed."""

    def apply(books: Books, at: Envelope, event: Event) -> None:
        if event == chosen:
            raise Bug
        fold.apply(books, at, event)

    return replace(fold, apply=apply)


def half_way(fold: Fold[Any], chosen: Event) -> Fold[Any]:
    """Fail after everything has changed."""

    def apply(books: Books, at: Envelope, event: Event) -> None:
        fold.apply(books, at, event)
        if event == chosen:
            raise ZeroDivisionError

    return replace(fold, apply=apply)


def asking(fold: Fold[Any], chosen: Event) -> Fold[Any]:
    """Fail when asked which rows are needed."""

    def wants(event: Event, context: Context, books: Books) -> Wants:
        if event == chosen:
            raise RecursionError
        return fold.wants(event, context, books)

    return replace(fold, wants=wants)


def asking_for_nonsense(fold: Fold[Any], chosen: Event) -> Fold[Any]:
    """Need rows that no table has."""

    def wants(event: Event, context: Context, books: Books) -> Wants:
        if event == chosen:
            return (Want("orders", "perm_id", 2**63), Want("trades", "", "x"))
        return fold.wants(event, context, books)

    return replace(fold, wants=wants)


def unfit(made: Callable[[], AnyRecord]) -> Callable[[Fold[Any], Event], Fold[Any]]:
    """Change everything, and make a row that no database can hold, or no row at all."""

    def failing(fold: Fold[Any], chosen: Event) -> Fold[Any]:
        def apply(books: Books, at: Envelope, event: Event) -> None:
            fold.apply(books, at, event)
            if event == chosen:
                books.put(made())

        return replace(fold, apply=apply)

    return failing


def _order(parent_order_id: str) -> AnyRecord:
    order = Life().play("session\nintent BUY 100 LMT 10").books.all(Order)[0]
    return order.evolve(order_id="unfit", parent_order_id=parent_order_id)


def _run(**fields: Any) -> RunRecord:
    return RunRecord(**({"run_id": "unfit", "trigger": "x", "started_at": START} | fields))


WAYS: Final[dict[str, Callable[[Fold[Any], Event], Fold[Any]]]] = {
    "at once": at_once,
    "half-way": half_way,
    "asking": asking,
    "asking for nonsense": asking_for_nonsense,
    "integer too large": unfit(lambda: _run(sequence=2**63)),
    "NUL in a key": unfit(lambda: _run(run_id="a\0b")),
    "key too long": unfit(lambda: _run(run_id="\U0001f4a3" * 700)),
    "half of a pair": unfit(lambda: _run(verdict="\ud800")),
    "no text of a column": unfit(lambda: _run(verdict=b"x")),
    "no time": unfit(lambda: _run(started_at=None)),
    "of an order": unfit(lambda: _order("a\0b")),
}


@pytest.fixture
def log(sqlite_template: Path, tmp_path: Path) -> Path:
    path = tmp_path / "log.sqlite"
    shutil.copyfile(sqlite_template, path)
    return path


def life_with(name: str, chance: random.Random) -> tuple[list[Pending], Event]:
    """Return the life with an event of a type at a random place, and that event."""
    life = [Pending(one.event, one.context) for one in ended_life()]
    known = {natural_key(one.event) for one in life} - {None}
    # A fact that the life has already is not stored a second time.
    new = [one.envelope for one in stories(name) if natural_key(one.envelope.event) not in known]
    story = chance.choice(new)
    # Never first: without an order there is nothing that could be half changed.
    life.insert(chance.randrange(3, len(life)), Pending(story.event, story.context))
    return life, story.event


def rows_of(books: Books) -> dict[tuple[str, str], str]:
    return {
        (table, key): encode_record(record)
        for table, records in books.tables.items()
        for key, record in records.items()
        if not isinstance(record, Anomaly)
    }


def written(log: Path, life: list[Pending], chance: random.Random) -> Writer:
    """Write a life in random transactions, with nothing kept in memory but what lives."""
    writer = Writer(
        parse_url(f"sqlite:///{log}"), clock=SystemClock(), projector=True, resident_records_max=0
    )
    writer.open()
    rest = life
    while rest:
        size = chance.choice((1, 2, 5, 40))
        batch, rest = rest[:size], rest[size:]
        writer.write([[draft(one)] for one in batch])
    return writer


#: Types of event whose folds fail in the usual run, others with each seed.
FOLDS_TRIED = 8


@pytest.mark.parametrize("nth", range(FOLDS_TRIED))
def test_fold_that_fails_leaves_its_event_out_and_the_rebuild_agrees(
    nth: int, log: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = random.Random(seed).sample(sorted(cls.__name__ for cls in folds.FOLDS), FOLDS_TRIED)[nth]
    fails_and_goes_on(name, log, random.Random(f"{seed} {name}"), monkeypatch)


@pytest.mark.long
@pytest.mark.parametrize("name", sorted(cls.__name__ for cls in folds.FOLDS))
def test_every_fold_can_fail(
    name: str, log: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    fails_and_goes_on(name, log, random.Random(f"{seed} {name}"), monkeypatch)


def fails_and_goes_on(
    name: str, log: Path, chance: random.Random, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Let one fold fail, in one of the ways."""
    way = chance.choice(sorted(WAYS))
    life, chosen = life_with(name, chance)
    fold = folds.FOLDS[type(chosen)]
    monkeypatch.setitem(folds.FOLDS, type(chosen), WAYS[way](fold, chosen))
    with closing(written(log, life, chance)) as writer:
        select = "SELECT count(*) FROM anomalies WHERE kind = 'set_aside'"
        assert writer._connection.rows(select)[0][0], f"{way} failed for nothing"
    result = rebuild_check(f"sqlite:///{log}")
    assert result.equal, (way, result.first_difference)


@pytest.mark.parametrize("way", sorted(WAYS))
def test_however_a_fold_fails_the_books_lack_its_event_alone(
    way: str, log: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(f"{seed} {way}")
    name = chance.choice(("ExecutionReceived", "OrderStatusReceived", "OpenOrderReceived"))
    life, chosen = life_with(name, chance)
    fold = folds.FOLDS[type(chosen)]
    monkeypatch.setitem(folds.FOLDS, type(chosen), WAYS[way](fold, chosen))
    written(log, life, chance).close()
    with closing(connect(parse_url(f"sqlite:///{log}"), "read")) as connection:
        rows = {
            (table, key): body
            for table, spec in TABLES.items()
            for key, body in connection.rows(f"SELECT {spec.key_name}, body FROM {table}")
            if table != "anomalies"
        }
        envelopes = [envelope(row) for row in connection.rows(SELECT_EVENTS)]
    monkeypatch.setitem(folds.FOLDS, type(chosen), at_once(fold, chosen))
    without = folds.initial()
    for one in sorted(envelopes, key=lambda one: one.sequence):
        folds.apply(without, one)
    assert rows == rows_of(without)
