"""A rebuild that was cut off goes on where its rows were kept, and with nothing else than these."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from oms.store.audit import Progress
from oms.store.backend import connect, parse_url
from oms.store.head_file import path_of
from oms.store.rebuild import rebuild, rebuild_check
from oms.store.unfinished import shadow_of
from tests.conformance.conftest import Place
from tests.conformance.facts import lives
from tests.conformance.test_event_log import filled

KEPT = 100


class CutOff(Exception):
    """Ends a rebuild, as a person does who is tired of it."""


def ending_behind(events: int) -> Progress:
    """Return what ends a rebuild that has folded more events than these."""

    def moved(done: int, total: int) -> None:
        if done > events:
            raise CutOff

    return moved


async def cut_off(place: Place, seed: int) -> Path:
    """Begin a rebuild, end it behind its second page of rows, and return the file it has left."""
    await filled(place, list(lives(seed, 60)))
    with pytest.raises(CutOff):
        rebuild_check(place.url, ending_behind(2 * KEPT), kept_events=KEPT)
    left = path_of(parse_url(place.url)).with_suffix(".rebuild")
    assert left.exists()
    return left


def went_over(place: Place) -> list[int]:
    """Rebuild with what is there, and return how far it was each time that it said so."""
    seen: list[int] = []
    assert rebuild_check(place.url, lambda done, total: seen.append(done), kept_events=KEPT).equal
    return seen


async def test_a_rebuild_that_was_killed_goes_on_where_its_rows_were_kept(
    place: Place, seed: int
) -> None:
    await filled(place, list(lives(seed, 60)))
    child = os.fork()
    if not child:
        try:
            rebuild_check(place.url, ending_behind(2 * KEPT), kept_events=KEPT)
        except CutOff:
            os.kill(os.getpid(), signal.SIGKILL)
        os._exit(1)
    _, status = await asyncio.to_thread(os.waitpid, child, 0)
    assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL
    assert went_over(place)[0] == 3 * KEPT
    # Nothing is left of one that came to its end.
    assert went_over(place)[0] == KEPT


async def test_rows_that_differ_are_found_and_replaced_by_a_rebuild_that_goes_on(
    place: Place, seed: int
) -> None:
    await cut_off(place, seed)
    place.sql("UPDATE orders SET symbol = 'IBM' WHERE order_id = 'order-1'")
    result = rebuild(place.url, kept_events=KEPT)
    assert (result.equal, result.differences) == (False, 1)
    assert went_over(place)[0] == KEPT


@pytest.mark.parametrize(
    "harm",
    [
        "UPDATE orders SET symbol = 'IBM'",
        "DELETE FROM fills",
        "DELETE FROM order_events WHERE sequence = 3",
        "UPDATE kept SET sequence = sequence + 1",
        "UPDATE kept SET hash = x'00'",
        "UPDATE kept SET folds = 'those of another program'",
        "DROP TABLE positions",
    ],
)
async def test_what_is_not_as_it_was_kept_is_folded_anew(
    place: Place, seed: int, harm: str
) -> None:
    left = await cut_off(place, seed)
    with closing(sqlite3.connect(left)) as other, other:
        other.execute(harm)
    assert went_over(place)[0] == KEPT


async def test_a_file_that_is_no_database_is_folded_anew(place: Place, seed: int) -> None:
    left = await cut_off(place, seed)
    left.write_bytes(b"x" * 5000)
    assert went_over(place)[0] == KEPT


async def test_a_second_rebuild_beside_the_first_folds_for_itself(place: Place, seed: int) -> None:
    await cut_off(place, seed)
    with (
        closing(connect(parse_url(place.url), "read")) as source,
        shadow_of(
            parse_url(place.url), source, 1000, resident_records_max=10, kept_events=KEPT
        ) as first,
    ):
        assert first.sequence == 2 * KEPT
        assert went_over(place)[-1] > 2 * KEPT
        first.follow(source, 3 * KEPT)
    assert went_over(place)[0] == KEPT
