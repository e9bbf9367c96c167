"""A table of rows, drawn as text.

Rich draws a table of 5,000 rows in four seconds, for it looks at each cell as a document. A list of
records is columns of short text: its widths are a maximum, and its rows are written as they are.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import Final

from rich.cells import cell_len, set_cell_size

from oms.core.shown import shown

_GAP: Final = "  "
#: What a column that folds and one that is cut keep as long as others can give way, and at last.
_FOLDED: Final = 16
_CUT: Final = 8
_LEAST: Final = 4


class Listing:
    """A table that is filled row by row. No text in it can do anything but be read."""

    def __init__(
        self, headers: Sequence[str], *, right: Sequence[str] = (), wrap: Sequence[str] = ()
    ) -> None:
        """`right` names columns of numbers, `wrap` those that are folded on a narrow screen."""
        self._headers = list(headers)
        self._is_right = [header in right for header in headers]
        self._wraps = [header in wrap for header in headers]
        self._rows: list[list[str]] = []

    def add_row(self, *cells: str) -> None:
        """Add a row, with a cell for each column."""
        self._rows.append([shown(cell) for cell in cells])

    def lines(self, width: int) -> Iterator[str]:
        """Yield the header and the rows as lines that are no wider than a screen."""
        widths = [
            max(map(_width, column)) for column in zip(self._headers, *self._rows, strict=True)
        ]
        fitted = self._fitted(widths, width - len(_GAP) * (len(widths) - 1))
        for row in (self._headers, *self._rows):
            yield from self._drawn(row, fitted)

    def _fitted(self, widths: list[int], room: int) -> list[int]:
        """Return the widths that a screen has room for: the columns that fold give way first, then
        the widest of the others.
        """
        fitted, columns = list(widths), range(len(widths))
        steps = (
            ([i for i in columns if self._wraps[i]], _FOLDED),
            ([i for i in columns if not self._wraps[i]], _CUT),
            (columns, _LEAST),
        )
        for places, least in steps:
            while places and sum(fitted) > room:
                widest = max(places, key=fitted.__getitem__)
                if fitted[widest] <= least:
                    break
                fitted[widest] -= 1
        return fitted

    def _drawn(self, row: Sequence[str], widths: Sequence[int]) -> Iterator[str]:
        cells = [
            [cell] if "\n" not in cell and _width(cell) <= width else _cut(cell, width, wraps=wraps)
            for cell, width, wraps in zip(row, widths, self._wraps, strict=True)
        ]
        for number in range(max(map(len, cells))):
            line = (
                _padded(cell[number] if number < len(cell) else "", width, right=is_right)
                for cell, width, is_right in zip(cells, widths, self._is_right, strict=True)
            )
            yield _GAP.join(line).rstrip()


def _width(cell: str) -> int:
    if "\n" in cell:
        return max(map(_width, cell.split("\n")))
    return len(cell) if cell.isascii() else cell_len(cell)


def _padded(text: str, width: int, *, right: bool) -> str:
    if text.isascii():
        return text.rjust(width) if right else text.ljust(width)
    blank = " " * (width - cell_len(text))
    return blank + text if right else text + blank


def _cut(cell: str, width: int, *, wraps: bool) -> list[str]:
    """Return a cell in lines, folded between words, or cut off with a mark that it was."""
    found: list[str] = []
    for line in cell.split("\n"):
        if _width(line) <= width:
            found.append(line)
        elif wraps and line.isascii():
            found += textwrap.wrap(line, width)
        elif wraps:
            found += _folded(line, width)
        else:
            found.append(f"{set_cell_size(line, width - 1)}…")
    return found


def _folded(line: str, width: int) -> list[str]:
    """Return text with wide characters in lines."""
    found = [""]
    for word in line.split(" "):
        joined = f"{found[-1]} {word}".lstrip()
        if cell_len(joined) <= width:
            found[-1] = joined
            continue
        found.append("")
        for character in word:
            if cell_len(found[-1]) + cell_len(character) > width:
                found.append("")
            found[-1] += character
    return [one for one in found if one]
