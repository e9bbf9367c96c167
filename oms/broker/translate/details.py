"""contractDetails, before ib_async reads it: the last day of a contract is its exchange's day."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final
from zoneinfo import ZoneInfo

from oms.broker.translate.fields import moment_from_wire
from oms.broker.translate.zones import zone_named

CONTRACT_DETAILS: Final = "10"
#: Day, time and zone of the last trade, with blanks or hyphens between them.
_MOMENT: Final = re.compile(r"([12]\d{7})[ -](\d\d:\d\d:\d\d)(?:[ -](.+))?")
#: From this version of the server on, the message has no version of its own.
_BARE: Final = 164


def with_exchange_day(
    fields: Sequence[str], server_version: int, zone: ZoneInfo | None
) -> list[str]:
    """Return the fields of a contractDetails with the last day as the exchange's calendar has it.

    Of some contracts TWS says the moment of the last trade, in the zone of its login (`zone`): for
    a login in Shanghai, an option of New York's Friday ends on Saturday (erdewit/ib_insync#605,
    ib-api-reloaded/ib_async#203). A text that cannot be read, or whose exchange's zone cannot,
    stays as it is.
    """
    last, where = (4, 25) if server_version >= _BARE else (5, 27)
    made = list(fields)
    if len(made) > where:
        made[last] = exchange_day(made[last], made[where], zone)
    return made


def exchange_day(text: str, exchange_zone: str, zone: ZoneInfo | None) -> str:
    """Return the day of a last trade where its exchange is; `zone` is that of TWS's login."""
    found = _MOMENT.fullmatch(text.strip())
    if found is None:
        return text
    day, clock, name = found.groups()
    moment = moment_from_wire(f"{day} {clock} {name or ''}".strip(), zone)
    if moment is None:
        return text
    there = zone_named(exchange_zone, None, moment.replace(tzinfo=None))
    return text if there is None else f"{moment.astimezone(there):%Y%m%d}"
