"""The three forms of an export, each written row by row, durably, and able to go on.

What a writer says it has kept is on the disk. Given that again, a writer checks that it is still
there, drops whatever came after it, and goes on; the files then are those that one run would have
written.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import json
import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Context, Decimal
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, Literal, Protocol

from oms.core.bounds import Count, Label, Word, brief
from oms.core.values import Value
from oms.errors import ConfigurationError, ExportFailed, InvalidRequest
from oms.history.columns import Cell, Column, Kind, Row

if TYPE_CHECKING:
    import pyarrow

#: `csv-semicolon` is for spreadsheets of countries that write 1,5: they take a comma for no end of
#: a column, and 1.5 for a text or a day.
Form = Literal["jsonl", "csv", "csv-semicolon", "parquet"]

#: Digits of a number in Parquet, and those behind the point: 10^20 with the smallest step of any
#: security that IB trades (10^-8 of a coin) and ten digits more.
DIGITS: Final = 38
DECIMALS: Final = 18
#: Rows of a Parquet file and of a group in it. A file is what can be kept, a group is in memory.
PART_ROWS: Final = 200_000
GROUP_ROWS: Final = 10_000
#: Rows after which a page of a column is looked at: it ends where it has a megabyte.
_PAGE_ROWS: Final = 16
#: A spreadsheet calculates what begins with one of these; the last five are the wide ones of East
#: Asia. An apostrophe in front says that it is text, so one that was there gets another.
FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "'", "＝", "＋", "－", "＠")

_STEP: Final = Decimal(1).scaleb(-DECIMALS)
_WIDE: Final = Context(prec=2_000)
_CHUNK: Final = 1 << 20


class Made(Value):
    """A file of an export, as it is on the disk."""

    name: Label
    bytes: Count
    rows: Count
    sha256: Word


class NotKept(Exception):
    """What an earlier run has kept is not there any more, or was altered."""


class Writer(Protocol):
    """Takes rows and makes files of them."""

    def write(self, rows: Sequence[Row]) -> None:
        """Take rows; raises `OSError`, and `ConfigurationError` for a value that it cannot hold."""
        ...

    def keep(self) -> tuple[Made, ...]:
        """Make what can be kept durable and return it; the rows that came later are not in it."""
        ...

    def end(self) -> tuple[Made, ...]:
        """Finish all files, durably, and return them."""
        ...

    def close(self) -> None:
        """Let go of the files, whatever state they are in."""
        ...


def writer_of(
    form: Form,
    folder: Path,
    name: str,
    columns: Sequence[Column],
    kept: Sequence[Made] = (),
) -> Writer:
    """Return a writer of files of that name into a folder, which goes on behind what is kept.

    Raises `NotKept` where that is not there, and `ConfigurationError` where the form needs a
    package that is not installed.
    """
    match form:
        case "jsonl":
            return _Lines(folder, f"{name}.jsonl", columns, kept)
        case "csv":
            return _Sheet(folder, f"{name}.csv", columns, kept)
        case "csv-semicolon":
            return _SheetWithSemicolons(folder, f"{name}.csv", columns, kept)
        case "parquet":
            return _Parts(folder, name, columns, kept)


def check_form(form: Form, name: str) -> None:
    """Raise `ConfigurationError` where a form needs a package that is not installed, and
    `InvalidRequest` where it is none of what is exported.
    """
    if form == "parquet":
        _arrow()
    if form == "csv-semicolon" and name == "events":
        raise InvalidRequest(
            "events are not written with semicolons: what checks them reads commas",
            hint="--format csv, or fills",
        )


# ── text ─────────────────────────────────────────────────────────────────────────────────────────


class _Text(ABC):
    """One file of text."""

    def __init__(
        self, folder: Path, name: str, columns: Sequence[Column], kept: Sequence[Made]
    ) -> None:
        self._name = name
        self._columns = columns
        self._digest = hashlib.sha256()
        self._bytes = self._rows = 0
        if kept:
            self._file = self._go_on(folder / name, kept)
        else:
            self._file = _created(folder / name)
            self._put(self._head())

    def write(self, rows: Sequence[Row]) -> None:
        """Take rows."""
        self._put(self._text(rows))
        self._rows += len(rows)

    def keep(self) -> tuple[Made, ...]:
        """Make all rows so far durable."""
        self._file.flush()
        os.fsync(self._file.fileno())
        digest = self._digest.hexdigest()
        return (Made(name=self._name, bytes=self._bytes, rows=self._rows, sha256=digest),)

    def end(self) -> tuple[Made, ...]:
        """Finish the file."""
        made = self.keep()
        self._file.close()
        return made

    def close(self) -> None:
        """Let go of the file."""
        _let_go(self._file)

    def _put(self, text: str) -> None:
        written = text.encode()
        self._file.write(written)
        self._digest.update(written)
        self._bytes += len(written)

    def _go_on(self, path: Path, kept: Sequence[Made]) -> BinaryIO:
        (made,) = kept
        try:
            file = path.open("r+b")
        except OSError:
            raise NotKept from None
        left = made.bytes
        while left and (chunk := file.read(min(left, _CHUNK))):
            self._digest.update(chunk)
            left -= len(chunk)
        if made.name != self._name or self._digest.hexdigest() != made.sha256:
            file.close()
            raise NotKept
        file.truncate(made.bytes)
        self._bytes, self._rows = made.bytes, made.rows
        return file

    def _head(self) -> str:
        return ""

    @abstractmethod
    def _text(self, rows: Sequence[Row]) -> str: ...


class _Lines(_Text):
    """One JSON object a line."""

    def _text(self, rows: Sequence[Row]) -> str:
        names = [column.name for column in self._columns]
        lines = (json.dumps(dict(zip(names, row, strict=True)), ensure_ascii=False) for row in rows)
        return "".join(f"{line}\n" for line in lines)


class _Sheet(_Text):
    """Comma-separated values that a spreadsheet opens."""

    _DELIMITER = ","

    def _head(self) -> str:
        # The mark by which a spreadsheet knows UTF-8.
        return "\ufeff" + self._sheet([[column.name for column in self._columns]])

    def _text(self, rows: Sequence[Row]) -> str:
        kinds = [column.kind for column in self._columns]
        return self._sheet(
            [
                [self._field(kind, cell) for kind, cell in zip(kinds, row, strict=True)]
                for row in rows
            ]
        )

    def _field(self, kind: Kind, cell: Cell) -> str:
        return _field(kind, cell)

    def _sheet(self, rows: Sequence[Sequence[str]]) -> str:
        made = io.StringIO()
        csv.writer(made, delimiter=self._DELIMITER).writerows(rows)
        return made.getvalue()


class _SheetWithSemicolons(_Sheet):
    """The same with semicolons between the columns and commas in numbers."""

    _DELIMITER = ";"

    def _field(self, kind: Kind, cell: Cell) -> str:
        text = _field(kind, cell)
        return text.replace(".", ",") if kind in {"number", "quotient"} else text


def _field(kind: Kind, cell: Cell) -> str:
    match cell:
        case None:
            return ""
        case bool():
            return "true" if cell else "false"
        case str() if kind in {"text", "json"} and cell.startswith(FORMULA):
            return f"'{cell}"
        case _:
            return str(cell)


# ── Parquet ──────────────────────────────────────────────────────────────────────────────────────


class _Parts:
    """Files of Parquet in a folder of their own, each of so many rows."""

    def __init__(
        self, folder: Path, name: str, columns: Sequence[Column], kept: Sequence[Made]
    ) -> None:
        self._arrow = _arrow()
        self._folder = folder
        self._name = name
        self._columns = columns
        self._schema = _schema(columns)
        self._parts = list(kept)
        self._rows: list[Row] = []
        self._part_rows = 0
        self._open: pyarrow.parquet.ParquetWriter | None = None
        for made in kept:
            if not _is_there(folder, made):
                raise NotKept
        (folder / name).mkdir(mode=0o700, exist_ok=True)
        for path in (folder / name).iterdir():
            if f"{name}/{path.name}" not in {made.name for made in kept}:
                path.unlink()

    def write(self, rows: Sequence[Row]) -> None:
        """Take rows; whole groups of them go to the file."""
        self._rows += rows
        while len(self._rows) >= GROUP_ROWS:
            self._write_group()

    def keep(self) -> tuple[Made, ...]:
        """Return the files that are whole."""
        return tuple(self._parts)

    def end(self) -> tuple[Made, ...]:
        """Finish the last file; an export without rows has one file without rows."""
        if self._rows or not (self._parts or self._open):
            self._write_group()
        self._end_part()
        return tuple(self._parts)

    def close(self) -> None:
        """Let go of the file that is open."""
        if self._open is not None:
            _let_go(self._open)

    def _write_group(self) -> None:
        rows, self._rows = self._rows[:GROUP_ROWS], self._rows[GROUP_ROWS:]
        arrays = [
            self._arrow.array([_held(column, row[at], row) for row in rows], field.type)
            for at, (column, field) in enumerate(zip(self._columns, self._schema, strict=True))
        ]
        table = self._arrow.Table.from_arrays(arrays, schema=self._schema)
        if self._open is None:
            _created(self._path()).close()
            # In a form for which nobody needs a package to check it (`oms.verify`): plain values
            # and gzip, which takes as little room, and pages that are small whatever is in them.
            self._open = self._arrow.parquet.ParquetWriter(
                self._path(),
                self._schema,
                compression="gzip",
                compression_level=6,
                use_dictionary=False,
                write_batch_size=_PAGE_ROWS,
            )
        self._open.write_table(table)
        self._part_rows += len(rows)
        if self._part_rows >= PART_ROWS:
            self._end_part()

    def _end_part(self) -> None:
        if self._open is None:
            return
        self._open.close()
        path = self._path()
        with path.open("r+b") as file:
            os.fsync(file.fileno())
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        name = f"{self._name}/{path.name}"
        size = path.stat().st_size
        self._parts.append(Made(name=name, bytes=size, rows=self._part_rows, sha256=digest))
        self._open, self._part_rows = None, 0

    def _path(self) -> Path:
        return self._folder / self._name / f"part-{len(self._parts) + 1:05d}.parquet"


def _arrow() -> pyarrow:
    try:
        import pyarrow as found  # noqa: PLC0415 - an extra, which few need
        import pyarrow.parquet  # noqa: PLC0415 - the same
    except ImportError:
        raise ConfigurationError(
            "Parquet needs the package pyarrow, which is not installed",
            hint="install the extra: pip install 'ib-oms[parquet]'; jsonl and csv do without",
        ) from None
    return found


def _schema(columns: Sequence[Column]) -> pyarrow.Schema:
    arrow = _arrow()
    types = {
        "text": arrow.string(),
        "json": arrow.string(),
        "integer": arrow.int64(),
        "flag": arrow.bool_(),
        "number": arrow.decimal128(DIGITS, DECIMALS),
        "quotient": arrow.decimal128(DIGITS, DECIMALS),
        "time": arrow.timestamp("us", tz="UTC"),
    }
    return arrow.schema([(column.name, types[column.kind]) for column in columns])


def _held(column: Column, cell: Cell, row: Row) -> object:
    """Return a value as Parquet holds it; raises `ConfigurationError` naming one that it cannot."""
    if not isinstance(cell, str):
        return cell
    match column.kind:
        case "time":
            moment = datetime.fromisoformat(cell)
            if moment.isoformat(timespec="microseconds") != cell:
                raise ConfigurationError(
                    f"{column.name} of {row[0]} is {brief(cell)}: Parquet holds times in UTC with "
                    "microseconds here",
                    hint="use --format csv or jsonl, which hold it as it is",
                )
            return moment
        case "number" | "quotient":
            number = Decimal(cell)
            if column.kind == "quotient":
                number = number.quantize(_STEP, ROUND_HALF_EVEN, context=_WIDE)
            if number.adjusted() >= DIGITS - DECIMALS or _decimals(number) > DECIMALS:
                raise ConfigurationError(
                    f"{column.name} of {row[0]} is {brief(cell)}: Parquet holds numbers below "
                    f"10^{DIGITS - DECIMALS} with at most {DECIMALS} decimals here",
                    hint="use --format csv or jsonl, which hold every number",
                )
            return number
        case _:
            return cell


def _decimals(number: Decimal) -> int:
    exponent = number.as_tuple().exponent
    assert isinstance(exponent, int)
    return -exponent


# ── files ────────────────────────────────────────────────────────────────────────────────────────


def made_of(path: Path, *, rows: int) -> Made:
    """Return what stands in a manifest of a file that is on the disk."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Made(name=path.name, bytes=path.stat().st_size, rows=rows, sha256=digest)


def check_made(folder: Path, made: Sequence[Made]) -> None:
    """Read files again; raises `ExportFailed` where the disk has not kept what was written."""
    for one in made:
        if not _is_there(folder, one):
            raise ExportFailed(f"{folder / one.name} is not what was written to it")


def _is_there(folder: Path, made: Made) -> bool:
    try:
        with (folder / made.name).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == made.sha256
    except OSError:
        return False


def _created(path: Path) -> BinaryIO:
    return open(os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600), "r+b")


def _let_go(file: BinaryIO | pyarrow.parquet.ParquetWriter) -> None:
    # Of its last bytes: the caller has the error that came first.
    with contextlib.suppress(OSError):
        file.close()
