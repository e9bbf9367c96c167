"""New orders from what a caller wants to what may leave: qualified, checked, and then intended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from oms.core.admit.groups import Group, NewOrder, attach_denial, check_order, check_same
from oms.core.admit.readiness import check_world
from oms.core.admit.rule import Denial
from oms.core.admit.validity import validate
from oms.core.admit.venue import VenueRules
from oms.core.admit.venue_rules import denial_of
from oms.core.contracts import Contract
from oms.core.events import OrderDenied, OrderIntended, Terms, WhatIfReceived
from oms.core.fold.books import name_of
from oms.core.fold.records import AnyRecord, Order, UnknownOrder
from oms.errors import (
    ArchiveUnavailable,
    BrokerError,
    ContractAmbiguous,
    ContractUnknown,
    IBConnectionError,
    InvalidRequest,
    OmsError,
    OrderDeniedError,
    StoreUnavailable,
)
from oms.service.admission import Admission
from oms.service.sending import By, Sending, denied
from oms.service.view import View

if TYPE_CHECKING:
    from oms.broker.gateway import Gateway
    from oms.store.reader import Reader

KEY_TAKEN: Final = "nothing was sent; take a key that no order at IB has"
#: Databases bound the number of values in one query.
_KEYS_A_QUERY: Final = 500
_ALONE: Final[Mapping[str, str]] = MappingProxyType({})


class Entry:
    """Takes new orders in; one that a key names already is not taken in again."""

    def __init__(
        self,
        *,
        reader: Reader,
        gateway: Gateway,
        view: View,
        admission: Admission,
        sending: Sending,
    ) -> None:
        self._reader = reader
        self._session = gateway.session
        self._lookup = gateway.lookup
        self._previews = gateway.previews
        self._view = view
        self._admission = admission
        self._sending = sending

    async def qualify(self, contract: Contract) -> Contract:
        """Return the contract with IB's con_id; raises `ContractUnknown` or `ContractAmbiguous`."""
        return (await self._lookup.qualify(contract)).contract

    async def submit_each(self, orders: Sequence[NewOrder], by: By) -> None:
        """Send what may leave and deny the rest, in one transaction."""
        asked_at_ms = self._sending.now_ms()
        self._sending.check_log()
        intents: list[OrderIntended] = []
        denials: list[OrderDenied] = []
        earlier = await self._earlier(orders)
        for one in orders:
            if one.order_id in earlier:
                continue
            account = self._account(one.account)
            broken = self._why_not_ask()
            if broken is not None:
                denials.append(denied(self._intent(one, account, one.contract), broken))
                continue
            try:
                qualified = await self._lookup.qualify(one.contract)
            except BrokerError as error:
                denials.append(denied(self._intent(one, account, one.contract), as_denial(error)))
                continue
            intent = self._intent(one, account, qualified.contract)
            judged = await self._admission.judge([intent], [qualified.rules])
            if isinstance(judged, Denial):
                denials.append(denied(intent, judged))
            else:
                intents += judged
        await self._sending.submit(intents, denials, by=by, whole=False, asked_at_ms=asked_at_ms)

    async def submit_whole(self, group: Group, by: By) -> None:
        """Send the orders of a group, or deny all of them."""
        asked_at_ms = self._sending.now_ms()
        self._sending.check_log()
        for one in group.orders:
            check_order(one)
        if await self._earlier(group.orders[:1], group.parents):
            await self._earlier(group.orders[1:], group.parents)
            return
        for key in await self._earlier(group.orders[1:], group.parents):
            raise InvalidRequest(f"order id {key} belongs to another order", hint=KEY_TAKEN)
        account = self._account(group.orders[0].account)
        intents: list[OrderIntended] = []
        rules: list[VenueRules] = []
        broken = self._why_not_ask()
        if broken is not None:
            wanted = [self._intent(one, account, one.contract, group) for one in group.orders]
            denials = [denied(one, broken) for one in wanted]
            await self._sending.submit([], denials, by=by, whole=True)
            return
        for one in group.orders:
            qualified = await self._lookup.qualify(one.contract)
            intents.append(self._intent(one, account, qualified.contract, group))
            rules.append(qualified.rules)
        denial = next((d for one in intents if (d := self._why_not_attach(one, group))), None)
        judged = denial or await self._admission.judge(intents, rules)
        if isinstance(judged, Denial):
            denials = [denied(one, judged) for one in intents]
            lost = await self._sending.submit([], denials, by=by, whole=True)
        else:
            lost = await self._sending.submit(
                judged, [], by=by, whole=True, asked_at_ms=asked_at_ms
            )
        if lost and group.name is None:
            raise InvalidRequest(
                f"order id {lost[0]} was given to another order at the same moment", hint=KEY_TAKEN
            )

    async def what_if(self, contract: Contract, terms: Terms, account: str) -> WhatIfReceived:
        """Ask IB what an order would cost; see `OrderManager.what_if`."""
        validate(terms)
        qualified = await self._lookup.qualify(contract)
        denial = denial_of(terms, qualified.contract, qualified.rules)
        if denial is not None:
            raise OrderDeniedError(denial.text)
        return await self._previews.ask(
            account=self._account(account), contract=qualified.contract, terms=terms
        )

    # ── inside ──

    def _why_not_ask(self) -> Denial | None:
        """Return why IB cannot be asked about a contract: while the gateway has lost it, the answer
        would not come, and no order may leave.
        """
        system = self._view.system
        return check_world(system) if system.connected and system.gap_sequence else None

    def _intent(
        self, one: NewOrder, account: str, contract: Contract, group: Group | None = None
    ) -> OrderIntended:
        return OrderIntended(
            order_id=one.order_id,
            account=account,
            contract=contract,
            terms=one.terms,
            parent_order_id=group.parents.get(one.order_id) if group else None,
            group_id=group.name if group else None,
            transmit=group is None or one.order_id not in group.held,
            reason=one.reason,
            closing=one.closing,
        )

    def _account(self, account: str) -> str:
        if account:
            return account
        allowed = self._admission.limits.accounts or self._session.accounts
        if len(allowed) != 1:
            names = ", ".join(allowed) or "none yet"
            raise InvalidRequest(f"name the account: this gateway serves {names}")
        return allowed[0]

    async def _earlier(
        self, orders: Sequence[NewOrder], parents: Mapping[str, str] = _ALONE
    ) -> frozenset[str]:
        """Return the keys that orders have already; raises `InvalidRequest` where such an order is
        another one, because then the caller means two orders by one key, and where IB shows a key
        on orders that have other ids here.
        """
        known = self._view.orders
        keys = [o.order_id for o in orders if not o.fresh]
        found = {key: known[key] for key in keys if key in known}
        unseen = [key for key in keys if key not in found]
        for order in await self._stored("order_id", unseen):
            found[order.order_id] = self._view.recall(order)
        for one in orders:
            if one.order_id in found:
                order = found[one.order_id]
                check_same(
                    one, order, await self._asked_first(order), parents.get(one.order_id, "")
                )
        await self._check_free([k for k in keys if k not in found or found[k].origin != "ours"])
        await self._check_not_shown([key for key in keys if key not in found])
        return frozenset(found)

    async def _asked_first(self, order: Order) -> OrderIntended | OrderDenied | None:
        """Return what was asked for when a key was given to an order of ours, whatever its terms
        are by now; None for an order that IB showed first, and where its archive is away.
        """
        if order.origin != "ours" or not order.intent_sequence:
            return None
        try:
            event = (await self._reader.event(order.intent_sequence)).event
        except ArchiveUnavailable:
            return None
        return event if isinstance(event, OrderIntended | OrderDenied) else None

    async def _check_free(self, keys: Sequence[str]) -> None:
        """Raise `InvalidRequest` where orders of others have a key beside their ids here."""
        for order in await self._stored("order_ref", keys):
            raise InvalidRequest(
                f"IB shows the key {order.order_ref} as orderRef of order {order.order_id}, which"
                " we did not send",
                hint=KEY_TAKEN,
            )

    async def _check_not_shown(self, keys: Sequence[str]) -> None:
        """Raise `InvalidRequest` where IB has shown a key and no comparison has seen it yet."""
        names = [name_of(0, key) for key in keys]
        for row in await self._rows("unknown_orders", "order_name", names):
            if isinstance(row, UnknownOrder) and not row.taken_in:
                raise InvalidRequest(
                    f"IB has shown an order with the key {row.order_ref} that our books do not have"
                    " yet",
                    hint=KEY_TAKEN,
                )

    async def _stored(self, column: str, keys: Sequence[str]) -> list[Order]:
        """Return the stored orders with one of these keys in a column."""
        rows = await self._rows("orders", column, keys)
        return [row for row in rows if isinstance(row, Order)]

    async def _rows(self, table: str, column: str, values: Sequence[str]) -> list[AnyRecord]:
        """Return the stored rows with one of these values in a column."""
        found: list[AnyRecord] = []
        for first in range(0, len(values), _KEYS_A_QUERY):
            some = values[first : first + _KEYS_A_QUERY]
            found += await self._reader.rows(table, {column: some})
        return found

    def _why_not_attach(self, intent: OrderIntended, group: Group) -> Denial | None:
        """Return why an order cannot be attached to a parent outside its own group."""
        parent_id = intent.parent_order_id
        if not parent_id or any(one.order_id == parent_id for one in group.orders):
            return None
        parent = self._view.orders.get(parent_id)
        is_own = (
            parent is not None
            and parent.client_id in {0, self._session.client_id}
            and self._sending.number_of(parent) > 0
        )
        return attach_denial(intent, parent, is_own=is_own)


def as_denial(error: OmsError) -> Denial:
    """Return an error about a request as the denial that the log keeps."""
    match error:
        case ContractUnknown() | ContractAmbiguous():
            rule = "contract"
        case IBConnectionError():
            rule = "connected"
        case BrokerError():
            rule = "broker"
        case StoreUnavailable():
            rule = "log"
        case _:
            rule = "request"
    return Denial(rule, type(error).__name__, "", error.message)
