"""Where Alembic meets a database: the connection the program hands over, or OMS_DATABASE_URL.

Migrations are written by hand. `oms.store.tables` says what they must add up to, and a test
compares the two.
"""

from __future__ import annotations

import os

from alembic import context

from oms.store.backend import parse_url, sync_engine
from oms.store.tables import METADATA


def run() -> None:
    given = context.config.attributes.get("connection")
    if given is not None:
        migrate(given)
        return
    engine = sync_engine(parse_url(os.environ.get("OMS_DATABASE_URL", "oms.sqlite")), "write")
    with engine.connect() as connection:
        migrate(connection)
    engine.dispose()


def migrate(connection: object) -> None:
    # An upgrade over several revisions is one step or none; for SQLite, Alembic would make each
    # revision a step of its own if it were not told that tables can be made in a transaction.
    context.configure(connection=connection, target_metadata=METADATA, transactional_ddl=True)
    with context.begin_transaction():
        context.run_migrations()


run()
