"""Hostile command lines at one database that a daemon serves, with a gateway behind it.

The verbs are those that append something. Whatever they are given, the daemon lives, the log and
its rows hold, and an order of the usual kind fills afterwards.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from heapq import nlargest
from itertools import islice
from pathlib import Path

from oms.core.bounds import brief
from tests.hostile.doors import EXIT_CODES, PLAIN, Thrown, lines
from tests.hostile.play import Figures
from tests.shell import DEADLINE_SECONDS, Said, Shell
from tests.simulator import Simulator, running_simulator

#: Longer is a hang; a verb waits 10 s for an answer of IB by itself.
SECONDS_MAX = 30
#: Lines at a time: most of a verb's time is waiting.
AT_A_TIME = 4
#: A line that was slow, perhaps on a busy machine, is run again alone, with this long: so many.
ALONE_SECONDS_MAX = 60
ALONE_MAX = 5
#: The lines that took longest, in the figures.
SLOWEST_SHOWN = 5
#: Of what a daemon said before it ended.
LINES_SHOWN = 20
#: Verbs that append something, or ask the daemon for it.
APPENDING = frozenset(
    (
        *("buy", "sell", "bracket", "modify", "cancel", "what-if", "quote", "doubt"),
        *("adjust", "resolve", "adopt", "assign", "explain", "approve", "halt", "resume"),
        *("reconcile", "statement"),
    )
)
#: Lines that once ended a daemon, or were booked, or never ended.
KNOWN: tuple[tuple[str, ...], ...] = (
    ("buy", "1", "KO", "--con-id", "9223372036854775808"),
    ("buy", "1e9999999999", "KO"),
    ("bracket", "BUY", "1", "AAPL", "--take-profit", "1e9999999999", "--stop-loss", "1"),
    ("bracket", "BUY", "1", "AAPL", "--take-profit", "900", "--stop-loss", "1e9999999999"),
    ("log", "--after", "9" * 400),
    ("reconcile", "--reason", "x" * 129),
    ("statement", "check", "/dev/zero"),
    *(
        ("adjust", "a-break", "--cause", "transfer", "--reason", "x", option, value)
        for option in ("--quantity", "--price")
        for value in ("1e400", "-1e30", "1e9999999999", "NaN")
    ),
)


#: Stand in a line for an order that rests, and for a break that is open.
ORDER, BREAK = "an-order", "a-break"
LIVE = {**PLAIN, "order_id": ORDER, "order_ids": ORDER, "break_id": BREAK}


def live_lines(seed: int) -> Iterator[tuple[Thrown, tuple[str, ...]]]:
    """Yield the lines of the verbs that append, in an order that the seed decides."""
    for words in KNOWN:
        yield Thrown(f"oms {words[0]}", words[-1]), words
    found = [one for one in lines(LIVE) if one[1][0] in APPENDING]
    random.Random(seed).shuffle(found)
    yield from found


@dataclass
class LiveFigures(Figures):
    """What came of the lines, how long they took, and whether all of them were thrown."""

    wanted: int = 0
    seconds: dict[tuple[str, ...], float] = field(default_factory=dict)

    def __str__(self) -> str:
        slowest = nlargest(SLOWEST_SHOWN, self.seconds.items(), key=lambda one: one[1])
        mean = sum(self.seconds.values()) / max(1, len(self.seconds))
        return "\n".join(
            (
                super().__str__(),
                *(
                    [f"  the time was up after {self.thrown} of {self.wanted} lines"]
                    if self.thrown < self.wanted
                    else []
                ),
                f"  a line took {mean:.1f} s; slowest:",
                *(f"  {took:5.1f} s  {_shown(words)}" for words, took in slowest),
            )
        )


def _shown(words: tuple[str, ...]) -> str:
    return "oms " + " ".join(map(brief, words))


async def play_live(
    folder: Path, seed: int, most: int, seconds_max: float = float("inf")
) -> LiveFigures:
    """Throw so many lines at a served database, as many as the time allows; return what came of
    them.
    """
    figures = LiveFigures("live", wanted=most)
    ends_at = time.monotonic() + seconds_max
    async with running_simulator("--books", str(folder / "gateway.sqlite")) as simulator:
        settings = {
            "OMS_DATABASE_URL": "oms.sqlite",
            "OMS_PORT": str(simulator.port),
            "OMS_RECONCILE_INTERVAL_SECONDS": "0",
            "OMS_POSITION_SETTLE_SECONDS": "0",
            "OMS_RESET_REGION": "none",
        }
        desk = Desk(Shell(folder, settings), simulator)
        await desk.shell.oms("db", "upgrade")
        daemon = await desk.shell.start("run")
        said: deque[bytes] = deque(maxlen=LINES_SHOWN)
        listening = asyncio.ensure_future(_listen(daemon.stderr, said))
        try:
            await desk.until_ready()
            gate = asyncio.Semaphore(AT_A_TIME)
            slow: list[tuple[Thrown, tuple[str, ...]]] = []

            async def throw(thrown: Thrown, words: tuple[str, ...]) -> None:
                """Throw one line when there is room for it."""
                async with gate:
                    if time.monotonic() > ends_at:
                        return
                    figures.thrown += 1
                    said = await desk.say(words, SECONDS_MAX)
                    figures.seconds[words] = said.seconds
                    if said.hung:
                        slow.append((thrown, words))
                        return
                    figures.taken += said.code == 0
                    if fault := _fault_of(said):
                        figures.faults.append(f"{thrown.door} = {brief(thrown.value)}: {fault}")

            async with asyncio.TaskGroup() as tasks:
                for thrown, words in islice(live_lines(seed), most):
                    tasks.create_task(throw(thrown, words))
            for thrown, words in slow[:ALONE_MAX]:
                if (await desk.say(words, ALONE_SECONDS_MAX)).hung:
                    fault = f"still at it after {ALONE_SECONDS_MAX} s, with nothing beside it"
                    figures.faults.append(f"{thrown.door} = {brief(thrown.value)}: {fault}")
            if len(slow) > ALONE_MAX:
                figures.faults.append(f"{len(slow)} lines took more than {SECONDS_MAX} s")
            figures.faults += [one async for one in desk.faults()]
            if daemon.returncode is not None:
                words = b"".join(said).decode()
                figures.faults.append(f"the daemon ended with {daemon.returncode}: {words}")
        finally:
            daemon.terminate()
            try:
                async with asyncio.timeout(DEADLINE_SECONDS):
                    await daemon.wait()
            except TimeoutError:
                figures.faults.append(f"the daemon did not stop within {DEADLINE_SECONDS} s")
                daemon.kill()
            await listening
    return figures


async def _listen(stream: asyncio.StreamReader, said: deque[bytes]) -> None:
    async for line in stream:
        said.append(line)


@dataclass(frozen=True)
class SaidOfLine(Said):
    """What a line wrote, how it ended, and how long it took."""

    seconds: float
    hung: bool = False


class Desk:
    """A served database with an order that rests and a break that is open, new ones after each
    that a line has ended.
    """

    def __init__(self, shell: Shell, simulator: Simulator) -> None:
        self.shell = shell
        self._simulator = simulator
        self._stands_for: dict[str, str] = {}
        self._made = 0
        self._making = asyncio.Lock()

    async def until_ready(self) -> None:
        """Return when orders may leave, and lines have something to be about."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            while not await self._ready():
                pass
        await self._new_order()
        await self._new_break()

    async def say(self, words: tuple[str, ...], seconds_max: float) -> SaidOfLine:
        """Run a line to its end, or so long, and make good what it has ended."""
        line = tuple(self._stands_for.get(word, word) for word in words)
        said = await self._run(line, seconds_max)
        async with self._making:
            match words[0], said.code:
                case "halt", 0 | 6:
                    await self.shell.run("resume", "the next line", "--yes")
                case "cancel" | "doubt", 0:
                    await self._new_order()
                case "adjust" | "resolve" | "explain" | "adopt" | "approve", 0:
                    await self._new_break()
        return said

    async def faults(self) -> AsyncIterator[str]:
        """Yield what does not hold after all lines."""
        # A line may have bought for more than the account has.
        await self._simulator.do("cash", amount="1000000000")
        for words in (
            ("resume", "the end", "--yes"),
            ("verify",),
            ("rebuild", "--check"),
            ("buy", "1", "AAPL", "--order-id", "after-all"),
        ):
            said = await self.shell.run(*words)
            if said.code:
                yield f"oms {' '.join(words)}: {said}"
        order = (await self.shell.run("order", "after-all", "--json")).out
        if '"filled": "1"' not in order:
            yield f"an order of the usual kind did not fill: {order}"

    async def _ready(self) -> bool:
        session = (await self.shell.oms("status", "--json")).json["session"]
        return bool(session and session["ready"])

    async def _run(self, words: tuple[str, ...], seconds_max: float) -> SaidOfLine:
        began_at = time.monotonic()
        program = await self.shell.start(*words)
        try:
            async with asyncio.timeout(seconds_max):
                out, err = await program.communicate()
        except TimeoutError:
            program.kill()
            return SaidOfLine(await program.wait(), "", "", seconds_max, hung=True)
        assert program.returncode is not None
        took = time.monotonic() - began_at
        return SaidOfLine(program.returncode, out.decode(), err.decode(), took)

    async def _new_order(self) -> None:
        self._made += 1
        name = self._stands_for[ORDER] = f"rests-{self._made}"
        await self.shell.run("buy", "1", "AAPL", "--limit", "10", "--order-id", name)

    async def _new_break(self) -> None:
        self._made += 1
        await self._simulator.do("position_adjust", symbol="MSFT", quantity=self._made)
        await self.shell.run("reconcile", "--reason", "a break for the next line")
        found = (await self.shell.oms("breaks", "--json")).json["breaks"]
        self._stands_for[BREAK] = found[0]["break_id"] if found else "none"


def _fault_of(said: Said) -> str:
    """Return what is wrong with how a verb ended, "" where nothing is."""
    if said.code not in EXIT_CODES or "Traceback" in said.err:
        return f"status {said.code}: {said.err[-300:]}"
    if said.code and not said.err.strip() and not said.out.strip():
        return f"status {said.code} without a word"
    return ""
