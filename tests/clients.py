"""Runs the pages about other people's clients as they are written: their commands, their programs.

    python -m tests.clients [PAGE ...] [--folder FOLDER]

A page is docs/how-to/bot-NAME.md. Each gets an empty folder, an environment that holds nothing of
the caller's but where packages come from, and `OMS`, the path of this repository. In their order, a
block of `sh` is run, a block whose first line names a file (`python bot.py`) is written there, and
the `text` below a block of `sh` must be among what that printed. Ports 4002 and 4003 become free
ones, because a developer's gateway may be on them. Prints a line a page; exit status 0 when each
did what it says. With --folder the folders stay, and the next run finds the packages installed.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGES = ROOT / "docs" / "how-to"
#: Installing an engine takes the longest.
SECONDS_MAX = 400
#: Of the caller's environment: where programs are, and where packages come from.
_KEPT = re.compile(r"PATH|LANG|TMPDIR|(PIP|NPM|npm|NODE|SSL)_\w+|\w+_(proxy|PROXY)")
_ENDED = "ended with"
_BLOCK = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", re.DOTALL | re.MULTILINE)


class Failed(Exception):
    """A page does not do what it says."""


@dataclass(frozen=True)
class Block:
    """One block of code of a page."""

    language: str
    #: The file that it is, or "".
    file: str
    text: str


def blocks(page: Path) -> list[Block]:
    """Return the blocks of a page, in their order."""
    found = _BLOCK.findall(page.read_text(encoding="utf-8"))
    return [Block(language, file, text) for language, file, text in found]


def pages() -> list[Path]:
    """Return every page about a client."""
    return sorted(PAGES.glob("bot-*.md"))


def run(page: Path, folder: Path) -> None:
    """Do what a page says in a folder; raises Failed, with what was printed, where it fails."""
    ports = dict(zip(("4002", "4003"), free_ports(2), strict=True))
    environment = {name: text for name, text in os.environ.items() if _KEPT.fullmatch(name)}
    environment |= {"OMS": str(ROOT), "HOME": str(folder)}
    printed = ""
    with ExitStack() as stack:
        shell = subprocess.Popen(
            ["bash", "-euo", "pipefail"],
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        stack.callback(_end, shell)
        # What a page leaves running keeps the pipe open after the shell has ended.
        assert shell.stdin is not None
        shell.stdin.write(f"trap 'code=$?; echo; echo {_ENDED} $code' EXIT\n")
        for at, block in enumerate(blocks(page)):
            text = re.sub(r"\b400[23]\b", lambda found: ports[found[0]], block.text)
            if block.file:
                (folder / block.file).write_text(text, encoding="utf-8")
            elif block.language == "sh":
                script = folder / f"block-{at + 1}.sh"
                script.write_text(text, encoding="utf-8")
                printed = _do(shell, script.name)
            elif block.language == "text":
                missing = [line for line in text.splitlines() if line not in printed.splitlines()]
                if missing:
                    raise Failed(f"{missing} is not in what was printed:\n{printed}")


def _do(shell: subprocess.Popen[str], script: str) -> str:
    """Have a shell do the commands in a file, and return what they printed."""
    assert shell.stdin is not None
    assert shell.stdout is not None
    end = f"{script} is done"
    shell.stdin.write(f". ./{script} < /dev/null; echo; echo {end}\n")
    shell.stdin.flush()
    printed = []
    for line in shell.stdout:
        if line == f"{end}\n":
            return "".join(printed)
        if line.startswith(_ENDED):
            break
        printed.append(line)
    raise Failed(f"{script} {line}{''.join(printed)}")


def _end(shell: subprocess.Popen[str]) -> None:
    """End a shell and what it left running: its session holds nothing else."""
    with suppress(ProcessLookupError):
        os.killpg(shell.pid, signal.SIGTERM)
    shell.wait(30)
    for pipe in (shell.stdin, shell.stdout):
        with suppress(BrokenPipeError):
            if pipe is not None:
                pipe.close()


def _too_long(*_: object) -> None:
    raise Failed(f"not done after {SECONDS_MAX} s")


def free_ports(count: int) -> list[str]:
    """Return ports that nothing listens on."""
    with ExitStack() as stack:
        taken = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in taken:
            one.bind(("127.0.0.1", 0))
        return [str(one.getsockname()[1]) for one in taken]


def _folders(kept: Path | None) -> Iterator[Path]:
    while True:
        if kept is not None:
            yield kept
        else:
            with tempfile.TemporaryDirectory() as made:
                yield Path(made)


def main(words: list[str]) -> int:
    """Run the pages that are named, or all; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.clients", description=__doc__)
    parser.add_argument("page", nargs="*", help="such as ib_async")
    parser.add_argument("--folder", type=Path, help="keep what was made, in this folder")
    options = parser.parse_args(words)
    known = {one.stem.removeprefix("bot-"): one for one in pages()}
    names = [Path(one).stem.removeprefix("bot-") for one in options.page] or list(known)
    for name in names:
        if name not in known:
            parser.error(f"{name} has no page; these have: {', '.join(known)}")
    chosen = [known[name] for name in names]
    failed = 0
    for page, parent in zip(chosen, _folders(options.folder), strict=False):
        folder = parent / page.stem
        folder.mkdir(parents=True, exist_ok=True)
        began = time.monotonic()
        signal.signal(signal.SIGALRM, _too_long)
        signal.alarm(SECONDS_MAX)
        try:
            run(page, folder)
            told = "as written"
        except Failed as error:
            failed += 1
            told = f"FAILED: {error}"
        finally:
            signal.alarm(0)
        print(f"{page.stem[4:]:<20}{time.monotonic() - began:>6.0f} s  {told}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
