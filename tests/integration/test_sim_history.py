"""History: what a client that asks for the past is told, and that it is what it saw happen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal as D
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from oms.sim.clock import SteppedClock
from tests.integration.sim_world import STOCK, WireClient, world

NEW_YORK = ZoneInfo("America/New_York")
#: A Monday, at noon in New York.
MONDAY_NOON = datetime(2026, 1, 5, 17, 0, tzinfo=UTC)
EURO = {"symbol": "EUR", "secType": "CASH", "exchange": "IDEALPRO", "currency": "USD"}
INDEX = {"symbol": "SPX", "secType": "IND", "exchange": "CBOE", "currency": "USD"}
ASKED = {
    **STOCK,
    "barSizeSetting": "1 min",
    "durationStr": "1 D",
    "whatToShow": "TRADES",
    "useRTH": "0",
    "formatDate": "2",
    "keepUpToDate": "0",
}
Row = Mapping[str, Any]


async def bars(client: WireClient, **changes: str) -> list[dict[str, str]]:
    """Ask, and return the bars that are answered."""
    client.forget()
    client.ask("reqHistoricalData", **{"reqId": "77", **ASKED, **changes})
    await client.until(lambda: client.story("historicalData", "errMsg"))
    found: list[dict[str, str]] = client.last("historicalData")["bars"]
    return found


async def refused(client: WireClient, **changes: str) -> tuple[str, str]:
    client.forget()
    client.ask("reqHistoricalData", **{"reqId": "77", **ASKED, **changes})
    told = await client.wait_for("errMsg", reqId="77")
    return told["code"], told["text"]


def stepped(**settings: Any) -> Any:
    return world(clock=SteppedClock(MONDAY_NOON), **settings)


def summed(rows: Iterable[Row]) -> tuple[D, D, D, D, D]:
    """Open, high, low, close and volume of bars that follow each other."""
    listed = list(rows)
    return (
        D(listed[0]["open"]),
        max(D(row["high"]) for row in listed),
        min(D(row["low"]) for row in listed),
        D(listed[-1]["close"]),
        sum((D(row["volume"]) for row in listed), D(0)),
    )


# -- history, live bars and ticks agree ------------------------------------------------------------


async def test_the_bar_of_the_last_minute_is_made_of_the_ticks_that_were_seen() -> None:
    """Goal: one source.  Method: bars of the ticks, of real-time bars, and of each bar size."""
    async with stepped(market="moving", pacing=False) as sim:
        client = await sim.client()
        client.ask("reqTickByTickData", reqId="1", tickType="Last", **STOCK)
        client.ask("reqRealTimeBars", reqId="2", barSize="5", whatToShow="TRADES", **STOCK)
        client.ask("reqHistoricalData", **{"reqId": "3", **ASKED, "keepUpToDate": "1"})
        await client.settle()
        client.forget()
        sim.do("advance", seconds="119.5")
        # A fill is a print like another.
        client.place(totalQuantity="300")
        await client.wait_for("commissionReport")
        sim.do("advance", seconds="60.9")
        await client.settle()
        seen = list(client.received)
        ticks = [values for name, values in seen if name == "tickByTick"]
        live = [values for name, values in seen if name == "realtimeBar"]
        kept = [values for name, values in seen if name == "historicalDataUpdate"]
        start = int(MONDAY_NOON.timestamp())
        for minute in (start, start + 60, start + 120):
            of_ticks = [one for one in ticks if 0 <= int(one["time"]) - minute < 60]
            rows = [{**one, "open": one["price"], "high": one["price"], "low": one["price"],
                     "close": one["price"], "volume": one["size"]} for one in of_ticks]  # fmt: skip
            expected = summed(rows)
            assert expected[4] > 0
            assert summed(one for one in live if 0 <= int(one["time"]) - minute < 60) == expected
            assert summed([one for one in kept if one["date"] == str(minute)][-1:]) == expected
            for size in ("1 secs", "5 secs", "30 secs", "1 min"):
                found = await bars(client, barSizeSetting=size, durationStr="600 S")
                inside = [one for one in found if 0 <= int(one["date"]) - minute < 60]
                # Where nothing happened a bar stands at the price before it, without volume.
                inside = [one for one in inside if one["volume"] != "0"]
                assert summed(inside) == expected, size
            turnover = sum(D(one["price"]) * D(one["size"]) for one in of_ticks)
            (whole,) = [one for one in await bars(client) if one["date"] == str(minute)]
            assert abs(D(whole["wap"]) - turnover / expected[4]) < D("0.0001")
            assert int(whole["count"]) == len(of_ticks)
            client.ask(
                "reqHistoricalTicks",
                **{**STOCK, "reqId": "4", "numberOfTicks": "1000", "whatToShow": "TRADES",
                   "startDateTime": f"{datetime.fromtimestamp(minute, UTC):%Y%m%d-%H:%M:%S}"},
            )  # fmt: skip
            told = (await client.wait_for("historicalTicksLast", reqId="4"))["ticks"]
            again = [(one["time"], one["price"], one["size"]) for one in told]
            sure = [(one["time"], one["price"], one["size"]) for one in of_ticks]
            assert again[: len(sure)] == sure


async def test_bid_ask_and_midpoint_are_those_of_the_quotes() -> None:
    async with stepped() as sim:
        client = await sim.client()
        sim.do("quote", symbol="AAPL", bid="100", ask="100.5")
        sim.do("advance", seconds="20")
        sim.do("quote", symbol="AAPL", bid="98", ask="98.5")
        sim.do("advance", seconds="20")
        asked = {"durationStr": "60 S", "endDateTime": "20260105-17:01:00"}
        sim.do("advance", seconds="40")
        prices = ("open", "high", "low", "close")
        for shows, expected in (
            ("BID", ("100", "100", "98", "98")),
            ("ASK", ("100.5", "100.5", "98.5", "98.5")),
            ("MIDPOINT", ("100.25", "100.25", "98.25", "98.25")),
            # A third of the minute at 100 and two at 98.
            ("BID_ASK", ("98.6667", "100.5", "98", "99.1667")),
        ):
            (one,) = await bars(client, whatToShow=shows, **asked)
            assert tuple(one[name] for name in prices) == expected, shows
            assert (one["volume"], one["wap"], one["count"]) == ("-1", "-1", "-1")


async def test_bars_of_all_sizes_agree_and_are_the_same_for_everybody() -> None:
    async with stepped() as sim, stepped() as again:
        client, other = await sim.client(), await again.client()
        asked = {"endDateTime": "20251219 16:00:00 US/Eastern", "useRTH": "1"}
        day = summed(await bars(client, barSizeSetting="1 day", **asked))
        for size, count in (
            *(("1 min", 390), ("2 mins", 195), ("3 mins", 130), ("5 mins", 78), ("10 mins", 39)),
            *(("15 mins", 26), ("20 mins", 20), ("30 mins", 13), ("1 hour", 7), ("2 hours", 4)),
            *(("3 hours", 3), ("4 hours", 2), ("8 hours", 1), ("30 secs", 780)),
        ):
            found = await bars(client, barSizeSetting=size, **asked)
            assert (len(found), summed(found)) == (count, day), size
        hour = (await bars(client, barSizeSetting="1 hour", **asked))[-1]
        ends = {"endDateTime": "20251219 16:00:00 US/Eastern", "useRTH": "1"}
        for size, seconds in (("5 secs", 5), ("10 secs", 10), ("15 secs", 15)):
            found = await bars(client, barSizeSetting=size, durationStr="3600 S", **ends)
            assert (len(found), summed(found)) == (3600 // seconds, summed([hour]))
        assert await bars(other, **asked) == await bars(client, **asked)
        weeks = await bars(client, barSizeSetting="1 week", durationStr="1 M")
        days = await bars(client, barSizeSetting="1 day", durationStr="1 M")
        for one in weeks:
            week = date.fromisoformat(one["date"]).isocalendar()[:2]
            inside = [
                row for row in days if date.fromisoformat(row["date"]).isocalendar()[:2] == week
            ]
            # The first week is whole, though the days begin within it.
            if len(inside) == 5:
                assert summed(inside) == summed([one])
                assert one["date"] == inside[-1]["date"]


@pytest.mark.parametrize("end", ["15:00:00", "15:20:00", "15:31:15", "15:31:17"])
async def test_bars_agree_up_to_any_end_within_a_session(end: str) -> None:
    """Goal: the last bars before a full hour or minute are no longer and no shorter than others.

    Method: bars of each size up to the end, beside the seconds of that time.
    """
    async with stepped(pacing=False) as sim:
        client = await sim.client()
        asked = {"endDateTime": f"20251230-{end}", "durationStr": "900 S"}
        seconds = await bars(client, **asked, barSizeSetting="1 secs")
        stop = int(datetime.fromisoformat(f"2025-12-30T{end}Z").timestamp())
        for size, length in (("5 secs", 5), ("30 secs", 30), ("1 min", 60), ("5 mins", 300)):
            rows = await bars(client, **asked, barSizeSetting=size)
            # The first one began before the seconds did.
            for one in rows[1:]:
                start = int(one["date"])
                inside = [row for row in seconds if start <= int(row["date"]) < start + length]
                assert len(inside) == min(length, stop - start)
                assert summed([one]) == summed(inside), (size, start)


async def test_the_day_bar_is_the_day_of_the_ticks() -> None:
    async with stepped() as sim:
        client = await sim.client()
        client.ask("reqMktData", reqId="1", snapshot="1", **STOCK)
        await client.wait_for("tickSnapshotEnd", reqId="1")
        told = {one["tickType"]: one["price"] for name, one in client.received
                if name == "tickPrice"}  # fmt: skip
        before, today = (await bars(client, barSizeSetting="1 day", durationStr="2 D"))[-2:]
        assert told["9"] == before["close"]
        assert (told["14"], told["6"], told["7"], told["4"]) == (
            today["open"],
            today["high"],
            today["low"],
            today["close"],
        )
        assert today["volume"] == "1000000"


async def test_history_outlives_a_restart(tmp_path: Any) -> None:
    books = tmp_path / "gateway.db"
    async with stepped(books=books, market="moving") as sim:
        client = await sim.client()
        client.ask("reqMktData", reqId="1", **STOCK)
        await client.settle()
        sim.do("advance", seconds="60")
        before = await bars(client)
    clock = SteppedClock(MONDAY_NOON + timedelta(seconds=60))
    async with world(clock=clock, books=books) as sim:
        assert await bars(await sim.client()) == before


async def test_a_split_puts_the_past_into_new_shares() -> None:
    async with stepped() as sim:
        client = await sim.client()
        sim.do("quote", symbol="AAPL", last="200")
        sim.do("advance", seconds="60")
        before = await bars(client)
        sim.do("split", symbol="AAPL", ratio="2:1")
        after = await bars(client)
        for old, new in zip(before[:-1], after[:-1], strict=False):
            assert abs(D(old["close"]) / 2 - D(new["close"])) <= D("0.1")


# -- how it is asked -------------------------------------------------------------------------------


async def test_durations_count_seconds_sessions_and_the_calendar() -> None:
    async with stepped(hours="regular") as sim:
        client = await sim.client()
        for duration, size, useRTH, count in (
            ("60 S", "5 secs", "1", 13),
            ("1800 S", "1 min", "1", 31),
            # Since 09:30, and since 04:00.
            ("1 D", "1 min", "1", 151),
            ("1 D", "1 min", "0", 481),
            ("2 D", "30 mins", "1", 13 + 6),
            ("1 W", "1 day", "1", 5),
            ("2 W", "1 day", "0", 10),
            ("1 M", "1 day", "1", 22),
            ("1 Y", "1 day", "1", 261),
            ("1 Y", "1 month", "1", 13),
            ("20 Y", "1M", "1", 240),
        ):
            found = await bars(client, durationStr=duration, barSizeSetting=size, useRTH=useRTH)
            assert abs(len(found) - count) <= 1, duration
            dates = [one["date"] for one in found]
            assert dates == sorted(set(dates))


async def test_a_question_on_a_weekend_is_answered_with_friday() -> None:
    clock = SteppedClock(datetime(2026, 1, 4, 17, 0, tzinfo=UTC))
    async with world(clock=clock, hours="regular") as sim:
        client = await sim.client()
        found = await bars(client, useRTH="1")
        moments = [datetime.fromtimestamp(int(one["date"]), NEW_YORK) for one in found]
        assert (len(found), f"{moments[0]:%m%d %H:%M}", f"{moments[-1]:%m%d %H:%M}") == (
            390,
            "0102 09:30",
            "0102 15:59",
        )
        last = await bars(client, useRTH="1", durationStr="60 S")
        assert last == found[-1:]


async def test_times_come_in_the_form_that_was_asked_for() -> None:
    async with stepped() as sim:
        new, old = await sim.client(1), await sim.client(2, "v157..173")
        asked = {"endDateTime": "20251219 16:00:00 US/Eastern", "useRTH": "1"}
        forms = {
            (new, "1"): "20251219 09:30:00 America/New_York",
            (old, "1"): "20251219  09:30:00",
            (new, "2"): "1766154600",
            (new, "3"): "1219 09:30:00 America/New_York",
        }
        for (client, form), expected in forms.items():
            assert (await bars(client, formatDate=form, **asked))[0]["date"] == expected
        for form in ("1", "2"):
            (day,) = await bars(new, formatDate=form, barSizeSetting="1 day", **asked)
            assert day["date"] == "20251219"
        for end in ("20251219-21:00:00", "20251219 21:00:00 UTC", "20251219 16:00:00"):
            again = await bars(new, **{**asked, "endDateTime": end})
            assert again[-1]["date"] == str(1766154600 + 389 * 60)
        # The last one names no zone: IB warns.
        assert new.story("errMsg") == ["errMsg 2174"]


@pytest.mark.parametrize(
    ("changes", "code", "text"),
    [
        ({"barSizeSetting": "1 sec"}, "321", "bar size setting is invalid. Legal ones are: 1 secs"),
        ({"durationStr": "1 Q"}, "321", "Historical data query duration [1 Q] is invalid"),
        ({"durationStr": "400 D"}, "321", "longer than 365 days must be made in years"),
        ({"durationStr": "90000 S"}, "321", "longer than 86400 seconds must be made in days"),
        ({"whatToShow": "LAST"}, "321", "What to show field is missing or incorrect"),
        ({"formatDate": "9"}, "321", "Invalid date format"),
        ({"endDateTime": "20251219 16:00:00 GMT"}, "10314", "End Date/Time: The date, time, or"),
        ({"endDateTime": "yesterday"}, "10314", "End Date/Time: The date, time, or"),
        ({"whatToShow": "ADJUSTED_LAST", "endDateTime": "20251219-16:00:00"}, "321",
         "End date not supported with adjusted last"),
        ({"keepUpToDate": "1", "endDateTime": "20251219-16:00:00"}, "321", "End date not"),
        ({"barSizeSetting": "1 secs"}, "162", "invalid step: 1"),
        ({"barSizeSetting": "1 secs", "durationStr": "3600 S"}, "162", "Time length exceed max."),
        ({"symbol": "NONE"}, "200", "No security definition"),
        ({**EURO}, "162", "HMDS query returned no data: EUR.USD@IDEALPRO Trades"),
        ({**INDEX, "whatToShow": "BID"}, "162", "HMDS query returned no data: SPX@CBOE Bid"),
        ({"endDateTime": "19500101-00:00:00"}, "162", "HMDS query returned no data: AAPL@SMART"),
        ({"whatToShow": "SCHEDULE"}, "321", "Only '1 day' bar size"),
    ],
    ids=str,
)  # fmt: skip
async def test_what_cannot_be_asked_gets_ibs_error(
    changes: dict[str, str], code: str, text: str
) -> None:
    async with stepped() as sim:
        got, words = await refused(await sim.client(), **changes)
        assert got == code
        assert text in words


async def test_every_kind_that_a_stock_has_is_answered() -> None:
    async with stepped() as sim:
        client = await sim.client()
        rates = ("HISTORICAL_VOLATILITY", "OPTION_IMPLIED_VOLATILITY", "FEE_RATE")
        for shows in ("ADJUSTED_LAST", *rates):
            found = await bars(client, whatToShow=shows, barSizeSetting="1 day", durationStr="1 M")
            assert len(found) > 15
            assert all(0 < D(one["low"]) <= D(one["close"]) for one in found)
            assert all((one["volume"] == "-1") == (shows in rates) for one in found)
        for contract, shows in ((EURO, "MIDPOINT"), (INDEX, "TRADES")):
            assert len(await bars(client, whatToShow=shows, **contract)) > 100


async def test_a_schedule_lists_the_sessions() -> None:
    async with stepped() as sim:
        client, old = await sim.client(), await sim.client(2, "v157..164")
        asked = {"whatToShow": "SCHEDULE", "barSizeSetting": "1 day", "durationStr": "5 D"}
        asked |= {"useRTH": "1", "endDateTime": "20251219 20:00:00 US/Eastern"}
        client.ask("reqHistoricalData", **{"reqId": "1", **ASKED, **asked})
        told = await client.wait_for("historicalSchedule", reqId="1")
        assert (told["timeZone"], told["startDateTime"]) == ("US/Eastern", "20251215-09:30:00")
        assert [one["refDate"] for one in told["sessions"]] == [
            f"202512{day}" for day in range(15, 20)
        ]
        assert told["sessions"][-1]["endDateTime"] == "20251219-16:00:00"
        assert (await refused(old, **asked))[0] == "321"


async def test_head_time_stamps_and_histograms_are_answered_and_cancelled() -> None:
    async with stepped() as sim:
        client = await sim.client()
        asked = {**STOCK, "useRTH": "1", "whatToShow": "TRADES"}
        client.ask("reqHeadTimeStamp", reqId="1", formatDate="2", **asked)
        seconds = int((await client.wait_for("headTimestamp", reqId="1"))["headTimestamp"])
        client.ask("reqHeadTimeStamp", reqId="2", formatDate="1", **asked)
        told = await client.wait_for("headTimestamp", reqId="2")
        assert told["headTimestamp"] == f"{datetime.fromtimestamp(seconds, UTC):%Y%m%d-%H:%M:%S}"
        end = f"{datetime.fromtimestamp(seconds, UTC):%Y%m%d-%H:%M:%S}"
        assert (await refused(client, endDateTime=end, useRTH="1"))[0] == "162"
        client.ask("reqHistogramData", reqId="3", timePeriod="3 days", **asked)
        points = (await client.wait_for("histogramData", reqId="3"))["points"]
        assert sum(int(one["size"]) for one in points) > 10**6
        client.forget()
        for name, number in (("cancelHeadTimeStamp", "1"), ("cancelHistogramData", "3")):
            client.ask(name, reqId=number)
            await client.settle()
            assert client.story() == []
            client.ask(name, reqId=number)
            await client.wait_for("errMsg", reqId=number, code="366")
            client.forget()


@pytest.mark.parametrize(
    ("shows", "message", "names"),
    [
        ("TRADES", "historicalTicksLast", ("price", "size")),
        ("BID_ASK", "historicalTicksBidAsk", ("bidPrice", "askPrice")),
        ("MIDPOINT", "historicalTicks", ("price",)),
    ],
)
async def test_historical_ticks_come_from_a_start_or_up_to_an_end(
    shows: str, message: str, names: tuple[str, ...]
) -> None:
    async with stepped() as sim:
        client = await sim.client()
        noon = "20251219 12:00:00 US/Eastern"
        asked = {**STOCK, "whatToShow": shows, "numberOfTicks": "50", "useRTH": "1"}
        client.ask("reqHistoricalTicks", reqId="1", startDateTime=noon, **asked)
        after = (await client.wait_for(message, reqId="1"))["ticks"]
        client.ask("reqHistoricalTicks", reqId="2", endDateTime=noon, **asked)
        before = (await client.wait_for(message, reqId="2"))["ticks"]
        at = int(datetime(2025, 12, 19, 17, tzinfo=UTC).timestamp())
        assert (len(before), len(after)) == (50, 50)
        assert all(int(one["time"]) < at for one in before)
        assert all(int(one["time"]) >= at for one in after)
        times = [int(one["time"]) for one in (*before, *after)]
        assert times == sorted(times)
        assert all(D(one[name]) > 0 for one in after for name in names)
        for wrong in ({"startDateTime": noon, "endDateTime": noon}, {}):
            client.ask("reqHistoricalTicks", reqId="3", **asked, **wrong)
            await client.wait_for("errMsg", reqId="3", code="321")
            client.forget()


# -- kept up to date, pace, cancels ----------------------------------------------------------------


async def test_history_kept_up_to_date_is_told_every_five_seconds_until_it_is_cancelled() -> None:
    async with stepped() as sim:
        client = await sim.client()
        client.ask("reqHistoricalData", **{"reqId": "1", **ASKED, "keepUpToDate": "1"})
        await client.wait_for("historicalData", reqId="1")
        client.ask("reqHistoricalData", **{"reqId": "1", **ASKED, "keepUpToDate": "1"})
        await client.wait_for("errMsg", reqId="1", code="322")
        client.forget()
        sim.do("quote", symbol="AAPL", last="201")
        sim.do("advance", seconds="70")
        await client.settle()
        start = int(MONDAY_NOON.timestamp())
        told = [(one["date"], one["close"]) for _, one in client.received]
        assert told == [(str(start), "201")] * 12 + [(str(start + 60), "201")] * 2
        client.ask("cancelHistoricalData", reqId="1")
        await client.wait_for("errMsg", reqId="1", code="162")
        client.forget()
        sim.do("advance", seconds="10")
        client.ask("cancelHistoricalData", reqId="1")
        await client.settle()
        assert client.story() == ["errMsg 366"]


async def test_the_pace_of_questions_is_limited_as_at_ib() -> None:
    async with stepped() as sim:
        client = await sim.client()
        small = {"barSizeSetting": "5 secs", "durationStr": "60 S"}
        await bars(client, **small)
        assert (await refused(client, **small))[1].endswith(
            "Historical data request pacing violation"
        )
        # Bars of a minute and more may be asked for at any pace.
        assert await bars(client) == await bars(client)
        sim.do("advance", seconds="16")
        await bars(client, **small)
        for number in range(4):
            await bars(client, **{**small, "durationStr": f"{120 + number} S"})
        # The sixth of one contract within two seconds, and BID_ASK counts twice.
        assert (await refused(client, **{**small, "durationStr": "300 S"}))[0] == "162"
        for number in range(54 - 5):
            sim.do("advance", seconds="3")
            await bars(client, **{**small, "durationStr": f"{1000 + number} S"})
        for number in range(5):
            sim.do("advance", seconds="3")
            await bars(client, **{**small, "durationStr": f"{2000 + number} S"})
        assert (await refused(client, **{**small, "durationStr": "3000 S"}))[0] == "162"
        sim.do("setting", name="pacing", value="no")
        assert await bars(client, **small) == await bars(client, **small)
