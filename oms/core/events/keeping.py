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


class SegmentArchived(Event):
    """A part of the log stands in an archive, with its chain, and was read back from there."""

    first: SequenceNumber
    last: SequenceNumber
    #: The hash of the event before the first, and of the last.
    hash_before: Word
    hash: Word
    #: Where it was written, and the sha256 of its manifest.
    folder: Prose
    digest: Word


class TextsRemoved(Event):
    """Texts of a segment stand in the archive alone from here on: payload and wire fields of the
    messages to and from the broker left the database in the transaction of this fact. Their
    headers, hashes and natural keys stayed, and so did every fact of our own.
    """

    first: SequenceNumber
    last: SequenceNumber
    #: Where the segment stands, and the sha256 of its manifest.
    folder: Prose
    digest: Word
    reason: Prose


class HoldPlaced(Event):
    """A legal hold: nothing of these events may be discarded, in no copy, until it is released."""

    name: Word
    reason: Prose
    #: The first and the last event that it covers; None for every one, those to come included.
    first: SequenceNumber | None = None
    last: SequenceNumber | None = None


class HoldReleased(Event):
    """A legal hold ended."""

    name: Word
    reason: Prose
