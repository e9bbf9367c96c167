"""Every fact the log can hold, and the envelope it is kept in.

A fact is a frozen value (`core.values`); its class name is its name in the log for ever, and
`VERSION` its shape. Adding a field with a default, or a word to a closed list, keeps the version: a
program that does not know it sets the event aside and goes on. What such a program must not go on
without is a new version, as is everything else, with an upcaster in `codec`. Facts that end in
*Received* are broker messages: the envelope beside them keeps the wire fields verbatim, so a better
decoder can read them again.

The facts deliberately do not say which of our orders a broker message belongs to: IB reuses order
ids across sessions, so attribution is a fold over the log (`books`) that can be corrected and
replayed (decision D1).
"""

from __future__ import annotations

from typing import Final

from oms.core.events.access import *
from oms.core.events.base import *
from oms.core.events.broker import *
from oms.core.events.cases import *
from oms.core.events.checkpoints import *
from oms.core.events.daemon import *
from oms.core.events.envelope import *
from oms.core.events.keeping import *
from oms.core.events.orders import *
from oms.core.events.reconciliation import *
from oms.core.events.requests import *
from oms.core.events.watchman import *

#: Every fact there is, by its name in the log.
EVENT_TYPES: Final[dict[str, type[Event]]] = {cls.__name__: cls for cls in Event.__subclasses__()}
