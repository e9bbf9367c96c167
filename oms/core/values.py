"""What every value of the domain is: frozen, strict about its types, and without unknown fields."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict


class Value(BaseModel):
    """A frozen value whose every copy is checked as its first was."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    def evolve(self, **changes: object) -> Self:
        """Return a copy with some fields changed; raises `pydantic.ValidationError` for a field or
        a value that the class does not take.

        `model_copy(update=...)` checks neither, so that a misspelt name would go into the log. For
        what is copied for every event this costs too much (3 us): see `fold.records`.
        """
        return type(self).model_validate(self.__dict__ | changes)
