"""Signed checkpoints of the log, and where they are kept."""

from __future__ import annotations

from typing import Literal

from oms.core.bounds import Prose, SequenceNumber
from oms.core.events.base import Event
from oms.core.values import Value


class CheckpointKept(Value):
    """What became of a checkpoint in one place outside the log."""

    place: Literal["file", "command", "timestamp"]
    ok: bool
    text: Prose = ""


class CheckpointSigned(Event):
    """The events from `first` to `last` stand under a signature."""

    first: SequenceNumber
    last: SequenceNumber
    #: The whole signed note (log format: checkpoints).
    note: Prose
    #: The answer of a time stamp authority (RFC 3161), as base64; empty where none was asked.
    timestamp: Prose = ""
    kept: tuple[CheckpointKept, ...]
    #: Signed notes about new keys that stand before it (log format: checkpoints).
    key_notes: tuple[Prose, ...] = ()
