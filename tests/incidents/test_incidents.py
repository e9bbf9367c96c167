"""Every reported incident that can be played ends as it should have ended."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.incidents_player import NotRight, play

HERE = Path(__file__).parent
#: The thirty that cost the most time; the others play every kind of them.
LONG = (
    "19 35 51 62 70 73 106 109 125 133 138 139 141 142 145 145-unexplained 146 147 "
    "150 157 158 159 161 162 163 170 175 182 187 198"
)
SCENARIOS = [
    pytest.param(
        path,
        id=path.stem,
        marks=pytest.mark.long if path.stem.removeprefix("INC-") in LONG.split() else (),
    )
    for path in sorted(HERE.glob("*.scenario"))
]


@pytest.mark.parametrize("scenario", SCENARIOS)
async def test_incident_ends_right(scenario: Path, tmp_path: Path) -> None:
    folder = tmp_path / "incident"
    folder.mkdir()
    try:
        await play(scenario, folder)
    except NotRight as error:
        pytest.xfail(str(error))


@pytest.mark.parametrize("line", ["xfail soon | some other failure", "xfail soon | expect fills 2"])
async def test_an_expected_failure_must_be_the_one_that_was_expected(
    tmp_path: Path, line: str
) -> None:
    """The incident fails at `expect fills 2`; only the line that says so lets it pass."""
    (tmp_path / "one.scenario").write_text("title  One\n", encoding="utf-8")
    (tmp_path / "one.oms").write_text(f"{line}\nexpect fills 2\n", encoding="utf-8")
    with pytest.raises(NotRight if "fills" in line else AssertionError, match=r"soon|0 fills"):
        await play(tmp_path / "one.scenario", tmp_path)


async def test_an_expected_failure_that_passes_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "one.scenario").write_text("title  One\n", encoding="utf-8")
    (tmp_path / "one.oms").write_text("xfail soon | fills\nexpect fills 0\n", encoding="utf-8")
    with pytest.raises(AssertionError, match="it ends right now"):
        await play(tmp_path / "one.scenario", tmp_path)
