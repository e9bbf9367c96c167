"""Links of orders are compared by their events, and named by their orders where they differ."""

from __future__ import annotations

from oms.store.backend import Connection
from oms.store.differences import RowKey, compare
from oms.store.shadow import temporary_shadow


def put(connection: Connection, links: list[tuple[str, int]]) -> None:
    connection.insert("INSERT INTO order_events (order_id, sequence)", links)


def test_a_link_that_is_missing_among_thousands_is_named() -> None:
    links = [(f"order-{number % 7}", number) for number in range(3_000)]
    with temporary_shadow(10) as ours, temporary_shadow(10) as rebuilt:
        put(ours.connection, [one for one in links if one[1] != 20])
        put(rebuilt.connection, links)
        differing: list[RowKey] = []
        found = compare(ours.connection, rebuilt.connection, differing)
        assert differing == [("order_events", ("order-6", 20))]
        assert (found.differences, found.counts["order_events"]) == (1, 3_000)
        put(ours.connection, [links[20]])
        again = compare(ours.connection, rebuilt.connection)
        assert (again.differences, again.counts["order_events"]) == (0, 3_000)
