"""Every reported incident that can be played ends as it should have ended."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.incidents_player import Incident, Script

HERE = Path(__file__).parent
SCENARIOS = sorted(HERE.glob("*.scenario"))


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda path: path.stem)
async def test_incident_ends_right(
    scenario: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    script = Script.read(scenario.with_suffix(".oms"))
    if script.xfail:
        request.applymarker(pytest.mark.xfail(reason=script.xfail, strict=True))
    folder = tmp_path / "incident"
    folder.mkdir()
    await Incident(scenario, script, folder).play()
