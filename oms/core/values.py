"""What every value of the domain is: frozen, strict about its types, and without unknown fields."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from oms.core.bounds import reason_of
from oms.errors import InvalidValue


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


class Given(Value):
    """A value that callers make: what it does not take is refused in words, as `InvalidValue`."""

    if not TYPE_CHECKING:  # a type checker makes the signature from the fields

        def __init__(self, /, **fields: object) -> None:
            """Raises `InvalidValue`."""
            try:
                self.__pydantic_validator__.validate_python(fields, self_instance=self)
            except ValidationError as error:
                raise InvalidValue(f"{type(self).__name__}: {reason_of(error)}") from error

        # Else pydantic would call it for every stored event with such a value inside.
        __init__.__pydantic_base_init__ = True

    def evolve(self, **changes: object) -> Self:
        """Return a copy with some fields changed; raises `InvalidValue`."""
        try:
            return super().evolve(**changes)
        except ValidationError as error:
            raise InvalidValue(f"{type(self).__name__}: {reason_of(error)}") from error
