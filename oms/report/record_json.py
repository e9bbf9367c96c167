"""Records of the books as JSON values: one function a record, for everything that prints JSON.

The contract is `docs/reference/json-output.md`: money and quantities are text in plain notation,
times ISO 8601 in UTC, what is absent is null.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from oms.core.codec import time_text
from oms.core.contracts import Contract
from oms.core.events import Finding
from oms.core.fold.records import (
    AccountValue,
    Alarm,
    BreakCase,
    Fill,
    Order,
    Position,
    RunRecord,
)
from oms.core.money import plain
from oms.core.portfolio import Account, CurrencyBalance, Figure, Holding

Json = dict[str, Any]


def order_json(order: Order) -> Json:
    """Return an order as JSON values."""
    terms = order.terms
    return {
        "order_id": order.order_id,
        "account": order.account,
        "contract": contract_json(order.contract),
        "side": terms.side,
        "quantity": number(terms.quantity),
        "order_type": terms.order_type,
        "limit_price": number(terms.limit_price),
        "stop_price": number(terms.stop_price),
        "tif": terms.tif,
        "good_till": time(terms.good_till),
        "outside_rth": terms.outside_rth,
        "trail_amount": number(terms.trail_amount),
        "trail_percent": number(terms.trail_percent),
        "trail_stop_price": number(terms.trail_stop_price),
        "limit_offset": number(terms.limit_offset),
        "all_or_none": terms.all_or_none,
        "min_quantity": number(terms.min_quantity),
        "display_size": number(terms.display_size),
        "hidden": terms.hidden,
        "oca_group": terms.oca_group or None,
        "oca_type": terms.oca_type or None,
        "state": order.state.value,
        "live": order.live,
        "filled": number(order.filled),
        "disputed": number(order.disputed),
        "remaining": number(order.remaining),
        "average_price": number(order.average_price),
        "commissions": _costs(order.commissions),
        "doubt": order.doubt,
        "code": order.code,
        "text": order.text,
        "advanced_reject": order.advanced_reject,
        "why_held": order.why_held,
        "refusal": order.refusal,
        "warning": order.warning,
        "rule_warning": order.rule_warning,
        "closing": order.closing,
        "origin": order.origin,
        "actor": order.actor,
        "reason": order.reason,
        "parent_order_id": order.parent_order_id or None,
        "group_id": order.group_id or None,
        "perm_id": order.perm_id or None,
        "client_id": order.client_id,
        "broker_order_id": order.broker_order_id,
        "broker_status": order.status,
        "created_at": time(order.created_at),
        "updated_at": time(order.updated_at),
        "ended_at": time(order.ended_at),
        "intent_sequence": order.intent_sequence or None,
        "last_sequence": order.last_sequence,
    }


def fill_json(fill: Fill) -> Json:
    """Return a fill as JSON values."""
    return {
        "exec_id": fill.exec_id,
        "revision": fill.revision,
        "superseded": list(fill.superseded),
        "order_id": fill.order_id or None,
        "account": fill.account,
        "contract": contract_json(fill.contract),
        "side": fill.side,
        "quantity": number(fill.quantity),
        "price": number(fill.price),
        "venue": fill.venue,
        "commission": number(fill.commission),
        "commission_currency": fill.commission_currency,
        "realised_pnl": number(fill.realised_pnl),
        "perm_id": fill.perm_id or None,
        "occurred_at": time(fill.occurred_at),
        "time_text": fill.time_text,
        "backfilled": fill.backfilled,
        "liquidation": fill.liquidation,
        "disputed": fill.disputed,
        "booked_sequence": fill.booked_sequence,
        "last_sequence": fill.last_sequence,
    }


def position_json(position: Position) -> Json:
    """Return a position as JSON values, ours beside IB's."""
    return {
        "account": position.account,
        "contract": contract_json(position.contract),
        "quantity": number(position.quantity),
        "average_price": number(position.average_price),
        "realised_pnl": number(position.realised_pnl),
        "commissions": _costs(position.commissions),
        "opening_quantity": number(position.opening_quantity),
        "fill_count": position.fill_count,
        "broker_quantity": number(position.broker_quantity),
        "broker_average_cost": number(position.broker_average_cost),
        "broker_at": time(position.broker_at),
        "updated_at": time(position.updated_at),
        "last_sequence": position.last_sequence,
    }


def account_value_json(value: AccountValue) -> Json:
    """Return one value of an account as JSON values; the value is IB's own text."""
    return {
        "account": value.account,
        "name": value.name,
        "currency": value.currency,
        "value": value.value,
        "at": time(value.at),
        "sequence": value.sequence,
    }


def account_json(account: Account) -> Json:
    """Return an account as JSON values: IB's figures, its balances and its holdings."""
    return {
        "account": account.account,
        "base_currency": account.base_currency or None,
        "is_ready": account.is_ready,
        **_figures(account),
        "balances": [
            {"currency": balance.currency, **_figures(balance)} for balance in account.balances
        ],
        "holdings": [holding_json(holding) for holding in account.holdings],
    }


def holding_json(holding: Holding) -> Json:
    """Return what an account holds of a contract as JSON values."""
    return {
        "account": holding.account,
        "contract": contract_json(holding.contract),
        "quantity": number(holding.quantity),
        "commissions": _costs(holding.commissions),
        **_figures(holding),
    }


def figure_json(figure: Figure) -> Json:
    """Return a number with its currency, its time and its source, or why there is none."""
    return {
        "value": number(figure.value),
        "currency": figure.currency or None,
        "at": time(figure.at),
        "source": figure.source or None,
        "reason": figure.reason or None,
    }


def break_json(case: BreakCase) -> Json:
    """Return a break as JSON values."""
    return {
        "break_id": case.break_id,
        "status": case.status,
        **_finding(case.finding),
        "also": [_finding(finding) for finding in case.also],
        "seen": case.seen,
        "reopened": case.reopened,
        "opened_at": time(case.opened_at),
        "opened_sequence": case.opened_sequence,
        "updated_at": time(case.updated_at),
        "closed_at": time(case.closed_at),
        "close_reason": case.close_reason,
        "closed_by_person": case.closed_by_person,
        "assignee": case.assignee or None,
        "explanation": case.explanation or None,
        "explained_by": case.explained_by or None,
        "waiting": case.waiting.action if case.waiting is not None else None,
        "waiting_actor": case.waiting_actor or None,
    }


def alarm_json(alarm: Alarm) -> Json:
    """Return an alarm as JSON values."""
    return {
        "alarm_id": alarm.alarm_id,
        "kind": alarm.kind,
        "subject": alarm.subject,
        "since": time(alarm.since),
        "text": alarm.text,
        "account": alarm.account,
        "symbol": alarm.symbol,
        "order_id": alarm.order_id,
        "raised_at": time(alarm.raised_at),
        "sequence": alarm.raised_sequence,
        "times": alarm.times,
        "live": alarm.live,
        "cleared_at": time(alarm.cleared_at),
    }


def run_json(run: RunRecord) -> Json:
    """Return a reconciliation run as JSON values; the whole report is another answer."""
    return {
        "run_id": run.run_id,
        "trigger": run.trigger,
        "started_at": time(run.started_at),
        "finished_at": time(run.finished_at),
        "verdict": run.verdict or None,
        "matches": run.matches,
        "breaks": run.breaks,
        "unknowns": run.unknowns,
        "sequence": run.sequence or None,
    }


def contract_json(contract: Contract) -> Json:
    """Return a contract as JSON values."""
    return {
        "con_id": contract.con_id,
        "symbol": contract.symbol,
        "sec_type": contract.sec_type,
        "currency": contract.currency,
        "exchange": contract.exchange,
        "local_symbol": contract.local_symbol,
        "expiry": contract.expiry,
        "strike": number(contract.strike),
        "right": contract.right,
        "multiplier": number(contract.multiplier),
        "legs": [
            {"con_id": leg.con_id, "side": leg.side, "ratio": leg.ratio, "exchange": leg.exchange}
            for leg in contract.legs
        ],
    }


def number(value: Decimal | None) -> str | None:
    """Return a number as JSON carries it."""
    return None if value is None else plain(value)


def time(at: datetime | None) -> str | None:
    """Return a time as JSON carries it."""
    return None if at is None else time_text(at.astimezone(UTC))


def _figures(shown: Account | Holding | CurrencyBalance) -> Json:
    values = {spec.name: getattr(shown, spec.name) for spec in fields(shown)}
    return {name: figure_json(one) for name, one in values.items() if isinstance(one, Figure)}


def _costs(amounts: Iterable[tuple[str, Decimal]]) -> Json:
    return {currency: plain(amount) for currency, amount in amounts}


def _finding(finding: Finding) -> Json:
    return {
        "class": finding.break_class,
        "severity": finding.severity,
        "subject": finding.subject,
        "account": finding.account,
        "con_id": finding.con_id,
        "symbol": finding.symbol,
        "order_id": finding.order_id or None,
        "ours": finding.ours,
        "theirs": finding.theirs,
        "text": finding.text,
        "evidence": list(finding.evidence),
    }
