"""What a record is: a frozen row of a projection, cheap to copy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from types import UnionType
from typing import (
    TYPE_CHECKING,
    Any,
    Final,
    Literal,
    NamedTuple,
    Self,
    Union,
    dataclass_transform,
    get_args,
    get_origin,
)

import msgspec
from msgspec import structs

from oms.core.bounds import brief
from oms.core.checks import check_of, test_of

ColumnType = Literal["text", "integer", "boolean"]
Column = str | int | bool | None

_set: Final = structs.force_setattr


class _Records(msgspec.StructMeta):
    """Makes the classes of records, and of what stands inside of one."""

    def __new__(
        mcs,
        name: str,
        bases: tuple[type, ...],
        namespace: dict[str, Any],
        *,
        frozen: bool = True,
        **options: Any,
    ) -> Any:
        """Return a class; `options` are those of `msgspec.Struct`."""
        return super().__new__(
            mcs,
            name,
            bases,
            namespace,
            frozen=frozen,
            kw_only=True,
            omit_defaults=True,
            gc=False,
            **options,
        )


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(msgspec.field,))
class Part(msgspec.Struct, metaclass=_Records, frozen=True):
    """A frozen part of a record."""

    if TYPE_CHECKING:

        def __copy__(self) -> Self: ...


class Evolving(Part):
    """A record: it can be copied with changes, whatever its number of fields."""

    def __post_init__(self) -> None:
        if not _types(type(self)).are_met(self):
            for name in self.__struct_fields__:
                _check(self, name, getattr(self, name))

    def evolve(self, **changes: object) -> Self:
        """Return a copy with some fields changed. A name that is no field is a bug and raises
        AssertionError; a value that is not of its field's type is one and raises ValueError.

        Only what changes is looked at: the fold does this for every event, and an order has
        seventy fields.
        """
        new = self.__copy__()
        enough = _types(type(self)).enough
        for name, value in changes.items():
            assert name in enough, f"{type(self).__name__} has no {{{name!r}}}"
            if type(value) not in enough[name]:
                _check(self, name, value)
            _set(new, name, value)
        return new


class _Types(NamedTuple):
    """How the fields of a class are held against their types."""

    #: Says of a record whether all of them meet theirs.
    are_met: Callable[[Evolving], bool]
    #: The classes whose every instance can be in a field.
    enough: dict[str, frozenset[type]]
    #: What says of a value whether it can.
    tests: dict[str, Callable[[Any], bool]]


@cache
def _types(cls: type[Evolving]) -> _Types:
    hints = {one.name: one.type for one in structs.fields(cls)}
    return _Types(
        check_of(hints.items()),
        {name: frozenset(_classes(hint)) for name, hint in hints.items()},
        {name: test_of(hint) for name, hint in hints.items()},
    )


def _classes(hint: Any) -> Iterator[type]:
    parts = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    yield from (one for one in parts if isinstance(one, type) and get_origin(one) is None)


def _check(record: Evolving, name: str, value: object) -> None:
    if not _types(type(record)).tests[name](value):
        hint = next(one.type for one in structs.fields(record) if one.name == name)
        kind = hint.__name__ if isinstance(hint, type) else hint
        raise ValueError(f"{name} of {type(record).__name__} must be {kind}, found {brief(value)}")
