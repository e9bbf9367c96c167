"""Plays the doors and counts: thrown, taken, refused, faults."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from oms.core.bounds import brief
from oms.store import schema
from tests.hostile import doors
from tests.hostile.doors import SECONDS_MAX, Log, Thrown, no_longer_than


@dataclass
class Figures:
    """What came of the values at one door."""

    door: str
    thrown: int = 0
    taken: int = 0
    faults: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        refused = self.thrown - self.taken - len(self.faults)
        return (
            f"{self.door}: {self.thrown:,} thrown, {self.taken:,} taken, {refused:,} refused,"
            f" {len(self.faults)} faults"
        )


Throw = Callable[[], bool]


def play(door: str, folder: Path, first: int, step: int) -> Figures:
    """Throw each so-manieth value at a door; the folder is its own."""
    figures = Figures(door)
    for thrown, throw in islice(DOORS[door](folder), first, None, step):
        figures.thrown += 1
        try:
            with no_longer_than(SECONDS_MAX):
                figures.taken += throw()
        except Exception as error:  # noqa: BLE001  # whatever it is, it is the finding
            said = f"{type(error).__name__}: {str(error)[:300]}"
            figures.faults.append(f"{thrown.door} = {brief(thrown.value)}: {said}")
    return figures


def _events(folder: Path) -> Iterator[tuple[Thrown, Throw]]:
    throw = _throwing(folder, doors.thrown_at_event)
    for thrown, cls, fields in doors.events():
        yield thrown, lambda cls=cls, fields=fields: throw(cls, fields)


def _wires(folder: Path) -> Iterator[tuple[Thrown, Throw]]:
    throw = _throwing(folder, doors.thrown_at_wire)
    for thrown, fields in doors.wires():
        yield thrown, lambda fields=fields: throw(fields)


def _settings(folder: Path) -> Iterator[tuple[Thrown, Throw]]:
    for thrown, environment in doors.settings():
        yield thrown, lambda given=environment: doors.thrown_at_settings(folder, given)


def _lines(folder: Path) -> Iterator[tuple[Thrown, Throw]]:
    schema.upgrade(str(folder / "oms.sqlite"))
    for thrown, words in doors.lines():
        yield thrown, lambda words=words: doors.thrown_at_shell(folder, words) == 0


def _throwing(folder: Path, door: Callable[..., bool]) -> Callable[..., bool]:
    """Return the door with a log behind it, a new one after each that failed."""
    logs: list[Log] = []

    def throw(*given: Any) -> bool:
        if not logs:
            database = folder / f"{len(list(folder.iterdir()))}.sqlite"
            schema.upgrade(str(database))
            logs.append(Log(database))
        try:
            return door(logs[0], *given)
        except Exception:
            logs.pop().close()
            raise

    return throw


DOORS: dict[str, Callable[[Path], Iterator[tuple[Thrown, Throw]]]] = {
    "events": _events,
    "wires": _wires,
    "settings": _settings,
    "lines": _lines,
}
