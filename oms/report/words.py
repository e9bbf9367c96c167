"""The words of reports: what a break is called, what it means and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

from oms.core.compare.findings import Witness, witness_of
from oms.core.compare.statement_coverage import SECTIONS
from oms.core.events import BreakClass, Finding, Outcome, Severity, StatementCoverage, Verdict


@dataclass(frozen=True, slots=True)
class BreakWords:
    """How a class of breaks is spoken of."""

    title: str
    #: What the difference says, in one sentence.
    meaning: str
    #: What a person does next.
    action: str


BREAKS: Final[dict[BreakClass, BreakWords]] = {
    "missing_fill": BreakWords(
        "Fill that our books lack",
        "The broker reports an execution that our books did not have.",
        "Look at the execution and its order with `oms order ID`; `oms reconcile` fetches it again "
        "if it was not taken in.",
    ),
    "extra_fill": BreakWords(
        "Fill that the broker does not report",
        "Our books count an execution that the broker's complete answer does not name.",
        "Compare it with the trade log of TWS; a bust there will reach the log as a correction.",
    ),
    "corrected_fill": BreakWords(
        "Fill in another revision",
        "The broker's answer and our books hold different revisions of one execution.",
        "Look at the execution's revisions with `oms order ID`; `oms reconcile` asks again.",
    ),
    "unknown_order": BreakWords(
        "Order that we did not send",
        "The broker has an order that did not come from us; our books follow it if IB numbers it.",
        "Find out who sent it: a person in TWS, another program, or this client id before this log "
        "began.",
    ),
    "lost_order": BreakWords(
        "Order that the broker does not know",
        "Our books say the order is live; no complete answer of the broker names it.",
        "Look for it in TWS. Do not send it again before its end is known.",
    ),
    "in_doubt": BreakWords(
        "Order in doubt",
        "The order was perhaps sent, and nothing shows whether it arrived.",
        "Never send it again by hand; `oms reconcile` asks the broker once more, `oms order ID` "
        "shows the evidence.",
    ),
    "wrong_state": BreakWords(
        "Order state differs",
        "The broker and our books disagree about whether the order is live, filled or ended.",
        "Read the order's story with `oms order ID`; the executions decide, not the status.",
    ),
    "wrong_terms": BreakWords(
        "Order terms differ",
        "The broker works the order with another quantity or price than we last asked for.",
        "Find out who changed it (TWS shows the last change), then modify or cancel it.",
    ),
    "two_perm_ids": BreakWords(
        "One order, two permanent ids",
        "Two orders at the broker carry the same order reference of ours.",
        "Both may fill. Look at both in TWS and cancel the one that is not wanted.",
    ),
    "quantity_drift": BreakWords(
        "Position differs",
        "The broker holds another quantity than the executions in our books add up to.",
        "Look for trades by hand, assignments, transfers and splits in TWS; new orders in this "
        "contract are denied until the break is closed.",
    ),
    "cost_drift": BreakWords(
        "Average cost differs",
        "The quantity agrees, the average cost differs by more than commissions explain.",
        "Look for a corrected price or a corporate action; the quantity is right.",
    ),
    "commission_missing": BreakWords(
        "Commission that never came",
        "The broker names an execution and no commission for it.",
        "Compare it with the account statement; the cost of the fill is not known until then.",
    ),
    "commission_different": BreakWords(
        "Commission differs",
        "The broker reported two commissions for one execution.",
        "The statement decides; close it with `oms resolve BREAK --reason`.",
    ),
    "orphan_commission": BreakWords(
        "Commission without an execution",
        "The broker charged for an execution that we never received.",
        "A fill may be missing: look for the execution id in TWS and in the statement.",
    ),
    "cash_drift": BreakWords(
        "Cash differs",
        "The balance changed by more than fills, commissions and booked payments explain.",
        "Look for payments, dividends, interest and fees in the statement, then book them with "
        "`oms adjust BREAK --cause CODE --reason`.",
    ),
    "not_answered": BreakWords(
        "Account not answered",
        "Our books hold something in an account about which the broker said nothing.",
        "Check that the login still manages the account; until then nothing of it is compared.",
    ),
    "contradiction": BreakWords(
        "The broker contradicts itself",
        "Two of the broker's own messages cannot both be true.",
        "Read the evidence in order; the books follow the executions.",
    ),
    "unreadable_message": BreakWords(
        "Message that could not be read",
        "The gateway sent something that this program does not understand.",
        "It is kept verbatim; look at it with `oms log` and report it with the gateway's version.",
    ),
    "set_aside": BreakWords(
        "Event left out of the books",
        "The log holds an event that the books cannot take; nothing of it is in them.",
        "`oms log` shows it. A version that can take it does so by `oms rebuild`; else close the"
        " case, and the event stays out.",
    ),
    "order_id_rollback": BreakWords(
        "Order ids went back",
        "The gateway announced an order id that was already used.",
        "Reset the API order ids in the gateway only with no order open; ours are skipped ahead.",
    ),
}

_PRICE_DIGITS: Final = 6

#: High first: what a person must look at first stands first.
SEVERITIES: Final[tuple[Severity, ...]] = ("high", "medium", "low")

OUTCOMES: Final[dict[Outcome, str]] = {
    "complete": "answered",
    "refused": "refused",
    "timed_out": "no answer in time",
    "partial": "stopped half-way",
}

VERDICTS: Final[dict[Verdict, str]] = {
    "clean": "Clean",
    "broken": "Broken",
    "unknown": "Unknown",
}

#: How each repair is spoken of, in the order in which reports show them.
REPAIRS: Final[dict[str, str]] = {
    "backfilled": "Backfilled",
    "corrected": "Corrected",
    "adopted": "Adopted",
    "resolved": "Resolved",
}
#: Everything else that was different before the run.
UPDATED: Final = "Brought up to date"

_QUERIES: Final[dict[str, str]] = {
    "executions": "executions",
    "open_orders": "open orders",
    "completed_orders": "completed orders",
    "positions": "positions",
    "account_summary": "the account summary",
    "account": "the account",
}

#: Why runs are made, in the words of the daemon that makes them.
_TRIGGERS: Final[dict[str, str]] = {
    "start": "at start",
    "reconnect": "after a reconnect",
    "schedule": "on schedule (OMS_RECONCILE_INTERVAL_SECONDS)",
    "glance": "because a quick check found something new",
    "midnight": "before midnight at the gateway (OMS_MIDNIGHT_LEAD_SECONDS)",
    "after_reset": "after a reset of IB's (OMS_RESET_REGION, OMS_RESET_WINDOWS)",
    "doubt": "because an order was in doubt, or a change or a cancel not answered",
    "silence": "because IB did not answer a new order in time (OMS_ACKNOWLEDGEMENT_SECONDS_MAX)",
    "notice": "because a notice left open what became of an order (OMS_NOTICE_SETTLE_SECONDS)",
    "retry": "again, because the last run was not answered whole",
    "request": "on request",
    "global cancel": "after a cancel of everything",
    "1101": "after the line came back (IB's notice 1101)",
    "1102": "after the line came back (IB's notice 1102)",
}


_GAPS: Final[dict[str, str]] = {
    "transport_lost": "the connection to the gateway was lost",
    "transport_up": "the gateway is connected again",
    "silence": "the gateway did not answer in time",
    "unanswered": "questions about orders were not answered",
    "overdue": "the line was down for too long",
    "closed": "we closed the line",
    "1100": "IB's notice 1100, the gateway lost IB",
    "1101": "IB's notice 1101, the gateway has IB again",
    "1102": "IB's notice 1102, the gateway has IB again",
    "1300": "IB's notice 1300, the gateway's port changed",
    "2110": "IB's notice 2110, the gateway lost IB",
}


def gap_words(cause: str) -> str:
    """Return why a gap opened or closed; a cause without words of its own speaks for itself."""
    code, _, rest = cause.partition(" ")
    return " ".join((_GAPS.get(code, code), rest)).rstrip()


def before_words(repair: str) -> str:
    """Return what our books said before the run repaired them; "" where it repaired nothing."""
    return (
        "not in our books"
        if repair in {"backfilled", "adopted"}
        else "an earlier revision"
        if repair == "corrected"
        else repair.removeprefix("was ")
    )


def query_words(kind: str) -> str:
    """Return the name of a question's subject."""
    return _QUERIES[kind]


def trigger_words(trigger: str) -> str:
    """Return why a run was made; a trigger without words of its own speaks for itself."""
    return _TRIGGERS.get(trigger, trigger)


def shown_price(value: Decimal) -> Decimal:
    """Return a price with the digits that tables show: computed ones have endless digits, and JSON
    has all of them.
    """
    exponent = value.as_tuple().exponent
    is_endless = isinstance(exponent, int) and exponent < -_PRICE_DIGITS
    return round(value, _PRICE_DIGITS) if is_endless else value


def moment(at: datetime | None) -> str:
    """Return a time to the second, in UTC and saying so; "" for None."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC" if at is not None else ""


_WITNESSES: Final[dict[Witness, str]] = {
    "answers": "the broker's answers",
    "statement": "the broker's statement",
}


def witness_words(finding: Finding) -> str:
    """Return who shows a difference."""
    return _WITNESSES[witness_of(finding)]


def coverage_words(coverage: StatementCoverage) -> str:
    """Return which sections of a statement were compared, and which an activity query can have
    beside them.
    """
    came = ", ".join(SECTIONS[name] for name in coverage.sections) or "nothing"
    kind = "trade confirmations" if coverage.kind == "confirmations" else "an activity statement"
    missing = ", ".join(SECTIONS[name] for name in coverage.missing)
    rest = f"; not compared: {missing}" if missing else ""
    return f"{kind} with {came}{rest}"
