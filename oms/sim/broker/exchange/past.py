"""What prices did before anybody looked: made from the seed, down to the second. Pure.

A day's open, high, low, close and volume are a function of the seed, the contract and the day, tied
to the first quote of the contract. Each shorter block is a part of the block round it: the first
opens where that opens, the last closes where it closes, one has its high, one its low, and the
volumes add up. So bars of any two sizes agree with each other, and a second of three years ago
costs no more than one of today.

Prices are whole numbers of the contract's smallest increment in here.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import lru_cache
from typing import Final

from oms.sim.broker.exchange.contracts import Contract
from oms.sim.broker.exchange.sessions import Session, Sessions

#: The lengths of the blocks of a session, in seconds; each but the first cuts the one before it.
LEVELS: Final = (1_800, 60, 5, 1)
#: The length of a block that is the regular session, or what is before or after it.
WHOLE: Final = 0
#: How far the close of a day may be from the middle, by how many days that lasts.
_WAVES: Final = ((1, 0.006), (4, 0.01), (16, 0.02), (64, 0.04), (256, 0.08), (1_024, 0.1))
#: How far a day opens from the close before, and how far it goes beyond open and close.
_GAP: Final = 0.003
_REACH: Final = 0.008
#: How lively a class of contracts is, beside a stock.
_LIVELY: Final = {
    "CASH": 0.25,
    "FUT": 0.6,
    "IND": 0.6,
    "OPT": 2.5,
    "FOP": 2.5,
    "WAR": 2.5,
    "BOND": 0.1,
}
#: What trades on a day.
DAY_VOLUME: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Origin:
    """The first quote of a contract: what was before is made, what came after is recorded."""

    #: Microseconds since 1970.
    at: int
    last: Decimal
    #: The con id that names the path: a symbol change keeps the past.
    path: int

    @property
    def second(self) -> int:
        """The second in which it was, which is recorded."""
        return self.at // 1_000_000


@dataclass(frozen=True, slots=True)
class Block:
    """The prices and the volume from one second up to, not including, another."""

    start: int
    end: int
    open: int
    high: int
    low: int
    close: int
    volume: int


class Past:
    """The past of every contract."""

    def __init__(self, seed: int, sessions: Sessions) -> None:
        self._seed = seed
        self.sessions = sessions
        self._todays: dict[Origin, Session] = {}

    def today(self, contract: Contract, origin: Origin) -> Session:
        """Return the session of the first quote: the one that it was in, or came after."""
        found = self._todays.get(origin)
        if found is None:
            found = self.sessions.latest(contract, origin.second, origin.second)
            self._todays[origin] = found
        return found

    def day(self, contract: Contract, origin: Origin, session: Session) -> Block:
        """Return a session as a block; that of the first quote ends there."""
        key, lively = self._key(origin), _LIVELY.get(contract.sec_type, 1.0)
        today = self.today(contract, origin)
        is_today = session.day == today.day
        first = _whole(origin.last, contract)
        base = first / (1 + lively * _wave(key, _number(today.day)))
        number = _number(session.day)
        closes = first if is_today else _close(key, base, lively, number)
        before = _close(key, base, lively, number - 1)
        rng = random.Random(f"{key}:{session.day}")
        opens = max(before + round((2 * rng.random() - 1) * _GAP * lively * before), 1)
        reach = _REACH * lively * closes
        return Block(
            session.opens,
            max(min(session.closes, origin.second), session.opens) if is_today else session.closes,
            opens,
            max(opens, closes) + round((0.3 + rng.random()) * reach),
            max(min(opens, closes) - round((0.3 + rng.random()) * reach), 1),
            closes,
            0 if contract.sec_type == "IND" else DAY_VOLUME,
        )

    def close_before(self, contract: Contract, origin: Origin) -> Decimal:
        """Return the close of the day before that of the first quote."""
        key, lively = self._key(origin), _LIVELY.get(contract.sec_type, 1.0)
        number = _number(self.today(contract, origin).day)
        base = _whole(origin.last, contract) / (1 + lively * _wave(key, number))
        return _close(key, base, lively, number - 1) * contract.minimum_tick

    def blocks(
        self,
        contract: Contract,
        origin: Origin,
        session: Session,
        span: tuple[int, int],
        length: int,
    ) -> Iterator[Block]:
        """Yield the blocks of a session within `span`, each of one of `LEVELS` in seconds, or less,
        or `WHOLE`.

        They begin at full half-hours, minutes and so on.
        """
        day = self.day(contract, origin, session)
        if day.end <= day.start:
            return
        key = self._key(origin)
        inner = (session.regular_opens, session.regular_closes)
        cuts = sorted({day.start, day.end, *(one for one in inner if day.start < one < day.end)})
        for part in _split(day, cuts, f"{key}:{day.start}:parts"):
            yield from _descend(
                part, span, [one for one in LEVELS if length <= one and length], key
            )

    def _key(self, origin: Origin) -> str:
        return f"{self._seed}:past:{origin.path}"


def _whole(price: Decimal, contract: Contract) -> int:
    return max(round(price / contract.minimum_tick), 1)


def _close(key: str, base: float, lively: float, number: int) -> int:
    return max(round(base * (1 + lively * _wave(key, number))), 1)


def _descend(
    block: Block, span: tuple[int, int], levels: Sequence[int], key: str
) -> Iterator[Block]:
    if block.end <= span[0] or block.start >= span[1]:
        return
    if not levels:
        yield block
        return
    length = levels[0]
    first = block.start // length * length + length
    cuts = [block.start, *range(first, block.end, length), block.end]
    for one in _split(block, cuts, f"{key}:{block.start}:{length}"):
        yield from _descend(one, span, levels[1:], key)


def _split(block: Block, cuts: Sequence[int], key: str) -> list[Block]:
    """Cut a block at these seconds, the first and the last of which are its own."""
    count = len(cuts) - 1
    if count == 1:
        return [block]
    draw = random.Random(key).random
    reach = block.high - block.low
    length = block.end - block.start
    prices = [block.open]
    for at in range(1, count):
        before, left = prices[-1], block.end - cuts[at - 1]
        step = cuts[at] - cuts[at - 1]
        drift = (block.close - before) * step / left
        swing = reach * (2 * draw() - 1) * (step / length) ** 0.5
        prices.append(min(max(round(before + drift + swing), block.low), block.high))
    prices.append(block.close)
    wick = reach * (1 / count) ** 0.5
    highs = [min(max(prices[n : n + 2]) + round(draw() * wick), block.high) for n in range(count)]
    lows = [max(min(prices[n : n + 2]) - round(draw() * wick), block.low) for n in range(count)]
    highs[highs.index(max(highs))] = block.high
    lows[lows.index(min(lows))] = block.low
    shares = [0.0]
    for at in range(count):
        shares.append(shares[-1] + (0.2 + draw()) * (cuts[at + 1] - cuts[at]))
    sums = [int(block.volume * share / shares[-1]) for share in shares[:-1]] + [block.volume]
    return [
        Block(
            cuts[n],
            cuts[n + 1],
            prices[n],
            highs[n],
            lows[n],
            prices[n + 1],
            sums[n + 1] - sums[n],
        )
        for n in range(count)
    ]


def _number(day: date) -> int:
    """Count weekdays; a weekend counts as the Monday after it."""
    weeks, weekday = divmod(day.toordinal() - 1, 7)
    return weeks * 5 + min(weekday, 5)


def _wave(key: str, number: int) -> float:
    """Return how far from the middle a day closes: waves of several lengths, each from the seed."""
    total = 0.0
    for length, height in _WAVES:
        at, part = divmod(number, length)
        left = _point(f"{key}:{length}:{at}")
        total += height * (left + (_point(f"{key}:{length}:{at + 1}") - left) * part / length)
    return total


@lru_cache(maxsize=65_536)
def _point(key: str) -> float:
    return 2 * random.Random(key).random() - 1
