"""What every event is, and the words that several kinds of them share."""

from __future__ import annotations

from typing import ClassVar, Literal

from oms.core.values import Value

Side = Literal["BUY", "SELL"]
Origin = Literal["ours", "manual", "other_client", "previous_session"]


class Event(Value):
    """A fact in the log."""

    #: The shape of the payload; see the package's docstring.
    VERSION: ClassVar[int] = 1
