"""The table of IB's message codes: what a notice means, and whether it ends an order (decision D9).

The rows are data, taken from the error page of IB and corrected by what clients and logs have shown
(broker notes: codes). Three rules shape them:

- An error never ends an order that the broker has acknowledged; only 202 does. Everything else
  waits for a status, a completed order or executions that add up.
- A code that is not in the table never ends anything. It is recorded, and the broker is asked.
- Where the sources disagree, the row that cannot lose an order wins, and says so.

Sources: `D` IB's error page, `A` ib_async 2.1.0, `L` Lean, `N` nautilus_trader, `F` a field report,
`?` not confirmed on a gateway.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal, assert_never

#: Too many messages came in a second; the third time IB ends the session.
TOO_FAST: Final = 100

Kind = Literal[
    "reject",
    "cancelled",
    "cancel_reject",
    "modify_reject",
    "reject_or_modify_reject",
    "warning",
    "held",
    "confirmation",
    "outcome_unknown",
    "connectivity",
    "farm",
    "market_data",
    "account",
    "configuration",
    "protocol",
    "local",
    "unknown",
]
Effect = Literal["ends", "keeps", "unknown"]


@dataclass(frozen=True, slots=True)
class CodeMeaning:
    """What one code says."""

    code: int
    kind: Kind
    text: str
    source: str
    #: The code alone does not settle an acknowledged order: ask the broker what became of it.
    verify: bool = False
    #: Terms that IB announces with it to have set otherwise than asked.
    sets: tuple[str, ...] = ()


def meaning(code: int) -> CodeMeaning:
    """Return the row of a code; codes that nobody has described get the kind `unknown`."""
    found = TABLE.get(code)
    if found is not None:
        return found
    return CodeMeaning(code, "unknown", "not in the table of codes", "", verify=True)


def ends(code: int, order_was_acknowledged: bool) -> Effect:
    """Say what a code does to the order that its id names.

    `order_was_acknowledged`: a status, an openOrder or an execution has shown that the broker works
    this order, so that the error may be about a change or a cancel of it. "keeps" means that the
    order goes on as it was; "unknown" that it also goes on as it was and the broker must be asked.
    A code that only warns leaves a new order as it was; any other that does not end it may have
    refused it all the same.
    """
    row = meaning(code)
    unsettled: Effect = "unknown" if row.verify else "keeps"
    match row.kind:
        case "cancelled":
            return "ends"
        case "reject" | "reject_or_modify_reject" | "protocol":
            return unsettled if order_was_acknowledged else "ends"
        case "outcome_unknown" | "confirmation" | "unknown":
            return "unknown"
        case (
            "cancel_reject"
            | "modify_reject"
            | "market_data"
            | "account"
            | "configuration"
            | "local"
        ):
            return unsettled if order_was_acknowledged else "unknown"
        case "warning" | "held" | "connectivity" | "farm":
            return unsettled
    assert_never(row.kind)


def may_refuse(code: int) -> bool:
    """Say whether a code that names a new order, before anything else was said of it, can be IB's
    refusal of it. An order that waits for a person's confirmation in TWS is not refused by it, and
    is on no list of open orders.
    """
    return meaning(code).kind != "confirmation" and ends(code, False) != "keeps"


def state_named(text: str) -> str | None:
    """Return the order status that the text of a 10148 names ("... cannot be cancelled, state:
    Filled."), or None where it names none.
    """
    found = re.search(r"state:\s*(\w+)", text)
    return found.group(1) if found else None


#: Refusals of a cancel by which IB has no such order.
NOT_FOUND: Final = frozenset({135, 10147})
#: Refusals that say of the order itself that it cannot be at work: not found, or filled.
_SAY_GONE: Final = NOT_FOUND | {104}
#: IB's words for an order that has ended.
ENDED_STATUSES: Final = frozenset({"Filled", "Cancelled", "ApiCancelled"})


def says_gone(code: int, text: str) -> bool:
    """Say whether a refusal of a cancel or a change says that the order is not at work any more."""
    return code in _SAY_GONE or state_named(text) in ENDED_STATUSES


@dataclass(frozen=True, slots=True)
class _Row:
    #: Codes and ranges as a person writes them: "103, 146-148".
    codes: str
    kind: Kind
    text: str
    source: str = "D"
    verify: bool = False
    sets: tuple[str, ...] = ()

    def meanings(self) -> Iterator[CodeMeaning]:
        """Yield the meaning of each code of the row."""
        for part in self.codes.split(","):
            first, _, last = part.strip().partition("-")
            for code in range(int(first), int(last or first) + 1):
                yield CodeMeaning(code, self.kind, self.text, self.source, self.verify, self.sets)


_REJECTS: Final = (
    # 201 comes before the Inactive status that confirms it. For a change it is not documented
    # whether the old terms stay live, hence `verify`.
    _Row(
        "201",
        "reject_or_modify_reject",
        "rejected by IB: margin, permission, size or price band",
        "D, F ib_insync#554",
        verify=True,
    ),
    # The id that 103 names may belong to a live order: that one is untouched.
    _Row("103", "reject", "order id is in use or lower than an earlier one"),
    _Row("106, 107, 133, 145", "reject", "the order could not be transmitted or is incomplete"),
    _Row(
        "110",
        "reject_or_modify_reject",
        "price is not on a multiple of the minimum tick",
        "D, A ends it only while PendingSubmit",
    ),
    _Row(
        "321",
        "reject_or_modify_reject",
        "request failed validation, or the API is read-only",
        "D, A never ends it",
    ),
    _Row(
        "434",
        "reject_or_modify_reject",
        "order size cannot be zero",
        "D; A says warning, L says reject",
    ),
    _Row(
        "109, 163-164, 382-383, 451",
        "reject",
        "a precautionary limit of TWS: percent, ticks, size or total value",
        "D, F IBC#227",
    ),
    _Row(
        "111, 113, 334, 336-338, 343, 391, 10052, 10330",
        "reject",
        "time in force, good-till or good-after time is not accepted",
        "D, F 10052",
    ),
    _Row("116", "reject", "the exchange does not answer"),
    _Row("154", "reject", "the contract is halted"),
    _Row("387, 396-397, 412", "reject", "order type or contract is not available there"),
    _Row("117-120, 129, 167", "reject", "a rule of block or VWAP orders"),
    _Row(
        "125-126, 158-160, 168, 328, 361-364, 403, 408-411, 417-419, 446-449",
        "reject",
        "a price, offset, scale or trailing parameter is not accepted",
    ),
    _Row("426", "reject", "short selling is not possible in this account"),
    _Row("132, 142, 144, 422, 435-436", "reject", "account, clearing or allocation"),
    _Row(
        "146-148, 152, 157, 312-315, 325, 339-342, 345, 347-353, 356, 358-360, 367-380, 388-390,"
        " 392-393, 395, 398, 400-402, 406-407, 413, 423, 429, 433, 439, 441-443, 10002,"
        " 10006-10013, 10020, 10236-10237, 10240, 10289-10298, 10302-10307, 10312, 10324-10325,"
        " 10340, 10342-10344",
        "reject",
        "a rule of this order type",
    ),
    # 200 also answers requests for market data and contract details; the id tells which.
    _Row("200", "reject", "no such contract, or more than one"),
    _Row(
        "203, 460, 10015, 10319, 10321",
        "reject",
        "contract not allowed for this account, no permission, or API trading is off",
        "D, F Lean#245",
    ),
    _Row("10243-10252, 10318", "reject", "fractional size is not allowed"),
    _Row(
        "10268-10270, 10274",
        "reject",
        "an order attribute that IB no longer supports",
        "D, F 10274 hadrianl/ibapi#32",
    ),
    # The wording is a warning, the effect seen in the field is a refusal: ends, and is verified.
    _Row(
        "10311, 10329",
        "reject",
        "direct routing is refused unless the precaution is bypassed",
        "F IBC#222, deephaven-ib#106",
        verify=True,
    ),
    # 320 comes with the id -1, so that it ends nothing by itself.
    _Row(
        "140-141, 320, 10286",
        "protocol",
        "a field of the message is malformed",
        "D, F IBC#214",
    ),
)

_UNSETTLED: Final = (
    # A breach of the pacing limit: the message that it answers may not have been executed.
    _Row("100", "outcome_unknown", "more than 50 messages a second", verify=True),
    _Row("322-323", "outcome_unknown", "the server failed while it processed", verify=True),
    _Row("10328", "outcome_unknown", "connection lost, order not resolved", verify=True),
    # IB's page has 10332 and 10333 among the warnings as well; asking costs less than guessing.
    _Row("10331-10334", "confirmation", "waits for a confirmation", "D, ?", verify=True),
)

_CANCELS: Final = (
    _Row("202", "cancelled", "order cancelled, by whom and why is in the text"),
    # No news of the order: it was over already, belongs to another client, or the id is wrong.
    _Row(
        "135, 10147",
        "cancel_reject",
        "the order to cancel was not found",
        "D, A wrongly cancels",
        verify=True,
    ),
    _Row("136, 161", "cancel_reject", "the order is not in a cancellable state", "D, A wrongly"),
    _Row("137", "cancel_reject", "too late to cancel a VWAP order"),
    # The text names the state, and PendingCancel is one of them: the order may still fill.
    _Row(
        "10148",
        "cancel_reject",
        "the order cannot be cancelled in the state that the text names",
        "D, A wrongly cancels",
        verify=True,
    ),
)

_MODIFIES: Final = (
    _Row("104", "modify_reject", "a filled order cannot be modified", verify=True),
    _Row("105", "modify_reject", "the change differs from the order in a basic field"),
    _Row("134", "modify_reject", "modify failed; the order may have ended", verify=True),
    _Row(
        "329, 440, 444, 462",
        "modify_reject",
        "type, algo or time in force cannot change, or the order is not acknowledged yet",
        "D, F 462",
    ),
    _Row("2102", "modify_reject", "the order is still being processed"),
    _Row(
        "10241-10242, 10326-10327",
        "modify_reject",
        "this revision is not allowed: monetary, fractional or OCA group",
    ),
    _Row("10341", "reject_or_modify_reject", "the parent cannot be set or changed"),
)

_WARNINGS: Final = (
    _Row("399", "warning", "a message about the order, such as that it waits for the session"),
    _Row("404", "held", "held while shares to short are located"),
    _Row("131", "warning", "flags of the order are ignored"),
    _Row(
        "481",
        "warning",
        "the order's size was reduced: read its quantity again",
        sets=("quantity",),
    ),
    _Row(
        "2109",
        "warning",
        "outside regular trading hours is ignored for this type or venue",
        sets=("outside_rth",),
    ),
    _Row(
        "2111, 2130, 2137, 2168-2169",
        "warning",
        "an attribute of the order is ignored or adjusted",
    ),
    _Row("2148, 2161", "warning", "an attribute of the order is ignored or adjusted", "D, ?"),
    _Row(
        "10018-10019, 10233, 10335, 10347",
        "warning",
        "presets inherited, volatility or liquidity of the order",
    ),
    # Not on IB's page. A trading system overfilled because its client took it for a cancel.
    _Row(
        "10349",
        "warning",
        "a preset of TWS has set the time in force to DAY",
        "F ib_async#191, #217, pysystemtrade#1580",
        sets=("tif",),
    ),
)

_LINE: Final = (
    _Row("1100", "connectivity", "TWS has lost its connection to IB"),
    _Row("1101", "connectivity", "connection restored, subscriptions are lost"),
    _Row("1102", "connectivity", "connection restored, subscriptions are kept"),
    _Row("1300", "connectivity", "the gateway's port has changed and the connection drops"),
    _Row("2110", "connectivity", "TWS to server broken, it restores by itself"),
    _Row("326", "connectivity", "the client id is in use; the gateway closes the socket"),
    _Row("2103, 2105, 2157", "farm", "a farm is not reachable"),
    _Row("2104, 2106, 2158", "farm", "a farm is connected"),
    _Row("2107-2108, 2119", "farm", "a farm is idle or connecting"),
)

_REQUESTS: Final = (
    _Row(
        "101-102, 300, 309-310, 317, 354, 365-366, 10089-10091, 10167-10168, 10186-10187,"
        " 10189-10190, 10225",
        "market_data",
        "market data: not subscribed, too many lines, delayed or not available",
    ),
    _Row("162, 165-166, 420", "market_data", "historical data"),
    _Row("10182", "market_data", "the request for live updates failed", "N"),
    _Row("10197", "market_data", "no market data while another session is live"),
    _Row("2100-2101", "account", "the account subscription was replaced or refused"),
    _Row("327, 330-331, 344", "configuration", "not allowed for this client or account type"),
    # Written by client libraries, never by the gateway.
    _Row("501-509", "local", "the client library could not connect or read", "A"),
    _Row("510-593", "local", "the client library could not send the request", "A"),
)


def _table() -> Mapping[int, CodeMeaning]:
    table: dict[int, CodeMeaning] = {}
    for rows in (_REJECTS, _UNSETTLED, _CANCELS, _MODIFIES, _WARNINGS, _LINE, _REQUESTS):
        for row in rows:
            for entry in row.meanings():
                assert entry.code not in table, f"code {entry.code} stands in two rows"
                table[entry.code] = entry
    return MappingProxyType(table)


#: Every code that somebody has described, by code.
TABLE: Final[Mapping[int, CodeMeaning]] = _table()
