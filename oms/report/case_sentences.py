"""One sentence for each event about differences: cases, adjustments and reconciliations."""

from __future__ import annotations

from datetime import timedelta

from oms.core import events
from oms.core.money import plain
from oms.core.words import counted, duration
from oms.report.sentences import _say, _with, name_of
from oms.report.words import trigger_words


def _case(finding: events.Finding) -> str:
    subject = " ".join(part for part in (finding.account, finding.symbol) if part)
    difference = f"ours: {finding.ours or 'nothing'}; theirs: {finding.theirs or 'nothing'}"
    return f"{finding.text or finding.subject}{f' ({subject})' if subject else ''}: {difference}"


@_say.register
def _(event: events.BreakOpened) -> str:
    what = "reopened" if event.reopened else "opened"
    return f"Break {event.break_id} {what}: {_case(event.finding)}"


@_say.register
def _(event: events.BreakUpdated) -> str:
    return f"Break {event.break_id} found again: {_case(event.finding)}"


@_say.register
def _(event: events.BreakClosed) -> str:
    how = {"adopt": " by adoption", "adjust": " by an adjustment"}.get(event.how, "")
    return _with(f"Break {event.break_id} closed{how}", event.reason) + _second(event.approved_by)


@_say.register
def _(event: events.ReconciliationRequested) -> str:
    return _with("Asked to compare the books with the broker's", event.reason)


@_say.register
def _(event: events.ReconciliationStarted) -> str:
    return f"A reconciliation began {trigger_words(event.trigger)}"


@_say.register
def _(event: events.StatementChecked) -> str:
    results = [finding.result for finding in event.findings]
    days = f"{event.first_day} to {event.last_day} of {', '.join(event.accounts)}"
    # Each reason once: a list of unknowns is no sentence.
    reasons = dict.fromkeys(f.text for f in event.findings if f.subject == "statement_section")
    return (
        f"The statement of {days} is {event.verdict}: {counted(event.deals, 'deal')} compared, "
        f"{counted(results.count('break'), 'break')}, {results.count('unknown')} unknown"
    ) + "".join(f"; {reason}" for reason in reasons)


@_say.register
def _(event: events.ReconciliationCompleted) -> str:
    results = [finding.result for finding in event.findings]
    matches = results.count("match") + sum(m.count for m in event.matches)
    return (
        f"The reconciliation ended {event.verdict}: {matches:,} match, "
        f"{counted(results.count('break'), 'break')}, {results.count('unknown')} unknown"
    )


# ── what people do about cases ───────────────────────────────────────────────────────────────────


def describe_adjustment(wanted: events.Adjustment) -> str:
    """Return what an adjustment changes, in few words."""
    if wanted.contract is None:
        currency = f"{wanted.currency} " if wanted.currency else ""
        return f"{_signed(plain(wanted.quantity))} {currency}in {wanted.account}"
    what = f"{name_of(wanted.contract)} in {wanted.account}"
    if wanted.ratio is not None:
        return f"{wanted.ratio.words} of {what}: {_signed(plain(wanted.quantity))}"
    at = "" if wanted.price is None else f" at {plain(wanted.price)}"
    return f"{_signed(plain(wanted.quantity))} {what}{at}"


def _signed(text: str) -> str:
    return text if text.startswith("-") else f"+{text}"


def _second(approved_by: str) -> str:
    return f", approved by {approved_by}" if approved_by else ""


@_say.register
def _(event: events.BooksAdjusted) -> str:
    wanted = event.adjustment
    cause = f" ({wanted.cause.replace('_', ' ')})" if wanted.cause else ""
    text = f"Books adjusted{cause}: {describe_adjustment(wanted)}"
    return _with(text, event.reason) + _second(event.approved_by)


@_say.register
def _(event: events.CommissionRestated) -> str:
    amount = f"{plain(event.commission)} {event.currency}"
    return f"The commission of {event.exec_id} is {amount}, as the broker's answer has it"


@_say.register
def _(event: events.CashOpened) -> str:
    amount = f"{plain(event.amount)} {event.currency}"
    return f"Cash of {event.account} is compared from {amount} on"


@_say.register
def _(event: events.CaseRequested) -> str:
    cause = f" as {event.cause.replace('_', ' ')}" if event.cause else ""
    return _with(f"Asked to {event.action} break {event.break_id}{cause}", event.text)


@_say.register
def _(event: events.CaseRequestDenied) -> str:
    return f"Nothing was done about break {event.break_id}: {event.text}"


@_say.register
def _(event: events.BreakAssigned) -> str:
    return f"Break {event.break_id} assigned to {event.assignee}"


@_say.register
def _(event: events.BreakExplained) -> str:
    return f"Break {event.break_id} explained: {event.text}"


@_say.register
def _(event: events.CaseActionProposed) -> str:
    value = "of unknown value" if event.notional is None else f"worth {plain(event.notional)}"
    return _with(
        f"To {event.action} break {event.break_id} takes a second person: it is {value}, one may "
        f"decide about {plain(event.limit)}",
        event.reason,
    )


# ── the watchman ─────────────────────────────────────────────────────────────────────────────────


@_say.register
def _(event: events.AlarmRaised) -> str:
    about = " ".join(part for part in (event.account, event.symbol) if part)
    kind = event.kind.replace("_", " ")
    return (
        f"Alarm, {kind}{f' ({about})' if about else ''} since {event.since:%H:%M:%S}: {event.text}"
    )


@_say.register
def _(event: events.AlarmCleared) -> str:
    return f"The alarm {event.alarm_id} is over"


@_say.register
def _(event: events.ServerTimeRead) -> str:
    side = "ahead of" if event.offset_ms > 0 else "behind"
    bound = f", off by at most {event.bound_ms} ms"
    return f"The gateway's clock is {abs(event.offset_ms)} ms {side} ours{bound}"


@_say.register
def _(event: events.CheckpointSigned) -> str:
    lost = ", ".join(kept.place for kept in event.kept if not kept.ok)
    said = f"The events #{event.first} to #{event.last} were signed"
    return f"{said}; the checkpoint did not reach: {lost}" if lost else said


@_say.register
def _(event: events.BackupRestored) -> str:
    beyond = {
        "nothing": "which was the end of the log",
        "events": "and events after it are lost",
        "unknown": "and nobody knows whether there were events after it",
    }
    end = f"which ends at #{event.sequence}, {beyond[event.missing]}"
    return f"The log was restored from {event.backup}, {end}"


@_say.register
def _(event: events.SegmentArchived) -> str:
    return f"The events #{event.first} to #{event.last} were archived in {event.folder}"


@_say.register
def _(event: events.TextsRemoved) -> str:
    said = f"Texts of the messages in #{event.first} to #{event.last} left the database"
    return _with(f"{said}; {event.folder} has them", event.reason)


@_say.register
def _(event: events.AccessGranted) -> str:
    return _with(f"The token of {event.name} gives the right to {event.right}", event.reason)


@_say.register
def _(event: events.AccessRevoked) -> str:
    return _with(f"The token of {event.name} is worth nothing any more", event.reason)


@_say.register
def _(event: events.HoldPlaced) -> str:
    covered = "every event"
    if event.first is not None or event.last is not None:
        begin, end = event.first or 1, f"#{event.last}" if event.last else "the last one"
        covered = f"the events #{begin} to {end}"
    return _with(f"The legal hold {event.name} covers {covered}", event.reason)


@_say.register
def _(event: events.HoldReleased) -> str:
    return _with(f"The legal hold {event.name} was released", event.reason)


@_say.register
def _(event: events.ClockStepped) -> str:
    span = duration(timedelta(milliseconds=abs(event.step_ms)))
    if event.at_start:
        return f"At the start this machine's clock was {span} before the last time of the log"
    return f"This machine's clock was set {'back' if event.step_ms < 0 else 'forward'} by {span}"


@_say.register
def _(event: events.ProjectionsRebuilt) -> str:
    rows = counted(event.differences, "row")
    mended = f"; made again: {', '.join(event.mended)}" if event.mended else ""
    return (
        f"The stored rows were folded again up to #{event.up_to_sequence}: {rows} differed{mended}"
    )
