"""Who is connected: the sessions of a gateway, and the client ids that are in use."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from oms.sim.gateway.session import Session


class Clients:
    """The sessions in the order in which they connected; some have no client id yet."""

    def __init__(self) -> None:
        self.sessions: list[Session] = []
        self._by_id: dict[int, Session] = {}
        self._all_gone = asyncio.Event()
        self._all_gone.set()

    def add(self, session: Session) -> None:
        """Take in a session that has connected."""
        self.sessions.append(session)
        self._all_gone.clear()

    def name(self, session: Session, client_id: int) -> None:
        """Give a session the client id that it asked for."""
        session.client_id = client_id
        self._by_id[client_id] = session

    def remove(self, session: Session) -> None:
        """Forget a session that is gone; its client id is free again."""
        if session in self.sessions:
            self.sessions.remove(session)
        if session.client_id is not None:
            self._by_id.pop(session.client_id, None)
        if not self.sessions:
            self._all_gone.set()

    def by_id(self, client_id: int) -> Session | None:
        """Return the session of a client id, None when it is not in use."""
        return self._by_id.get(client_id)

    def ready(self) -> Iterator[Session]:
        """Yield the sessions that have started the API."""
        return (session for session in self.sessions if session.ready)

    @property
    def named(self) -> int:
        """How many client ids are in use."""
        return len(self._by_id)

    async def wait_until_gone(self) -> None:
        """Wait until every session is gone."""
        await self._all_gone.wait()
