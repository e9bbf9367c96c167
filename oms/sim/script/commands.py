"""What can be done to a running gateway from outside: every verb, and the doing of one command."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, Final

from oms.sim.broker.rules.checks import Refusal
from oms.sim.gateway.gateway import Gateway
from oms.sim.protocol.errors import WireError
from oms.sim.script import (
    book_verbs,
    fault_verbs,
    market_verbs,
    message_verbs,
    order_verbs,
    position_verbs,
    socket_verbs,
)
from oms.sim.script.arguments import CommandError, Fields
from oms.sim.script.context import Context
from oms.sim.script.verb import Answer, Verb

log = logging.getLogger("oms.sim.script.commands")

#: Every verb by its name.
VERBS: Final[Mapping[str, Verb]] = {
    one.name: one
    for verbs in (
        book_verbs.VERBS,
        market_verbs.VERBS,
        position_verbs.VERBS,
        order_verbs.VERBS,
        socket_verbs.VERBS,
        message_verbs.VERBS,
        fault_verbs.VERBS,
    )
    for one in verbs
}


class Commands:
    """Does commands to one gateway."""

    def __init__(self, gateway: Gateway, *, on_quit: Callable[[], None] | None = None) -> None:
        self._context = Context(gateway, on_quit=on_quit)

    def do(self, command: Mapping[str, Any]) -> Answer:
        """Do one command. Never raises for a command that is wrong: the answer says so."""
        values = dict(command)
        name = values.pop("do", None)
        found = VERBS.get(name) if isinstance(name, str) else None
        if found is None:
            return failure(f"unknown command {name!r}", "one of " + ", ".join(sorted(VERBS)))
        if self._context.gateway.stopped:
            return failure("the gateway has stopped", "start another one")
        try:
            answer = found.action(self._context, Fields(found.name, found.fields, values))
            self._context.gateway.flush()
        except CommandError as error:
            return failure(str(error), error.hint)
        except Refusal as refusal:
            return failure(refusal.text, f"the gateway would answer code {refusal.code}")
        except (ValueError, LookupError, WireError) as error:
            return failure(f"{name}: {error}", found.description)
        except Exception as error:
            # A mistake of ours, not of who asked: the line is answered and the gateway goes on.
            log.exception("the verb %s failed on %s", name, values)
            return failure(f"{name} failed: {error!r}", "a fault of the simulator; its log has it")
        return {"ok": True, **answer}


def failure(error: str, hint: str) -> Answer:
    """Return the answer to a command that cannot be done, and what to try instead."""
    return {"ok": False, "error": error, "hint": hint}
