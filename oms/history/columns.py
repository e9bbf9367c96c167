"""What an export has: one table, from which the files, their dictionary and the reference are made.

Every row is what the books or the log hold as text, so that nothing is rounded on its way:
`Kind` says what the text means, and how the formats write it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Context, Decimal
from types import MappingProxyType
from typing import Final, Literal

from oms.core.codec import decode_wire, time_text
from oms.core.events import Envelope
from oms.core.fold.records import AnyRecord, BreakCase, Fill, Order, Position
from oms.core.money import plain
from oms.core.money_rules import rule_of
from oms.core.values import fields_of
from oms.report.clock import ClockBound
from oms.report.record_json import break_json, fill_json, order_json, position_json
from oms.report.sentences import sentence

#: `quotient` is a number that came of a division, or was calculated with one: it has as many digits
#: as the books calculate with, and a fixed number of decimals cannot hold them all.
Kind = Literal["text", "integer", "number", "quotient", "time", "flag", "json"]
Subject = Literal["events", "orders", "fills", "positions", "cases"]

#: A value of a row: times and numbers are text, exact to the last digit.
Cell = str | int | bool | None
Row = list[Cell]

#: The longest product of a quantity, a price and a multiplier has three times their digits.
_EXACT: Final = Context(prec=2_000)


@dataclass(frozen=True, slots=True)
class Column:
    """A column of an export."""

    name: str
    kind: Kind
    meaning: str
    #: Who or whose: an account or a name, which a masked export does not show.
    personal: bool = False


def _columns(text: str) -> tuple[Column, ...]:
    """Read lines of `name kind meaning`, of a person's name or account with `*` behind the name."""
    found: list[Column] = []
    for line in text.strip().splitlines():
        name, kind, meaning = line.split(maxsplit=2)
        known: Kind = _KINDS[kind]
        found.append(Column(name.rstrip("*"), known, meaning, personal=name.endswith("*")))
    return tuple(found)


_KINDS: Final[Mapping[str, Kind]] = MappingProxyType(
    {
        "text": "text",
        "integer": "integer",
        "number": "number",
        "quotient": "quotient",
        "time": "time",
        "flag": "flag",
        "json": "json",
    }
)

_EVENTS: Final = _columns("""
sequence            integer  Index in the whole log, gapless, from 1.
type                text     Name of the fact; docs/reference/events.md describes each.
version             integer  Version of the payload's shape.
recorded_at         time     When the program wrote it.
occurred_at         time     When it happened, as the broker says; empty where it names no time.
lease_epoch         integer  Which daemon wrote it; 0 for the shell.
session_epoch       integer  Which connection to the gateway; 0 outside any.
actor*              text     Who says it: broker, daemon, reconciler, strategy:NAME, person:NAME.
correlation_id      text     Joins the events of one order, one request or one reconciliation.
causation_sequence  integer  The event that made the program say this.
natural_key         text     Under which the log takes a fact at most once.
payload             json     The fact, as it is stored.
wire                json     The broker's own fields, as they are stored.
received_at         time     When the message was read from the socket; empty for others.
sent_at             time     When the message was handed to the socket; empty for others.
server              integer  Protocol version that says what the wire fields are called.
decoder             integer  Number of the translation that made the payload of what came.
hash                text     Over this event and the hash before it; a masked export has none.
""")

#: Columns of an event that its wire text says.
_OF_WIRE: Final = frozenset({"received_at", "sent_at", "server", "decoder"})

_CONTRACT: Final = """
con_id        integer  IB's number of the contract.
symbol        text     Its symbol; of a derivative, that of the underlying.
local_symbol  text     The symbol of the exchange.
sec_type      text     STK, OPT, FUT, FOP, CASH, BAG ...
currency      text     In which its price is.
exchange      text     Where orders in it are routed.
expiry        text     Of a derivative: yyyymm or yyyymmdd.
strike        number   Of an option.
right         text     Of an option: C or P.
multiplier    number   Units of the underlying a contract; empty means 1.
"""

_ORDERS: Final = _columns(f"""
order_id          text     Our id of the order.
account*          text     In which account.
{_CONTRACT.strip()}
legs              json     Of a combo: con_id, side, ratio and exchange of each leg.
side              text     BUY or SELL.
quantity          number   What was last asked for.
order_type        text     In IB's spelling.
limit_price       number   Last asked for.
stop_price        number   Last asked for.
tif               text     Time in force.
good_till         time     End of a GTD order.
outside_rth       flag     Also outside regular hours.
trail_amount      number   Of a trailing stop.
trail_percent     number   Of a trailing stop.
trail_stop_price  number   Where a trailing stop begins.
limit_offset      number   Of a trailing stop-limit.
all_or_none       flag     All at once or nothing.
min_quantity      number   The least that one fill may have.
display_size      number   How much of it the book shows.
hidden            flag     Whether the book shows none of it.
oca_group         text     Group of orders of which one cancels the others.
oca_type          integer  How the group works: 1, 2 or 3.
state             text     Ours; docs/reference/glossary.md.
live              flag     Whether it can still fill.
filled            number   From executions, after corrections.
remaining         number   Asked for and not filled.
disputed          number   Executed under its name by what cannot be its own.
average_price     quotient Of what is filled, without commissions.
commissions       json     Sum by currency.
doubt             text     Why its outcome is not known; else empty.
code              integer  IB's code that was last said of it; 0 for none.
text              text     IB's words, or those of the rule that denied it.
advanced_reject   text     IB's longer words for a refusal.
why_held          text     Why IB holds it.
refusal           text     Why a change or a cancel was refused last.
warning           text     IB's last warning.
rule_warning      text     What our own rules told of it.
closing           flag     Whether it could only reduce what was held.
origin            text     ours, manual, other_client, previous_session or unknown.
actor*            text     Who sent it.
reason            text     Why, in the words of who sent it.
parent_order_id   text     Of the child of a bracket.
group_id          text     Joins orders that were sent together.
perm_id           integer  IB's permanent number.
client_id         integer  The connection that placed it.
broker_order_id   integer  Its number in that connection.
order_ref*        text     What IB shows as its reference; of ours it is order_id.
broker_status     text     IB's last word for its status.
created_at        time     When it came to the log.
updated_at        time     When the log last had something about it.
ended_at          time     When it ended.
clock_offset_ms   integer  The gateway's clock less ours, by the reading next to the last event.
clock_error_ms    integer  The most that clock_offset_ms can be wrong; empty: not read.
intent_sequence   integer  The event that intended it; empty for an order of others.
last_sequence     integer  The last event about it.
""")

_FILLS: Final = _columns(f"""
exec_id              text     IB's id; of a corrected execution that of the last revision.
revision             integer  1, or higher after corrections.
status               text     booked, corrected (other values before), busted (taken back: 0).
superseded           json     The ids that it replaced; `oms export events` has their values.
date_utc             text     YYYY-MM-DD of occurred_at; of booked_at where that is empty.
occurred_at          time     When it was executed, as IB says.
time_text            text     The same in IB's own words, with its zone.
booked_at            time     When it came to the log.
account*             text     In which account.
order_id             text     Our id of the order; empty while none has claimed it.
order_ref*           text     What IB shows as the order's reference.
perm_id              integer  IB's permanent number of the order.
{_CONTRACT.strip()}
venue                text     Where it was executed.
side                 text     BUY or SELL.
quantity             number   Above zero; 0 of a busted execution.
price                number   Of one unit, without commission.
value                number   quantity * price * multiplier, in `currency`; not of bonds, combos.
commission           number   Paid above zero; empty while IB has not said it.
commission_currency  text     In which it was charged; it can differ from `currency`.
commission_was       number   What it was before IB said another one.
clock_offset_ms      integer  The gateway's clock less ours, by the reading next to it.
clock_error_ms       integer  The most that clock_offset_ms can be wrong; empty: not read.
realised_pnl         number   IB's figure for this execution, in commission_currency.
liquidation          flag     Whether IB closed the position by itself.
backfilled           flag     Whether it was fetched after a gap, and not pushed as it happened.
disputed             text     Why it cannot be of the order that IB names with it; else empty.
booked_sequence      integer  The event that booked it.
last_sequence        integer  The last event about it.
""")

_POSITIONS: Final = _columns(f"""
account*             text     In which account.
{_CONTRACT.strip()}
quantity             number   From executions and adjustments; below zero is short.
average_price        quotient Of what is held, in `currency`, without multiplier and commissions.
realised_pnl         quotient By average cost, with multiplier, without commissions, in `currency`.
commissions          json     Sum by currency.
opening_quantity     number   Held before the log knew it.
fill_count           integer  Fills behind it.
broker_quantity      number   What IB last said; empty where it said nothing.
broker_average_cost  quotient IB's figure, a unit, with multiplier and commissions.
broker_at            time     When IB said it.
updated_at           time     When the log last had something about it.
clock_offset_ms      integer  The gateway's clock less ours, by the reading next to last_sequence.
clock_error_ms       integer  The most that clock_offset_ms can be wrong; empty: not read.
last_sequence        integer  The last event about it.
""")

_CASES: Final = _columns("""
break_id          text     Number of the case.
status            text     open or closed.
class             text     Kind of difference; docs/reference/glossary.md.
severity          text     high, medium or low.
subject           text     What was compared.
account*          text     In which account.
con_id            integer  IB's number of the contract.
symbol            text     Its symbol.
order_id          text     The order that it is about.
ours              text     What our books say.
theirs            text     What the broker says.
text              text     The difference in words.
evidence          json     Sequences of the events that show it.
also              json     What the other witness shows: the statement beside the answers.
seen              integer  In how many comparisons.
reopened          integer  How often it came back.
opened_at         time     When it was first found.
opened_sequence   integer  The event that opened it.
updated_at        time     When it last changed.
closed_at         time     When it was closed.
close_reason      text     Why.
closed_by_person  flag     By a person, not by evidence.
assignee*         text     Who looks at it.
explanation       text     What a person said that it is.
explained_by*     text     Who said it.
waiting           text     The action that waits for a second person.
waiting_actor*    text     Who asked for it.
""")

#: In a pack: the life of every order, event by event.
ORDER_EVENTS: Final = _columns("""
order_id            text     Our id of the order.
sequence            integer  Of the event in the log.
recorded_at         time     When the program wrote it.
occurred_at         time     When it happened, as the broker says.
stamped_at          time     When the message was taken from the socket, or given to it.
type                text     Kind of event.
actor*              text     Who says it.
said                text     What it says, in one sentence.
account*            text     In which account.
con_id              integer  IB's number of the contract.
symbol              text     Its symbol.
side                text     BUY or SELL.
quantity            number   Asked for, or executed.
order_type          text     In IB's spelling.
limit_price         number   Asked for.
stop_price          number   Asked for.
tif                 text     Time in force.
price               number   Of an execution.
exec_id             text     Of an execution or its commission.
commission          number   Of an execution.
currency            text     Of the price or the commission.
status              text     IB's word.
code                integer  IB's code.
broker_order_id     integer  Its number in the connection.
perm_id             integer  IB's permanent number.
session_epoch       integer  Which connection to the gateway.
correlation_id      text     Joins the events of one request.
causation_sequence  integer  The event that made the program say this.
""")

#: In a pack: what was measured of clocks.
CLOCKS: Final = _columns("""
sequence       integer  Of the event in the log.
recorded_at    time     When the program wrote it.
type           text     ServerTimeRead or ClockStepped.
offset_ms      integer  The gateway's clock less ours; of ClockStepped ours less the log's.
round_trip_ms  integer  How long the question took.
error_ms       integer  By how much the offset can be wrong; empty: half of the trip and 500 ms.
step_ms        integer  How far the machine's clock was set.
""")

#: What the log has of an event: the others follow from it.
STORED: Final = tuple(one for one in _EVENTS if one.name not in _OF_WIRE)

COLUMNS: Final[Mapping[Subject, tuple[Column, ...]]] = MappingProxyType(
    {
        "events": _EVENTS,
        "orders": _ORDERS,
        "fills": _FILLS,
        "positions": _POSITIONS,
        "cases": _CASES,
    }
)


def order_row(order: Order, clock: ClockBound | None) -> Row:
    """Return an order as a row, with how far the gateway's clock was from ours."""
    values = {**order_json(order), "order_ref": order.order_ref, **_clock(clock)}
    return _row(_ORDERS, _flat(values))


def fill_row(fill: Fill, clock: ClockBound | None) -> Row:
    """Return a fill as a row, with how far the gateway's clock was from ours."""
    happened = fill.happened_by
    values = _flat(fill_json(fill)) | {
        "status": _status(fill),
        "date_utc": happened and f"{happened:%Y-%m-%d}",
        "booked_at": fill.booked_at and time_text(fill.booked_at),
        "order_ref": fill.order_ref,
        "value": _text(_value(fill)),
        "commission_was": _text(fill.commission_was),
        **_clock(clock),
    }
    return _row(_FILLS, values)


def position_row(position: Position, clock: ClockBound | None) -> Row:
    """Return a position as a row, with how far the gateway's clock was from ours."""
    return _row(_POSITIONS, {**_flat(position_json(position)), **_clock(clock)})


def _clock(clock: ClockBound | None) -> dict[str, object]:
    return {
        "clock_offset_ms": None if clock is None else clock.offset_ms,
        "clock_error_ms": None if clock is None else clock.error_ms,
    }


def case_row(case: BreakCase) -> Row:
    """Return a case as a row."""
    return _row(_CASES, break_json(case))


def order_event_row(order_id: str, envelope: Envelope) -> Row:
    """Return an event about an order as a row."""
    event, context = envelope.event, envelope.context
    # An event has some of these itself, others in its terms or its contract.
    said = fields_of(event)
    inside = [fields_of(said[name]) for name in ("contract", "terms") if said.get(name) is not None]
    values: dict[str, object] = {}
    for part in (*inside, said):
        values |= part
    stamp = envelope.stamp
    values |= {
        "order_id": order_id,
        "sequence": envelope.sequence,
        "recorded_at": time_text(envelope.recorded_at),
        "occurred_at": context.occurred_at and time_text(context.occurred_at),
        "stamped_at": stamp and time_text(stamp.at),
        "type": type(event).__name__,
        "actor": context.actor,
        "said": sentence(envelope),
        "session_epoch": context.session_epoch,
        "correlation_id": context.correlation_id,
        "causation_sequence": context.causation_sequence,
    }
    found = (values.get(column.name) for column in ORDER_EVENTS)
    return [plain(one) if isinstance(one, Decimal) else _cell("text", one) for one in found]


def clock_row(envelope: Envelope) -> Row:
    """Return an event about clocks as a row."""
    event = envelope.event
    values: dict[str, object] = {
        **{column.name: getattr(event, column.name, None) for column in CLOCKS},
        "sequence": envelope.sequence,
        "recorded_at": time_text(envelope.recorded_at),
        "type": type(event).__name__,
    }
    return _row(CLOCKS, values)


def event_row(stored: Row) -> Row:
    """Return a stored event, whose last value is its hash, with what its wire text says of it."""
    wire = stored[-2]
    stamp = decode_wire(None if wire is None else str(wire))[1]
    at = None if stamp is None else time_text(stamp.at)
    came = stamp is not None and stamp.decoder > 0
    return [
        *stored[:-1],
        at if came else None,
        None if came else at,
        None if stamp is None else stamp.server_version,
        stamp.decoder if stamp is not None and came else None,
        stored[-1],
    ]


def record_row(record: AnyRecord, clock: ClockBound | None = None) -> Row:
    """Return a record of the books as a row of its subject; `clock` bounds IB's times in it."""
    match record:
        case Order():
            return order_row(record, clock)
        case Fill():
            return fill_row(record, clock)
        case Position():
            return position_row(record, clock)
        case BreakCase():
            return case_row(record)
        case _:
            raise AssertionError(type(record))


def _status(fill: Fill) -> str:
    if not fill.quantity:
        return "busted"
    return "corrected" if fill.superseded else "booked"


def _value(fill: Fill) -> Decimal | None:
    if rule_of(fill.contract.sec_type).cash in {"unknown", "legs"}:
        return None  # a price in percent, or one that its legs have; or a type without a rule
    return _EXACT.multiply(_EXACT.multiply(fill.quantity, fill.price), fill.contract.units)


def _flat(values: Mapping[str, object]) -> dict[str, object]:
    contract = values["contract"]
    assert isinstance(contract, dict)
    return {**contract, **values}


def _text(number: Decimal | None) -> str | None:
    return None if number is None else plain(number)


def _row(columns: tuple[Column, ...], values: Mapping[str, object]) -> Row:
    return [_cell(column.kind, values[column.name]) for column in columns]


def _cell(kind: Kind, value: object) -> Cell:
    if kind == "json":
        return json.dumps(value, ensure_ascii=False)
    assert value is None or isinstance(value, str | int)
    return value
