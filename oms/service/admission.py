"""Who may leave: gathers what the rules of `core.admit` need to know, and remembers what was sent.

What the rules that look back count is in `core.admit.passed`. What was sent before this daemon
began is read from the log, so a restart forgives nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from oms.clock import Clock
from oms.core.admit.frequency import looks_back
from oms.core.admit.holding import Unfilled, holdings, unfilled_in
from oms.core.admit.limits import Limits
from oms.core.admit.passed import Passed, same_place
from oms.core.admit.proposal import Proposal, Recent, entry_price_of, likeness
from oms.core.admit.rule import Denial
from oms.core.admit.rules import check, check_change, in_force, warning_of
from oms.core.admit.venue import VenueRules
from oms.core.contracts import Contract
from oms.core.events import OrderIntended, Terms
from oms.core.fold.records import Order
from oms.service.prices import Prices
from oms.service.view import View
from oms.settings import Settings
from oms.telemetry import get_logger

if TYPE_CHECKING:
    from oms.broker.session import Session
    from oms.store.reader import Reader

log = get_logger("service.admission")

#: Intents read at a time when a daemon begins.
_PAGE: Final = 500


class Admission:
    """Judges orders that want to leave."""

    def __init__(
        self, *, limits: Limits, session: Session, view: View, clock: Clock, prices: Prices
    ) -> None:
        self.limits = limits
        self._session = session
        self._view = view
        self._clock = clock
        self._prices = prices
        self._horizon = looks_back(limits)
        self._passed = Passed(self._horizon)

    async def recall(self, reader: Reader) -> None:
        """Read from the log what was sent a while before this daemon began."""
        if self._horizon is None:
            return
        since = self._clock.now() - self._horizon
        found: list[Recent] = []
        before: int | None = None
        while True:
            page = await reader.events(
                type=OrderIntended.__name__, before=before, reverse=True, limit=_PAGE
            )
            late = [one for one in page if one.recorded_at > since]
            for one in late:
                event = one.event
                if isinstance(event, OrderIntended):
                    like = likeness(event.account, event.contract, event.terms)
                    found.append(Recent(event.order_id, one.recorded_at, like))
            if len(late) < _PAGE:
                break
            before = late[-1].sequence
        self._passed.recall(reversed(found))

    async def judge(
        self, intents: Sequence[OrderIntended], rules: Sequence[VenueRules]
    ) -> tuple[OrderIntended, ...] | Denial:
        """Return orders, which stand or fall together, as they may leave: with the rules that they
        passed and what those warn of; or the first rule that refuses one of them.

        Where it returns the orders they count as sent: the next one is judged with them beside it.
        """
        prices = [await self._price(intent.account, intent.contract) for intent in intents]
        # From here to the end nothing is awaited: what is counted cannot change meanwhile.
        now = self._clock.now()
        self._passed.forget_old(now, self._view.orders)
        # The same key twice is one order, and not its own duplicate.
        recent = self._passed.before({intent.order_id for intent in intents})
        judged: list[OrderIntended] = []
        for ahead, (intent, rule) in enumerate(zip(intents, rules, strict=True)):
            proposal = self._proposal(intent, rule, prices[ahead], intents, ahead)
            beside = sum(same_place(one, intent) for one in intents[:ahead])
            proposal = replace(
                proposal,
                now=now,
                recent=recent,
                ahead=ahead,
                open_orders=proposal.open_orders + beside,
            )
            denial = check(proposal, self.limits)
            if denial is not None:
                return denial
            kept = in_force(proposal, self.limits)
            judged.append(
                intent.evolve(
                    checks=tuple(kept),
                    limits=tuple(kept.values()),
                    warning=warning_of(proposal, self.limits),
                )
            )
        self._passed.add(judged, now)
        return tuple(judged)

    async def judge_change(self, order: Order, terms: Terms, rules: VenueRules) -> str | Denial:
        """Return what a person should know of new terms of an order at work that may leave, "" for
        nothing; or the first rule that refuses them. What may leave counts as sent.
        """
        price = await self._price(order.account, order.contract)
        now = self._clock.now()
        self._passed.forget_old(now, self._view.orders)
        # While its price was asked for, it may have filled further.
        order = self._view.orders.get(order.order_id, order)
        changed = OrderIntended(
            order_id=order.order_id,
            account=order.account,
            contract=order.contract,
            terms=terms,
            parent_order_id=order.parent_order_id or None,
            closing=order.closing,
        )
        proposal = replace(self._proposal(changed, rules, price), change_of=order)
        denial = check_change(proposal, self.limits)
        if denial is not None:
            return denial
        self._passed.add_change(changed, order.revision + 1, now)
        return warning_of(proposal, self.limits)

    # ── inside ──

    async def _price(self, account: str, contract: Contract) -> Decimal | None:
        limits = (self.limits.order_collar_percent, self.limits.order_notional_max)
        if all(limit.of(account, contract) is None for limit in limits):
            return None
        return await self._prices.of(contract)

    def _proposal(
        self,
        intent: OrderIntended,
        rules: VenueRules,
        price: Decimal | None,
        group: Sequence[OrderIntended] = (),
        ahead: int = 0,
    ) -> Proposal:
        counted = intent.closing or self.limits.exposure != "off"
        return Proposal(
            account=intent.account,
            contract=intent.contract,
            terms=intent.terms,
            rules=rules,
            managed_accounts=self._session.accounts,
            system=self._view.system,
            open_breaks=self._view.open_breaks(),
            set_aside=self._view.set_aside(),
            closing=intent.closing,
            order_id=intent.order_id,
            parent_order_id=intent.parent_order_id or "",
            held=self._held(intent) if counted else {},
            beside=self._beside(intent, group[:ahead]) if counted else (),
            reference_price=price,
            entry_price=self._entry_price(intent, group),
            open_orders=(
                self._passed.at_work(intent, self._view.orders)
                if self.limits.open_orders_max.is_set
                else 0
            ),
        )

    def _held(self, intent: OrderIntended) -> dict[int, tuple[Decimal, ...]]:
        view = self._view
        return holdings(intent.account, intent.contract, view.positions, view.open_breaks())

    def _beside(
        self, intent: OrderIntended, before: Sequence[OrderIntended]
    ) -> tuple[Unfilled, ...]:
        coming = self._passed.on_the_way | {one.order_id: one for one in before}
        view = self._view
        every = unfilled_in(
            intent.account, view.orders.values(), coming, view.positions, view.open_breaks()
        )
        return tuple(one for one in every if one.order_id != intent.order_id)

    def _entry_price(self, intent: OrderIntended, group: Sequence[OrderIntended]) -> Decimal | None:
        """Return where the market will be when an exit comes to life; None where that is now."""
        if not intent.parent_order_id:
            return None
        terms = next((one.terms for one in group if one.order_id == intent.parent_order_id), None)
        parent = self._view.orders.get(intent.parent_order_id)
        if terms is None and parent is not None and parent.live and not parent.filled:
            terms = parent.terms
        return None if terms is None else entry_price_of(terms)


def limits_of(settings: Settings) -> Limits:
    """Return the limits that the settings set."""
    return Limits(
        order_quantity_max=settings.order_quantity_max,
        order_notional_max=settings.order_notional_max,
        order_collar_percent=settings.order_collar_percent,
        collar_without_quote=settings.order_collar_without_quote,
        open_orders_max=settings.open_orders_max,
        orders_per_minute_max=settings.orders_per_minute_max,
        duplicate_window=timedelta(seconds=settings.order_duplicate_seconds),
        exposure=settings.order_exposure,
        accounts=settings.accounts,
        contracts=settings.order_contracts,
        sec_types=settings.order_sec_types,
        mode=settings.mode,
        port=settings.port,
    )
