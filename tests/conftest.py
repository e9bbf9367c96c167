"""What every test shares: a clean environment, one seed, and the gates of the expensive suites."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import hypothesis
import pytest
import structlog

from oms.settings import ENV_PREFIX, TEST_PREFIX

ROOT = Path(__file__).resolve().parents[1]

#: Marker -> the option without which its tests are skipped.
GATES = {"benchmark": "--benchmark", "ib_integration": "--run-ib-integration"}


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("ib-oms")
    group.addoption(
        "--update-docs",
        action="store_true",
        help="rewrite generated reference pages and golden outputs instead of comparing them",
    )
    group.addoption(
        "--seed",
        type=int,
        default=None,
        help="seed of everything random; default: made from the commit, so that each tests anew",
    )
    group.addoption(
        "--seeds", type=int, default=4, help="how many seeds the seeded runs take, from --seed on"
    )
    group.addoption("--benchmark", action="store_true", help="run the benchmarks")
    group.addoption(
        "--run-ib-integration",
        action="store_true",
        help="run the order cards against the gateway named by OMS_TEST_GATEWAY (host:port)",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Run folders of tests on all cores; one file, and what a debugger looks at, run here."""
    here = not config.pluginmanager.hasplugin("xdist") or hasattr(config, "workerinput")
    if here or config.option.numprocesses is not None or config.option.dist != "no":
        return
    if any(Path(argument).is_dir() for argument in config.args):
        config.option.numprocesses = "auto"
        config.option.dist = "worksteal"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Run more tests at a time than there are cores: most of them wait for something."""
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    return cores + 2


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    # Without it each worker, and each program that a test starts, compiles everything anew: of the
    # tests alone, with their assertions, six seconds of the processor.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False
    # Started in the background of a shell, SIGINT is ignored, and every child would inherit that.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # A developer's own settings must not decide what the tests see.
    for name in list(os.environ):
        if name.startswith(ENV_PREFIX) and not name.startswith(TEST_PREFIX):
            del os.environ[name]
    # What is named runs; otherwise the long tests wait for their own command.
    if not config.option.markexpr and not any("::" in argument for argument in config.args):
        config.option.markexpr = "not long"
    if config.option.seed is None:
        config.option.seed = _seed_of_commit()
    if getattr(config.option, "hypothesis_seed", None) is None:
        config.option.hypothesis_seed = str(config.option.seed)
    # A logger that keeps how it was set up at its first use would carry that from test to test.
    configure = structlog.configure
    structlog.configure = lambda **options: configure(
        **{**options, "cache_logger_on_first_use": False}
    )
    # No example database: with it, what is tried would depend on earlier runs, not on the seed.
    # No deadline: a loaded machine is not a failure.
    hypothesis.settings.register_profile("oms", database=None, deadline=None, print_blob=True)
    hypothesis.settings.load_profile("oms")


def pytest_report_header(config: pytest.Config) -> str:
    return f"seed: {config.option.seed}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    failed = [report.nodeid for report in terminalreporter.getreports("failed")]
    if failed:
        seed = terminalreporter.config.option.seed
        terminalreporter.section("repeat")
        for nodeid in failed[:20]:
            terminalreporter.write_line(f"pytest --seed {seed} '{nodeid}'")


def _sample(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave all but each n-th case of a sampled test to the long run; which, the seed decides."""
    counted: dict[str, int] = {}
    for item in items:
        sampled = item.get_closest_marker("sample")
        if sampled is not None:
            test = item.nodeid.partition("[")[0]
            counted[test] = counted.get(test, config.option.seed) + 1
            if counted[test] % sampled.args[0]:
                item.add_marker(pytest.mark.long)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    _sample(config, items)
    for item in items:
        for marker, option in GATES.items():
            if item.get_closest_marker(marker) and not config.getoption(option):
                item.add_marker(pytest.mark.skip(reason=f"needs {option}"))


@pytest.fixture(autouse=True)
def _program_messages() -> Iterator[None]:
    """Keep how a test sets up program messages from the next one."""
    yield
    if structlog.is_configured():
        structlog.reset_defaults()


@pytest.fixture(scope="session")
def seed(request: pytest.FixtureRequest) -> int:
    """Return the seed of this run; everything random in a test starts from it."""
    value: int = request.config.option.seed
    return value


@pytest.fixture(scope="session")
def update_docs(request: pytest.FixtureRequest) -> bool:
    """Say whether generated pages and golden outputs are to be rewritten."""
    return bool(request.config.getoption("--update-docs"))


class Stored(Protocol):
    """Compares a text with the one stored under a path, or stores it under `--update-docs`."""

    def __call__(self, path: Path, text: str) -> None: ...


@pytest.fixture
def stored(update_docs: bool) -> Stored:
    """Return the comparison of generated pages and golden outputs with their files."""

    def compare(path: Path, text: str) -> None:
        if update_docs:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        name = path.relative_to(ROOT)
        assert path.is_file(), f"{name} is missing; `pytest --update-docs` writes it"
        found = path.read_text(encoding="utf-8")
        assert found == text, f"{name} is not what the code makes; see `pytest --update-docs`"

    return compare


def _seed_of_commit() -> int:
    try:
        commit = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        return 0  # not a checkout: an unpacked archive has no commit
    return int(commit[:7], 16)
