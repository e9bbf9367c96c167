"""What a field list looks like at each server version, written down once and used both ways.

`Layout.encode` turns named values into fields, `Layout.decode` turns fields into named values; both
follow the same parts, so they cannot disagree. Values are text: what a client sent for a field that
is not understood here comes back to it unchanged.

A layout is written with

    a text      names of consecutive plain fields
    Since       what exists from, or up to, a server version
    When        what exists when an earlier value says so
    Repeat      a count and that many groups
    Conditions  order conditions, whose width depends on their type

and compiled to `Part`s for each version.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Final, Protocol, assert_never

from oms.sim.protocol.errors import WireError
from oms.sim.protocol.fields import is_digits
from oms.sim.protocol.versions import SERVER_VERSION_MAX, SERVER_VERSION_MIN

Values = Mapping[str, Any]
Test = Callable[[Values], bool]

#: Fields of a condition after its type and its conjunction: price, time, margin, execution,
#: volume, percent change.
CONDITION_FIELDS: Final[Mapping[str, tuple[str, ...]]] = {
    "1": ("isMore", "price", "conId", "exch", "triggerMethod"),
    "3": ("isMore", "time"),
    "4": ("isMore", "percent"),
    "5": ("secType", "exch", "symbol"),
    "6": ("isMore", "volume", "conId", "exch"),
    "7": ("isMore", "changePercent", "conId", "exch"),
}


class Part(Protocol):
    """A piece of a field list at one version."""

    def encode(self, values: Values, out: list[str]) -> None:
        """Append the fields of some values."""

    def decode(self, fields: Sequence[str], at: int, into: dict[str, Any]) -> int:
        """Read the fields from `at` on, and return where the next part begins.

        Raises WireError when they cannot be read.
        """


@dataclass(frozen=True, slots=True)
class Run(Part):
    """Plain fields in order. Every one has a value: `Layout.encode` puts the defaults in."""

    names: tuple[str, ...]
    values_of: Callable[[Values], tuple[str, ...]]

    @classmethod
    def of(cls, names: Sequence[str]) -> Run:
        """Return the run of these names."""
        # One call into C for the whole run: the long messages have more than a hundred fields.
        if len(names) == 1:
            (only,) = names
            return cls((only,), lambda values: (values[only],))
        return cls(tuple(names), itemgetter(*names))

    def encode(self, values: Values, out: list[str]) -> None:
        out += self.values_of(values)

    def decode(self, fields: Sequence[str], at: int, into: dict[str, Any]) -> int:
        return _fields_of(self.names, fields, at, into)


@dataclass(frozen=True, slots=True)
class _Branch(Part):
    """A `When` at one version."""

    test: Test
    parts: tuple[Part, ...]

    def encode(self, values: Values, out: list[str]) -> None:
        if self.test(values):
            for part in self.parts:
                part.encode(values, out)

    def decode(self, fields: Sequence[str], at: int, into: dict[str, Any]) -> int:
        if self.test(into):
            for part in self.parts:
                at = part.decode(fields, at, into)
        return at


@dataclass(frozen=True, slots=True)
class Repeat(Part):
    """A count, then that many groups of the same fields. The value is a list of dictionaries.

    A group may have one of its own inside, after its plain fields and before `tail`.
    """

    name: str
    items: tuple[str, ...]
    inner: Repeat | None = None
    tail: tuple[str, ...] = ()

    def encode(self, values: Values, out: list[str]) -> None:
        groups = values.get(self.name, ())
        out.append(str(len(groups)))
        for group in groups:
            out += [group.get(item, "") for item in self.items]
            if self.inner is not None:
                self.inner.encode(group, out)
            out += [group.get(item, "") for item in self.tail]

    def decode(self, fields: Sequence[str], at: int, into: dict[str, Any]) -> int:
        count, at = _count(fields, at, self.name)
        groups: list[dict[str, Any]] = []
        into[self.name] = groups
        # Checked before the loop: a count of its own must not make millions of groups.
        if at + count * (len(self.items) + len(self.tail)) > len(fields):
            raise WireError(f"{self.name} announces {count} groups, the frame ends before them")
        for _ in range(count):
            group: dict[str, Any] = {}
            at = _fields_of(self.items, fields, at, group)
            if self.inner is not None:
                at = self.inner.decode(fields, at, group)
            at = _fields_of(self.tail, fields, at, group)
            groups.append(group)
        return at


@dataclass(frozen=True, slots=True)
class Conditions(Part):
    """Order conditions: count, the conditions, and two flags when there are any."""

    def encode(self, values: Values, out: list[str]) -> None:
        conditions = values.get("conditions", ())
        out.append(str(len(conditions)))
        for condition in conditions:
            kind = condition["condType"]
            out += [kind, condition.get("conjunction", "a")]
            out += [condition.get(name, "") for name in CONDITION_FIELDS[kind]]
        if conditions:
            out.append(values.get("conditionsIgnoreRth", "0"))
            out.append(values.get("conditionsCancelOrder", "0"))

    def decode(self, fields: Sequence[str], at: int, into: dict[str, Any]) -> int:
        count, at = _count(fields, at, "conditions")
        conditions = []
        for _ in range(count):
            kind = fields[at] if at < len(fields) else ""
            if kind not in CONDITION_FIELDS:
                raise WireError(f"{kind!r} is not a condition type")
            names = ("condType", "conjunction", *CONDITION_FIELDS[kind])
            condition: dict[str, Any] = {}
            at = Run.of(names).decode(fields, at, condition)
            conditions.append(condition)
        into["conditions"] = conditions
        if conditions:
            flags = ("conditionsIgnoreRth", "conditionsCancelOrder")
            at = Run.of(flags).decode(fields, at, into)
        return at


@dataclass(frozen=True, slots=True)
class When:
    """What is there when `test` of the values before it says so."""

    test: Test
    source: tuple[Source, ...]


@dataclass(frozen=True, slots=True)
class Since:
    """What exists at versions `since` up to, but not including, `until`."""

    source: tuple[Source, ...]
    since: int = 0
    until: int = 1_000_000


#: What a layout is written with. A text holds names of fields, `name=default` where the default is
#: not empty.
Source = str | Repeat | Conditions | When | Since


class Layout:
    """A message's field list at every server version.

    Each version is compiled on first use.
    """

    def __init__(self, *source: Source) -> None:
        self._source = source
        self._compiled: dict[int, tuple[Part, ...]] = {}
        self._defaults: dict[str, str] = {}

    def encode(self, version: int, values: Values) -> list[str]:
        """Return the field list; a value that is missing is sent as its default."""
        parts = self._parts(version)
        whole = {**self._defaults, **values}
        out: list[str] = []
        for part in parts:
            part.encode(whole, out)
        return out

    def decode(self, version: int, fields: Sequence[str]) -> dict[str, Any]:
        """Return the named values of a field list. Raises WireError when it is too short.

        Fields after the last known one are left alone: IB ignores them too.
        """
        into: dict[str, Any] = {}
        at = 0
        for part in self._parts(version):
            at = part.decode(fields, at, into)
        return into

    def names(self) -> frozenset[str]:
        """Return the plain fields of every version: those that a text can be put into."""
        for version in (SERVER_VERSION_MIN, 163, SERVER_VERSION_MAX):
            self._parts(version)
        return frozenset(self._defaults)

    def _parts(self, version: int) -> tuple[Part, ...]:
        parts = self._compiled.get(version)
        if parts is None:
            parts = self._compiled[version] = _compile(self._source, version, self._defaults)
        return parts


def _compile(source: Sequence[Source], version: int, defaults: dict[str, str]) -> tuple[Part, ...]:
    """The parts of one version. What fields are sent as by default goes into `defaults`."""
    parts: list[Part] = []
    names: list[str] = []

    def close_run() -> None:
        if names:
            parts.append(Run.of(names))
            names.clear()

    def walk(items: Sequence[Source]) -> None:
        for item in items:
            match item:
                case str():
                    for word in item.split():
                        name, _, default = word.partition("=")
                        names.append(name)
                        defaults.setdefault(name, default)
                case Since():
                    if item.since <= version < item.until:
                        walk(item.source)
                case When():
                    close_run()
                    parts.append(_Branch(item.test, _compile(item.source, version, defaults)))
                case Repeat() | Conditions():
                    close_run()
                    parts.append(item)
                case _:
                    assert_never(item)

    walk(source)
    close_run()
    return tuple(parts)


def _fields_of(names: tuple[str, ...], fields: Sequence[str], at: int, into: dict[str, Any]) -> int:
    end = at + len(names)
    if end > len(fields):
        raise WireError(f"{len(fields)} fields, {names[len(fields) - at]} is missing")
    into.update(zip(names, fields[at:end], strict=True))
    return end


def _count(fields: Sequence[str], at: int, name: str) -> tuple[int, int]:
    if at >= len(fields):
        raise WireError(f"{len(fields)} fields, the count of {name} is missing")
    text = fields[at]
    if text and not is_digits(text):
        raise WireError(f"{text!r} is not a count of {name}")
    return int(text or 0), at + 1
