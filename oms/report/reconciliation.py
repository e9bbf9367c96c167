"""A reconciliation run as one value, from which the terminal, JSON and HTML renderings are made.

The value is built from the run's own event and nothing that changes later, so a past run is shown
exactly as it was. It answers, in this order: is it clean, broken, or do we not know; since when;
what to do; what differs; what was repaired; what was asked and how it was answered.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from oms.core.compare.cases import break_id_of
from oms.core.compare.findings import MOVED
from oms.core.events import (
    BreakClass,
    Envelope,
    Finding,
    Question,
    ReconciliationCompleted,
    Verdict,
)
from oms.core.fold.records import BreakCase
from oms.core.words import counted
from oms.report.words import (
    BREAKS,
    OUTCOMES,
    REPAIRS,
    SEVERITIES,
    UPDATED,
    BreakWords,
    moment,
    query_words,
    witness_words,
)

#: Events of evidence that a report carries along; the findings name the rest by number.
EVIDENCE_MAX: Final = 500
_NAMES: Final = {"cash": "balance"}
SpanKind = Literal["unreached", "reached", "asking"]


@dataclass(frozen=True, slots=True)
class Item:
    """A break that this run found, with its case where one is open."""

    finding: Finding
    case: BreakCase | None = None


@dataclass(frozen=True, slots=True)
class BreakGroup:
    """The breaks of one class."""

    break_class: BreakClass
    words: BreakWords
    items: tuple[Item, ...]


@dataclass(frozen=True, slots=True)
class RepairGroup:
    """What the run repaired in one way."""

    title: str
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of the time around the run, and how much we know about it."""

    kind: SpanKind
    label: str
    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that the renderings show, in the order in which they show it."""

    run: ReconciliationCompleted
    #: Sequence of the run's event; 0 where it is not known.
    sequence: int
    headline: str
    #: Why the verdict is what it is, one sentence each.
    reasons: tuple[str, ...]
    next_steps: tuple[str, ...]
    #: Whether the broker's answers reach back over the whole gap; None without a gap.
    covered: bool | None
    timeline: tuple[Span, ...]
    breaks: tuple[BreakGroup, ...]
    unknown: tuple[Finding, ...]
    repaired: tuple[RepairGroup, ...]
    #: Cases of earlier runs that are open and that this run did not find again.
    older_cases: tuple[BreakCase, ...]
    matched: tuple[Finding, ...]
    #: Events that the findings name as evidence, where the caller had them at hand.
    events: tuple[Envelope, ...]

    @property
    def verdict(self) -> Verdict:
        """Return the verdict as the run recorded it."""
        return self.run.verdict

    @property
    def match_count(self) -> int:
        """Return how many things agree, listed or counted."""
        return len(self.matched) + sum(match.count for match in self.run.matches)

    @property
    def matches_by_subject(self) -> tuple[tuple[str, int], ...]:
        """Return how many things of each kind agree, most first."""
        counts = Counter(finding.subject for finding in self.matched)
        counts.update({match.subject: match.count for match in self.run.matches})
        # Cash has no plural; what agrees are balances.
        counts = Counter({_NAMES.get(subject, subject): n for subject, n in counts.items()})
        return tuple(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))


def build(
    run: ReconciliationCompleted,
    open_cases: Sequence[BreakCase] = (),
    *,
    sequence: int = 0,
    events: Iterable[Envelope] = (),
) -> Report:
    """Return the report of a run.

    `open_cases` are the cases open when the run ended; `events` those that the findings name as
    evidence (`evidence_of` lists their sequences), so that a reader can look at them at once.
    """
    cases = {break_id_of(case.finding): case for case in open_cases}
    found = {break_id_of(finding) for finding in run.findings if finding.result == "break"}
    # That a question failed is told by the questions; here stand the things that were compared.
    items = [finding for finding in run.findings if finding.subject != "question"]
    breaks = [Item(f, cases.get(break_id_of(f))) for f in items if f.result == "break"]
    unknown = tuple(f for f in items if f.result == "unknown")
    repaired = [f for f in items if f.result == "match" and f.repair]
    matched = tuple(f for f in items if f.result == "match" and not f.repair)
    # What was adopted differs in nothing: the books follow it.
    accepted = [f for f in matched if f.break_class and f.break_class != "unknown_order"]
    older = tuple(
        case for case in open_cases if case.live and break_id_of(case.finding) not in found
    )
    shut = [case for case in older if case.shuts_gate]
    groups = _grouped(breaks)
    covered = _covered(run)
    counted_only = sum(match.count for match in run.matches)
    return Report(
        run=run,
        sequence=sequence,
        headline=_headline(run, len(breaks), len(accepted), len(shut), len(unknown)),
        reasons=(
            _answered(run.questions),
            f"{counted(len(items) + counted_only, 'item')} compared: "
            f"{len(matched) + counted_only:,} in agreement, "
            f"{len(repaired):,} repaired, {len(breaks):,} differing, {len(unknown):,} unknown.",
            *(_accepted(finding) for finding in accepted),
            *(shut_by(case) for case in shut),
            *_coverage(run, covered),
        ),
        next_steps=_next_steps(run, groups, unknown, older, covered),
        covered=covered,
        timeline=_timeline(run),
        breaks=groups,
        unknown=unknown,
        repaired=_repairs(repaired),
        older_cases=older,
        matched=matched,
        events=tuple(sorted(events, key=lambda envelope: envelope.sequence)),
    )


def open_when(cases: Iterable[BreakCase], completed: Envelope) -> list[BreakCase]:
    """Return the cases that were open when a run ended, as far as their rows tell.

    A case that was closed and reopened since is counted as open; its events in the log are exact.
    """
    return [
        case
        for case in sorted(cases, key=lambda case: case.opened_sequence)
        if case.opened_sequence <= completed.sequence
        and (case.closed_at is None or case.closed_at > completed.recorded_at)
    ]


def evidence_of(run: ReconciliationCompleted) -> tuple[int, ...]:
    """Return the sequences that the findings worth reading name, each once, in order; the first
    `EVIDENCE_MAX` of them.
    """
    return tuple(
        sorted(
            {
                sequence
                for finding in run.findings
                if finding.result != "match" or finding.repair
                for sequence in finding.evidence
            }
        )[:EVIDENCE_MAX]
    )


def _grouped(items: Sequence[Item]) -> tuple[BreakGroup, ...]:
    """Group breaks by class, the most severe class first."""

    def rank(item: Item) -> int:
        severity = item.finding.severity
        return SEVERITIES.index(severity) if severity else len(SEVERITIES)

    by_class: dict[BreakClass, list[Item]] = {}
    for item in sorted(items, key=rank):
        by_class.setdefault(item.finding.break_class or "contradiction", []).append(item)
    return tuple(
        BreakGroup(break_class, BREAKS[break_class], tuple(members))
        for break_class, members in by_class.items()
    )


def _accepted(finding: Finding) -> str:
    what = " ".join(w for w in (finding.subject, finding.symbol, finding.account) if w)
    ours, theirs = finding.ours or "nothing", finding.theirs or "nothing"
    return f"Still different: {what}, ours {ours}, theirs {theirs}; {finding.text}."


def shut_by(case: BreakCase) -> str:
    """Say which orders an open case refuses, and who showed it."""
    finding = case.finding
    title = BREAKS[finding.break_class].title if finding.break_class else finding.subject
    shown = " and ".join(witness_words(one) for one in case.findings)
    return (
        f"New orders in {finding.symbol or finding.con_id} of {finding.account} are refused: break"
        f" {case.break_id} ({title.lower()}, shown by {shown}) is open."
    )


def _headline(
    run: ReconciliationCompleted, breaks: int, accepted: int, shut: int, unknown: int
) -> str:
    match run.verdict:
        case "clean" if shut:
            verb = "refuses" if shut == 1 else "refuse"
            return (
                f"Our books and the broker's answers agree, but {counted(shut, 'open case')} of"
                f" earlier {verb} new orders"
            )
        case "clean" if accepted:
            what = counted(accepted, "difference")
            return f"Our books and the broker's agree but for {what} that a person closed"
        case "clean":
            return "Our books and the broker's agree"
        case "broken":
            differences = counted(breaks, "difference") if breaks else "Differences"
            verb = "is" if breaks == 1 else "are"
            return f"{differences} between our books and the broker's {verb} open"
        case "unknown" if unknown and all(q.outcome == "complete" for q in run.questions):
            verb = "is" if unknown == 1 else "are"
            return f"What could be compared agrees; {counted(unknown, 'item')} {verb} unknown"
        case "unknown":
            return "We cannot tell whether our books and the broker's agree"


def _repairs(findings: Iterable[Finding]) -> tuple[RepairGroup, ...]:
    groups: dict[str, list[Finding]] = {title: [] for title in (*REPAIRS.values(), UPDATED)}
    for finding in findings:
        groups[REPAIRS.get(finding.repair, UPDATED)].append(finding)
    return tuple(RepairGroup(title, tuple(found)) for title, found in groups.items() if found)


def _answered(questions: Sequence[Question]) -> str:
    if not questions:
        return "The broker was asked nothing."
    failed = [question for question in questions if question.outcome != "complete"]
    if not failed:
        return f"All {counted(len(questions), 'question')} to the broker were answered completely."
    names = "; ".join(f"{query_words(q.kind)}: {OUTCOMES[q.outcome]}" for q in failed)
    return (
        f"{len(questions) - len(failed)} of {counted(len(questions), 'question')} to the broker "
        f"were answered ({names})."
    )


def _reach(run: ReconciliationCompleted) -> datetime | None:
    """Return the instant after which every execution is in an answer, or None where none is."""
    asked = [question for question in run.questions if question.kind == "executions"]
    starts = [q.reaches_back_to for q in asked if q.outcome == "complete"]
    if not asked or len(starts) < len(asked):
        return None
    # Several accounts are asked one by one: the answers together reach as far as the shortest.
    return max((start for start in starts if start is not None), default=None)


def _covered(run: ReconciliationCompleted) -> bool | None:
    if run.gap_opened_at is None:
        return None
    reach = _reach(run)
    return reach is not None and reach <= run.gap_opened_at


def _coverage(run: ReconciliationCompleted, covered: bool | None) -> tuple[str, ...]:
    reach = _reach(run)
    if covered is None:
        return ()
    if covered:
        return (f"The whole gap is covered: IB's executions reach back to {moment(reach)}.",)
    if reach is None:
        return ("The gap is not covered: IB gave no complete answer about executions.",)
    return (
        f"The gap is not wholly covered: IB's executions reach back to {moment(reach)}, the gap "
        f"began at {moment(run.gap_opened_at)}.",
    )


def _timeline(run: ReconciliationCompleted) -> tuple[Span, ...]:
    """Return the gap, split where the broker's answers begin, and the run itself."""
    spans: list[Span] = []
    asked_at = run.started_at
    if run.gap_opened_at is not None and run.gap_opened_at < asked_at:
        reach = _reach(run)
        known_from = max(run.gap_opened_at, reach) if reach is not None else asked_at
        known_from = min(known_from, asked_at)
        if known_from > run.gap_opened_at:
            label = "not watched, and no answer reaches it"
            spans.append(Span("unreached", label, run.gap_opened_at, known_from))
        if asked_at > known_from:
            label = "not watched, but the answers reach it"
            spans.append(Span("reached", label, known_from, asked_at))
    spans.append(Span("asking", "asked and compared", asked_at, run.finished_at))
    return tuple(spans)


def _next_steps(
    run: ReconciliationCompleted,
    groups: Sequence[BreakGroup],
    unknown: Sequence[Finding],
    older: Sequence[BreakCase],
    covered: bool | None,
) -> tuple[str, ...]:
    steps = [f"{group.words.title}: {group.words.action}" for group in groups]
    steps += [_ask_again(q) for q in run.questions if q.outcome != "complete"]
    steps += _about_unknown(unknown)
    if covered is False:
        steps.append(
            "Compare the trades of the uncovered time with TWS or the account statement: the API "
            "cannot tell about them any more."
        )
    if older:
        verb = "is" if len(older) == 1 else "are"
        steps.append(
            f"{counted(len(older), 'case')} of earlier runs {verb} still open: see `oms breaks`."
        )
    return tuple(steps) or ("Nothing to do.",)


def _about_unknown(unknown: Sequence[Finding]) -> Iterator[str]:
    """Say what to do about what could not be compared: ask again, or look at another source."""
    if any(finding.text == MOVED for finding in unknown):
        yield "Ask again with `oms reconcile`; what kept moving could not be compared."
    if any(finding.subject == "cash" and finding.text != MOVED for finding in unknown):
        yield (
            "Compare the balances that are unknown with the account statement "
            "(`oms statement check`): the API does not tell what moved them."
        )


def _ask_again(question: Question) -> str:
    asked = query_words(question.kind)
    match question.outcome:
        case "refused":
            reason = f" ({question.code}: {question.text})" if question.code else ""
            return (
                f"The gateway refused to answer about {asked}{reason}; remove the cause, then ask "
                "again with `oms reconcile`."
            )
        case "timed_out":
            return (
                f"Ask again about {asked} with `oms reconcile`; if the gateway stays silent, "
                "restart it. Silence is not an empty answer."
            )
        case _:
            return (
                f"The answer about {asked} stopped half-way; ask again with `oms reconcile` once "
                "the line is stable."
            )
