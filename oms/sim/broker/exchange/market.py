"""Quotes from a seed: the same seed gives the same prices on every machine.

What a quote becomes is recorded, tick by tick, from the first one on; `past` makes what was before.
What has an underlying and a strike has no path of its own: its price is what the model of
`valuation` makes of the underlying's, at a volatility that the seed gives to the underlying.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import astuple, dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Final, Protocol

from oms.sim.broker.exchange.contracts import OPTIONS, Contract
from oms.sim.broker.exchange.hours import schedule_of
from oms.sim.broker.exchange.past import DAY_VOLUME, Origin, Past
from oms.sim.broker.exchange.valuation import DAYS_A_YEAR, Terms, value
from oms.sim.settings import Liquidity

NOTHING: Final = Decimal(0)


@dataclass(frozen=True, slots=True)
class Quote:
    """The touch and the last print of a contract. Sizes are in units, not in lots."""

    bid: Decimal
    ask: Decimal
    last: Decimal
    #: What the touch takes before it moves, and the size of the last print.
    bid_size: Decimal = Decimal(500)
    ask_size: Decimal = Decimal(500)
    last_size: Decimal = Decimal(100)
    #: Of the day, as the four prices that follow; `close` is that of the day before.
    volume: Decimal = Decimal(DAY_VOLUME)
    open: Decimal = Decimal(0)
    high: Decimal = Decimal(0)
    low: Decimal = Decimal(0)
    close: Decimal = Decimal(0)

    def to_json(self) -> str:
        """Return it as the books keep it."""
        return json.dumps([str(value) for value in astuple(self)])

    @classmethod
    def from_json(cls, text: str) -> Quote:
        """Read what `to_json` wrote."""
        return cls(*map(Decimal, json.loads(text)))


@dataclass(frozen=True, slots=True)
class Tick:
    """What a quote became at a moment."""

    con_id: int
    #: Microseconds since 1970.
    at: int
    bid: Decimal
    ask: Decimal
    last: Decimal
    bid_size: Decimal
    ask_size: Decimal
    #: What was traded; 0 when the price moved and nothing was.
    traded: Decimal


@dataclass(frozen=True, slots=True)
class Day:
    """How low and how high the price of a day was."""

    day: date
    low: Decimal
    high: Decimal


class Record(Protocol):
    """Where ticks are kept."""

    def origin(self, con_id: int) -> Origin | None:
        """Return the first quote of a contract; None when it has none yet."""

    def begin(self, con_id: int, origin: Origin) -> None:
        """Keep the first quote of a contract."""

    def record(self, tick: Tick) -> None:
        """Keep a tick."""

    def rename(self, old: int, new: int) -> None:
        """Let the past of a contract go with it to another con id."""

    def split(self, con_id: int, ratio: Fraction, tick: Decimal) -> None:
        """Put the past of a stock into new shares."""


class Market:
    """The quote of every contract.

    A contract's first quote is its base price moved by at most one per cent, chosen by the seed;
    bid and ask are one tick either side of the last. The market stands still until `set` or
    `step` moves it; an option follows its underlying.
    """

    def __init__(
        self,
        seed: int,
        *,
        contract_of: Callable[[int], Contract | None],
        now: Callable[[], datetime],
        past: Past,
        record: Record,
    ) -> None:
        self._seed = seed
        self._contract_of = contract_of
        self._now = now
        #: What was before the first quotes.
        self.past = past
        self._record = record
        self._quotes: dict[int, Quote] = {}
        self._paths: dict[int, random.Random] = {}
        self._changed: set[int] = set()

    def restore(self, bodies: Mapping[int, str]) -> None:
        """Go on from the prices of another run."""
        for con_id, body in bodies.items():
            self._quotes[con_id] = Quote.from_json(body)
            self._begin(con_id, self._quotes[con_id].last)

    def changes(self) -> dict[int, str]:
        """Return the quotes that changed since this was asked for, as text."""
        changed, self._changed = self._changed, set()
        return {con_id: self._quotes[con_id].to_json() for con_id in changed}

    def origin(self, contract: Contract) -> Origin:
        """Return when a contract was first quoted: now, if nobody has asked for it before."""
        last = self.quote(contract).last
        return self._begin(contract.con_id, last)

    def roll(self) -> None:
        """Begin a day: the last price is the close of the old one and all there is of the new."""
        for con_id, old in list(self._quotes.items()):
            last = old.last
            new = replace(old, close=last, open=last, high=last, low=last, volume=Decimal(0))
            self._keep(con_id, new)

    def _keep(self, con_id: int, quote: Quote) -> None:
        self._quotes[con_id] = quote
        self._changed.add(con_id)

    def _tell(self, con_id: int, quote: Quote, traded: Decimal = NOTHING) -> None:
        """Keep a quote and record it: what has moved, or what was traded."""
        self._keep(con_id, quote)
        sides = (quote.bid, quote.ask, quote.last, quote.bid_size, quote.ask_size)
        self._record.record(Tick(con_id, self._microseconds(), *sides, traded))

    def _microseconds(self) -> int:
        return round(self._now().timestamp() * 1_000_000)

    def _begin(self, con_id: int, last: Decimal) -> Origin:
        """Return the first quote of a contract: this one, if there was none."""
        found = self._record.origin(con_id)
        if found is None:
            found = Origin(self._microseconds(), last, con_id)
            self._record.begin(con_id, found)
        return found

    def quote(self, contract: Contract) -> Quote:
        """Return the quote of a contract; the first one is made when somebody asks for it."""
        found = self._quotes.get(contract.con_id)
        if found is None:
            found = self._quotes[contract.con_id] = self._first(contract)
        return found

    def set(
        self,
        contract: Contract,
        *,
        bid: Decimal | None = None,
        ask: Decimal | None = None,
        last: Decimal | None = None,
        size: Decimal | None = None,
    ) -> Quote:
        """Move the touch. A side left out follows the sides given; `size` is for both sides.

        Where the last price is another one then, somebody has traded.
        """
        before = self.quote(contract)
        changed = self._moved(contract, bid=bid, ask=ask, last=last, size=size)
        traded = before.last_size if changed.last != before.last else NOTHING
        changed = replace(changed, volume=changed.volume + traded)
        self._tell(contract.con_id, changed, traded)
        return changed

    def _moved(
        self,
        contract: Contract,
        *,
        bid: Decimal | None = None,
        ask: Decimal | None = None,
        last: Decimal | None = None,
        size: Decimal | None = None,
    ) -> Quote:
        old = self.quote(contract)
        known = last if last is not None else bid if bid is not None else ask
        if known is None:
            known = old.last
        tick = contract.increment(known)
        new_bid = bid if bid is not None else min(known - tick, ask) if ask else known - tick
        new_ask = ask if ask is not None else max(known + tick, bid) if bid else known + tick
        if last is None:
            last = contract.on_tick((new_bid + new_ask) / 2)
        return replace(
            old,
            bid=new_bid,
            ask=new_ask,
            last=last,
            high=max(old.high, last),
            low=min(old.low, last),
            bid_size=size if size is not None else old.bid_size,
            ask_size=size if size is not None else old.ask_size,
        )

    def print_last(self, contract: Contract, price: Decimal, quantity: Decimal) -> Quote:
        """Print a fill: last, last size and volume follow it, the touch does not."""
        old = self.quote(contract)
        changed = replace(
            old,
            last=price,
            last_size=quantity,
            volume=old.volume + quantity,
            high=max(old.high, price),
            low=min(old.low, price),
        )
        self._tell(contract.con_id, changed, quantity)
        return changed

    def split(self, contract: Contract, ratio: Fraction) -> None:
        """Put every price of a stock that split, and its sizes, into new shares."""
        old = self.quote(contract)
        prices = ("bid", "ask", "last", "open", "high", "low", "close")
        new = {
            name: max(
                contract.on_tick(getattr(old, name) * ratio.denominator / ratio.numerator),
                contract.minimum_tick,
            )
            for name in prices
        }
        if new["ask"] <= new["bid"]:
            new["ask"] = new["bid"] + contract.minimum_tick
        self._record.split(contract.con_id, ratio, contract.minimum_tick)
        self._tell(contract.con_id, replace(old, **new))

    def rename(self, old: Contract, new: Contract) -> None:
        """Let the price go with the stock."""
        quote = self.quote(old)
        if new.con_id != old.con_id:
            self._record.rename(old.con_id, new.con_id)
        self._keep(new.con_id, quote)

    def take(
        self, contract: Contract, buying: bool, quantity: Decimal, liquidity: Liquidity
    ) -> None:
        """Use up the touch, where it can be used up; the next quote renews it."""
        if liquidity != "touch":
            return
        quote = self.quote(contract)
        if buying:
            quote = replace(quote, ask_size=max(quote.ask_size - quantity, Decimal(0)))
        else:
            quote = replace(quote, bid_size=max(quote.bid_size - quantity, Decimal(0)))
        self._keep(contract.con_id, quote)

    # ── options ──────────────────────────────────────────────────────────────────────────────────

    def volatility(self, underlying: Contract) -> float:
        """Return the volatility of what options on a contract are made of: 15 to 60 % a year."""
        chosen = random.Random(f"{self._seed}:volatility:{underlying.con_id}")
        return chosen.randint(15, 60) / 100

    def underlying(self, contract: Contract) -> Contract | None:
        """Return what an option is on; None for what is no option."""
        return self._contract_of(contract.under_id) if contract.sec_type in OPTIONS else None

    def terms(self, option: Contract, spot: Decimal) -> Terms:
        """Return what the value of an option hangs on, now and at a price of the underlying."""
        schedule = schedule_of(option)
        day = date.fromisoformat(option.expiry)
        ends = datetime.combine(day, schedule.liquid[1], tzinfo=schedule.zone)
        years = (ends - self._now()).total_seconds() / 86_400 / DAYS_A_YEAR
        return Terms(float(spot), float(option.strike or 0), years, option.right == "C")

    def model_price(self, option: Contract) -> Decimal | None:
        """Return the price of the model on the option's steps, two of them at least; None for what
        is no option.
        """
        underlying = self.underlying(option)
        if underlying is None:
            return None
        terms = self.terms(option, self.quote(underlying).last)
        price = Decimal(repr(value(terms, self.volatility(underlying)).price))
        return max(option.on_tick(price), option.minimum_tick * 2)

    def follow(self, underlying: Contract) -> list[int]:
        """Let the options on a contract follow it; return the con ids of those that moved."""
        moved = []
        for con_id in self.quoted:
            option = self._contract_of(con_id)
            if option is None or option.under_id != underlying.con_id:
                continue
            price = self.model_price(option)
            if price is not None and price != self._quotes[con_id].last:
                self.set(option, last=price)
                moved.append(con_id)
        return moved

    def days(self, contract: Contract, since: date) -> Iterator[Day]:
        """Yield what the prices of each day reached, from a day up to that of the first quote."""
        origin = self.origin(contract)
        last = self.past.today(contract, origin).day
        for session in self.past.sessions.between(contract, since, last, origin.second):
            block = self.past.day(contract, origin, session)
            low, high = (
                contract.on_tick(at * contract.minimum_tick) for at in (block.low, block.high)
            )
            yield Day(session.day, low, high)

    @property
    def quoted(self) -> list[int]:
        """Return con ids that somebody has asked for."""
        return list(self._quotes)

    def step(self, contract: Contract) -> Quote:
        """Move to the next price of a contract's path: a tick up, down, or none, by the seed; an
        option's next price is the model's.
        """
        path = self._paths.get(contract.con_id)
        if path is None:
            path = self._paths[contract.con_id] = random.Random(
                f"{self._seed}:path:{contract.con_id}"
            )
        before = self.quote(contract).last
        tick = contract.increment(before)
        last = max(contract.on_tick(before + path.choice((-1, 0, 1)) * tick), tick * 2)
        last = self.model_price(contract) or last
        size = Decimal(path.randint(1, 10) * 100)
        self._keep(contract.con_id, self._moved(contract, last=last, size=size))
        # A step is a print too: somebody else has traded.
        return self.print_last(contract, last, Decimal(path.randint(1, 5) * 100))

    def _first(self, contract: Contract) -> Quote:
        # A generator of its own for every contract: the order of look-ups must not matter.
        rng = random.Random(f"{self._seed}:{contract.con_id}")
        last = contract.on_tick(contract.base_price * Decimal(rng.randint(9900, 10100)) / 10000)
        tick = contract.increment(last)
        last = self.model_price(contract) or max(last, tick * 2)
        tick = contract.increment(last)
        origin = self._begin(contract.con_id, last)
        if last < NOTHING or not last:
            return Quote(last - tick, last + tick, last, open=last, high=last, low=last, close=last)
        day = self.past.day(contract, origin, self.past.today(contract, origin))
        return Quote(
            last - tick,
            last + tick,
            last,
            open=contract.on_tick(day.open * contract.minimum_tick),
            high=contract.on_tick(day.high * contract.minimum_tick),
            low=contract.on_tick(day.low * contract.minimum_tick),
            close=contract.on_tick(self.past.close_before(contract, origin)),
        )
