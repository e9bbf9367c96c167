"""A verb: what can be done to a running gateway, on the control port and in scenarios.

A verb is a function with a docstring and a list of its fields; the reference page is made from
them. Amounts are text, so that no number passes through binary floating point.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from oms.sim.script.arguments import Fields
from oms.sim.script.context import Context

Answer = dict[str, Any]
Action = Callable[[Context, Fields], Answer]


@dataclass(frozen=True, slots=True)
class Verb:
    """One command."""

    name: str
    #: Where the reference lists it.
    group: str
    #: The names of its fields; those that may be left out end in `?`.
    fields: tuple[str, ...]
    action: Action

    @property
    def description(self) -> str:
        """What the reference says: the docstring of the action."""
        return " ".join((self.action.__doc__ or "").split())


def verb(group: str, *fields: str) -> Callable[[Action], Verb]:
    """Make a function a verb under its own name, without the `_` that keeps it from a builtin's."""

    def make(action: Action) -> Verb:
        return Verb(action.__name__.rstrip("_"), group, fields, action)

    return make
