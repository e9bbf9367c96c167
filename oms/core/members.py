"""The fields of a class of values, as the rest of the program asks for them."""

from __future__ import annotations

from functools import cache
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import structs

#: Of a field that must be given.
NO_DEFAULT: Final = msgspec.NODEFAULT


class Member(NamedTuple):
    """A field of a class."""

    #: Its type, with its row of the table of bounds.
    hint: Any
    #: `NO_DEFAULT` for none.
    default: Any

    @property
    def is_required(self) -> bool:
        """Say whether a value must be given."""
        return self.default is NO_DEFAULT


@cache
def members(cls: type[msgspec.Struct]) -> dict[str, Member]:
    """Return the fields of a class of values, in their order."""
    return {
        one.name: Member(
            one.type,
            one.default if one.default_factory is NO_DEFAULT else one.default_factory(),
        )
        for one in structs.fields(cls)
    }
