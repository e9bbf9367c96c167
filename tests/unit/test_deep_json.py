"""JSON that is nested a hundred thousand times is refused like any other that cannot be read."""

from __future__ import annotations

from pathlib import Path

import pytest

from oms import verify
from oms.core import codec
from oms.core.events import EventSetAside
from oms.errors import DatabaseDamaged
from oms.history.mask import Mask
from oms.store.backup import manifest_path, read_manifest

DEEP = "[" * 100_000


def test_wire_text_is_refused_as_no_message() -> None:
    with pytest.raises(ValueError, match="depth"):
        codec.decode_wire(DEEP)


@pytest.mark.parametrize("version", [1, 2])
def test_payload_of_each_version_is_set_aside(version: int) -> None:
    payload = f'{{"ratio":"1","x":{DEEP}'
    assert isinstance(codec.decode_stored("BooksAdjusted", version, payload), EventSetAside)


@pytest.mark.parametrize(
    ("name", "text", "status"),
    [("proof.json", DEEP, 2), ("events.jsonl", f'{{"sequence":1,"x":{DEEP}\n', 4)],
)
def test_verifier_says_what_it_cannot_read(
    tmp_path: Path, name: str, text: str, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / name
    path.write_text(text)
    assert verify.main([str(path)]) == status
    assert "Traceback" not in capsys.readouterr().err


def test_manifest_of_a_backup_is_damage(tmp_path: Path) -> None:
    backup = tmp_path / "backup.sqlite"
    manifest_path(backup).write_text(DEEP)
    with pytest.raises(DatabaseDamaged, match="is not one"):
        read_manifest(backup)


@pytest.mark.parametrize("text", [DEEP, "[" * 900 + "]" * 900])
def test_text_of_the_broker_that_looks_like_it_is_masked_as_text(text: str) -> None:
    found = Mask(b"k" * 32, ["Ann Example"]).value({"text": f"{text} "})
    assert isinstance(found, dict)
    assert set(found["text"].strip()) <= {"[", "]"}
