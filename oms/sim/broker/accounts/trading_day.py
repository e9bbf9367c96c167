"""The day that IB books something to, whatever the gateway's zone. Pure.

Statements are made in New York. IB cuts a day off at 20:20 for securities; sessions of futures and
currencies end at 17:00 and what comes after is of the next day. There is none at the weekend.
(IB: Statements and Trade Confirmations, "Statement Cutoff Times"; IBKR knowledge base 594.)
"""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from oms.sim.broker.exchange.contracts import SecType

NEW_YORK: Final = ZoneInfo("America/New_York")
_SESSION_ENDS: Final = time(17)
_CUTOFF: Final = time(20, 20)
_SATURDAY: Final = 5


def trading_day(moment: datetime, sec_type: SecType = "STK") -> date:
    """Return the day to which IB books what happened at a moment."""
    there = moment.astimezone(NEW_YORK)
    is_session = sec_type in ("FUT", "FOP", "CASH")
    day = there.date()
    if there.time() >= (_SESSION_ENDS if is_session else _CUTOFF):
        day += timedelta(days=1)
    while day.weekday() >= _SATURDAY:
        day += timedelta(days=1)
    return day
