"""What people have asked the daemon for, and what became of it: `history.requests` finds it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

from oms.core.causes import role_of
from oms.core.codec import time_text
from oms.core.events import Envelope, ReconciliationCompleted, ReconciliationStarted
from oms.report.sentences import sentence

Became = Literal["waiting", "under_way", "done", "refused"]
BECAME: Final[dict[Became, str]] = {
    "waiting": "waits for the daemon",
    "under_way": "under way",
    "done": "done",
    "refused": "refused",
}


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, and the events that are there because of it, the oldest first."""

    envelope: Envelope
    answers: tuple[Envelope, ...]

    @property
    def became(self) -> Became:
        """Say what became of it: done is what the daemon could do, and not yet what IB did."""
        if not self.answers:
            return "waiting"
        if any(
            role_of(one) == "check" or getattr(one.event, "refusal", "") for one in self.answers
        ):
            return "refused"
        kinds = {type(one.event) for one in self.answers}
        is_run = ReconciliationStarted in kinds and ReconciliationCompleted not in kinds
        return "under_way" if is_run else "done"

    @property
    def answer(self) -> str:
        """Return in words what was said to it last; empty where nothing was."""
        return sentence(self.answers[-1]) if self.answers else ""

    @property
    def about(self) -> str:
        """Return the id of the order or the break that it is about; empty for none."""
        event = self.envelope.event
        return str(getattr(event, "order_id", "") or getattr(event, "break_id", ""))


def asked_json(asked: Asked) -> dict[str, Any]:
    """Return a request as JSON values."""
    envelope, event = asked.envelope, asked.envelope.event
    return {
        "sequence": envelope.sequence,
        "recorded_at": time_text(envelope.recorded_at),
        "actor": envelope.context.actor,
        "type": type(event).__name__,
        "sentence": sentence(envelope),
        "order_id": getattr(event, "order_id", None),
        "break_id": getattr(event, "break_id", None),
        "request_id": getattr(event, "request_id", None),
        "became": asked.became,
        "answer": asked.answer or None,
        "answers": [one.sequence for one in asked.answers],
    }
