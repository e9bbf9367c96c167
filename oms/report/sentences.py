"""One plain sentence for every fact in the log.

The sentence says what the fact says and no more: who, what, how much, at what price. Ids of the log
(sequence, order id) stand beside it wherever it is shown, so they are left out of it. A test goes
over every event type, so a new one cannot be without words.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from functools import singledispatch
from typing import Final, assert_never

from oms.core import codes, events, words
from oms.core.contracts import Contract
from oms.core.events import Envelope, Event, Terms
from oms.core.fold.books import stem_and_revision
from oms.core.money import plain
from oms.core.terms import terms_of
from oms.core.words import counted, describe_origin
from oms.report.words import gap_words, query_words

#: What a code's kind means for the reader of a notice; kinds that say nothing more are left out.
_KINDS: Final[dict[codes.Kind, str]] = {
    "reject": "refuses the order",
    "cancelled": "the order is cancelled",
    "cancel_reject": "refuses the cancel",
    "modify_reject": "refuses the change",
    "reject_or_modify_reject": "refuses the order or the change",
    "warning": "a warning",
    "held": "the order is held",
    "confirmation": "the order waits for a person",
    "outcome_unknown": "the outcome is unknown",
    "connectivity": "about the line",
    "farm": "about a data farm",
    "market_data": "about market data",
    "account": "about the account",
    "configuration": "about the gateway's configuration",
    "protocol": "about the protocol",
    "local": "from the client library",
    "unknown": "a code we do not know",
}


def sentence(envelope: Envelope) -> str:
    """Return what an event says, as one line of plain text without a full stop."""
    return _say(envelope.event).replace("\n", " ")


def describe_terms(terms: Terms, contract: Contract) -> str:
    """Return an order in a trader's words: `BUY 100 AAPL LMT 185.5 DAY`."""
    return words.describe_terms(terms, name_of(contract))


def name_of(contract: Contract) -> str:
    """Return the shortest name of a contract that a trader would not mistake."""
    if contract.sec_type == "STK":
        return contract.symbol
    if contract.local_symbol:
        return contract.local_symbol
    parts = [contract.symbol, contract.expiry, plain(contract.strike), contract.right]
    return " ".join(part for part in parts if part)


@singledispatch
def _say(event: Event) -> str:
    raise AssertionError(f"{type(event).__name__} has no sentence")


def _with(text: str, reason: str) -> str:
    return f"{text}: {reason}" if reason else text


def _at(price: Decimal | None) -> str:
    return f" at {plain(price)}" if price is not None else ""


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"


def _order_number(broker_order_id: int, client_id: int | None = None) -> str:
    if not broker_order_id:
        return "an order without an API id"
    client = f" of client {client_id}" if client_id is not None else ""
    return f"order {broker_order_id}{client}"


# ── the daemon and its sessions ──────────────────────────────────────────────────────────────────


@_say.register
def _(event: events.DaemonStarted) -> str:
    return (
        f"The daemon started on {event.host} (process {event.process_id}, client "
        f"{event.client_id}, {event.mode}, version {event.program_version})"
    )


@_say.register
def _(event: events.LossAccepted) -> str:
    return _with(f"A loss of events was accepted: {event.text}", event.reason)


@_say.register
def _(event: events.DaemonStopped) -> str:
    return _with("The daemon stopped", event.reason)


@_say.register
def _(event: events.SessionOpened) -> str:
    return (
        f"Connected to the gateway at {event.host}:{event.port} as client {event.client_id} "
        f"(server version {event.server_version}); accounts {_listed(event.accounts)}"
    )


@_say.register
def _(event: events.SessionReady) -> str:
    return "The session is ready: the books were compared and orders may leave"


@_say.register
def _(event: events.SessionClosed) -> str:
    what = "We closed the session" if event.deliberate else "The session was lost"
    return _with(what, event.reason)


@_say.register
def _(event: events.ConnectFailed) -> str:
    again = event.retry_after_seconds
    after = f"; next attempt in {plain(again)} s" if again is not None else "; no further attempt"
    return f"Attempt {event.attempt} to connect failed: {event.reason}{after}"


@_say.register
def _(event: events.GapOpened) -> str:
    cause = gap_words(event.cause)
    return _with("From here on the broker may know things that we do not", cause)


@_say.register
def _(event: events.GapClosed) -> str:
    lost = "; market data subscriptions are gone" if event.subscriptions_lost else ""
    return _with("The line is whole again", gap_words(event.cause)) + lost


@_say.register
def _(event: events.TradingHaltedByPerson) -> str:
    return _with("New orders are halted", event.reason)


@_say.register
def _(event: events.HaltInForce) -> str:
    back = counted(len(event.called_back), "order")
    words = f"; {back} that waited to leave called back" if event.called_back else ""
    return f"The daemon lets no new order leave any more{words}"


@_say.register
def _(event: events.TradingResumed) -> str:
    return _with("New orders are allowed again", event.reason)


# ── what we want ─────────────────────────────────────────────────────────────────────────────────


@_say.register
def _(event: events.OrderRequested) -> str:
    text = f"Asked for: {describe_terms(event.terms, event.contract)}"
    if event.account:
        text += f" in {event.account}"
    if event.take_profit is not None:
        text += f", take profit at {plain(event.take_profit)}"
    if event.stop_loss is not None:
        text += f", stop loss at {plain(event.stop_loss)}"
    return _with(text, event.reason)


@_say.register
def _(event: events.OrderIntended) -> str:
    child = " as a child of a bracket" if event.parent_order_id else ""
    held = "" if event.transmit else " (held at the gateway until the last of its group)"
    terms = describe_terms(event.terms, event.contract)
    text = f"We are about to send: {terms} in {event.account}{child}{held}"
    return _with(text, event.reason) + _warned(event.warning)


@_say.register
def _(event: events.OrderDenied) -> str:
    terms = describe_terms(event.terms, event.contract)
    return f"We refused {terms} and sent nothing ({event.rule}): {event.text}"


@_say.register
def _(event: events.ModifyRequested) -> str:
    changes = (
        ("quantity", plain(event.quantity)),
        ("limit", plain(event.limit_price)),
        ("stop", plain(event.stop_price)),
        ("trailing amount", plain(event.trail_amount)),
        ("trailing percent", plain(event.trail_percent)),
        ("limit offset", plain(event.limit_offset)),
        ("time in force", event.tif or ""),
        ("end", f"{event.good_till:%Y-%m-%d %H:%M:%S %Z}" if event.good_till else ""),
        ("outside regular hours", _yes_or_no(event.outside_rth)),
        ("all or none", _yes_or_no(event.all_or_none)),
        ("minimum quantity", plain(event.min_quantity)),
        ("display size", plain(event.display_size)),
    )
    wanted = ", ".join(f"{name} {value}" for name, value in changes if value)
    return _with(f"Asked to change the order to {wanted or 'what it is'}", event.reason)


def _yes_or_no(flag: bool | None) -> str:
    return "" if flag is None else "yes" if flag else "no"


@_say.register
def _(event: events.ModifyIntended) -> str:
    terms = words.describe_terms(event.terms)
    text = _with(f"We are about to send revision {event.revision}: {terms}", event.reason)
    return text + _warned(event.warning)


def _warned(text: str) -> str:
    return f"; our rules warn: {text}" if text else ""


@_say.register
def _(event: events.ModifyDenied) -> str:
    return f"We refused the change; the order stays as it is: {event.text}"


@_say.register
def _(event: events.CancelRequested) -> str:
    return _with("Asked to cancel the order", event.reason)


@_say.register
def _(event: events.CancelIntended) -> str:
    return _with("We are about to ask for its cancellation", event.reason)


@_say.register
def _(event: events.CancelDenied) -> str:
    return f"We sent no cancel: {event.text}"


@_say.register
def _(event: events.OrderMessageSent) -> str:
    if event.kind == "global_cancel":
        return "Handed to the socket: cancel every order of the gateway"
    what = {"place": "place", "cancel": "cancel", "what_if": "what would it cost, as"}[event.kind]
    return f"Handed to the socket: {what} {_order_number(event.broker_order_id, event.client_id)}"


@_say.register
def _(event: events.OrderNotSent) -> str:
    return _with("The order never left and will not be sent", event.text)


@_say.register
def _(event: events.OrderDoubted) -> str:
    return _with("In doubt: whether the broker has the order is not known", event.text)


@_say.register
def _(event: events.DoubtResolutionRequested) -> str:
    return _with(f"Asked to end the doubt: {_OUTCOMES[event.outcome]}", event.reason)


@_say.register
def _(event: events.DoubtResolutionDenied) -> str:
    return f"The doubt stays: {event.text}"


@_say.register
def _(event: events.QuoteRequested) -> str:
    return f"Asked for the market of {event.contract}"


@_say.register
def _(event: events.QuoteAnswered) -> str:
    if event.refusal or event.contract is None:
        return _with("The market is not known", event.refusal)
    sides = f"{plain(event.bid) or 'nothing'} bid, {plain(event.ask) or 'nothing'} asked"
    return f"The market of {event.contract}: {sides}, last {plain(event.last) or 'unknown'}"


@_say.register
def _(event: events.GlobalCancelRequested) -> str:
    return _with("Asked to cancel every order of the login at IB", event.reason)


@_say.register
def _(event: events.GlobalCancelIntended) -> str:
    return _with("We are about to cancel every order of the login at IB", event.reason)


@_say.register
def _(event: events.GlobalCancelDenied) -> str:
    return _with("The global cancel did not leave", event.text)


@_say.register
def _(event: events.WhatIfRequested) -> str:
    return f"Asked what it would cost: {describe_terms(event.terms, event.contract)}"


@_say.register
def _(event: events.WhatIfAnswered) -> str:
    if event.refusal:
        return f"What it would cost is not known: {event.refusal}"
    return _with(f"It would change {_cost(event)}", event.warning_text)


def _cost(event: events.WhatIfReceived | events.WhatIfAnswered) -> str:
    margin = plain(event.initial_margin_change) or "by an unknown amount"
    cost = f"{plain(event.commission) or 'an unknown amount'} {event.commission_currency}".strip()
    return f"the initial margin by {margin} and cost {cost} in commission"


_OUTCOMES: Final = {
    "not_received": "the broker never received the order",
    "ended": "the order has ended",
    "refused": "the broker refused the order",
}


@_say.register
def _(event: events.DoubtResolved) -> str:
    outcome = _OUTCOMES[event.outcome]
    return _with(f"No longer in doubt: {outcome}", event.text)


@_say.register
def _(event: events.RequestNotTaken) -> str:
    what = {"modify": "change", "cancel": "cancel"}[event.request]
    return f"IB has not taken the {what}: {event.text}"


@_say.register
def _(event: events.OrderAdopted) -> str:
    origin = describe_origin(event.origin, event.client_id)
    terms = describe_terms(event.terms, event.contract)
    return f"Taken into the books: {terms} in {event.account}, {origin}, status {event.status}"


@_say.register
def _(event: events.OpeningPositionRecorded) -> str:
    return (
        f"Before this log began, {event.account} held {plain(event.quantity)} "
        f"{name_of(event.contract)} at average cost {plain(event.average_cost)}"
    )


# ── what the broker said ─────────────────────────────────────────────────────────────────────────


@_say.register
def _(event: events.OrderStatusReceived) -> str:
    fills = f"filled {plain(event.filled)}{_at(event.average_fill_price)}" if event.filled else ""
    parts = [
        f"{_order_number(event.broker_order_id, event.client_id)} is {event.status}",
        fills,
        f"{plain(event.remaining)} remaining" if event.remaining is not None else "",
        f"held: {event.why_held}" if event.why_held else "",
    ]
    return "IB: " + ", ".join(part for part in parts if part)


@_say.register
def _(event: events.OpenOrderReceived) -> str:
    terms = describe_terms(terms_of(event, event.quantity), event.contract)
    number = _order_number(event.broker_order_id, event.client_id)
    return _with(f"IB: {number} in {event.account} is {terms}, {event.status}", event.warning_text)


@_say.register
def _(event: events.WhatIfReceived) -> str:
    number = _order_number(event.broker_order_id, event.client_id)
    return _with(f"IB: an order like {number} would change {_cost(event)}", event.warning_text)


@_say.register
def _(event: events.ExecutionReceived) -> str:
    verb = "bought" if event.side == "BUY" else "sold"
    is_later = stem_and_revision(event.exec_id)[1] > 1
    if is_later and not event.quantity:
        return (
            f"IB: {event.account} has not {verb} {name_of(event.contract)}{_at(event.price)} on"
            f" {event.venue}: the execution is taken back ({event.exec_id})"
        )
    notes = [
        f"{'corrected execution' if is_later else 'execution'} {event.exec_id}",
        "learnt by asking" if event.fetched else "",
        "a liquidation by IB" if event.liquidation else "",
        "the price may change" if event.price_may_change else "",
    ]
    return (
        f"IB: {event.account} {verb} {plain(event.quantity)} {name_of(event.contract)}"
        f"{_at(event.price)} on {event.venue} ({', '.join(note for note in notes if note)})"
    )


@_say.register
def _(event: events.CommissionReceived) -> str:
    cost = "not known" if event.commission is None else f"{plain(event.commission)} "
    currency = event.currency if event.commission is not None else ""
    return f"IB: the commission of execution {event.exec_id} is {cost}{currency}"


@_say.register
def _(event: events.NoticeReceived) -> str:
    kind = _KINDS[codes.meaning(event.code).kind]
    about = f" on id {event.subject_id}" if event.subject_id not in {0, -1} else ""
    more = f" ({event.advanced_reject})" if event.advanced_reject else ""
    return f"IB: notice {event.code}{about}, {kind}: {event.text}{more}"


@_say.register
def _(event: events.CompletedOrderReceived) -> str:
    how = event.completed_status or event.status
    filled = f", filled {plain(event.filled_quantity)}" if event.filled_quantity else ""
    return (
        f"IB: a completed order of {event.account}, {event.side} {name_of(event.contract)} "
        f"{event.order_type}, ended as {how}{filled}"
    )


@_say.register
def _(event: events.PositionReceived) -> str:
    cost = f", average cost {plain(event.average_cost)}" if event.average_cost is not None else ""
    return f"IB: {event.account} holds {plain(event.quantity)} {name_of(event.contract)}{cost}"


@_say.register
def _(event: events.PortfolioReceived) -> str:
    value = f", worth {plain(event.market_value)}" if event.market_value is not None else ""
    return f"IB: {event.account} holds {plain(event.quantity)} {name_of(event.contract)}{value}"


@_say.register
def _(event: events.AccountValueReceived) -> str:
    currency = f" {event.currency}" if event.currency else ""
    return f"IB: {event.key} of {event.account} is {event.value}{currency}"


@_say.register
def _(event: events.NextOrderIdReceived) -> str:
    return f"IB: the next order id is {event.broker_order_id}"


@_say.register
def _(event: events.ManagedAccountsReceived) -> str:
    return f"IB: the gateway manages {_listed(event.accounts)}"


@_say.register
def _(event: events.OrderBoundReceived) -> str:
    number = _order_number(event.broker_order_id, event.client_id)
    return f"IB: the order with permanent id {event.perm_id} is now {number}"


@_say.register
def _(event: events.AnswerEndReceived) -> str:
    return f"IB: end of the answer about {query_words(event.kind)}"


@_say.register
def _(event: events.BrokerMessageUnreadable) -> str:
    again = f" (it came {event.times:,} times since it was kept last)" if event.times > 1 else ""
    return (
        f"IB: message {event.message_id} could not be read; it is kept as it came{again}:"
        f" {event.reason}"
    )


@_say.register
def _(event: events.EventSetAside) -> str:
    return f"An event {event.type_name} cannot be read, and the books lack it: {event.reason}"


@_say.register
def _(event: events.NaturalKeyConflict) -> str:
    return (
        f"A second {event.type_name} claims {event.key}, which event {event.stored_sequence} "
        "states differently; both are kept"
    )


# ── asking and comparing ─────────────────────────────────────────────────────────────────────────


@_say.register
def _(event: events.QueryAsked) -> str:
    return f"Asked the broker for {query_words(event.kind)} {event.account}".rstrip()


@_say.register
def _(event: events.QueryAnswered) -> str:
    return "; ".join(_answered(question) for question in event.questions)


#: Things that a sentence names.
_NAMED_MAX: Final = 3


def _answered(question: events.Question) -> str:
    asked = query_words(question.kind)
    match question.outcome:
        case "complete":
            rows = counted(question.rows, "row")
            repeated = f", {question.repeats:,} of them as before" if question.repeats else ""
            came = _named("new", question.came if question.repeats or question.gone else ())
            gone = _named("gone", question.gone)
            return f"The broker answered about {asked}: {rows}{repeated}{came}{gone}"
        case "refused":
            reason = f" ({question.code}: {question.text})" if question.code else ""
            return f"The broker refused to answer about {asked}{reason}"
        case "timed_out":
            return f"The broker did not answer about {asked} in time"
        case "partial":
            return (
                f"The answer about {asked} stopped half-way after {counted(question.rows, 'row')}"
            )
        case other:
            assert_never(other)


def _named(word: str, keys: tuple[str, ...]) -> str:
    if not keys:
        return ""
    more = f" and {len(keys) - _NAMED_MAX:,} more" if len(keys) > _NAMED_MAX else ""
    return f"; {word}: {', '.join(keys[:_NAMED_MAX])}{more}"
