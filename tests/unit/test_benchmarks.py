"""The benchmarks run by hand; that they still can is found out here, not on the day of need."""

from __future__ import annotations

import importlib

import pytest

from tests.benchmark.__main__ import names


@pytest.mark.parametrize("name", names())
def test_benchmark_still_finds_what_it_measures(name: str) -> None:
    assert callable(importlib.import_module(f"tests.benchmark.bench_{name}").main)
