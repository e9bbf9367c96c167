"""The dictionary of a pack: what each file, column, event and field of it means.

The words are those of the code: docstrings, and the `#:` comments above fields.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence

from oms.core.contracts import ComboLeg, Contract
from oms.core.events import EVENT_TYPES, Adjustment, Finding, Question, Terms
from oms.core.members import members
from oms.core.values import Value
from oms.history.columns import Column

#: Values that stand inside of events.
_INSIDE = (Terms, Contract, ComboLeg, Question, Finding, Adjustment)


def columns_in_words(columns: Sequence[Column]) -> list[dict[str, str]]:
    """Return the columns of a file, described."""
    return [{"name": one.name, "kind": one.kind, "meaning": one.meaning} for one in columns]


def events_in_words() -> dict[str, object]:
    """Return every kind of event, and the values inside of them, described."""
    classes: list[type[Value]] = [*EVENT_TYPES.values(), *_INSIDE]
    return {cls.__name__: _described(cls) for cls in classes}


def _described(cls: type[Value]) -> dict[str, object]:
    meaning = " ".join((inspect.getdoc(cls) or "").split())
    comments: list[str] = []
    fields: dict[str, str] = {}
    for line in inspect.getsource(cls).splitlines():
        text = line.strip()
        name = text.partition(":")[0]
        if text.startswith("#:"):
            comments.append(text.removeprefix("#:").strip())
        else:
            if name in members(cls):
                fields[name] = " ".join(comments)
            comments = []
    return {"meaning": meaning, "fields": fields}
