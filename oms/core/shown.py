"""Text from outside as it may be shown: what a terminal or a browser would obey is written out.

IB passes on what any client of the login sets, an order's reference above all. Escape sequences can
move the cursor, name a link, or answer in the operator's name; marks of direction make a line read
as another one. They stay as they came in the log, and are shown as JSON writes them.
"""

from __future__ import annotations

import json
import unicodedata


def shown(text: str) -> str:
    r"""Return text with every control and invisible mark written out as `\u202e`; only spaces, tabs
    and ends of lines remain.

    JSON stays the same JSON.
    """
    return text if text.isprintable() else "".join(map(_shown_character, text))


def _shown_character(character: str) -> str:
    if character.isprintable() or character in "\n\t" or unicodedata.category(character) == "Zs":
        return character
    return json.dumps(character)[1:-1]
