"""Positions, account values and P&L: answers, and what follows on a subscription."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from oms.sim.broker.accounts import account_values, accounting
from oms.sim.broker.accounts.account_values import Row
from oms.sim.broker.floor import Floor
from oms.sim.gateway.clients import Clients
from oms.sim.gateway.known import Known
from oms.sim.gateway.session import Session
from oms.sim.gateway.subscriptions import subscribe, subscriptions, unsubscribe
from oms.sim.protocol.fields import number, to_bool, to_int
from oms.sim.protocol.requests import Request

VALUES_SECONDS: Final = 1.0

#: What gateways from 10.47 put before per-currency keys of account updates.
LEDGER_PREFIX: Final = "$LEDGER-"


@dataclass(frozen=True, slots=True)
class Told:
    """The values that a subscriber was told last."""

    #: By account, key and currency.
    last: dict[tuple[str, str, str], str] = field(default_factory=dict)

    def news(self, account: str, rows: Iterator[Row]) -> Iterator[Row]:
        """Yield the rows whose value is not the one told before, and remember them as told."""
        for row in rows:
            key = (account, row.key, row.currency)
            if self.last.get(key) != row.value:
                self.last[key] = row.value
                yield row


@dataclass(frozen=True, slots=True)
class PositionsMulti:
    """A subscription of positions."""

    #: Empty or All for every account.
    account: str


@dataclass(frozen=True, slots=True)
class Summary:
    """A subscription of account values by their tags."""

    tags: frozenset[str]
    told: Told = field(default_factory=Told)


@dataclass(frozen=True, slots=True)
class Updates:
    """A subscription of all values and the portfolio of an account."""

    account: str
    told: Told = field(default_factory=Told)


@dataclass(frozen=True, slots=True)
class UpdatesMulti:
    """A subscription of all values of some accounts."""

    accounts: frozenset[str]
    model: str
    #: The ledgers and the net liquidation value, nothing else.
    ledger_only: bool
    told: Told = field(default_factory=Told)


@dataclass(frozen=True, slots=True)
class AccountPnL:
    """A subscription of the P&L of an account."""

    account: str


@dataclass(frozen=True, slots=True)
class PositionPnL:
    """A subscription of the P&L of one position."""

    account: str
    con_id: int


class AccountAnswers:
    """What is asked once, and what is sent again to those who subscribed."""

    def __init__(self, floor: Floor, clients: Clients, known: Known) -> None:
        self._floor = floor
        self._clients = clients
        self._known = known
        self._timer_set = False
        self.actions: Mapping[str, Callable[[Session, Request], None]] = {
            "reqPositions": self._positions,
            "cancelPositions": self._cancel_positions,
            "reqPositionsMulti": self._positions_multi,
            "cancelPositionsMulti": _cancel,
            "reqAccountSummary": self._account_summary,
            "cancelAccountSummary": _cancel,
            "reqAccountUpdates": self._account_updates,
            "reqAccountUpdatesMulti": self._account_updates_multi,
            "cancelAccountUpdatesMulti": _cancel,
            "reqPnL": self._pnl,
            "cancelPnL": _cancel,
            "reqPnLSingle": self._pnl_single,
            "cancelPnLSingle": _cancel,
            "reqFamilyCodes": self._family_codes,
            "reqUserInfo": self._user,
            "reqSoftDollarTiers": self._soft_dollar_tiers,
        }

    # ── positions ────────────────────────────────────────────────────────────────────────────────

    def _positions(self, session: Session, request: Request) -> None:
        session.subscriptions["Positions"] = True
        for (account, con_id), row in self._known.positions().items():
            if row.quantity:
                self._send_position(session, account, con_id)
        session.send("positionEnd")

    def _cancel_positions(self, session: Session, request: Request) -> None:
        session.subscriptions.pop("Positions", None)

    def _send_position(self, session: Session, account: str, con_id: int) -> None:
        session.send("position", self.position_values(account, con_id))

    def position_values(self, account: str, con_id: int) -> dict[str, str]:
        """Return a position row. Its contract has no exchange: it often has none at IB."""
        row = self._floor.books.position(account, con_id)
        values = self._floor.contract(con_id).wire()
        values |= {
            "exchange": "",
            "account": account,
            "position": number(row.quantity),
            "avgCost": number(row.average_cost),
        }
        return values

    def _positions_multi(self, session: Session, request: Request) -> None:
        request_id, wanted = request.values["reqId"], request.values["account"]
        if not self._known_account(session, request, "bR"):
            return
        subscribe(session, request, PositionsMulti(wanted))
        for (account, con_id), row in self._known.positions().items():
            if wanted in ("", "All", account) and row.quantity:
                values = self.position_values(account, con_id)
                session.send("positionMulti", {**values, "reqId": request_id})
        session.send("positionMultiEnd", {"reqId": request_id})

    def _known_account(self, session: Session, request: Request, cause: str) -> bool:
        """True for an account of ours, and for all of them; else the refusal is sent."""
        if request.values["account"] in ("", "All", *self._floor.settings.accounts):
            return True
        text = f"Error validating request.-'{cause}' : cause - Invalid account code"
        session.error(request.values["reqId"], 321, text)
        return False

    # ── account values ───────────────────────────────────────────────────────────────────────────

    def _account_summary(self, session: Session, request: Request) -> None:
        request_id = request.values["reqId"]
        others = [name for name in session.subscriptions if name.startswith("AccountSummary:")]
        if len(others) >= self._floor.settings.account_summaries_max:
            text = (
                "Error processing request.-'bI' : cause - Maximum number of account summary"
                " requests exceeded"
            )
            session.error(request_id, 322, text)
            return
        wanted = [tag.strip() for tag in request.values["tags"].split(",") if tag.strip()]
        cause = self._summary_fault(request.values["group"], wanted)
        if cause:
            text = f"Error validating request.-'bI' : cause - {cause}"
            session.error(request_id, 321, text)
            return
        summary = Summary(frozenset(wanted))
        subscribe(session, request, summary)
        self._tell_summary(session, request_id, summary)
        session.send("accountSummaryEnd", {"reqId": request_id})

    @staticmethod
    def _summary_fault(group: str, tags: list[str]) -> str:
        """Why a summary cannot be, or nothing. There are no account groups here but All."""
        if group != "All":
            return f"Group name {group!r} is not known"
        if not tags:
            return "No tags are named"
        for tag in tags:
            if tag not in account_values.TAGS and _ledger_currency(tag) is None:
                return f"Tag {tag!r} is not known"
        return ""

    def _tell_summary(self, session: Session, request_id: str, summary: Summary) -> None:
        currencies = {_ledger_currency(tag) for tag in summary.tags}
        for account in self._floor.settings.accounts:
            for row in summary.told.news(account, account_values.rows(self._floor, account)):
                if row.per_currency:
                    wanted = row.currency in currencies or "ALL" in currencies
                else:
                    wanted = row.key in summary.tags
                if wanted:
                    values = {"reqId": request_id, "account": account, "tag": row.key}
                    values |= {"value": row.value, "currency": row.currency}
                    session.send("accountSummary", values)

    def _account_updates(self, session: Session, request: Request) -> None:
        if not to_bool(request.values["subscribe"]):
            session.subscriptions.pop("AccountUpdates", None)
            return
        accounts = self._floor.settings.accounts
        account = request.values["account"] or accounts[0]
        if account not in accounts:
            session.error(-1, 321, "Error validating request.-'bT' : cause - Invalid account code")
            return
        before = session.subscriptions.get("AccountUpdates")
        if isinstance(before, Updates) and before.account != account:
            # The second subscription takes the place of the first.
            session.error(-1, 2100, "API client has been unsubscribed from account data.")
        updates = Updates(account)
        session.subscriptions["AccountUpdates"] = updates
        self._tell_updates(session, updates)
        for owner, con_id in list(self._known.positions()):
            if owner == account:
                self._send_portfolio(session, account, con_id)
        session.send("accountDownloadEnd", {"account": account})

    def _tell_updates(self, session: Session, updates: Updates) -> None:
        account = updates.account
        for row in updates.told.news(account, account_values.rows(self._floor, account)):
            values = {"key": self._key(row), "value": row.value, "currency": row.currency}
            session.send("updateAccountValue", {**values, "account": account})
        now = self._floor.clock.now().astimezone(self._floor.zone)
        session.send("updateAccountTime", {"time": now.strftime("%H:%M")})

    def _key(self, row: account_values.Row) -> str:
        prefixed = row.per_currency and self._floor.settings.ledger_prefix
        return LEDGER_PREFIX + row.key if prefixed else row.key

    def _send_portfolio(self, session: Session, account: str, con_id: int) -> None:
        contract = self._floor.contract(con_id)
        values = contract.wire()
        values |= account_values.portfolio_row(self._floor, account, contract)
        session.send("updatePortfolio", {**values, "account": account})

    def _account_updates_multi(self, session: Session, request: Request) -> None:
        asked = request.values
        if not self._known_account(session, request, "bT"):
            return
        every = asked["account"] in ("", "All")
        chosen = self._floor.settings.accounts if every else (asked["account"],)
        ledger_only = to_bool(asked["ledgerAndNLV"])
        updates = UpdatesMulti(frozenset(chosen), asked["modelCode"], ledger_only)
        subscribe(session, request, updates)
        self._tell_updates_multi(session, asked["reqId"], updates)
        session.send("accountUpdateMultiEnd", {"reqId": asked["reqId"]})

    def _tell_updates_multi(self, session: Session, request_id: str, updates: UpdatesMulti) -> None:
        for account in self._floor.settings.accounts:
            if account in updates.accounts:
                for row in updates.told.news(account, account_values.rows(self._floor, account)):
                    brief = row.per_currency or row.key == "NetLiquidation"
                    if updates.ledger_only and not brief:
                        continue
                    values = {"key": self._key(row), "value": row.value, "currency": row.currency}
                    values |= {"reqId": request_id, "account": account}
                    session.send("accountUpdateMulti", {**values, "modelCode": updates.model})

    def values_changed(self) -> None:
        """Tell subscribers of account values after fills and quotes, once a second at most.

        IB takes three minutes where no position changes; no test should wait for that.
        """
        if not self._timer_set and any(one.subscriptions for one in self._clients.sessions):
            self._timer_set = True
            self._floor.clock.call_later(VALUES_SECONDS, self._tell_changes)

    def _tell_changes(self) -> None:
        self._timer_set = False
        for session in self._clients.ready():
            updates = session.subscriptions.get("AccountUpdates")
            if isinstance(updates, Updates):
                self._tell_updates(session, updates)
            for request_id, wanted in subscriptions(session):
                match wanted:
                    case Summary():
                        self._tell_summary(session, request_id, wanted)
                    case UpdatesMulti():
                        self._tell_updates_multi(session, request_id, wanted)
                    case AccountPnL():
                        self._send_pnl(session, request_id, wanted)
                    case PositionPnL():
                        self._send_pnl_single(session, request_id, wanted)

    # ── profit and loss ──────────────────────────────────────────────────────────────────────────

    def _pnl(self, session: Session, request: Request) -> None:
        account = request.values["account"]
        if account not in self._floor.settings.accounts:
            text = "Error validating request.-'bP' : cause - Invalid account"
            session.error(request.values["reqId"], 321, text)
            return
        wanted = AccountPnL(account)
        subscribe(session, request, wanted)
        self._send_pnl(session, request.values["reqId"], wanted)

    def _send_pnl(self, session: Session, request_id: str, wanted: AccountPnL) -> None:
        account = wanted.account
        total = accounting.totals(self._floor, account)
        values = {
            "reqId": request_id,
            "dailyPnL": number(accounting.daily_total(self._floor, account)),
            "unrealizedPnL": number(total.unrealized),
            "realizedPnL": number(total.realized),
        }
        session.send("pnl", values)

    def _pnl_single(self, session: Session, request: Request) -> None:
        wanted = PositionPnL(request.values["account"], to_int(request.values["conId"]))
        if wanted.account not in self._floor.settings.accounts:
            text = "Error validating request.-'bP' : cause - Invalid account"
            session.error(request.values["reqId"], 321, text)
            return
        if self._floor.catalogue.by_id(wanted.con_id) is None:
            text = "Error validating request.-'bP' : cause - Invalid contract id"
            session.error(request.values["reqId"], 321, text)
            return
        subscribe(session, request, wanted)
        self._send_pnl_single(session, request.values["reqId"], wanted)

    def _send_pnl_single(self, session: Session, request_id: str, wanted: PositionPnL) -> None:
        floor, account, con_id = self._floor, wanted.account, wanted.con_id
        contract = floor.contract(con_id)
        row = self._floor.books.position(account, con_id)
        value = row.quantity * floor.market.quote(contract).last * contract.multiplier
        unrealized = value - row.quantity * row.average_cost
        values = {
            "reqId": request_id,
            "position": number(row.quantity),
            "dailyPnL": number(accounting.daily(floor, account, con_id)),
            "unrealizedPnL": number(unrealized),
            "realizedPnL": number(accounting.realized_today(floor, account, con_id)),
            "value": number(value),
        }
        session.send("pnlSingle", values)

    # ── who the user is ──────────────────────────────────────────────────────────────────────────

    def _family_codes(self, session: Session, request: Request) -> None:
        codes = [{"account": one, "familyCode": ""} for one in self._floor.settings.accounts]
        session.send("familyCodes", {"codes": codes})

    def _user(self, session: Session, request: Request) -> None:
        session.send("userInfo", {"reqId": request.values["reqId"]})

    def _soft_dollar_tiers(self, session: Session, request: Request) -> None:
        session.send("softDollarTiers", {"reqId": request.values["reqId"]})

    # ── subscriptions ────────────────────────────────────────────────────────────────────────────

    def position_changed(self, account: str, con_id: int) -> None:
        """Send position, portfolio and P&L rows to those who subscribed."""
        self.values_changed()
        for session in self._clients.ready():
            if "Positions" in session.subscriptions:
                self._send_position(session, account, con_id)
            updates = session.subscriptions.get("AccountUpdates")
            if isinstance(updates, Updates) and updates.account == account:
                self._send_portfolio(session, account, con_id)
            for request_id, wanted in subscriptions(session):
                match wanted:
                    case PositionsMulti() if wanted.account in ("", "All", account):
                        values = self.position_values(account, con_id)
                        session.send("positionMulti", {**values, "reqId": request_id})
                    case AccountPnL() if wanted.account == account:
                        self._send_pnl(session, request_id, wanted)
                    case PositionPnL() if (wanted.account, wanted.con_id) == (account, con_id):
                        self._send_pnl_single(session, request_id, wanted)


def _cancel(session: Session, request: Request) -> None:
    """Cancel a subscription by its request id; one that is not there is no error at IB."""
    unsubscribe(session, request)


def _ledger_currency(tag: str) -> str | None:
    """The currency of a ledger tag: `$LEDGER` is the base currency, as one row for all."""
    name, _, currency = tag.partition(":")
    return None if name != "$LEDGER" else currency or "BASE"
