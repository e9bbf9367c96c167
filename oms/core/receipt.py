"""What the log answers when it has taken a fact."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Receipt:
    """Where a fact stands in the log."""

    sequence: int
    #: It is stored already, under the same natural key with the same meaning or word for word;
    #: `sequence` is the stored event's.
    duplicate: bool = False
    #: The natural key was stored already with another meaning; `sequence` is that of the
    #: `NaturalKeyConflict` which was stored instead. An intent with this receipt must not be sent.
    conflict: bool = False
    #: Type and payload of the event at `sequence`, where they may not be those of the fact.
    stored: tuple[str, str] | None = field(default=None, compare=False)
