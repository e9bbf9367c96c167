"""History: bars, ticks, schedules, histograms, and how far back there is any."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import islice
from typing import Final

from oms.sim.broker.bar_sizes import SIZES
from oms.sim.broker.exchange.contracts import Contract, Query
from oms.sim.broker.exchange.hours import schedule_of
from oms.sim.broker.exchange.market import Tick
from oms.sim.broker.floor import Floor
from oms.sim.broker.history import MICRO, Bar, History, Span
from oms.sim.broker.rules.checks import Refusal
from oms.sim.clock import message_time
from oms.sim.gateway import history_questions as questions
from oms.sim.gateway.contract_answers import contract_named
from oms.sim.gateway.history_questions import Duration, Question
from oms.sim.gateway.live_bars import LiveBars, Updated
from oms.sim.gateway.pacing import Pacing, is_paced
from oms.sim.gateway.pacing import Question as Paced
from oms.sim.gateway.session import Session
from oms.sim.gateway.subscriptions import key_of, subscribe, unsubscribe
from oms.sim.protocol.fields import number, to_int
from oms.sim.protocol.requests import Request

#: How far before a session ticks are looked for: over a weekend and a holiday.
_TICK_DAYS: Final = 7
#: The most rows of a histogram.
_POINTS_MAX: Final = 200
_TICKS: Final = {"TRADES": "historicalTicksLast", "BID_ASK": "historicalTicksBidAsk",
                 "MIDPOINT": "historicalTicks"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Head:
    """A head time stamp or a histogram that was answered and not cancelled."""


class HistoryAnswers:
    """What answers the questions about the past."""

    def __init__(self, floor: Floor, history: History, live: LiveBars) -> None:
        self._floor = floor
        self._history = history
        self._live = live
        self._pacing = Pacing()
        self.actions: Mapping[str, Callable[[Session, Request], None]] = {
            "reqHistoricalData": self._refusing(self._bars),
            "cancelHistoricalData": self._cancel_bars,
            "reqHeadTimeStamp": self._refusing(self._head),
            "cancelHeadTimeStamp": _cancel_head,
            "reqHistogramData": self._refusing(self._histogram),
            "cancelHistogramData": _cancel_head,
            "reqHistoricalTicks": self._refusing(self._ticks),
        }

    def _refusing(
        self, answer: Callable[[Session, Request], None]
    ) -> Callable[[Session, Request], None]:
        """Return an action that says IB's refusals."""

        def act(session: Session, request: Request) -> None:
            try:
                answer(session, request)
            except Refusal as refusal:
                session.error(request.request_id, refusal.code, refusal.text)

        return act

    def _contract(self, values: Mapping[str, str]) -> Contract:
        return contract_named(self._floor, Query.from_wire(values))

    # ── bars ─────────────────────────────────────────────────────────────────────────────────────

    def _bars(self, session: Session, request: Request) -> None:
        values, request_id = request.values, request.request_id
        if key_of(request) in session.subscriptions:
            raise Refusal(322, "Error processing request.-'bE' : cause - Duplicate ticker id")
        now = self._floor.clock.now()
        asked = questions.read(values, session.version, self._floor.zone, now)
        contract = self._contract(values)
        questions.check_served(contract, asked.shows, values["exchange"])
        if asked.zone_implied and session.version >= questions.ZONES_SINCE:
            session.error(request_id, 2174, questions.NO_ZONE)
        if is_paced(asked.size):
            self._keep_pace(contract, request, asked.shows)
        end = now if asked.end is None else min(asked.end, now)
        spans = self._spans(contract, asked, end)
        if asked.shows == "SCHEDULE":
            self._schedule(session, request_id, contract, spans)
            return
        # What happened at this very moment has happened.
        upto = _micro(end) + (asked.end is None)
        bars = self._history.bars(contract, asked.shows, spans, asked.size, upto)
        if not bars:
            raise questions.no_answer(contract, asked.shows, values["exchange"])
        first = datetime.fromtimestamp(spans[0].start, UTC)
        session.send(
            "historicalData",
            {
                "reqId": request_id,
                "startDate": self._time(session, first),
                "endDate": self._time(session, end),
                "bars": [self.bar_values(session, asked, one) for one in bars],
            },
        )
        if asked.up_to_date:
            live = Updated(
                contract, asked.shows, asked.size, asked.regular, self._shower(session, asked)
            )
            subscribe(session, request, live)
            self._live.follow()

    def _shower(self, session: Session, asked: Question) -> Callable[[Bar], dict[str, str]]:
        return lambda bar: self.bar_values(session, asked, bar)

    def bar_values(self, session: Session, asked: Question, bar: Bar) -> dict[str, str]:
        """Return a bar as a client sees it that asked so."""
        at = datetime.fromtimestamp(bar.start, UTC)
        if not asked.size.within_day:
            shown = f"{bar.session.day:%Y%m%d}"
        elif asked.date_form == 2:
            shown = str(bar.start)
        else:
            shown = self._time(session, at)
            shown = shown[4:] if asked.date_form == 3 else shown
        return {
            "date": shown,
            "open": number(bar.open),
            "high": number(bar.high),
            "low": number(bar.low),
            "close": number(bar.close),
            "volume": number(bar.volume),
            "wap": number(bar.average) if bar.count >= 0 else "-1",
            "count": str(bar.count),
        }

    def _time(self, session: Session, moment: datetime) -> str:
        form = self._floor.settings.time_form
        return message_time(moment, self._floor.zone, form, session.version)

    def _keep_pace(self, contract: Contract, request: Request, shows: str) -> None:
        whole = (request.name, *request.fields[2:])
        asked = Paced(whole, contract.con_id, request.values["exchange"], shows)
        now = self._floor.clock.now().timestamp()
        if self._floor.settings.pacing and self._pacing.violated(asked, now):
            raise Refusal(162, questions.PACED)

    def _spans(self, contract: Contract, asked: Question, end: datetime) -> list[Span]:
        """The parts of sessions that a question is about, oldest first."""
        if not asked.size.within_day and asked.duration.unit == "S":
            # No day is shorter than a day.
            return self._back(contract, end, Duration(1, "D"), regular=asked.regular)
        spans = self._back(contract, end, asked.duration, regular=asked.regular)
        if not spans or asked.size.unit in ("seconds", "day"):
            if spans and asked.duration.unit == "S":
                zone = self._history.sessions.local_zone(contract)
                first = spans[0]
                start = max(asked.size.begin(first.start, zone), first.session.span(
                    regular=asked.regular)[0])  # fmt: skip
                spans[0] = Span(first.session, start, first.end)
            return spans
        # The first week or month is a whole one.
        first_day = spans[0].session.day
        first_day = (
            first_day - timedelta(days=first_day.weekday())
            if asked.size.unit == "week"
            else first_day.replace(day=1)
        )
        days = (first_day, spans[-1].session.day)
        return self._history.spans(contract, days, regular=asked.regular)

    def _back(
        self, contract: Contract, end: datetime, duration: Duration, *, regular: bool
    ) -> list[Span]:
        """The sessions of a duration that ends at a moment; the first of `S` is cut off."""
        since = self._floor.market.origin(contract).second
        second = int(end.timestamp())
        last = self._history.sessions.day_of(contract, max(second - 1, 0), since)
        if duration.unit in ("W", "M", "Y"):
            days = (duration.first_day(last), last)
            found = self._history.spans(contract, days, regular=regular)
            return [one for one in found if one.start <= second]
        left, taken = duration.count, []
        for one in self._newest_first(contract, last, second, regular=regular):
            if duration.unit == "D":
                taken.append(one)
                left -= 1
            else:
                stop = min(one.end, second)
                start = max(one.start, stop - left)
                taken.append(Span(one.session, start, one.end))
                left -= stop - start
            if not left:
                break
        return taken[::-1]

    def _newest_first(
        self, contract: Contract, last: date, before: int, *, regular: bool
    ) -> Iterator[Span]:
        """The sessions that begin before a second, from the last on backwards."""
        until, head = last, self._history.head(contract).day
        while until >= head:
            first = until - timedelta(days=30)
            found = self._history.spans(contract, (first, until), regular=regular)
            yield from (one for one in reversed(found) if one.start < before)
            until = first - timedelta(days=1)

    def _cancel_bars(self, session: Session, request: Request) -> None:
        request_id = request.request_id
        if unsubscribe(session, request):
            text = f"{questions.FAILED}API historical data query cancelled: {request_id}"
            session.error(request_id, 162, text)
        else:
            _say_unknown(session, request_id)

    # ── schedules, heads, histograms ─────────────────────────────────────────────────────────────

    def _schedule(
        self, session: Session, request_id: str, contract: Contract, spans: Sequence[Span]
    ) -> None:
        zone = self._history.sessions.local_zone(contract)
        shown = [
            {
                "startDateTime": f"{datetime.fromtimestamp(one.start, zone):%Y%m%d-%H:%M:%S}",
                "endDateTime": f"{datetime.fromtimestamp(one.end, zone):%Y%m%d-%H:%M:%S}",
                "refDate": f"{one.session.day:%Y%m%d}",
            }
            for one in spans
        ]
        if not shown:
            raise questions.no_answer(contract, "SCHEDULE", "")
        values = {
            "reqId": request_id,
            "startDateTime": shown[0]["startDateTime"],
            "endDateTime": shown[-1]["endDateTime"],
            "timeZone": schedule_of(contract).zone_id,
            "sessions": shown,
        }
        session.send("historicalSchedule", values)

    def _head(self, session: Session, request: Request) -> None:
        values = request.values
        shows = questions.shown(values["whatToShow"], session.version)
        form = questions.date_form_of(values["formatDate"])
        contract = self._contract(values)
        questions.check_served(contract, shows, values["exchange"])
        start, _ = self._history.head(contract).span(regular=values["useRTH"] in ("1", "true"))
        moment = datetime.fromtimestamp(start, UTC)
        if form == 2:
            shown = str(start)
        elif session.version >= questions.ZONES_SINCE:
            shown = f"{moment:%Y%m%d-%H:%M:%S}"
        else:
            shown = f"{moment.astimezone(self._floor.zone):%Y%m%d  %H:%M:%S}"
        subscribe(session, request, Head())
        session.send("headTimestamp", {"reqId": request.request_id, "headTimestamp": shown})

    def _histogram(self, session: Session, request: Request) -> None:
        values = request.values
        period = questions.period_of(values["timePeriod"])
        contract = self._contract(values)
        questions.check_served(contract, "TRADES", values["exchange"])
        now = self._floor.clock.now()
        spans = self._back(contract, now, period, regular=values["useRTH"] in ("1", "true"))
        size = SIZES["1 min" if len(spans) <= 5 else "30 mins"]
        bars = self._history.bars(contract, "TRADES", spans, size, _micro(now) + 1)
        sold: Counter[Decimal] = Counter()
        width = contract.minimum_tick
        if bars:
            reach = max(one.high for one in bars) - min(one.low for one in bars)
            width = max(width, contract.on_tick(reach / _POINTS_MAX))
        for one in bars:
            sold[one.average // width * width] += int(one.volume)
        points = [{"price": number(price), "size": str(sold[price])} for price in sorted(sold)]
        subscribe(session, request, Head())
        session.send("histogramData", {"reqId": request.request_id, "points": points})

    # ── ticks ────────────────────────────────────────────────────────────────────────────────────

    def _ticks(self, session: Session, request: Request) -> None:
        values = request.values
        shows, count = values["whatToShow"], to_int(values["numberOfTicks"])
        if shows not in _TICKS:
            raise Refusal(321, questions.INVALID + "What to show field is missing or incorrect.")
        if not 0 < count <= questions.TICKS_MAX:
            text = f"Number of ticks is invalid: 1 to {questions.TICKS_MAX}"
            raise Refusal(321, questions.INVALID + text)
        start, end = values["startDateTime"].strip(), values["endDateTime"].strip()
        if bool(start) == bool(end):
            text = "Exactly one of the start and end times has to be defined"
            raise Refusal(321, questions.INVALID + text)
        now, zone = self._floor.clock.now(), self._floor.zone
        name = "Start Date/Time" if start else "End Date/Time"
        moment = questions.moment(start or end, name, zone, now)
        contract = self._contract(values)
        questions.check_served(contract, shows, values["exchange"])
        if session.version >= questions.ZONES_SINCE and questions.zone_implied(start or end):
            session.error(request.request_id, 2174, questions.NO_ZONE)
        self._keep_pace(contract, request, shows)
        regular = values["useRTH"] in ("1", "true")
        found = self._ticks_from(contract, shows, moment, regular=regular, forward=bool(start))
        if shows == "BID_ASK" and values["ignoreSize"] in ("1", "true"):
            found = _moved(found)
        kept = list(islice(found, count))
        _send_ticks(session, request, contract, shows, kept if start else kept[::-1])

    def send_last_ticks(
        self, session: Session, request: Request, contract: Contract, shows: str
    ) -> None:
        """Send so many of the newest ticks as a subscription of ticks asks for before its own."""
        count = min(to_int(request.values["numberOfTicks"]), questions.TICKS_MAX)
        if count > 0:
            now = self._floor.clock.now() + timedelta(seconds=1)
            found = self._ticks_from(contract, shows, now, regular=False, forward=False)
            _send_ticks(session, request, contract, shows, list(islice(found, count))[::-1])

    def _ticks_from(
        self, contract: Contract, shows: str, moment: datetime, *, regular: bool, forward: bool
    ) -> Iterator[Tick]:
        """Yield the ticks of a kind: from a moment on, or those before it, the newest first."""
        since, second = self._floor.market.origin(contract).second, int(moment.timestamp())
        day = self._history.sessions.day_of(contract, second, since)
        other = day + timedelta(days=_TICK_DAYS) * (1 if forward else -1)
        spans = self._history.spans(contract, (min(day, other), max(day, other)), regular=regular)
        now = int(self._floor.clock.now().timestamp()) + 1
        for span in spans if forward else reversed(spans):
            begins = max(span.start, second) if forward else span.start
            ends = min(span.end, now if forward else min(second, now))
            for first, last in _minutes(begins, ends, forward=forward):
                ticks = self._history.ticks(contract, Span(span.session, first, last))
                yield from _of_kind(ticks if forward else ticks[::-1], shows)


def _minutes(start: int, end: int, *, forward: bool) -> Iterator[tuple[int, int]]:
    """A time in pieces of a minute: a question takes a thousand ticks at most."""
    pieces = [(at, min(at + 60, end)) for at in range(start, end, 60)]
    yield from pieces if forward else reversed(pieces)


def _of_kind(ticks: Sequence[Tick], shows: str) -> Iterator[Tick]:
    return (one for one in ticks if one.traded or shows != "TRADES")


def _moved(ticks: Iterator[Tick]) -> Iterator[Tick]:
    """The ticks at which a price of the touch is another one than before."""
    before: tuple[Decimal, Decimal] | None = None
    for one in ticks:
        if (one.bid, one.ask) != before:
            yield one
        before = one.bid, one.ask


def _send_ticks(
    session: Session, request: Request, contract: Contract, shows: str, ticks: Sequence[Tick]
) -> None:
    shown = [_tick_values(one, shows, contract) for one in ticks]
    session.send(_TICKS[shows], {"reqId": request.request_id, "ticks": shown, "done": "1"})


def _tick_values(tick: Tick, shows: str, contract: Contract) -> dict[str, str]:
    values = {"time": str(tick.at // MICRO)}
    match shows:
        case "TRADES":
            values |= {"attrMask": "0", "price": number(tick.last), "size": number(tick.traded)}
            values |= {"exchange": contract.primary_exchange, "specialConditions": ""}
        case "BID_ASK":
            values |= {"attrMask": "0", "bidPrice": number(tick.bid), "askPrice": number(tick.ask)}
            values |= {"bidSize": number(tick.bid_size), "askSize": number(tick.ask_size)}
        case _:
            values |= {"unused": "0", "price": number((tick.bid + tick.ask) / 2), "size": "0"}
    return values


def _micro(moment: datetime) -> int:
    return round(moment.timestamp() * MICRO)


def _cancel_head(session: Session, request: Request) -> None:
    if not unsubscribe(session, request):
        _say_unknown(session, request.request_id)


def _say_unknown(session: Session, request_id: str) -> None:
    session.error(request_id, 366, f"No historical data query found for ticker id:{request_id}")
