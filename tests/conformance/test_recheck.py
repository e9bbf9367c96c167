"""The check of a whole log goes on where it stopped, and begins anew at the end."""

from __future__ import annotations

import pytest

from oms.clock import SystemClock
from oms.errors import ChainBroken, DatabaseDamaged, StoreUnavailable
from oms.store import audit, recheck
from oms.store.recheck import Recheck
from oms.store.tables import VERIFIED_CHECKPOINT
from tests.conformance.conftest import Place
from tests.conformance.facts import gap, intent, sent, session, status
from tests.conformance.test_event_log import filled


def verified(place: Place) -> int:
    """Return the sequence that was verified last."""
    [(sequence,)] = place.sql(
        f"SELECT sequence FROM checkpoints WHERE name = '{VERIFIED_CHECKPOINT}'"
    )
    return int(sequence)


async def test_a_run_goes_on_from_the_last_verified_event_and_the_next_begins_anew(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recheck, "check_layout", lambda _: None)  # the guards are taken away
    await filled(place, [session(), intent("o-1"), gap()])
    Recheck(place.url, SystemClock()).run()
    assert verified(place) == 3
    await filled(place, [intent("o-2")])
    place.remove_guards()
    place.sql("UPDATE events SET actor = 'nobody' WHERE sequence = 2")
    check = Recheck(place.url, SystemClock())
    check.run()
    assert verified(place) == 4
    with pytest.raises(ChainBroken, match="event 2"):
        check.run()
    assert verified(place) == 4


async def test_a_run_that_is_stopped_has_remembered_its_way(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recheck, "_REMEMBERED_EVENTS", 1)
    monkeypatch.setattr(audit, "PAGE_ROWS", 2)
    monkeypatch.setattr(recheck, "check_rows", lambda *_: None)  # it would end there
    await filled(place, [session(), intent("o-1"), gap()])
    check = Recheck(place.url, SystemClock())
    check.stop()
    with pytest.raises(StoreUnavailable):
        check.run()
    assert verified(place) == 2


async def test_a_row_of_an_ended_order_that_is_gone_is_found(place: Place) -> None:
    """A start looks at the live rows alone."""
    ended = [intent("o-2"), sent("o-2", 1), status(1, "Cancelled")]
    await filled(place, [session(), intent("o-1"), *ended])
    Recheck(place.url, SystemClock()).run()
    place.sql("DELETE FROM orders WHERE order_id = 'o-2' AND live = 0")
    with pytest.raises(DatabaseDamaged, match="the rows of the projections"):
        Recheck(place.url, SystemClock()).run()
