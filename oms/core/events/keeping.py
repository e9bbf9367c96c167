"""Keeping the log: what was restored, archived and held."""

from __future__ import annotations

from typing import Literal

from oms.core.bounds import Instant, Prose, SequenceNumber, Word
from oms.core.events.base import Event


class BackupRestored(Event):
    """The log goes on from a backup."""

    #: The file, and when it was made; None where no manifest stood beside it.
    backup: Prose
    made_at: Instant | None = None
    #: Where the log ended in it.
    sequence: SequenceNumber
    hash: Word
    recorded_at: Instant
    #: What the log had beyond it: nothing, as the head file of the old place shows; events, as it
    #: shows; or nobody knows.
    missing: Literal["nothing", "events", "unknown"]
    text: Prose = ""
