"""How many seeds the seeded runs take."""

from __future__ import annotations

import pytest


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "run_seed" in metafunc.fixturenames:
        first, count = metafunc.config.getoption("seed"), metafunc.config.getoption("seeds")
        others = [pytest.param(first + n, marks=pytest.mark.long) for n in range(1, count)]
        metafunc.parametrize("run_seed", [first, *others])
