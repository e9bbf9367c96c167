"""The peer: PyPI `eventsourcing` with its SQLite module, WAL and synchronous=FULL as ours.

The extra `bench` installs it; without it the rows stay empty.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic_core import from_json

from oms.core import codec
from tests.benchmark.flow import Pending
from tests.benchmark.measure import remove

try:
    from eventsourcing.application import Application, LocalNotificationLog
    from eventsourcing.domain import Aggregate

    AVAILABLE = True
except ModuleNotFoundError:
    AVAILABLE = False

if AVAILABLE:

    class OrderStream(Aggregate):
        """Folds as little as a useful aggregate can: the last status and the number of fills."""

        class Created(Aggregate.Created):  # type: ignore[name-defined, misc]
            payload: dict[str, Any]

        class Recorded(Aggregate.Event):  # type: ignore[name-defined, misc]
            payload: dict[str, Any]

            def apply(self, aggregate: Any) -> None:
                aggregate.status = self.payload.get("status", aggregate.status)
                aggregate.fills += "exec_id" in self.payload

        def __init__(self, payload: dict[str, Any]) -> None:
            self.status, self.fills = "", 0

        @classmethod
        def begin(cls, uid: uuid.UUID, payload: dict[str, Any]) -> Any:
            return cls._create(cls.Created, id=uid, payload=payload)

        def record(self, payload: dict[str, Any]) -> None:
            self.trigger_event(self.Recorded, payload=payload)


class Peer:
    """An application of the peer over one file, and the same facts in its own form."""

    def __init__(self, path: Path, facts: Sequence[Pending]) -> None:
        self.path = path
        self.items = [(_stream(n, f), _payload(f)) for n, f in enumerate(facts)]
        self.ids = list({stream for stream, _ in self.items})

    def save(self, size: int = 1_000) -> float:
        """Append everything, some at a time; return events a second."""
        remove(self.path)
        application = self._application()
        known: dict[uuid.UUID, Any] = {}
        began = time.perf_counter()
        for first in range(0, len(self.items), size):
            changed = {}
            for stream, payload in self.items[first : first + size]:
                aggregate = known.get(stream)
                if aggregate is None:
                    aggregate = known[stream] = OrderStream.begin(stream, payload)
                else:
                    aggregate.record(payload)
                changed[stream] = aggregate
            application.save(*changed.values())
        seconds = time.perf_counter() - began
        application.close()
        return len(self.items) / seconds

    def select(self) -> float:
        """Read and decode the whole log, folding nothing; return events a second."""
        application = self._application()
        log = LocalNotificationLog(application.recorder, section_size=1_000)
        start, count = 1, 0
        began = time.perf_counter()
        while notes := log.select(start=start, limit=1_000):
            for note in notes:
                application.mapper.to_domain_event(note)
            count += len(notes)
            start = notes[-1].id + 1
        seconds = time.perf_counter() - began
        application.close()
        return count / seconds

    def fold(self, streams: int = 2_000) -> float:
        """Fold some aggregates through its repository; return events a second."""
        application = self._application()
        chosen = self.ids[:streams]
        count = sum(len(list(application.events.get(i))) for i in chosen)
        began = time.perf_counter()
        for stream in chosen:
            application.repository.get(stream)
        seconds = time.perf_counter() - began
        application.close()
        return count / seconds

    def _application(self) -> Any:
        return Application(
            env={
                "PERSISTENCE_MODULE": "eventsourcing.sqlite",
                "SQLITE_DBNAME": f"file:{self.path}",
            }
        )


def _stream(number: int, fact: Pending) -> uuid.UUID:
    owner = getattr(fact.event, "broker_order_id", None) or getattr(fact.event, "exec_id", "")
    name = owner or fact.context.correlation_id or str(number % 1000)
    return uuid.uuid5(uuid.NAMESPACE_OID, str(name))


def _payload(fact: Pending) -> dict[str, Any]:
    payload: dict[str, Any] = from_json(codec.encode(fact.event))
    payload["wire"] = list(fact.wire or ())
    return payload
