"""Who may use the service for other programs."""

from __future__ import annotations

from typing import Literal

from oms.core.bounds import Prose, Word
from oms.core.events.base import Event

#: What a token may do: look; send and change its own orders; everything that a person may.
Right = Literal["read", "trade", "operate"]


class AccessGranted(Event):
    """A person gave a program a token. One that it had under this name before is worth nothing."""

    #: The actor of whatever is done with it, such as `strategy:alpha`.
    name: Word
    right: Right
    #: SHA-256 of the token, as hex; the token itself is nowhere.
    digest: Word
    reason: Prose = ""


class AccessRevoked(Event):
    """A person took a program's token away; its streams end."""

    name: Word
    reason: Prose = ""
