"""A person is told of the question that makes the index, and where none can be kept."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path

import pytest

from oms.cli import main
from oms.core.events import Pending
from oms.history import index
from oms.history.side import path_of
from oms.store import schema
from tests.lives import Life
from tests.pasts import write


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "oms.sqlite"
    schema.upgrade(str(path))
    facts = Life().play("session\nintent BUY 100 LMT 10\nsent\nfill 40 @ 10").envelopes
    write(path, [(one.recorded_at, Pending(one.event, one.context)) for one in facts])
    monkeypatch.setenv("OMS_DATABASE_URL", str(path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["oms", "log", "--type", "OrderIntended"])
    monkeypatch.setattr(index, "TAIL_MAX", 0)
    monkeypatch.setattr(index, "_WATCHED_EVENTS", 0)
    return path


def asked(capsys: pytest.CaptureFixture[str]) -> str:
    """Ask, and return what was said beside the answer."""
    capsys.readouterr()
    with suppress(SystemExit):
        main()
    told = capsys.readouterr()
    assert "OrderIntended" in told.out
    return told.err


def test_first_question_says_that_it_makes_the_index(
    log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "4 events are read once" in asked(capsys)
    assert "events" not in asked(capsys)


def test_each_question_says_that_it_reads_the_log_where_nothing_can_be_kept(
    log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path_of(str(log)).mkdir()
    for _ in range(2):
        assert "this question reads 4 events, and so will the next one" in asked(capsys)
