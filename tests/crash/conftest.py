"""How many seeds the seeded runs take."""

from __future__ import annotations

import pytest


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "run_seed" in metafunc.fixturenames:
        first, count = metafunc.config.getoption("seed"), metafunc.config.getoption("seeds")
        metafunc.parametrize("run_seed", range(first, first + count))
