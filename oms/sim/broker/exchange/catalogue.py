"""The contract catalogue: what can be looked up, by con id and by description. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Final

from oms.sim.broker.exchange import listings
from oms.sim.broker.exchange.contracts import CONTINUOUS, Contract, Query
from oms.sim.broker.exchange.identifiers import is_cusip, is_isin, isin_of_cusip

#: A local symbol has five digits for the whole part of a strike.
OPTION_STRIKE_MAX: Final = 100_000
#: What there are options on; those on an index are settled in cash.
OPTIONED: Final = ("STK", "IND")
#: What a search by symbol finds.
SEARCHED: Final = ("STK", "IND", "CRYPTO", "FUND", "CMDTY")
_OPTION_NAME: Final = re.compile(r"(.{6})(\d{6})([CP])(\d{8})", re.ASCII)


class Catalogue:
    """Every contract the gateway knows.

    `today` is asked for at every look-up, for the clock may be stepped past an expiry: it decides
    which futures and options are listed. Contracts of earlier days come back from the books with
    `add`. An expired contract is known by its con id for ever, and found by a description only
    when the client asks for expired ones.
    """

    def __init__(self, today: Callable[[], date]) -> None:
        self._today = today
        self._listed_on: date | None = None
        self._by_id: dict[int, Contract] = {}
        self._by_symbol: dict[str, list[Contract]] = {}
        for source in (
            listings.stocks(),
            listings.forex(),
            listings.indices(),
            listings.contracts_for_difference(),
            listings.crypto(),
            listings.bonds(),
            listings.metals_and_funds(),
        ):
            for contract in source:
                self.add(contract)
        self._list_futures()

    def _list_futures(self) -> None:
        """New expiries are listed as time goes on."""
        today = self._today()
        if today != self._listed_on:
            self._listed_on = today
            for contract in (*listings.futures(today), *listings.warrants(today)):
                self.add(contract)

    def add(self, contract: Contract) -> None:
        """List a contract, unless it is listed."""
        if contract.con_id in self._by_id:
            return
        self._by_id[contract.con_id] = contract
        self._by_symbol.setdefault(contract.symbol, []).append(contract)

    def restore(self, contract: Contract) -> None:
        """List a contract as the books have it: it may have another symbol than on the list."""
        listed = self._by_id.get(contract.con_id)
        # What is on the list under the same symbol stays as listed: its place there has a meaning.
        if listed is not None and listed.symbol != contract.symbol:
            self._by_symbol[listed.symbol].remove(listed)
            del self._by_id[contract.con_id]
            # Books of an older program know no ISIN.
            contract = replace(contract, isin=listed.isin)
        self.add(contract)

    def rename(self, contract: Contract, symbol: str, con_id: int) -> Contract:
        """Give a stock another symbol, under its old con id or a new one; the old one is gone."""
        new = replace(contract, symbol=symbol, local_symbol=symbol, con_id=con_id)
        if new.trading_class == contract.symbol:
            new = replace(new, trading_class=symbol)
        self._by_symbol[contract.symbol].remove(contract)
        self._by_id[con_id] = new
        self._by_symbol.setdefault(symbol, []).append(new)
        return new

    def expired(self, contract: Contract) -> bool:
        """Say whether a contract's last trading day is over."""
        return contract.expired(self._today())

    def by_id(self, con_id: int) -> Contract | None:
        """Return the contract of a con id, expired or not."""
        return self._by_id.get(con_id)

    def contracts(self) -> list[Contract]:
        """Return everything that is known now."""
        return list(self._by_id.values())

    def resolve(self, query: Query) -> list[Contract]:
        """Return every contract that fits what the client said; none when none does."""
        found = self.resolve_any(query)
        return found if query.include_expired else [one for one in found if not self.expired(one)]

    def resolve_any(self, query: Query) -> list[Contract]:
        """Return the same as `resolve`, and expired contracts."""
        self._list_futures()
        if query.sec_type == "BAG":
            return [self._combination(query)]
        if query.con_id:
            found = self._by_id.get(query.con_id)
            return [found] if found is not None and _exchange_fits(found, query.exchange) else []
        if query.sec_type == "OPT":
            self._list_options(query)
        if query.sec_type == "FOP":
            self._list_futures_options(query)
        if query.sec_type == "BOND":
            self._list_bond(query)
        if query.sec_type == CONTINUOUS:
            return self._front_futures(query)
        if query.sec_id:
            return [one for one in self._by_id.values() if _has_number(one, query)]
        symbol = query.symbol or query.local_symbol.partition(".")[0].upper()
        candidates = self._by_symbol.get(symbol, [])
        if not candidates and query.local_symbol:
            candidates = [one for one in self._by_id.values() if _named(one, query.local_symbol)]
        if query.sec_type == "BOND" and is_cusip(symbol):
            candidates = [one for one in self._by_id.values() if one.cusip == symbol]
        return [contract for contract in candidates if _fits(contract, query)]

    def one(self, symbol: str) -> Contract | None:
        """Return the main listing of a symbol, or the contract with that local symbol."""
        for contract in self._by_symbol.get(symbol.upper(), ()):
            if contract.sec_type in ("STK", "CASH") and contract.local_symbol == symbol.upper():
                return contract
        named = next((one for one in self._by_id.values() if _named(one, symbol)), None)
        return named or next(iter(self._by_symbol.get(symbol.upper(), ())), None)

    def starting_with(self, pattern: str) -> list[Contract]:
        """Return what has derivatives or issues bonds, and whose symbol starts so or whose name has
        it; the symbol itself first.
        """
        found = [
            one
            for one in self._by_id.values()
            if one.sec_type in SEARCHED
            and (one.symbol.startswith(pattern) or pattern in one.long_name.upper())
        ]
        return sorted(found, key=lambda one: one.symbol != pattern)

    def derivatives(self, contract: Contract) -> list[str]:
        """Return the security types of what is derived from a contract, combinations last."""
        if contract.sec_type not in OPTIONED:
            return []
        on_it: set[str] = {
            one.sec_type for one in self._by_id.values() if one.under_id == contract.con_id
        }
        if contract.sec_type == "IND":
            on_it |= {"FUT"} & {one.sec_type for one in self._by_symbol[contract.symbol]}
        if contract.currency == "USD":
            on_it.add("OPT")
        return [*sorted(on_it), *(["BAG"] if "OPT" in on_it else [])]

    def option_chain(self, underlying: Contract) -> list[Contract]:
        """Return eleven strikes round the base price, calls and puts: on the next six expiries, and
        of a future on its own.
        """
        strikes = _strikes_round(underlying.base_price)
        if underlying.sec_type == "FUT":
            made_on_it = [
                listings.futures_option(underlying, strike, right)
                for strike in strikes
                for right in ("C", "P")
            ]
            for one in made_on_it:
                self.add(one)
            return made_on_it
        if underlying.sec_type not in OPTIONED:
            return []
        today = self._today()
        friday = today + timedelta(days=(4 - today.weekday()) % 7)
        days = {friday + timedelta(weeks=n) for n in range(4)}
        days |= set(listings.expiries(today, 12))
        chain = []
        for day in sorted(days)[:6]:
            for strike in strikes:
                for right in ("C", "P"):
                    made = listings.option(underlying, f"{day:%Y%m%d}", strike, right)
                    self.add(made)
                    chain.append(made)
        return chain

    def _list_options(self, query: Query) -> None:
        """Options come into being when somebody asks for them: on any Friday, at any strike step;
        those on an index on any day.

        The last eight digits of a local symbol are the strike in thousandths.
        """
        symbol, expiry, right, strike = query.symbol, query.expiry, query.right, query.strike
        named = _OPTION_NAME.fullmatch(query.local_symbol)
        if not symbol and named is not None:
            symbol, expiry, right = named[1].strip(), f"20{named[2]}", named[3]
            strike = Decimal(named[4]) / 1000
        underlying = self.one(symbol)
        if underlying is None or underlying.sec_type not in OPTIONED:
            return
        if len(expiry) == 8 and strike is not None:
            step = listings.strike_step(underlying.base_price)
            ends = underlying.sec_type == "IND" or _is_friday(expiry)
            if ends and 0 < strike < OPTION_STRIKE_MAX and not strike % step:
                for one in (right,) if right else ("C", "P"):
                    self.add(listings.option(underlying, expiry, strike, one))
        else:
            self.option_chain(underlying)

    def _list_futures_options(self, query: Query) -> None:
        """As `_list_options`, on every listed future of the symbol."""
        for future in list(self._by_symbol.get(query.symbol, ())):
            if future.sec_type != "FUT" or self.expired(future):
                continue
            if query.strike is None:
                self.option_chain(future)
                continue
            step = listings.strike_step(future.base_price)
            if 0 < query.strike < OPTION_STRIKE_MAX and not query.strike % step:
                for right in ("C", "P"):
                    self.add(listings.futures_option(future, query.strike, right))

    def _list_bond(self, query: Query) -> None:
        """A bond comes into being when somebody asks for it by a number whose check digit holds."""
        isin = query.sec_id
        if is_cusip(query.sec_id) or is_cusip(query.symbol):
            isin = isin_of_cusip(query.sec_id or query.symbol)
        if is_isin(isin) and all(one.isin != isin for one in self._by_id.values()):
            self.add(listings.bond_of(isin))

    def _front_futures(self, query: Query) -> list[Contract]:
        """The future of each trading class that expires first."""
        first: dict[tuple[str, str], Contract] = {}
        wanted = replace(query, sec_type="FUT", expiry="")
        for one in self._by_symbol.get(query.symbol or query.trading_class, ()):
            if _fits(one, wanted) and not self.expired(one):
                key = (one.trading_class, one.primary_exchange)
                first[key] = min(first.get(key, one), one, key=lambda future: future.expiry)
        return list(first.values())

    def _combination(self, query: Query) -> Contract:
        made = listings.combination(query.symbol, query.currency or "USD")
        self.add(made)
        return made


def _strikes_round(price: Decimal) -> list[Decimal]:
    """Eleven strikes, about a hundredth of the price apart."""
    step = listings.strike_step(price)
    step *= max((price / 100 / step).quantize(Decimal(1)), Decimal(1))
    middle = (price / step).quantize(Decimal(1)) * step
    return [middle + step * n for n in range(-5, 6)]


def _is_friday(expiry: str) -> bool:
    try:
        return datetime.strptime(expiry, "%Y%m%d").weekday() == 4  # noqa: DTZ007
    except ValueError:
        return False


def _named(contract: Contract, local_symbol: str) -> bool:
    return contract.local_symbol.replace(" ", "") == local_symbol.upper().replace(" ", "")


def _has_number(contract: Contract, query: Query) -> bool:
    """Fits a look-up by ISIN or CUSIP, where the symbol may be left out or be anything."""
    number = {"ISIN": contract.isin, "CUSIP": contract.cusip or contract.isin[2:11]}
    is_american = contract.isin.startswith("US")
    return (
        number.get(query.sec_id_type) == query.sec_id
        and (query.sec_id_type != "CUSIP" or is_american)
        and query.sec_type in ("", contract.sec_type)
        and query.currency in ("", contract.currency)
        and query.primary_exchange in ("", contract.primary_exchange, "SMART")
        and _exchange_fits(contract, query.exchange)
    )


def _fits(contract: Contract, query: Query) -> bool:
    return (
        contract.sec_type == query.sec_type
        and query.currency in ("", contract.currency)
        and (not query.local_symbol or _named(contract, query.local_symbol))
        and query.trading_class in ("", contract.trading_class)
        and query.primary_exchange in ("", contract.primary_exchange, "SMART")
        and (not query.expiry or contract.expiry.startswith(query.expiry))
        and (query.strike is None or contract.strike == query.strike)
        and query.right in ("", contract.right)
        and query.multiplier in ("", contract.multiplier_text)
        and _exchange_fits(contract, query.exchange)
    )


def _exchange_fits(contract: Contract, exchange: str) -> bool:
    return exchange in ("", contract.primary_exchange) or exchange in (
        contract.valid_exchanges.split(",")
    )
