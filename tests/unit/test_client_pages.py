"""The pages about other people's clients are what `python -m tests.clients` can run."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import clients
from tests.clients import PAGES, Failed, blocks, pages, run


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.stem)
def test_a_page_installs_starts_runs_and_says_what_comes(page: Path) -> None:
    found = blocks(page)
    commands = "".join(one.text for one in found if one.language == "sh")
    assert '--no-deps "$OMS"' in commands
    assert "oms-sim serve --port 4002 --control-port 4003" in commands
    for one in found:
        assert one.language != "python" or compile(one.text, one.file, "exec")
        assert not one.file or one.file in commands
    assert any(one.language == "text" for one in found)
    assert f"({page.name})" in (PAGES / "simulator-in-ci.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("```sh\necho 4002 > port\nsleep 60 &\n```\n```sh\ncat a\n! grep 400[2] port\n```\n", None),
        ("```sh\nfalse\n```\n", "ended with 1"),
        ("```sh\nsleep 60 &\nexit 3\n```\n", "ended with 3"),
        ("```sh\necho one\n```\n```text\ntwo\n```\n", "['two'] is not in what was printed:\none"),
        ("```sh\nenv\n```\n```text\nOMS_SECRET=1\n```\n", "OMS_SECRET"),
    ],
)
def test_a_page_that_does_otherwise_fails(
    text: str, said: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMS_SECRET", "1")
    page = tmp_path / "bot-x.md"
    page.write_text(f"```text a\nsaid\n```\n{text}", encoding="utf-8")
    if said is None:
        run(page, tmp_path)
        return
    with pytest.raises(Failed) as failed:
        run(page, tmp_path)
    assert said in str(failed.value)


@pytest.mark.parametrize("name", ["ib_async", "bot-ib_async", "docs/how-to/bot-ib_async.md"])
def test_a_page_may_be_named_by_its_client_or_its_file(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    played: list[str] = []
    monkeypatch.setattr(clients, "run", lambda page, folder: played.append(page.name))
    assert clients.main([name]) == 0
    assert played == ["bot-ib_async.md"]


def test_a_name_without_a_page_is_refused_with_those_that_have_one(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ended:
        clients.main(["ib_asynk"])
    assert ended.value.code == 2
    assert "ib_asynk has no page; these have: ib_async" in capsys.readouterr().err
