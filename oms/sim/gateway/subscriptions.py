"""What a session has subscribed to: kept in it under `kind:request id`, and gone with it."""

from __future__ import annotations

from typing import Any

from oms.sim.gateway.session import Session
from oms.sim.protocol.requests import Request


def key_of(request: Request) -> str:
    """Return the key of the subscription that a request begins or ends."""
    kind = request.name.removeprefix("req").removeprefix("cancel")
    return f"{kind}:{request.values['reqId']}"


def subscribe(session: Session, request: Request, value: Any) -> None:
    """Begin a subscription; another one of the same id is replaced."""
    session.subscriptions[key_of(request)] = value


def unsubscribe(session: Session, request: Request) -> bool:
    """End the subscription that a request cancels; False when there is none."""
    return session.subscriptions.pop(key_of(request), None) is not None


def subscriptions(session: Session) -> list[tuple[str, str, Any]]:
    """Return kind, request id and value of each subscription that has a request id."""
    rows = []
    for name, value in session.subscriptions.items():
        kind, colon, request_id = name.partition(":")
        if colon:
            rows.append((kind, request_id, value))
    return rows
