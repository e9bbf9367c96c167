"""Reports as JSON: a contract for programs, described in `docs/reference/json-output.md`.

Keys are stable under one `schema` number; new keys may appear and readers ignore what they do not
know. Money and quantities are strings, times are ISO 8601 in UTC, sequences are numbers. What is
absent is null or empty, except inside `payload`, which is the log's own text and leaves it out.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from oms.core.codec import encode, time_text
from oms.core.events import Adjustment, Envelope, Finding, Question
from oms.core.fold.records import BreakCase
from oms.core.money import plain
from oms.report.clock import clock_json
from oms.report.reconciliation import Report
from oms.report.record_json import order_json
from oms.report.sentences import sentence
from oms.report.story import Story, StoryEntry
from oms.report.wire import wire_fields

SCHEMA: Final = 1


def reconciliation_json(report: Report) -> dict[str, Any]:
    """Return a reconciliation report as JSON values."""
    run = report.run
    cases = {
        item.finding.key: item.case.break_id
        for group in report.breaks
        for item in group.items
        if item.case is not None
    }
    return {
        "schema": SCHEMA,
        "kind": "reconciliation",
        "run_id": run.run_id,
        "sequence": report.sequence,
        "trigger": run.trigger,
        "verdict": report.verdict,
        "headline": report.headline,
        "reasons": list(report.reasons),
        "next_steps": list(report.next_steps),
        "started_at": _time(run.started_at),
        "finished_at": _time(run.finished_at),
        "gap_opened_at": _time(run.gap_opened_at),
        "gap_covered": report.covered,
        "gateway": {
            "server_version": run.server_version,
            "client_id": run.client_id,
            "accounts": list(run.accounts),
        },
        "books_sequence": run.books_sequence,
        "counts": {
            "match": report.match_count,
            "break": sum(len(group.items) for group in report.breaks),
            "unknown": len(report.unknown),
            "repaired": sum(len(group.findings) for group in report.repaired),
            "older_cases": len(report.older_cases),
        },
        "timeline": [
            {
                "kind": span.kind,
                "label": span.label,
                "start": _time(span.start),
                "end": _time(span.end),
            }
            for span in report.timeline
        ],
        "questions": [question_json(question) for question in run.questions],
        "findings": [_finding(finding, cases.get(finding.key)) for finding in run.findings],
        "matches": [
            {"subject": match.subject, "count": match.count, "digest": match.digest}
            for match in run.matches
        ],
        "older_cases": [_case(case) for case in report.older_cases],
        "events": [event_json(envelope) for envelope in report.events],
    }


def story_json(story: Story) -> dict[str, Any]:
    """Return an order's story as JSON values."""
    order = story.order
    return {
        "schema": SCHEMA,
        "kind": "order_story",
        "order_id": story.order_id,
        "headline": story.headline,
        "order": order_json(order) if order is not None else None,
        "state": order.state.value if order is not None else None,
        "entries": [_entry(entry) for entry in story.entries],
        "broker_clock": clock_json(story.clock),
    }


def event_json(envelope: Envelope) -> dict[str, Any]:
    """Return one event of the log as JSON values: envelope, sentence, payload and wire fields."""
    context = envelope.context
    return {
        "sequence": envelope.sequence,
        "hash": envelope.hash.hex() or None,
        "type": type(envelope.event).__name__,
        "sentence": sentence(envelope),
        "recorded_at": _time(envelope.recorded_at),
        "received_at": _time(envelope.received_at),
        "sent_at": _time(envelope.sent_at),
        "occurred_at": _time(context.occurred_at),
        "actor": context.actor,
        "session_epoch": context.session_epoch,
        "lease_epoch": envelope.lease_epoch,
        "correlation_id": context.correlation_id,
        "causation_sequence": context.causation_sequence,
        "payload": json.loads(encode(envelope.event)),
        "wire": _list(envelope.wire),
        "wire_names": _list(envelope.wire and [name for name, _ in wire_fields(envelope)]),
        "server_version": None if envelope.stamp is None else envelope.stamp.server_version,
        "decoder": None if envelope.stamp is None else envelope.stamp.decoder or None,
    }


def _entry(entry: StoryEntry) -> dict[str, Any]:
    return {
        **event_json(entry.envelope),
        "ids": dict(entry.ids),
        "code": entry.code,
        "text": entry.text,
    }


def question_json(question: Question) -> dict[str, Any]:
    """Return how one question was answered, as JSON values."""
    return {
        "query_id": question.query_id,
        "kind": question.kind,
        "outcome": question.outcome,
        "code": question.code,
        "text": question.text,
        "rows": question.rows,
        "digest": question.digest,
        "reaches_back_to": _time(question.reaches_back_to),
        "reach": question.reach,
        "asked_at": _time(question.asked_at),
        "answered_at": _time(question.answered_at),
        "asked_sequence": question.asked_sequence,
        "account": question.account,
        "repeats": question.repeats,
        "since": question.since,
        "came": list(question.came),
        "gone": list(question.gone),
        "set_digest": question.set_digest,
        "like": question.like,
        "taken_in": [[span.first, span.last] for span in question.taken_in],
        "left_out": [[span.first, span.last] for span in question.left_out],
    }


def _finding(finding: Finding, break_id: str | None) -> dict[str, Any]:
    return {
        "result": finding.result,
        "subject": finding.subject,
        "class": finding.break_class,
        "severity": finding.severity,
        "key": finding.key,
        "break_id": break_id,
        "account": finding.account,
        "con_id": finding.con_id,
        "symbol": finding.symbol,
        "order_id": finding.order_id,
        "ours": finding.ours,
        "theirs": finding.theirs,
        "text": finding.text,
        "evidence": list(finding.evidence),
        "repair": finding.repair,
        "proposed": _adjustment(finding.proposed),
    }


def _adjustment(wanted: Adjustment | None) -> dict[str, Any] | None:
    if wanted is None:
        return None
    return {
        "account": wanted.account,
        "con_id": wanted.contract.con_id if wanted.contract is not None else None,
        "currency": wanted.currency or None,
        "quantity": plain(wanted.quantity),
        "price": None if wanted.price is None else plain(wanted.price),
        "ratio": None if wanted.ratio is None else str(wanted.ratio),
        "cause": wanted.cause,
    }


def _case(case: BreakCase) -> dict[str, Any]:
    return {
        "break_id": case.break_id,
        "opened_at": _time(case.opened_at),
        "opened_sequence": case.opened_sequence,
        "seen": case.seen,
        "finding": _finding(case.finding, case.break_id),
        "also": [_finding(finding, case.break_id) for finding in case.also],
    }


def _time(at: datetime | None) -> str | None:
    return time_text(at.astimezone(UTC)) if at is not None else None


def _list(fields: Sequence[str] | None) -> list[str] | None:
    return list(fields) if fields is not None else None
