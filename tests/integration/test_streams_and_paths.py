"""The command line with streams that are closed or full, and with paths that name no file."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.world import new_database

pytestmark = pytest.mark.slow

SECONDS_MAX = 60


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    new_database(tmp_path / "oms.sqlite")
    return tmp_path


def said(folder: Path, words: str, redirected: str = "") -> tuple[int, str]:
    """Return the status of a verb in a shell, and what it says of itself."""
    line = f"exec {sys.executable} -m oms.cli {words} {redirected}"
    done = subprocess.run(
        ["sh", "-c", line],
        cwd=folder,
        env={"OMS_DATABASE_URL": "oms.sqlite", "HOME": str(folder)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=SECONDS_MAX,
        check=False,
    )
    return done.returncode, done.stderr.decode()


@pytest.mark.sample(3)
@pytest.mark.parametrize("redirected", [">&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("verb", ["status", "settings"])
def test_closed_streams_are_streams_to_nowhere(verb: str, redirected: str, folder: Path) -> None:
    code, words = said(folder, verb, redirected)
    assert "Traceback" not in words
    assert code == 0, words
    assert said(folder, "verify")[0] == 0


def test_a_full_output_is_said(folder: Path) -> None:
    for verb in ("--help", "settings"):
        code, words = said(folder, verb, ">/dev/full")
        assert code == 1
        assert "No space left on device" in words
        assert "Traceback" not in words


@pytest.mark.sample(3)
@pytest.mark.parametrize("verb", ["verify"])
@pytest.mark.parametrize("form", ["{}", "sqlite:///{}"])
def test_a_database_that_is_no_file_is_refused(verb: str, form: str, folder: Path) -> None:
    subprocess.run(["mkfifo", str(folder / "pipe")], check=True)
    (folder / "loop").symlink_to("loop")
    for name in ("pipe", "loop"):
        code, words = said(folder, f"--database {form.format(name)} {verb}")
        assert code == 2, words
        assert "database_url" in words


@pytest.mark.sample(3)
@pytest.mark.parametrize("name", ["loop", "x" * 300])
def test_a_path_that_nothing_can_have_is_said(name: str, folder: Path) -> None:
    (folder / "loop").symlink_to("loop")
    for verb in ("db backup", "db restore"):
        code, words = said(folder, f"{verb} {name}")
        assert code in (1, 2), words
        assert words
        assert "Traceback" not in words


@pytest.mark.sample(3)
@pytest.mark.parametrize("verb", ["export events", "pack"])
def test_what_has_no_name_is_nothing_to_write(verb: str, folder: Path) -> None:
    for name in ("''", "/", "."):
        code, words = said(folder, f"{verb} {name}")
        assert code == 2, words
        assert "cannot be the name of what is written" in words


def test_a_number_that_no_database_can_hold_names_no_order(folder: Path) -> None:
    for name in ("9223372036854775808", "1:9223372036854775808"):
        code, words = said(folder, f"fills --order={name}")
        assert (code, "there is no order" in words) == (1, True), words
