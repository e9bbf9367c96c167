"""The rules that an order must keep before it leaves, as a table: each with its name, what it
reads, its settings, and a pure function that says why it refuses.

Every refusal names the value that the rule saw and the limit that it kept.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Final

from oms.core.admit.limits import LIVE_PORTS, PAPER_PORTS, Limits, is_paper
from oms.core.admit.proposal import Proposal, Rule, likeness
from oms.core.admit.venue_rules import Denial, VenueRules, con_ids_of, denial_of, value_of
from oms.core.events import Terms
from oms.core.fold.records import SystemRecord
from oms.core.money import plain

RATE_SECONDS: Final = 60
_PERCENT: Final = Decimal(100)


def check_world(system: SystemRecord) -> Denial | None:
    """Return why no new order may leave now, whatever it is."""
    return _halted(system) or _connected(system) or _reconciled(system)


def halt_denial(system: SystemRecord) -> Denial:
    """Return what an order or a change is told while trading is halted."""
    return Denial("halt", "halted", "not halted", f"trading is halted: {system.halt_reason}")


# ── the world ────────────────────────────────────────────────────────────────────────────────────


def _halted(system: SystemRecord) -> Denial | None:
    return halt_denial(system) if system.halted else None


def _connected(system: SystemRecord) -> Denial | None:
    if not system.connected:
        return Denial("connected", "no session", "a session", "there is no line to the gateway")
    if system.gap_sequence:
        return Denial(
            "connected", system.gap_cause, "no gap", f"the line is broken: {system.gap_cause}"
        )
    return None


def _reconciled(system: SystemRecord) -> Denial | None:
    if system.ready:
        return None
    return Denial(
        "reconciled",
        "not yet",
        "complete answers",
        "the books have not been compared with the broker's since the line came up",
    )


def _gate(proposal: Proposal, _limits: Limits) -> Denial | None:
    """Refuse new orders exactly where our books are known to be wrong (decision D12).

    A closing order passes where at least one side's books hold what it takes: to get out must not
    wait until it is known how much there is.
    """
    if proposal.closing:
        return None if _takes_only(proposal) else _not_closing(proposal)
    for case in proposal.open_breaks:
        finding = case.finding
        if finding.severity != "high" or finding.account != proposal.account:
            continue
        if finding.con_id in con_ids_of(proposal.contract):
            return Denial(
                "gate",
                case.break_id,
                "no open break",
                f"break {case.break_id} ({finding.break_class}) is open for this account and"
                " contract; see `oms breaks`",
            )
    return None


def _takes_only(proposal: Proposal) -> bool:
    terms = proposal.terms
    return any(
        (held > 0) == (terms.side == "SELL") and terms.quantity <= abs(held)
        for held in proposal.held
        if held
    )


def _not_closing(proposal: Proposal) -> Denial:
    held = ", ".join(plain(quantity) for quantity in proposal.held) or "nothing"
    terms = proposal.terms
    return Denial(
        "gate",
        f"{terms.side} {plain(terms.quantity)}",
        held,
        f"a closing order takes from what the account holds ({held}), and {terms.side}"
        f" {plain(terms.quantity)} does more than that",
    )


# ── who and what ─────────────────────────────────────────────────────────────────────────────────


def _account(proposal: Proposal, limits: Limits) -> Denial | None:
    allowed = limits.accounts or proposal.managed_accounts
    if proposal.account in allowed and proposal.account in proposal.managed_accounts:
        return None
    return Denial(
        "account",
        proposal.account,
        ", ".join(allowed),
        f"account {proposal.account!r} is not one of {', '.join(allowed) or 'none'}",
    )


def _mode(proposal: Proposal, limits: Limits) -> Denial | None:
    paper = limits.mode == "paper"
    if paper and not is_paper(proposal.account):
        text = f"account {proposal.account} is a live one while OMS_MODE is paper"
        return Denial("mode", proposal.account, "paper", text)
    wrong = LIVE_PORTS if paper else PAPER_PORTS
    if limits.port not in wrong:
        return None
    other = "live" if paper else "paper"
    text = f"port {limits.port} is the one of a {other} gateway while OMS_MODE is {limits.mode}"
    return Denial("mode", f"port {limits.port}", limits.mode, text)


def _contracts(proposal: Proposal, limits: Limits) -> Denial | None:
    contract = proposal.contract
    names = {contract.symbol.upper(), str(contract.con_id)}
    if not limits.contracts or names & {one.upper() for one in limits.contracts}:
        return None
    allowed = ", ".join(limits.contracts)
    text = f"{contract.symbol} (con id {contract.con_id}) is not one of {allowed}"
    return Denial("contracts", contract.symbol, allowed, text)


def _sec_types(proposal: Proposal, limits: Limits) -> Denial | None:
    kind = proposal.contract.sec_type
    if not limits.sec_types or kind in {one.upper() for one in limits.sec_types}:
        return None
    allowed = ", ".join(limits.sec_types)
    return Denial("sec_types", kind, allowed, f"asset class {kind} is not one of {allowed}")


def _venue(name: str) -> Callable[[Proposal, Limits], Denial | None]:
    def refuse(proposal: Proposal, _limits: Limits) -> Denial | None:
        found = denial_of(proposal.terms, proposal.contract, proposal.rules or VenueRules())
        return found if found is not None and found.rule == name else None

    return refuse


# ── how much ─────────────────────────────────────────────────────────────────────────────────────


def _quantity(proposal: Proposal, limits: Limits) -> Denial | None:
    largest = limits.order_quantity_max.of(proposal.account, proposal.contract)
    quantity = proposal.terms.quantity
    if largest is None or quantity <= largest:
        return None
    return Denial(
        "quantity",
        plain(quantity),
        plain(largest),
        f"quantity {plain(quantity)} is above the limit of {plain(largest)} an order",
    )


def _notional(proposal: Proposal, limits: Limits) -> Denial | None:
    largest = limits.order_notional_max.of(proposal.account, proposal.contract)
    if largest is None:
        return None
    contract = proposal.contract
    price = _dearest(proposal)
    why = _not_valued(proposal, price)
    if price is None or why:
        text = f"the order cannot be valued, and values are limited to {plain(largest)}: {why}"
        return Denial("notional", "unknown", plain(largest), text)
    notional = value_of(proposal.terms, contract, proposal.rules or VenueRules(), price)
    if notional <= largest:
        return None
    return Denial(
        "notional",
        plain(notional),
        plain(largest),
        f"value {plain(notional)} {contract.currency} is above the limit of {plain(largest)} an"
        " order",
    )


def _not_valued(proposal: Proposal, price: Decimal | None) -> str:
    contract, rules = proposal.contract, proposal.rules or VenueRules()
    if contract.is_combo and rules.units is None and contract.multiplier is None:
        return "IB does not say what a unit of a combo's price is worth"
    return "it has no price and its market none either" if price is None else ""


def _collar(proposal: Proposal, limits: Limits) -> Denial | None:
    percent = limits.order_collar_percent.of(proposal.account, proposal.contract)
    terms = proposal.terms
    if percent is None or not any(price for _, price in _collared(terms)):
        return None
    market = proposal.entry_price if proposal.entry_price else proposal.reference_price
    limit = f"{plain(percent)} %"
    if market is None:
        if limits.collar_without_quote == "pass":
            return None
        text = (
            f"there is no quote of {proposal.contract.symbol} to hold the price against, and"
            " OMS_ORDER_COLLAR_WITHOUT_QUOTE is refuse"
        )
        return Denial("collar", "no quote", limit, text)
    room = abs(market) * percent / _PERCENT
    for name, price in _collared(terms):
        # Of a stop-limit, the limit is held against its stop: only there it comes to life.
        stop = terms.stop_price
        base = stop if name == "limit" and stop is not None else market
        # Bought dearer or sold cheaper is the danger of a limit; a stop on the side of the market
        # where a limit belongs fires at once.
        beyond = price - base if (terms.side == "BUY") is (name == "limit") else base - price
        if beyond > room:
            side = "above" if price > base else "below"
            text = (
                f"{name} price {plain(price)} is more than {limit} {side}"
                f" {'its stop' if base is stop else 'the market'} at {plain(base)}"
            )
            return Denial("collar", plain(price), limit, text)
    return None


def _collared(terms: Terms) -> tuple[tuple[str, Decimal], ...]:
    """Return the prices of an order that can be too far from the market."""
    prices = (
        ("limit", terms.limit_price),
        ("stop", terms.stop_price),
        ("first stop", terms.trail_stop_price),
    )
    return tuple((name, price) for name, price in prices if price is not None)


def _price_of(terms: Terms) -> Decimal | None:
    """Return the price that an order names, None where the market will name it."""
    return terms.limit_price or terms.stop_price or terms.trail_stop_price


def _cap(terms: Terms) -> Decimal | None:
    """Return the price that an order names where it cannot trade at a dearer one, else None.

    A limit to sell only says the least, a stop to buy only where it begins, and a trailing stop
    moves: below the market they are worth what the market gives.
    """
    if terms.side == "BUY":
        return terms.limit_price
    return terms.stop_price if terms.limit_price is None else None


def _dearest(proposal: Proposal) -> Decimal | None:
    """Return the price to value an order at: the one it cannot exceed, else the greater of its own
    and the market's; None where neither is known.
    """
    cap = _cap(proposal.terms)
    if cap:
        return cap
    own = _price_of(proposal.terms)
    # An exit comes to life where its entry has filled, not where the market is now.
    market = proposal.entry_price if own else proposal.reference_price
    market = market or proposal.reference_price or proposal.entry_price
    return max((price for price in (own, market) if price), key=abs, default=None)


# ── how often ────────────────────────────────────────────────────────────────────────────────────


def _rate(proposal: Proposal, limits: Limits) -> Denial | None:
    most = limits.orders_per_minute_max
    if most is None or proposal.now is None:
        return None
    since = proposal.now - timedelta(seconds=RATE_SECONDS)
    count = sum(one.at > since for one in proposal.recent) + proposal.ahead + 1
    if count <= most:
        return None
    text = f"it would be order {count} within {RATE_SECONDS} seconds; {most} are allowed"
    return Denial("rate", str(count), str(most), text)


def _open_orders(proposal: Proposal, limits: Limits) -> Denial | None:
    most = limits.open_orders_max.of(proposal.account, proposal.contract)
    count = proposal.open_orders + 1
    if most is None or count <= most:
        return None
    text = (
        f"it would be order {count} at work in {proposal.contract.symbol} for"
        f" {proposal.account}; {plain(most)} are allowed"
    )
    return Denial("open_orders", str(count), plain(most), text)


def _duplicate(proposal: Proposal, limits: Limits) -> Denial | None:
    if not limits.duplicate_window or proposal.now is None:
        return None
    since = proposal.now - limits.duplicate_window
    like = likeness(proposal.account, proposal.contract, proposal.terms)
    for one in reversed(proposal.recent):
        if one.at > since and one.likeness == like:
            age = (proposal.now - one.at).total_seconds()
            window = _window_text(limits)
            text = (
                f"order {one.order_id} asked for the same {age:.1f} s ago; within {window} that is"
                " taken for a mistake"
            )
            return Denial("duplicate", one.order_id, window, text)
    return None


# ── the table ────────────────────────────────────────────────────────────────────────────────────


def _unqualified(proposal: Proposal) -> str:
    return "" if proposal.rules is not None else "IB has not been asked for the contract's rules"


def _without_con_id(proposal: Proposal) -> str:
    return "" if proposal.contract.con_id else "IB has not been asked which contract it is"


def _priceless(proposal: Proposal) -> str:
    return "" if proposal.reference_price is not None else "there is no quote of the market here"


def _window_text(limits: Limits) -> str:
    seconds = limits.duplicate_window.total_seconds()
    return f"{seconds:g} s" if seconds else ""


def _mode_text(limits: Limits) -> str:
    return f"{limits.mode}, port {limits.port}" if limits.port else limits.mode


#: In the order in which they are asked; the first that refuses names the denial.
RULES: Final = (
    Rule(
        "halt",
        "whether a person has halted trading",
        (),
        "every new order and every change while trading is halted",
        lambda proposal, _limits: _halted(proposal.system),
        changes=True,
    ),
    Rule(
        "connected",
        "the session, and whether the line has a gap",
        (),
        "every order while there is no whole line to IB",
        lambda proposal, _limits: _connected(proposal.system),
    ),
    Rule(
        "reconciled",
        "whether the books were compared since the line came up",
        (),
        "every order before the broker's answers are complete",
        lambda proposal, _limits: _reconciled(proposal.system),
    ),
    Rule(
        "account",
        "the account, those of the settings and those of the gateway",
        ("accounts",),
        "an account that is not allowed or that the gateway does not manage",
        _account,
        lambda proposal, limits: ", ".join(limits.accounts or proposal.managed_accounts) or "none",
    ),
    Rule(
        "mode",
        "the account's first letters (DU and DF are paper) and the gateway's port",
        ("mode", "port"),
        "a live account or a live gateway's port (4001, 7496) under `paper`; a paper gateway's port"
        " (4002, 7497) under `live`",
        _mode,
        lambda _proposal, limits: _mode_text(limits),
    ),
    Rule(
        "contracts",
        "symbol and con id",
        ("order_contracts",),
        "a contract that is not on the list",
        _contracts,
        lambda _proposal, limits: ", ".join(limits.contracts),
    ),
    Rule(
        "sec_types",
        "the asset class",
        ("order_sec_types",),
        "an asset class that is not on the list",
        _sec_types,
        lambda _proposal, limits: ", ".join(limits.sec_types),
    ),
    Rule(
        "contract",
        "the contract's kind",
        (),
        "what has quotes and no orders (an index), a combo without legs, an auction that does not"
        " exist",
        _venue("contract"),
        missing=_unqualified,
        changes=True,
    ),
    Rule(
        "price",
        "limit and stop prices",
        (),
        "a price at or below zero where the contract's is always above",
        _venue("price"),
        changes=True,
    ),
    Rule(
        "tick",
        "prices, and the market rule of the contract's venue",
        (),
        "a price between two steps",
        _venue("tick"),
        missing=_unqualified,
        changes=True,
    ),
    Rule(
        "size",
        "quantity, and the venue's least size and step",
        (),
        "a quantity that the venue does not take",
        _venue("size"),
        missing=_unqualified,
        changes=True,
    ),
    Rule(
        "quantity",
        "the quantity",
        ("order_quantity_max",),
        "more than the limit",
        _quantity,
        lambda p, limits: plain(limits.order_quantity_max.of(p.account, p.contract)),
        changes=True,
    ),
    Rule(
        "notional",
        "price, quantity, multiplier and price magnifier; the price is the order's own where it"
        " cannot trade at a dearer one (a limit to buy, a stop to sell), else the greater of its"
        " own and the market's, as far as there is a quote",
        ("order_notional_max", "order_quote_wait_seconds"),
        "a value above the limit, in the contract's currency, and a value that is not known",
        _notional,
        lambda p, limits: plain(limits.order_notional_max.of(p.account, p.contract)),
        lambda proposal: "" if _cap(proposal.terms) else _priceless(proposal),
        changes=True,
    ),
    Rule(
        "collar",
        "limit and stop prices, and the market's price (the middle of bid and ask, else the last);"
        " of an exit, its entry's price",
        ("order_collar_percent", "order_collar_without_quote", "order_quote_wait_seconds"),
        "a limit that is too far above the market to buy or below it to sell, a stop too far on the"
        " wrong side of it, a limit too far from its own stop",
        _collar,
        lambda p, limits: _percent_text(limits.order_collar_percent.of(p.account, p.contract)),
        lambda proposal: "" if proposal.entry_price else _priceless(proposal),
        changes=True,
    ),
    Rule(
        "open_orders",
        "our live orders of the account and contract",
        ("open_orders_max",),
        "one more order than may be at work",
        _open_orders,
        lambda p, limits: plain(limits.open_orders_max.of(p.account, p.contract)),
        _without_con_id,
    ),
    Rule(
        "rate",
        "the intents of the last 60 seconds in the log",
        ("orders_per_minute_max",),
        "one more order than may be sent in a minute",
        _rate,
        lambda _proposal, limits: str(limits.orders_per_minute_max or ""),
    ),
    Rule(
        "duplicate",
        "the intents of the last while in the log",
        ("order_duplicate_seconds",),
        "the same order again (account, side, contract, quantity, type, prices) within so long",
        _duplicate,
        lambda _proposal, limits: _window_text(limits),
        _without_con_id,
    ),
    Rule(
        "gate",
        "open breaks of high severity",
        (),
        "an order where our books of this account and contract are known to be wrong",
        _gate,
        missing=_without_con_id,
    ),
)


def _percent_text(percent: Decimal | None) -> str:
    return "" if percent is None else f"{plain(percent)} %"
