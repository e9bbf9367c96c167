"""What an export of events carries so that each of them can be held against a signed checkpoint.

A checkpoint signs the root of a tree over its events. An export that has only some of them carries
the roots of those parts of the tree of which it has none: with its own events they give the root.
Of the other events that shows hashes, from which nothing can be read.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Final

from oms.errors import ChainBroken
from oms.evidence.checkpoints import note_line, root_of, roots_beside
from oms.files import whole_file
from oms.store import audit
from oms.verify import CHECKPOINT, CHECKPOINTS, GENESIS, PROOFS, Checkpoint, Note

#: Events of which one line speaks, where no checkpoint covers them.
_UNSIGNED_MAX: Final = 100_000


class Proofs:
    """The signed notes of a log, and what they prove of some of its events; blocks its callers."""

    def __init__(self, url: str, notes: Sequence[Note] = ()) -> None:
        self._url = url
        self._notes = notes
        self._marks = [Checkpoint.of(one) for one in notes if one.kind == CHECKPOINT]
        self._ends = [one.last for one in self._marks]

    def write(
        self, folder: Path, first: int, last: int, sequences: Iterable[int] | None = None
    ) -> int:
        """Write the notes that cover some events of a range, all of them where none are named, and
        what shows that these stand under them; return how many checkpoints there are.

        Raises `ChainBroken` where the log does not have the events that were signed.
        """
        notes = self._notes_over(last)
        with whole_file(folder / CHECKPOINTS) as file:
            for note in notes:
                file.write(note_line(note).encode())
        lines = self._of_range(first, last) if sequences is None else self._of_some(sequences)
        with whole_file(folder / PROOFS) as file:
            for line in lines:
                file.write(line.encode())
        return sum(note.kind == CHECKPOINT for note in notes)

    def _notes_over(self, last: int) -> list[Note]:
        """Return the notes about keys, and the checkpoints to the one that covers an event."""
        over = self._over(last)
        end = over.last if over is not None else last
        return [n for n in self._notes if n.kind != CHECKPOINT or Checkpoint.of(n).last <= end]

    def _of_range(self, first: int, last: int) -> Iterator[str]:
        """Yield the line for a whole range that ends in the middle of a checkpoint's events; the
        hashes tie all others to a checkpoint's end.
        """
        mark = self._over(last)
        if mark is not None and mark.last > last:
            yield self._under(mark, range(max(first, mark.first), last + 1), [])

    def _of_some(self, sequences: Iterable[int]) -> Iterator[str]:
        """Yield the lines for events that are no whole range, in their order."""
        after = 0
        for _, group in groupby(sequences, self._stretch):
            chosen = list(group)
            lone = [
                s for s, previous in zip(chosen, [after, *chosen], strict=False) if s > previous + 1
            ]
            after = chosen[-1]
            mark = self._over(after)
            if mark is not None:
                yield self._under(mark, chosen, lone)
            else:
                hashes = self._hashes(chosen[0], after)
                before = [hashes[one - chosen[0]] for one in lone]
                yield _line(chosen[0], after, before, [])

    def _under(self, mark: Checkpoint, chosen: Sequence[int], lone: Sequence[int]) -> str:
        hashes = self._hashes(mark.first, mark.last)
        return _proven(mark, hashes, chosen, lone)

    def _hashes(self, first: int, last: int) -> list[bytes]:
        """Return the hashes of a range, and of the event before it."""
        before = [GENESIS] if first == 1 else []
        return before + audit.hashes(self._url, max(1, first - 1), last)

    def _over(self, sequence: int) -> Checkpoint | None:
        at = bisect_left(self._ends, sequence)
        mark = self._marks[at] if at < len(self._marks) else None
        return mark if mark is not None and mark.first <= sequence else None

    def _stretch(self, sequence: int) -> tuple[int, int]:
        """Return what is the same for events that stand in one line."""
        page = 0 if self._over(sequence) is not None else 1 + sequence // _UNSIGNED_MAX
        return bisect_left(self._ends, sequence), page


def _proven(
    mark: Checkpoint, hashes: Sequence[bytes], chosen: Sequence[int], lone: Sequence[int]
) -> str:
    leaves = hashes[1:]
    if len(leaves) != mark.last - mark.first + 1 or root_of(leaves) != mark.root:
        raise ChainBroken(
            f"the events {mark.first} to {mark.last} are not those that were signed",
            sequence=mark.first,
        )
    before = [hashes[one - mark.first] for one in lone]
    roots = roots_beside(leaves, [one - mark.first for one in chosen])
    return _line(mark.first, mark.last, before, roots)


def _line(first: int, last: int, before: Iterable[bytes], roots: Iterable[bytes]) -> str:
    hexadecimal = {"before": [*map(bytes.hex, before)], "roots": [*map(bytes.hex, roots)]}
    return json.dumps({"first": first, "last": last, **hexadecimal}) + "\n"
