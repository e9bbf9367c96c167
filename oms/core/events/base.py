"""What every event is, and the words that several kinds of them share."""

from __future__ import annotations

from typing import ClassVar, Literal

from oms.core.values import Value

Side = Literal["BUY", "SELL"]
#: Who sent an order: we, client 0 (TWS or a program with that id), another client, our client id
#: before this log began; unknown where IB has named no client.
Origin = Literal["ours", "manual", "other_client", "previous_session", "unknown"]


class Event(Value):
    """A fact in the log."""

    #: The shape of the payload; see the package's docstring.
    VERSION: ClassVar[int] = 1
