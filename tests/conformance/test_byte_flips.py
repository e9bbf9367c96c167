"""Each byte that is flipped in the file is found, or nothing that can be read has changed.

pytest tests/conformance/test_byte_flips.py -m "long or not long" -s
"""

from __future__ import annotations

import random
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from oms.errors import OmsError
from oms.store import audit, schema
from oms.store.soundness import check_database
from tests.benchmark.flow import pendings
from tests.conformance.conftest import Place
from tests.conformance.test_event_log import filled

#: Every third flip hits the header.
HEADER_BYTES = 100


@pytest.mark.parametrize("flips", [40, pytest.param(1_000, marks=pytest.mark.long)])
async def test_flipped_byte_is_found_or_changes_nothing(
    tmp_path: Path, seed: int, flips: int
) -> None:
    path, copy = tmp_path / "log.sqlite", tmp_path / "copy.sqlite"
    schema.upgrade(str(path))
    await filled(Place(f"sqlite:///{path}"), pendings(400))
    contents, expected = path.read_bytes(), _content(path)
    chance, figures = random.Random(seed), Counter[str]()
    for number in range(flips):
        offset = chance.randrange(len(contents) if number % 3 else HEADER_BYTES)
        damaged = bytearray(contents)
        damaged[offset] ^= 1 << chance.randrange(8)
        _put(copy, damaged)
        found = _found(copy)
        assert found in (None, 4), (offset, found)
        if found is None:
            assert _content(copy) == expected, offset
        figures["harmless" if found is None else "found"] += 1
    print(f"{flips} flips: {figures['found']} found, {figures['harmless']} changed nothing")


def _put(path: Path, contents: bytes) -> None:
    for suffix in ("", "-wal", "-shm"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)
    path.write_bytes(contents)


def _found(path: Path) -> int | None:
    """Return the status with which the check of everything ends, None where all holds."""
    try:
        audit.verify(str(path))
        check_database(str(path))
    except OmsError as error:
        return error.exit_code
    return None


def _content(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return list(connection.iterdump())
