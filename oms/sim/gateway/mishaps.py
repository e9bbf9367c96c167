"""What a fault does to a message on its way in or out.

The plan decides which message is hit (`faults`); here it is lost, doubled, delayed and so on.  What
is bent is the frame's payload, never its length: the stream stays in step.  Bytes that are not a
frame at all are sent by the verb `raw_bytes`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from oms.sim.gateway.faults import Fault
from oms.sim.protocol import frames, messages, numbers
from oms.sim.protocol.layout import Values
from oms.sim.protocol.requests import Request, parse

if TYPE_CHECKING:
    from oms.sim.gateway.clients import Session


def bent(payload: bytes, fault: Fault) -> bytes:
    """A payload cut off (`truncate`) or with one byte changed (`corrupt`) at the fault's byte."""
    if fault.do == "truncate":
        return payload[: fault.at_byte or len(payload) // 2]
    at = fault.at_byte % len(payload)
    return payload[:at] + (b"#" if payload[at : at + 1] != b"#" else b"$") + payload[at + 1 :]


def to_request(session: Session, request: Request, fault: Fault) -> None:
    """Do to a client's message what the fault says."""
    gateway = session.gateway
    if fault.do == "drop":
        return
    if fault.do == "refuse" and request.name == "startApi":
        # A client that is not let in is told why and shown the door, as with 326.
        session.refuse(fault.code, fault.text)
    elif fault.do == "refuse":
        session.error(request.request_id, fault.code, fault.text)
    elif fault.do == "hold":
        gateway.held.append((session, request))
    elif fault.do == "hold_answer":
        session.hold_output()
        session.act(request)
    elif fault.do == "delay":
        gateway.clock.call_later(fault.seconds, lambda: session.act(request))
    elif fault.do == "duplicate":
        session.act(request)
        session.act(request)
    elif fault.do == "reorder":
        # It waits for the client's next message and is acted on after that.
        session.late_request = request
    elif fault.do == "edit":
        edited = replace(request, values={**request.values, **fault.set})
        numbers.check(edited.values)
        session.act(edited)
    elif fault.do in ("truncate", "corrupt"):
        session.act(parse(session.version, frames.split(bent(frames.join(request.fields), fault))))
    else:
        session.cut()


def to_message(session: Session, name: str, values: Values, fault: Fault) -> None:
    """Do to a message for a client what the fault says."""
    fields = messages.encode(name, session.version, {**values, **fault.set})
    payload = frames.join(fields)
    if fault.do == "drop":
        return
    if fault.do == "edit":
        session.send_raw(fields)
    elif fault.do == "duplicate":
        session.send_raw(fields)
        session.send_raw(fields)
    elif fault.do == "delay":
        session.gateway.clock.call_later(fault.seconds, lambda: session.send_late(fields))
    elif fault.do == "reorder":
        # It waits for the next message and goes out after it.
        session.late_message = fields
    elif fault.do == "hold":
        session.hold_output()
        session.send(name, values)
    elif fault.do in ("truncate", "corrupt"):
        session.write(frames.frame(bent(payload, fault)))
    else:
        session.write(frames.frame(payload)[: fault.at_byte])
        session.cut_after_output()
