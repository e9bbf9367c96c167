"""What every value of the domain is: frozen, strict about its types, and without unknown fields.

A value is checked when it is made and when it is read: nearly always by one expression a field
(`checks`), else by a model (`models`), which says in words what is wrong.
"""

from __future__ import annotations

from itertools import repeat
from typing import TYPE_CHECKING, Any, Self, TypeVar, dataclass_transform

import msgspec
from msgspec import structs

from oms.core.bounds import OutOfBounds, reason_of
from oms.core.checks import check_of
from oms.core.members import members
from oms.errors import InvalidValue

_V = TypeVar("_V", bound="Value")


def fields_of(value: Value) -> dict[str, Any]:
    """Return the fields of a value, by name."""
    return structs.asdict(value)


def jsonable(value: object, *, with_defaults: bool = True) -> Any:
    """Return what JSON can carry of a value, or of a tuple of them; numbers of money as text.

    Without defaults, what has its default is left out, at every depth.
    """
    if isinstance(value, Value):
        return {
            name: jsonable(one, with_defaults=with_defaults)
            for name, one in fields_of(value).items()
            if with_defaults or one != members(type(value))[name].default
        }
    if isinstance(value, tuple):
        return [jsonable(one, with_defaults=with_defaults) for one in value]
    return msgspec.to_builtins(value)


def checked(cls: type[_V], fields: object) -> _V:
    """Return the value of fields that came from outside, nested ones as mappings; raises
    `OutOfBounds`.
    """
    return _models().of_fields(cls, fields)  # type: ignore[no-any-return]


def read_with_model(cls: type[_V], text: str) -> _V:
    """Return the value that JSON holds, which a faster reader could not read; raises
    `OutOfBounds`.
    """
    return _models().of_text(cls, text)  # type: ignore[no-any-return]


def held(value: object, hint: Any) -> None:
    """Raise `OutOfBounds` for a value that is not what a type says."""
    _models().hold(value, hint)


def json_as_is(text: str) -> object:
    """Return what a text holds that is no value of ours; None where it is not JSON."""
    return _models().json_as_is(text)


def _models() -> Any:
    # Here, because it loads pydantic, which good values do without.
    from oms.core import models  # noqa: PLC0415

    return models


def _post_init() -> Any:
    is_plain = None

    def __post_init__(self: Value) -> None:
        nonlocal is_plain
        if is_plain is None:
            is_plain = check_of((name, one.hint) for name, one in members(type(self)).items())
        try:
            if is_plain(self):
                return
        except Exception:  # noqa: BLE001  # the model says what it is
            pass
        _settle(self)

    return __post_init__


def _settle(value: Value) -> None:
    """Make the fields of a new value what its model makes of them; raises `OutOfBounds`."""
    fields = {name: getattr(value, name) for name in value.__struct_fields__}
    for name, one in _models().settled(type(value), fields).items():
        if one is not fields[name]:
            structs.force_setattr(value, name, one)


class _Values(msgspec.StructMeta):
    """Makes the classes of values."""

    def __new__(
        mcs,
        name: str,
        bases: tuple[type, ...],
        namespace: dict[str, Any],
        *,
        frozen: bool = True,
        **options: Any,
    ) -> Any:
        """Return a class; `options` are those of `msgspec.Struct`.

        The stored text leaves out what is None and nothing else, but msgspec leaves out what has
        its default. So every other default is made one by one: those it writes.
        """
        for field, hint in namespace.get("__annotations__", {}).items():
            default = namespace.get(field)
            if default is not None and not str(hint).startswith("ClassVar"):
                namespace[field] = msgspec.field(default_factory=repeat(default).__next__)
        namespace["__post_init__"] = _post_init()
        return super().__new__(
            mcs,
            name,
            bases,
            namespace,
            frozen=frozen,
            kw_only=True,
            omit_defaults=True,
            forbid_unknown_fields=True,
            # Nothing that is frozen and made of frozen things is part of a circle.
            gc=False,
            **options,
        )


@dataclass_transform(kw_only_default=True, frozen_default=True)
class Value(msgspec.Struct, metaclass=_Values, frozen=True):
    """A frozen value whose every copy is checked as its first was."""

    def evolve(self, **changes: object) -> Self:
        """Return a copy with some fields changed; raises `OutOfBounds` for a field or a value that
        the class does not take.
        """
        try:
            return structs.replace(self, **changes)
        except TypeError:  # a name that is no field
            before = {name: getattr(self, name) for name in self.__struct_fields__}
            return checked(type(self), before | changes)


class _GivenValues(_Values):
    if not TYPE_CHECKING:  # a type checker makes the signature from the fields

        def __call__(cls, /, **fields: object) -> Any:
            try:
                return super().__call__(**fields)
            except OutOfBounds as error:
                raise _in_words(cls, error) from error
            except TypeError:  # a name that is no field, or one that is missing
                try:
                    return checked(cls, fields)
                except OutOfBounds as error:
                    raise _in_words(cls, error) from error


class Given(Value, metaclass=_GivenValues):
    """A value that callers make: what it does not take is refused in words, as `InvalidValue`."""

    def evolve(self, **changes: object) -> Self:
        """Return a copy with some fields changed; raises `InvalidValue`."""
        try:
            return super().evolve(**changes)
        except OutOfBounds as error:
            raise _in_words(type(self), error) from error


def _in_words(cls: type[Given], error: OutOfBounds) -> InvalidValue:
    return InvalidValue(f"{cls.__name__}: {reason_of(error)}")
