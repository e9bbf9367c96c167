"""What a session has subscribed to: kept in it under `kind:request id`, and gone with it.

The answers that serve a kind of subscription have a class for its value.
"""

from __future__ import annotations

from collections.abc import Iterator

from oms.sim.gateway.session import Session
from oms.sim.protocol.requests import Request


def key_of(request: Request) -> str:
    """Return the key of the subscription that a request begins or ends."""
    kind = request.name.removeprefix("req").removeprefix("cancel")
    return f"{kind}:{request.values['reqId']}"


def subscribe(session: Session, request: Request, value: object) -> None:
    """Begin a subscription; another one of the same id is replaced."""
    session.subscriptions[key_of(request)] = value


def unsubscribe(session: Session, request: Request) -> bool:
    """End the subscription that a request cancels; False when there is none."""
    return session.subscriptions.pop(key_of(request), None) is not None


def subscriptions(session: Session) -> Iterator[tuple[str, object]]:
    """Yield request id and value of each subscription; the class of the value is its kind.

    Those without a request id have an empty one.
    """
    for name, value in list(session.subscriptions.items()):
        yield name.partition(":")[2], value
