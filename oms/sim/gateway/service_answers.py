"""What is asked beside contracts, quotes and orders: scanners, news, groups of windows, advisors.

Small answers in the true shape where anybody may have them, and where an account needs a permission
the refusal of one that has none. A refusal carries the request's own id, and a code that no client
takes for a warning; only IB's own 321 stays what it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from oms.sim.broker.books.ledger import ZERO
from oms.sim.broker.derivatives import Derivatives
from oms.sim.broker.exchange.contracts import Contract, Query
from oms.sim.broker.floor import Floor
from oms.sim.gateway.session import Session
from oms.sim.gateway.subscriptions import subscribe, subscriptions, unsubscribe
from oms.sim.protocol.fields import to_decimal, to_int
from oms.sim.protocol.requests import Request

#: The three that come with every account.
NEWS_PROVIDERS: Final = (
    ("BRFG", "Briefing.com General Market Columns"),
    ("BRFUPDN", "Briefing.com Analyst Actions"),
    ("DJNL", "Dow Jones Newsletters"),
)
#: Codes and texts of what an account without the permission is told.
REFUSALS: Final[Mapping[str, tuple[int, str]]] = {
    "reqFundamentalData": (
        430,
        "We are sorry, but fundamentals data for the security specified is not available."
        "Not allowed",
    ),
    "reqNewsArticle": (10172, "Failed to request news article:No data available"),
    # erdewit/ib_insync#617
    "reqWshMetaData": (10276, "News feed is not allowed."),
    "reqWshEventData": (10276, "News feed is not allowed."),
    "requestFA": (
        321,
        "Error validating request.-'bE' : cause - FA data operations ignored for non FA customers.",
    ),
    "replaceFA": (
        321,
        "Error validating request.-'bE' : cause - FA data operations ignored for non FA customers.",
    ),
}
#: IB hands these two to programs of its partners only.
VERIFY: Final = (
    "Error processing request.-'bV' : cause - Intent to authenticate needs to be expressed"
)
#: The colours in which TWS groups its windows.
GROUPS: Final = "1|2|3|4|5|6|7"
HISTORICAL: Final = "Historical Market Data Service error message:"
#: What a scanner looks for, and what it is called.
SCANS: Final = (
    ("TOP_PERC_GAIN", "Top % Gainers"),
    ("TOP_PERC_LOSE", "Top % Losers"),
    ("MOST_ACTIVE", "Most Active"),
    ("HOT_BY_VOLUME", "Hot by Volume"),
)
BY_VOLUME: Final = ("MOST_ACTIVE", "HOT_BY_VOLUME")
LOCATIONS: Final = (
    ("STK.US", "US Stocks"),
    ("STK.US.MAJOR", "Listed/NASDAQ"),
    ("STK.NASDAQ", "NASDAQ"),
    ("STK.NYSE", "NYSE"),
)
SCANNED_MAX: Final = 50
#: What an exercise may be asked to do with a long option.
EXERCISE, LAPSE = 1, 2


@dataclass(frozen=True, slots=True)
class Group:
    """A subscription of the windows of one colour."""

    number: int


class ServiceAnswers:
    """What answers them."""

    def __init__(self, floor: Floor, derivatives: Derivatives) -> None:
        self._floor = floor
        self._derivatives = derivatives
        self.actions: Mapping[str, Callable[[Session, Request], None]] = {
            "reqScannerParameters": _scanner_parameters,
            "reqScannerSubscription": self._scan,
            "cancelScannerSubscription": _cancel_scan,
            "reqNewsProviders": _news_providers,
            "reqHistoricalNews": self._headlines,
            "reqNewsBulletins": _nothing,
            "cancelNewsBulletins": _nothing,
            "queryDisplayGroups": _groups,
            "subscribeToGroupEvents": _subscribe_to_group,
            "updateDisplayGroup": _update_group,
            "unsubscribeFromGroupEvents": _leave_group,
            "exerciseOptions": self._exercise,
            "cancelFundamentalData": _nothing,
            "cancelWshMetaData": _nothing,
            "cancelWshEventData": _nothing,
            "verifyRequest": _verify,
            "verifyMessage": _verify,
            "verifyAndAuthRequest": _verify,
            "verifyAndAuthMessage": _verify,
            **dict.fromkeys(REFUSALS, _refuse),
        }

    # ── scanners ─────────────────────────────────────────────────────────────────────────────────

    def _scan(self, session: Session, request: Request) -> None:
        """Answer once; IB looks again every half a minute. The filters are not acted on."""
        asked = request.values
        if asked["scanCode"] not in dict(SCANS) or asked["locationCode"] not in dict(LOCATIONS):
            named = f"{asked['scanCode']} at {asked['locationCode']}"
            session.error(asked["reqId"], 162, f"{HISTORICAL}Invalid scanner: {named}")
            return
        subscribe(session, request, asked["scanCode"])
        # -1, and nothing, ask for as many as there are.
        wanted = to_int(asked["numberOfRows"], -1)
        most = wanted if 0 <= wanted < SCANNED_MAX else SCANNED_MAX
        rows = [
            {
                **contract.wire("SMART"),
                "rank": str(rank),
                "marketName": contract.trading_class,
            }
            for rank, contract in enumerate(self._ranked(asked["scanCode"], asked["locationCode"]))
        ]
        session.send("scannerData", {"reqId": asked["reqId"], "rows": rows[:most]})

    def _ranked(self, scan: str, location: str) -> list[Contract]:
        exchange = location.removeprefix("STK.")
        market = self._floor.market
        found = [
            one
            for one in self._floor.catalogue.contracts()
            if one.sec_type == "STK"
            and one.currency == "USD"
            and (exchange.startswith("US") or one.primary_exchange == exchange)
        ]
        if scan in BY_VOLUME:
            return sorted(found, key=lambda one: -market.quote(one).volume)
        quotes = {one.con_id: market.quote(one) for one in found}
        gained = {con_id: one.last / (one.close or one.last) for con_id, one in quotes.items()}
        return sorted(found, key=lambda one: gained[one.con_id], reverse=scan != "TOP_PERC_LOSE")

    # ── news ─────────────────────────────────────────────────────────────────────────────────────

    def _headlines(self, session: Session, request: Request) -> None:
        """There are no headlines here: the answer is empty, and ends."""
        session.send("historicalNewsEnd", {"reqId": request.values["reqId"]})

    # ── options ──────────────────────────────────────────────────────────────────────────────────

    def _exercise(self, session: Session, request: Request) -> None:
        """Exercise at once what IB exercises in the night; a lapse is what happens to the rest."""
        asked = request.values
        request_id = asked["reqId"]
        found = self._floor.catalogue.resolve(Query.from_wire(asked))
        if len(found) != 1:
            session.error(request_id, 200, "No security definition has been found for the request")
            return
        action = to_int(asked["exerciseAction"])
        quantity = to_decimal(asked["exerciseQuantity"]) or ZERO
        account = asked["account"] or self._floor.settings.accounts[0]
        if action not in (EXERCISE, LAPSE):
            session.error(request_id, 322, f"Error processing request.-'bX' : cause - {action}")
            return
        try:
            if action == EXERCISE:
                self._derivatives.exercise(account, found[0], quantity, told=True)
        except ValueError as error:
            session.error(request_id, 322, f"Error processing request.-'bX' : cause - {error}")


def _cancel_scan(session: Session, request: Request) -> None:
    request_id = request.values["reqId"]
    if unsubscribe(session, request):
        ended = f"API scanner subscription cancelled: {request_id}"
        session.error(request_id, 162, HISTORICAL + ended)
        return
    session.error(request_id, 365, f"No scanner subscription found for ticker id:{request_id}")


def _scanner_parameters(session: Session, request: Request) -> None:
    """A document in IB's form, with the few scanners that are here."""
    locations = "".join(
        f"<Location><displayName>{shown}</displayName><locationCode>{code}</locationCode>"
        "<instruments>STK</instruments></Location>"
        for code, shown in LOCATIONS
    )
    scans = "".join(
        f"<ScanType><displayName>{shown}</displayName><scanCode>{code}</scanCode>"
        "<instruments>STK</instruments></ScanType>"
        for code, shown in SCANS
    )
    xml = (
        '<?xml version="1.0" encoding="UTF-8"?><ScanParameterResponse>'
        '<InstrumentList varName="instrumentList"><Instrument><name>US Stocks</name>'
        "<type>STK</type></Instrument></InstrumentList>"
        f'<LocationTree varName="locationTree">{locations}</LocationTree>'
        f'<ScanTypeList varName="scanTypeList">{scans}</ScanTypeList>'
        "</ScanParameterResponse>"
    )
    session.send("scannerParameters", {"xml": xml})


def _news_providers(session: Session, request: Request) -> None:
    providers = [{"code": code, "name": name} for code, name in NEWS_PROVIDERS]
    session.send("newsProviders", {"providers": providers})


def _groups(session: Session, request: Request) -> None:
    session.send("displayGroupList", {"reqId": request.values["reqId"], "groups": GROUPS})


def _subscribe_to_group(session: Session, request: Request) -> None:
    subscribe(session, request, Group(to_int(request.values["groupId"])))
    values = {"reqId": request.values["reqId"], "contractInfo": "none"}
    session.send("displayGroupUpdated", values)


def _update_group(session: Session, request: Request) -> None:
    """Show another contract in the group of a subscription: its subscribers hear of it."""
    asked = request.values
    followed = session.subscriptions.get(f"subscribeToGroupEvents:{asked['reqId']}")
    for request_id, wanted in subscriptions(session):
        if isinstance(wanted, Group) and wanted == followed:
            values = {"reqId": request_id, "contractInfo": asked["contractInfo"]}
            session.send("displayGroupUpdated", values)


def _leave_group(session: Session, request: Request) -> None:
    session.subscriptions.pop(f"subscribeToGroupEvents:{request.values['reqId']}", None)


def _verify(session: Session, request: Request) -> None:
    session.error(-1, 322, VERIFY)


def _refuse(session: Session, request: Request) -> None:
    code, text = REFUSALS[request.name]
    session.error(request.request_id, code, text)


def _nothing(session: Session, request: Request) -> None:
    """IB says nothing: there is nothing to end, and no bulletin to read."""
