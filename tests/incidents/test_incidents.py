"""Every reported incident that can be played ends as it should have ended."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.incidents_player import play

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


@pytest.mark.sample(4)
@pytest.mark.parametrize("scenario", SCENARIOS)
async def test_incident_ends_right(scenario: Path, tmp_path: Path) -> None:
    folder = tmp_path / "incident"
    folder.mkdir()
    await play(scenario, folder)
