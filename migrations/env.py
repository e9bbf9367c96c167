"""Where Alembic meets a database: the connection the program hands over, or OMS_DATABASE_URL.

Migrations are written by hand. `oms.store.tables` says what they must add up to, and a test
compares the two.
"""

from __future__ import annotations

import os
from typing import Any

from alembic import context
from sqlalchemy import Connection, inspect, text

from oms.store.backend import parse_url, sync_engine
from oms.store.tables import BOOKS_CHECKPOINT, METADATA, UPGRADE_CHECKPOINT


def run() -> None:
    given = context.config.attributes.get("connection")
    if given is not None:
        migrate(given)
        return
    engine = sync_engine(parse_url(os.environ.get("OMS_DATABASE_URL", "oms.sqlite")), "write")
    with engine.connect() as connection:
        migrate(connection)
    engine.dispose()


def migrate(connection: Connection) -> None:
    applied: list[Any] = []
    # An upgrade over several revisions is one step or none; for SQLite, Alembic would make each
    # revision a step of its own if it were not told that tables can be made in a transaction.
    context.configure(
        connection=connection,
        target_metadata=METADATA,
        transactional_ddl=True,
        on_version_apply=lambda **step: applied.append(step),
    )
    with context.begin_transaction():
        context.run_migrations()
        if applied:
            forget_sums(connection)


def forget_sums(connection: Connection) -> None:
    """Have the rows folded anew: a process that dies after the tables and before the rows leaves a
    database on which no daemon of this version begins before that is done, and that says so.
    """
    columns = {column["name"] for column in inspect(connection).get_columns("checkpoints")}
    if {"row_sum", "live_row_sum"} <= columns:
        connection.execute(text("UPDATE checkpoints SET row_sum = NULL, live_row_sum = NULL"))
        connection.execute(
            text(
                "INSERT INTO checkpoints (name, sequence, hash) SELECT :upgrade, 0, :none"
                " FROM checkpoints WHERE name = :books ON CONFLICT DO NOTHING"
            ),
            {"upgrade": UPGRADE_CHECKPOINT, "none": b"", "books": BOOKS_CHECKPOINT},
        )


run()
