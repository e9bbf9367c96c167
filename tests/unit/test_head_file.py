"""The file that keeps where the log ended, whatever is done to it."""

from __future__ import annotations

import json
import os
import stat
import zlib
from datetime import UTC, datetime
from pathlib import Path

import pytest

from oms.core.codec import Head
from oms.errors import StoreUnavailable
from oms.store.backend import parse_url
from oms.store.head_file import LINE_BYTES, HeadFile, HeadFileUnreadable, KeptHead, path_of, read

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


def kept(sequence: int, log: bytes = b"\x01" * 32) -> KeptHead:
    return KeptHead(log, Head(sequence, bytes([sequence % 256]) * 32, NOON))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "oms.sqlite.head"


@pytest.fixture
def file(path: Path) -> HeadFile:
    made = writer(path)
    made.write(kept(1))
    return made


def writer(path: Path) -> HeadFile:
    return HeadFile(path, mode=0o600)


def test_file_that_is_not_there_says_nothing(path: Path) -> None:
    assert read(path) is None


def test_last_write_is_read_back_by_whoever_looks(path: Path, file: HeadFile) -> None:
    for sequence in (2, 3, 10**15):
        file.write(kept(sequence))
        assert read(path) == kept(sequence)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.stat().st_size == 2 * LINE_BYTES


def test_writer_that_goes_on_leaves_the_last_line_alone(path: Path, file: HeadFile) -> None:
    for sequence in (2, 3, 4):
        file.close()
        file = writer(path)
        before = path.read_bytes()
        file.write(kept(sequence))
        after = path.read_bytes()
        halves = [(before[i : i + LINE_BYTES], after[i : i + LINE_BYTES]) for i in (0, LINE_BYTES)]
        assert [one == other for one, other in halves].count(True) == 1
        assert read(path) == kept(sequence)


@pytest.mark.parametrize("at", range(0, 2 * LINE_BYTES, 7))
def test_flipped_byte_is_never_taken_for_another_end(path: Path, file: HeadFile, at: int) -> None:
    """A line that is not whole is not believed; the other one is, and is older by one write."""
    file.write(kept(2))
    contents = bytearray(path.read_bytes())
    contents[at] ^= 0x01
    path.write_bytes(contents)
    assert read(path) in (kept(1), kept(2))


@pytest.mark.parametrize("contents", [b"", b"\0" * 640, b"nonsense", b"[]\n" * 300, b"\xff" * 640])
def test_file_that_says_nothing_is_refused_and_not_taken_for_none(
    path: Path, contents: bytes
) -> None:
    path.write_bytes(contents)
    with pytest.raises(HeadFileUnreadable):
        read(path)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("sequence", value) for value in (2**63, 0, "7")),
        *(("recorded_at", value) for value in ("2026-11-20T12:00", "yesterday")),
        *(("log", "x"), ("hash", 5)),
    ],
)
def test_line_that_no_writer_made_is_not_believed(
    path: Path, file: HeadFile, name: str, value: object
) -> None:
    """Its check fits, as it does where somebody makes one up."""
    body = json.loads(path.read_bytes()[:LINE_BYTES]) | {name: value}
    values = (body[n] for n in ("log", "sequence", "hash", "recorded_at"))
    body["check"] = zlib.crc32("\x1f".join(map(str, values)).encode())
    path.write_text(json.dumps(body).ljust(LINE_BYTES))
    with pytest.raises(HeadFileUnreadable):
        read(path)


def test_folder_in_its_place_is_refused(path: Path) -> None:
    path.mkdir()
    with pytest.raises(HeadFileUnreadable, match="not a file"):
        read(path)


@pytest.mark.parametrize("fate", ["deleted", "replaced"])
def test_file_that_was_taken_away_is_made_again(path: Path, file: HeadFile, fate: str) -> None:
    file.write(kept(5))
    path.unlink()
    if fate == "replaced":
        writer(path).write(kept(3))
    file.sync()
    assert read(path) == kept(5)
    file.write(kept(6))
    assert read(path) == kept(6)


def test_file_that_was_taken_away_before_the_first_write_is_made_again(
    path: Path, file: HeadFile
) -> None:
    file.close()
    file = writer(path)
    path.unlink()
    file.write(kept(2))
    assert read(path) == kept(2)
    assert [one.name for one in path.parent.iterdir()] == [path.name]


def test_file_that_cannot_be_made_says_which_and_why(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreUnavailable, match=r"head file .*oms\.head cannot be written"):
        writer(tmp_path / "file" / "oms.head").write(kept(1))


def test_writer_that_comes_late_takes_the_file_not_back(path: Path, file: HeadFile) -> None:
    """It was stopped between its commit and its write, while others went on."""
    others = [writer(path) for _ in range(3)]
    for sequence, other in enumerate(others, start=2):
        other.write(kept(sequence))
    file.write(kept(2))
    assert read(path) == kept(4)
    file.sync()
    assert read(path) == kept(4)


def test_makers_of_one_file_do_not_meet(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second makes the file while the first is about to put its own in the place."""
    true_link = Path.hardlink_to

    def quicker(self: Path, target: Path) -> None:
        monkeypatch.setattr(Path, "hardlink_to", true_link)
        writer(path).write(kept(7))
        true_link(self, target)

    monkeypatch.setattr(Path, "hardlink_to", quicker)
    writer(path).write(kept(3))
    assert read(path) == kept(7)
    assert [one.name for one in path.parent.iterdir()] == [path.name]


def test_file_system_without_links_gets_its_file(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    writer(path).write(kept(3))
    assert read(path) == kept(3)


def test_file_that_another_process_never_lets_go_is_named(
    path: Path, file: HeadFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("oms.store.head_file._LOCK_LOOKS_MAX", 2)
    with (
        writer(path)._locked(),
        pytest.raises(StoreUnavailable, match="another program holds it"),
    ):
        file.write(kept(2))
    file.write(kept(2))
    assert read(path) == kept(2)


def test_who_does_not_own_the_file_makes_none_and_leaves_one_of_another_log(path: Path) -> None:
    guest = HeadFile(path, mode=None)
    with pytest.raises(StoreUnavailable, match="No such file"):
        guest.write(kept(1))
    writer(path).write(kept(5, log=b"\x02" * 32))
    guest.write(kept(9))
    assert read(path) == kept(5, log=b"\x02" * 32)


def test_each_database_of_a_folder_has_its_own(tmp_path: Path) -> None:
    paths = {path_of(parse_url(str(tmp_path / name))) for name in ("a.sqlite", "b.sqlite")}
    assert paths == {tmp_path / "a.sqlite.head", tmp_path / "b.sqlite.head"}


def test_links_to_a_database_lead_to_one_head_file(tmp_path: Path) -> None:
    (tmp_path / "link.sqlite").symlink_to(tmp_path / "oms.sqlite")
    linked = path_of(parse_url(str(tmp_path / "link.sqlite")))
    assert linked == path_of(parse_url(str(tmp_path / "oms.sqlite")))


def test_database_of_a_server_is_known_by_its_address_and_not_by_who_asks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    server = "@host:5433/oms"
    one, other, third = (
        path_of(parse_url(url))
        for url in (
            f"postgresql://desk:secret{server}?password=secret",
            f"postgresql://audit{server}?sslmode=require",
            f"postgresql://desk:secret{server}2",
        )
    )
    assert one == other
    assert one != third
    assert one.parent == tmp_path / "ib-oms"
    assert "secret" not in one.name
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", os.fspath(tmp_path / "home"))
    assert path_of(parse_url(f"postgresql://x{server}")).is_relative_to(tmp_path / "home")
