"""The verbs for faults: put in force, listed, taken back."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from oms.sim.gateway.faults import Action, Direction, Fault, Ratio, action_of, direction_of
from oms.sim.protocol import messages
from oms.sim.protocol.requests import LAYOUT_OF
from oms.sim.script.arguments import TIMES_MAX, CommandError, Fields
from oms.sim.script.context import Context
from oms.sim.script.verb import Answer, verb


@verb(
    "faults",
    *("direction", "message", "action", "times?", "after?", "probability?", "client_id?"),
    *("where?", "set?", "seconds?", "at_byte?", "code?", "text?"),
)
def fault(context: Context, fields: Fields) -> Answer:
    """Put a fault in force: see the table of faults. `times` left out means until `clear`."""
    direction = Direction(fields.choice("direction", tuple(Direction)))
    message, outgoing = fields.text("message"), direction is Direction.OUT
    layout = messages.OUTGOING.get(message) if outgoing else LAYOUT_OF.get(message)
    made = Fault(
        direction=direction,
        message=message,
        action=action_of(direction, fields.text("action")),
        times=fields.integer_or_none("times", least=1),
        after=fields.integer("after", least=0),
        probability=Ratio(fields.probability("probability")),
        client_id=fields.integer_or_none("client_id"),
        where=fields.message_fields("where", layout),
        set=fields.message_fields("set", layout),
        delay=timedelta(seconds=fields.seconds("seconds")),
        at_byte=fields.integer("at_byte", least=0),
        code=fields.integer("code", 321, least=0),
        text=fields.text("text", "Error validating request"),
    )
    return {"fault": context.gateway.faults.add(made).number}


@verb("faults")
def faults(context: Context, fields: Fields) -> Answer:
    """The faults in force."""
    return {
        "faults": [
            {
                "fault": one.number,
                "direction": one.direction.value,
                "message": one.message,
                "action": one.action.value,
                "times": one.times,
            }
            for one in context.gateway.faults.faults
        ]
    }


@verb("faults", "fault?")
def clear(context: Context, fields: Fields) -> Answer:
    """Take back one fault by its number, or all."""
    plan = context.gateway.faults
    wanted = fields.integer_or_none("fault")
    gone = [one for one in plan.faults if wanted in (None, one.number)]
    plan.remove(gone)
    return {"removed": len(gone)}


@verb("faults", "request", "mode?", "code?", "text?", "times?", "client_id?")
def silence(context: Context, fields: Fields) -> Answer:
    """Leave a request without its answer (`mode` answer), without its end (`end`), or refuse it
    with `code` and `text` (`refuse`); `times` left out means until `unsilence`.
    """
    name, mode = fields.text("request"), fields.text("mode", "answer")
    shared: dict[str, Any] = {
        "times": fields.integer_or_none("times", least=1),
        "client_id": fields.integer_or_none("client_id"),
    }
    if mode == "answer":
        made = Fault(Direction.IN, name, Action.DROP, **shared)
    elif mode == "end":
        if name not in messages.END_OF:
            raise CommandError(f"{name} has no end message", ", ".join(messages.END_OF))
        made = Fault(Direction.OUT, messages.END_OF[name], Action.DROP, **shared)
    elif mode == "refuse":
        text = fields.text("text", "Error validating request")
        made = Fault(
            *(Direction.IN, name, Action.REFUSE),
            **shared,
            code=fields.integer("code", 321),
            text=text,
        )
    else:
        raise CommandError(f"unknown mode {mode!r}", "answer, end or refuse")
    return {"fault": context.gateway.faults.add(made).number}


@verb("faults", "request?")
def unsilence(context: Context, fields: Fields) -> Answer:
    """Take back the silences of a request, or every fault when none is named."""
    plan = context.gateway.faults
    names = {fields.text("request"), messages.END_OF.get(fields.text("request"))}
    gone = [one for one in plan.faults if not fields.has("request") or one.message in names]
    plan.remove(gone)
    return {"removed": len(gone)}


@verb("faults", "message", "what?", "times?", "client_id?")
def hold(context: Context, fields: Fields) -> Answer:
    """Hold a client's message before it is worked on (`what` processing), or work on it and hold
    everything that client would hear from then on (`what` answer), until `release`.
    """
    what = fields.text("what", "processing")
    if what not in ("processing", "answer"):
        raise CommandError(f"unknown hold {what!r}", "processing or answer")
    made = Fault(
        direction=Direction.IN,
        message=fields.text("message"),
        action=Action.HOLD if what == "processing" else Action.HOLD_ANSWER,
        times=fields.integer_or_none("times", least=1),
        client_id=fields.integer_or_none("client_id"),
    )
    return {"fault": context.gateway.faults.add(made).number}


@verb("faults")
def release(context: Context, fields: Fields) -> Answer:
    """End every hold: held messages are worked on, held answers are sent."""
    gateway = context.gateway
    plan = gateway.faults
    plan.remove([one for one in plan.faults if one.action in (Action.HOLD, Action.HOLD_ANSWER)])
    return {"released": gateway.release()}


@verb("faults", "message", "direction?", "times?", "client_id?")
def drop_next(context: Context, fields: Fields) -> Answer:
    """Lose the next `times` (1) messages of that name; `direction` is in or out (out)."""
    made = Fault(
        direction=direction_of(fields.text("direction", "out")),
        message=fields.text("message"),
        action=Action.DROP,
        times=fields.integer("times", 1, least=1, most=TIMES_MAX),
        client_id=fields.integer_or_none("client_id"),
    )
    return {"fault": context.gateway.faults.add(made).number}


VERBS: Final = (fault, faults, clear, silence, unsilence, hold, release, drop_next)
