"""The verifier reads Parquet without a package, and whatever is no such file ends in words."""

from __future__ import annotations

import contextlib
import gzip
import io
import random
import sys
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from oms import verify
from oms.history.columns import STORED
from oms.history.formats import _schema

pyarrow = pytest.importorskip("pyarrow", reason="the files are written with pyarrow")
parquet = pytest.importorskip("pyarrow.parquet", reason="the same")

ROWS = 60
BEGIN = datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)


def rows(count: int = ROWS) -> list[list[Any]]:
    """Return rows with nulls alone, in runs and between values, and texts of every length."""
    return [
        [
            *(n, "OrderIntended", 1 + n % 3, BEGIN + timedelta(seconds=7, microseconds=n)),
            BEGIN + timedelta(hours=n) if n % 2 else None,
            *(2**40, 0, "person:a", None if n < 20 else f"c-{n}"),
            n if n % 7 == 0 else None,
            None,
            *("x" * (n * 11 % 997) + "é€😀", "" if n % 5 else None, f"{n:064x}"),
        ]
        for n in range(1, count + 1)
    ]


def file_of(found: list[list[Any]], **form: Any) -> bytes:
    schema = _schema(STORED)
    arrays = [
        pyarrow.array(column, field.type)
        for column, field in zip(zip(*found, strict=True), schema, strict=True)
    ]
    made = io.BytesIO()
    table = pyarrow.Table.from_arrays(arrays, schema=schema)
    parquet.write_table(table, made, **{"compression": "gzip", "use_dictionary": False} | form)
    return made.getvalue()


def read(content: bytes) -> list[verify.Stored]:
    return list(verify.parquet_events(io.BytesIO(content)))


def expected(found: list[list[Any]]) -> list[verify.Stored]:
    return [
        (
            [
                at.isoformat(timespec="microseconds") if isinstance(at, datetime) else at
                for at in row[:-1]
            ],
            row[-1],
        )
        for row in found
    ]


@pytest.mark.parametrize(
    "form",
    [
        {},
        {"compression": "none"},
        {"row_group_size": 25, "data_page_size": 900, "write_batch_size": 16},
        {"compression": "zstd", "use_dictionary": True},
        {"compression": "snappy", "use_dictionary": False},
    ],
    ids=["ours", "not compressed", "many pages", "of before", "of others"],
)
def test_every_form_gives_the_same_rows(form: dict[str, Any]) -> None:
    assert read(file_of(rows(), **form)) == expected(rows())


def test_a_form_that_needs_a_package_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    content = file_of(rows(3), compression="zstd")
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(verify.UncheckableError, match="install the Python package pyarrow"):
        read(content)


def test_a_file_without_rows_has_none() -> None:
    made = io.BytesIO()
    parquet.write_table(_schema(STORED).empty_table(), made, compression="gzip")
    assert read(made.getvalue()) == []


def altered(content: bytes, chance: random.Random) -> bytes:
    """Return a file with bytes changed, most of them in what says where the rest is."""
    footer = int.from_bytes(content[-8:-4], "little") + 8
    made = bytearray(content)
    for _ in range(chance.randrange(1, 4)):
        at = (
            chance.randrange(len(content) - footer, len(content))
            if chance.random() < 0.7
            else (chance.randrange(len(content)))
        )
        match chance.randrange(4):
            case 0:
                made[at] ^= 1 << chance.randrange(8)
            case 1:
                made[at] = chance.choice([0, 1, 127, 128, 255])
            case 2:
                del made[at : at + chance.randrange(1, 9)]
            case _:
                made[at:at] = chance.randbytes(chance.randrange(1, 9))
    return bytes(made)


def test_whatever_is_altered_ends_in_words_and_in_little_memory(seed: int) -> None:
    contents = [file_of(rows(), row_group_size=25), file_of(rows(), compression="none")]
    tracemalloc.start()
    try:
        for number in range(80):
            chance = random.Random(f"{seed}-{number}")
            content = altered(contents[number % 2], chance)
            with contextlib.suppress(ValueError, verify.UncheckableError):
                read(content)
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


BOMBS: dict[str, Callable[[], object]] = {
    "a page that says it is large": lambda: verify._inflated(gzip.compress(b""), 1 << 40),
    "a page larger than it says": lambda: verify._inflated(gzip.compress(bytes(1 << 22)), 9),
    "a page smaller than it says": lambda: verify._inflated(gzip.compress(b"123"), 9),
    "a number without an end": lambda: verify._varint(io.BytesIO(b"\xff" * 99)),
    "lists in lists": lambda: verify._thrift_struct(io.BytesIO(b"\x19" * 100_000)),
    "structs in structs": lambda: verify._thrift_struct(io.BytesIO(b"\x1c" * 100_000)),
    "a list of many": lambda: verify._thrift_struct(
        io.BytesIO(b"\x19\xf3" + b"\xff" * 8 + b"\x7f" + bytes(99))
    ),
    "a text of many bytes": lambda: verify._thrift_struct(
        io.BytesIO(b"\x18" + b"\xff" * 8 + b"\x7f")
    ),
    "bits that are not there": lambda: verify._levels(io.BytesIO(b"\xff\xff\x7f"), 9),
    "runs of nothing": lambda: verify._levels(io.BytesIO(bytes(2_000)), 9),
    "a text beyond its page": lambda: list(verify._texts(b"\xff\xff\xff\x7f", 0)),
    "no end at all": lambda: read(b"PAR1"),
    "nothing": lambda: read(b""),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_what_is_too_large_is_not_made(bomb: str) -> None:
    content = BOMBS[bomb]
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"\w"):
            content()
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


def test_a_run_without_an_end_gives_what_is_asked_for() -> None:
    assert verify._levels(io.BytesIO(b"\xfe" + b"\xff" * 7 + b"\x7f\x01"), 9) == [1] * 9
