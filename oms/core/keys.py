"""Our ids of orders: which texts can be one, and what an order gets that brings none.

An id travels in orderRef, so what IB shows there is an id of ours wherever it can be one.
"""

from __future__ import annotations

import re
from typing import Final

#: IB shows more, but not everywhere; keys of callers are shorter.
ORDER_ID_LENGTH_MAX: Final = 64
_KEY: Final = re.compile(r"[A-Za-z0-9._:\-]+")
_NUMBERED: Final = re.compile(r"perm-\d+")


def can_be_key(text: str) -> bool:
    """Say whether a text can travel to IB in orderRef and back unchanged."""
    return 1 <= len(text) <= ORDER_ID_LENGTH_MAX and _KEY.fullmatch(text) is not None


def numbered_id(perm_id: int) -> str:
    """Return our id for an order that IB named first and that brings no id of its own."""
    return f"perm-{perm_id}"


def is_numbered(order_id: str) -> bool:
    """Say whether an id has the form that `numbered_id` makes; nobody may choose such a one."""
    return _NUMBERED.fullmatch(order_id) is not None
