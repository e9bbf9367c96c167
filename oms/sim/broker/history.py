"""History: bars and ticks of any contract, from the record of its quotes and the past before it.

One source for what was, for bars that are told as they end and for ticks: they cannot disagree.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import Decimal
from functools import partial
from itertools import pairwise
from typing import Final

from oms.sim.broker.bar_sizes import Size
from oms.sim.broker.books.ledger import ZERO
from oms.sim.broker.exchange.contracts import Contract
from oms.sim.broker.exchange.market import Tick
from oms.sim.broker.exchange.past import LEVELS, WHOLE, Block, Origin
from oms.sim.broker.exchange.sessions import Session
from oms.sim.broker.floor import Floor

MICRO: Final = 1_000_000
#: Days before its expiry on which a contract that expires was listed.
_LISTED_DAYS: Final = {"OPT": 270, "FOP": 270, "WAR": 540}
_LISTED_OTHERS_DAYS: Final = 720
#: IB's volatility and fee series.
RATES: Final = ("HISTORICAL_VOLATILITY", "OPTION_IMPLIED_VOLATILITY", "FEE_RATE")
_RATE_UNIT: Final = Decimal("0.000001")


@dataclass(frozen=True, slots=True)
class Bar:
    """The prices of some time; volume, average and count are those of its trades."""

    #: Seconds since 1970.
    start: int
    session: Session
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    average: Decimal
    count: int


@dataclass(frozen=True, slots=True)
class Span:
    """A part of a session, in seconds since 1970."""

    session: Session
    start: int
    end: int


class _Sum:
    """A bar while it is made."""

    def __init__(self) -> None:
        self.prices: tuple[Decimal, Decimal, Decimal, Decimal] | None = None
        self.volume = ZERO
        self.turnover = ZERO
        self.count = 0
        #: Price times microseconds, and those microseconds.
        self.area = ZERO
        self.time = 0

    def take(self, first: Decimal, high: Decimal, low: Decimal, last: Decimal) -> None:
        if self.prices is None:
            self.prices = first, high, low, last
        else:
            opened, highest, lowest, _ = self.prices
            self.prices = opened, max(highest, high), min(lowest, low), last

    def sold(self, volume: Decimal, price: Decimal, count: int) -> None:
        self.volume += volume
        self.turnover += volume * price
        self.count += count

    def lasted(self, price: Decimal, microseconds: int) -> None:
        self.area += price * microseconds
        self.time += microseconds

    def average(self, prices: tuple[Decimal, Decimal, Decimal, Decimal]) -> Decimal:
        """By volume, else by time."""
        if self.volume:
            return self.turnover / self.volume
        return self.area / self.time if self.time else prices[3]


@dataclass(frozen=True, slots=True)
class _Series:
    """One price of a contract: of its ticks, and of a price of the past."""

    contract: Contract
    origin: Origin
    of: Callable[[Tick], Decimal]
    at: Callable[[Decimal], Decimal]
    #: The volume is that of the trades at this price.
    traded: bool = False
    #: False for a rate, which nobody quotes.
    quoted: bool = True


class History:
    """What was, of every contract."""

    def __init__(self, floor: Floor) -> None:
        self._floor = floor
        self._past = floor.market.past
        self.sessions = self._past.sessions

    # ── when ─────────────────────────────────────────────────────────────────────────────────────

    def head(self, contract: Contract) -> Session:
        """Return the first session of a contract."""
        origin = self._floor.market.origin(contract)
        if contract.expiry:
            before = _LISTED_DAYS.get(contract.sec_type, _LISTED_OTHERS_DAYS)
            day = date.fromisoformat(contract.expiry) - timedelta(days=before)
        else:
            rng = random.Random(f"{self._floor.settings.seed}:listed:{origin.path}")
            day = date(rng.randint(1990, 2009), rng.randint(1, 12), rng.randint(1, 28))
        found = self.sessions.between(contract, day, day + timedelta(days=7), origin.second)
        return next(found)

    def spans(self, contract: Contract, days: tuple[date, date], *, regular: bool) -> list[Span]:
        """Return the sessions of some days, both included, that have begun and were listed."""
        since = self._floor.market.origin(contract).second
        now = int(self._floor.clock.now().timestamp())
        last = date.fromisoformat(contract.expiry) if contract.expiry else days[1]
        first = max(days[0], self.head(contract).day)
        found = []
        for one in self.sessions.between(contract, first, min(days[1], last), since):
            start, end = one.span(regular=regular)
            if start < end and start <= now:
                found.append(Span(one, start, end))
        return found

    # ── bars ─────────────────────────────────────────────────────────────────────────────────────

    def bars(
        self, contract: Contract, shows: str, spans: Sequence[Span], size: Size, end: int
    ) -> list[Bar]:
        """Return the bars of one size that lie in these spans, with all that was before `end`
        (microseconds) in the last.
        """
        if shows == "BID_ASK":
            return self._both_sides(contract, spans, size, end)
        series = self._series(contract, shows)
        made: list[Bar] = []
        for within in _grouped(spans, size):
            made += self._run(series, within, size, end)
        return [_traded(one, shows) for one in made]

    def _both_sides(
        self, contract: Contract, spans: Sequence[Span], size: Size, end: int
    ) -> list[Bar]:
        """Open and close are the average bid and ask, low and high the least bid and highest ask.

        IB: historical bars, BID_ASK.
        """
        pairs = zip(
            self.bars(contract, "BID", spans, size, end),
            self.bars(contract, "ASK", spans, size, end),
            strict=True,
        )
        return [
            replace(bid, open=bid.average, high=ask.high, low=bid.low, close=ask.average)
            for bid, ask in pairs
        ]

    def _series(self, contract: Contract, shows: str) -> _Series:
        market = self._floor.market
        origin = market.origin(contract)
        if shows in RATES:
            value = self._rate(contract, shows, origin)
            number = RATES.index(shows) + 1
            shown = replace(contract, minimum_tick=_RATE_UNIT)
            path = -(origin.path * 10 + number)
            return _Series(
                shown, Origin(origin.at, value, path), lambda _: value, _same, quoted=False
            )
        match shows:
            case "BID":
                return _Series(
                    contract, origin, lambda tick: tick.bid, partial(_side, contract, -1)
                )
            case "ASK":
                return _Series(contract, origin, lambda tick: tick.ask, partial(_side, contract, 1))
            case "MIDPOINT":
                return _Series(contract, origin, lambda tick: (tick.bid + tick.ask) / 2, _same)
            case _:
                return _Series(
                    contract, origin, lambda tick: tick.last, contract.on_tick, traded=True
                )

    def _rate(self, contract: Contract, shows: str, origin: Origin) -> Decimal:
        """Return the rate of now: the volatilities are those of the option model."""
        if shows == "FEE_RATE":
            rng = random.Random(f"{self._floor.settings.seed}:fee:{origin.path}")
            return Decimal(rng.randint(25, 60)) / 100
        return Decimal(str(self._floor.market.volatility(contract)))

    def _run(self, series: _Series, spans: Sequence[Span], size: Size, end: int) -> Iterator[Bar]:
        """The bars of a session, or the one of several where they are longer than a session."""
        starts = self._starts(series.contract, spans, size, end)
        if not starts:
            return
        cuts = [*starts, min(spans[-1].end, -(-end // MICRO))]
        sums = [_Sum() for _ in starts]
        self._take_past(series, spans, size, cuts, sums)
        carried = self._take_ticks(series, spans, cuts, sums, end)
        for start, made in zip(starts, sums, strict=True):
            prices = made.prices or (carried, carried, carried, carried)
            carried = prices[3]
            average = made.average(prices).quantize(series.contract.minimum_tick / 100)
            # Rounded or not, it lies within the bar.
            average = min(max(average, prices[2]), prices[1])
            yield Bar(start, spans[-1].session, *prices, made.volume, average, made.count)

    def _starts(self, contract: Contract, spans: Sequence[Span], size: Size, end: int) -> list[int]:
        if not size.within_day:
            return [spans[0].start] if spans[0].start * MICRO < end else []
        zone = self.sessions.local_zone(contract)
        (span,) = spans
        starts, at = [], span.start
        while at < span.end and at * MICRO < end:
            starts.append(at)
            at = size.begin(at, zone) + size.seconds
        return starts

    def _take_past(
        self,
        series: _Series,
        spans: Sequence[Span],
        size: Size,
        cuts: Sequence[int],
        sums: Sequence[_Sum],
    ) -> None:
        """Add what was before the first quote."""
        unit = series.contract.minimum_tick
        at = 0
        for span in spans:
            if span.start >= min(series.origin.second, cuts[-1]):
                return
            begins = cuts[-2] if size.within_day else span.start
            for block in self._blocks(series, span, size, begins, cuts[-1]):
                while at + 1 < len(sums) and block.start >= cuts[at + 1]:
                    at += 1
                made = sums[at]
                first, last = series.at(block.open * unit), series.at(block.close * unit)
                high = max(series.at(block.high * unit), first, last)
                low = min(series.at(block.low * unit), first, last)
                made.take(first, high, low, last)
                typical = (first + high + low + last) / 4
                made.lasted(typical, (block.end - block.start) * MICRO)
                if series.traded:
                    made.sold(Decimal(block.volume), typical, block.volume)

    def _blocks(
        self, series: _Series, span: Span, size: Size, last: int, stop: int
    ) -> Iterator[Block]:
        """The blocks of a span that make bars of a size; `last` is where the last one begins, which
        is cut off at `stop`.
        """
        blocks = partial(self._past.blocks, series.contract, series.origin, span.session)
        length = WHOLE
        if size.within_day:
            length = next(one for one in LEVELS if not size.seconds % one)
        if stop >= min(span.end, series.origin.second):
            yield from blocks((span.start, span.end), length)
            return
        if last > span.start:
            yield from blocks((span.start, last), length)
        # Blocks that are longer than a bar would begin before the last one.
        step = size.seconds if size.within_day else 0
        fits = next(one for one in LEVELS if not stop % one and not step % one)
        yield from blocks((last, stop), fits)

    def _take_ticks(
        self,
        series: _Series,
        spans: Sequence[Span],
        cuts: Sequence[int],
        sums: Sequence[_Sum],
        end: int,
    ) -> Decimal:
        """Add what was recorded; return the price at the start."""
        origin, tape = series.origin, self._floor.books.tape
        start = cuts[0] * MICRO
        carried = series.at(origin.last)
        if not series.quoted or min(cuts[-1] * MICRO, end) <= origin.at:
            return carried
        before = tape.last_before(series.contract.con_id, start)
        if before is not None:
            carried = series.of(before)
        price = carried
        stop = min(cuts[-1] * MICRO, end)
        ticks = iter(tape.ticks(series.contract.con_id, max(start, origin.at), stop))
        tick = next(ticks, None)
        for at, made in enumerate(sums):
            since, until = max(cuts[at] * MICRO, origin.at), min(cuts[at + 1] * MICRO, stop)
            while tick is not None and tick.at < until:
                if any(one.start * MICRO <= tick.at < one.end * MICRO for one in spans):
                    made.lasted(price, max(tick.at - since, 0))
                    since, price = tick.at, series.of(tick)
                    made.take(price, price, price, price)
                    if series.traded and tick.traded:
                        made.sold(tick.traded, tick.last, 1)
                tick = next(ticks, None)
            made.lasted(price, max(until - since, 0))
        return carried

    # ── ticks ────────────────────────────────────────────────────────────────────────────────────

    def ticks(self, contract: Contract, span: Span) -> list[Tick]:
        """Return the ticks of a part of a session, oldest first: those of the past as they must
        have been.
        """
        origin = self._floor.market.origin(contract)
        made: list[Tick] = []
        if span.start < origin.second:
            within = (span.start, min(span.end, origin.second))
            for block in self._past.blocks(contract, origin, span.session, within, 1):
                if within[0] <= block.start < within[1]:
                    made += _ticks_of(contract, block)
        start, end = max(span.start * MICRO, origin.at), span.end * MICRO
        return made + self._floor.books.tape.ticks(contract.con_id, start, end)


def _ticks_of(contract: Contract, block: Block) -> list[Tick]:
    """The trades of a second: at its open, high, low and close, as far as the volume goes."""
    prices = [block.open, block.high, block.low, block.close]
    prices = [prices[0], *(after for before, after in pairwise(prices) if after != before)]
    count = min(len(prices), block.volume) or 1
    share = block.volume // count
    sizes = [share] * (count - 1) + [block.volume - share * (count - 1)]
    made = []
    for price, size in zip(prices[-count:], sizes, strict=True):
        last = contract.on_tick(price * contract.minimum_tick)
        step = contract.increment(last)
        shown = Decimal(500)
        made.append(
            Tick(contract.con_id, block.start * MICRO, last - step, last + step, last,
                 shown, shown, Decimal(size))
        )  # fmt: skip
    return made


def _grouped(spans: Sequence[Span], size: Size) -> Iterator[list[Span]]:
    """The spans that make one run of bars: a session each, or those of a week or a month."""
    group: list[Span] = []
    for span in spans:
        if group and size.period(group[-1].session.day) != size.period(span.session.day):
            yield group
            group = []
        group.append(span)
    if group:
        yield group


def _side(contract: Contract, sign: int, price: Decimal) -> Decimal:
    shown = contract.on_tick(price)
    return shown + sign * contract.increment(shown)


def _same(price: Decimal) -> Decimal:
    return price


def _traded(bar: Bar, shows: str) -> Bar:
    """A bar that is not made of trades has no volume: IB sends -1 for all three."""
    if shows in ("TRADES", "AGGTRADES", "ADJUSTED_LAST"):
        return bar
    return replace(bar, volume=Decimal(-1), count=-1)
