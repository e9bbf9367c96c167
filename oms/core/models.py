"""What a value does not take, in words: each class of `values` as a model of pydantic.

A model is made when the first value of its class is in question. It decides: what it takes is
taken, whatever `checks` left open, and what it refuses is refused as `OutOfBounds` in its words.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from types import UnionType
from typing import Annotated, Any, Final, TypeVar, Union, get_args, get_origin

from msgspec import Struct
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError, create_model
from pydantic_core import from_json

from oms.core.bounds import OutOfBounds
from oms.core.members import NO_DEFAULT, members

_V = TypeVar("_V", bound=Struct)

_CONFIG: Final = ConfigDict(frozen=True, strict=True, extra="forbid")


def of_fields(cls: type[_V], fields: object) -> _V:
    """Return the value that fields make; raises `OutOfBounds`."""
    return cls(**settled(cls, fields))


def of_text(cls: type[_V], text: str) -> _V:
    """Return the value that JSON holds; raises `OutOfBounds`."""
    return cls(**_fields(_asked(model_of(cls).model_validate_json, text)))


def json_as_is(text: str) -> object:
    """Return what a text holds; None where it is not JSON."""
    try:
        return from_json(text)
    except ValueError:
        return None


def settled(cls: type[Struct], fields: object) -> dict[str, Any]:
    """Return fields as the model takes them: a word of an enum as its text, for one. Raises
    `OutOfBounds`.
    """
    return _fields(_asked(model_of(cls).model_validate, _modelled(fields)))


def hold(value: object, hint: Any) -> None:
    """Raise `OutOfBounds` for a value that is not what a type says."""
    _asked(_adapter(hint).validate_python, value)


@cache
def _adapter(hint: Any) -> TypeAdapter[Any]:
    return TypeAdapter(hint, config=ConfigDict(strict=True))


def _asked(validate: Callable[[Any], Any], given: object) -> Any:
    try:
        return validate(given)
    except ValidationError as error:
        raise OutOfBounds(error.title, error.errors(include_url=False)) from error


@cache
def model_of(cls: type[Struct]) -> type[BaseModel]:
    """Return the model of a class."""
    fields: Any = {
        name: (_hint(one.hint), ... if one.default is NO_DEFAULT else one.default)
        for name, one in members(cls).items()
    }
    model = create_model(cls.__name__, __config__=_CONFIG, **fields)
    _CLASSES[model] = cls
    return model


#: The class that a model is of.
_CLASSES: Final[dict[type[BaseModel], type[Struct]]] = {}


def _hint(hint: Any) -> Any:
    """Return a type with models in place of our classes."""
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return hint
    if origin in (Union, UnionType):
        return Union[tuple(map(_hint, parts))]  # noqa: UP007  # of a tuple
    if origin is tuple:
        return tuple[tuple(map(_hint, parts))]  # type: ignore[misc]
    if isinstance(hint, type) and issubclass(hint, Struct):
        return model_of(hint)
    return hint


def _modelled(value: object) -> object:
    if isinstance(value, Struct):
        cls = type(value)
        fields: Any = {name: _modelled(getattr(value, name)) for name in members(cls)}
        # It was checked when it was made.
        return model_of(cls).model_construct(**fields)
    if isinstance(value, Mapping):
        return {name: _modelled(one) for name, one in value.items()}
    return tuple(map(_modelled, value)) if isinstance(value, tuple) else value


def _fields(model: BaseModel) -> dict[str, Any]:
    return {name: _plain(getattr(model, name)) for name in model.model_fields_set}


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return _CLASSES[type(value)](**_fields(value))
    return tuple(map(_plain, value)) if isinstance(value, tuple) else value
