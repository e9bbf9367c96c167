"""The verbs for sockets, the gateway as a whole and its line to IB."""

from __future__ import annotations

from typing import Final

from oms.sim.gateway.outage import ReportTime
from oms.sim.script.arguments import CommandError, Fields
from oms.sim.script.context import Context
from oms.sim.script.verb import Answer, verb


@verb("sockets", "client_id?", "reset?", "after_bytes?")
def cut(context: Context, fields: Fields) -> Answer:
    """Close the sockets of one client or of all at once; what was not yet written is lost. With
    `reset` the client gets a reset, and loses what it has not read as well. With `after_bytes` the
    cut comes when so many more bytes have gone out, in the middle of a frame or not.
    """
    reset, chosen = fields.flag("reset"), context.sessions(fields)
    count = fields.integer_or_none("after_bytes", least=0)
    if reset and count is not None:
        raise CommandError("reset and after_bytes do not go together", "one of them")
    for session in chosen:
        if count is None:
            session.cut(reset=reset)
        else:
            session.cut_after(count)
    return {"cut": len(chosen)}


@verb("sockets", "client_id?")
def close(context: Context, fields: Fields) -> Answer:
    """Close the sockets of one client or of all in good order, after what was written."""
    chosen = context.sessions(fields)
    for session in chosen:
        session.close()
    return {"closed": len(chosen)}


@verb("sockets", "client_id?")
def half_open(context: Context, fields: Fields) -> Answer:
    """Keep the sockets, read nothing from them and answer nothing. The client id stays in use until
    `cut`, as at a gateway that cannot know that its client is gone.
    """
    chosen = context.sessions(fields)
    for session in chosen:
        session.freeze()
    return {"frozen": len(chosen)}


@verb("sockets", "bytes_per_second", "client_id?")
def slow_reads(context: Context, fields: Fields) -> Answer:
    """Read no more than `bytes_per_second` from one client or from all that are connected; 0: as
    fast as they come. What a client writes waits in its socket.
    """
    rate, chosen = fields.integer("bytes_per_second", least=0), context.sessions(fields)
    for session in chosen:
        session.slow_reads(rate)
    return {"slowed": len(chosen)}


@verb("sockets", "seconds?")
def refuse(context: Context, fields: Fields) -> Answer:
    """Close every new connection at once, for `seconds` or until `accept`."""
    gateway = context.gateway
    gateway.refusing = True
    if fields.has("seconds"):
        gateway.clock.call_later(fields.seconds("seconds"), lambda: _accept(context))
    return {}


@verb("sockets")
def accept(context: Context, fields: Fields) -> Answer:
    """Take connections again."""
    _accept(context)
    return {}


def _accept(context: Context) -> None:
    context.gateway.refusing = False


@verb("sockets", "roll_back?", "lose?", "client_id?")
def restart(context: Context, fields: Fields) -> Answer:
    """Restart the gateway: clients dropped, untransmitted orders forgotten, the books kept.
    `roll_back` sets the highest order id of one client, or of all, back by so many. `lose` makes
    so many of the newest orders of one client, or of all together, vanish without a trace, of those
    that live and have not filled: what the gateway had taken and IB never got.
    """
    gateway = context.gateway
    books = gateway.books
    chosen = [fields.integer("client_id")] if fields.has("client_id") else books.client_ids()
    count = fields.integer("lose", least=0)
    unfilled = [one for one in books.live.values() if one.client_id in chosen and not one.filled]
    if count > len(unfilled):
        raise CommandError(f"lose {count}: {len(unfilled)} live and have not filled", "fewer")
    gateway.restart()
    for order in sorted(unfilled, key=lambda one: -one.perm_id)[:count]:
        books.lose(order)
    for client_id in chosen:
        highest = gateway.books.highest_order_id(client_id) - fields.integer("roll_back", least=0)
        gateway.books.set_highest_order_id(client_id, max(highest, 0))
    return {}


@verb("sockets")
def outage(context: Context, fields: Fields) -> Answer:
    """The gateway loses IB: 1100 and broken farms to all. Until `restore` nothing is reported of
    orders, positions and quotes, and orders and cancels wait; other requests are answered from the
    books. A client that connects is told 2110.
    """
    context.gateway.outages.lose()
    return {}


@verb("sockets", "code?", "reports?")
def restore(context: Context, fields: Fields) -> Answer:
    """End an outage with `code` 1102, or 1101 (subscriptions of quotes are lost). Reports that
    waited are sent after that notice (`reports` after, the default), before it, or never: then a
    client learns of them only when it asks. Orders and cancels that waited go on.
    """
    code = int(fields.choice("code", ("1101", "1102"), "1102"))
    context.gateway.outages.restore(code, _report_time(fields))
    return {}


@verb("sockets", "seconds?", "code?", "reports?", "restart?")
def nightly_reset(context: Context, fields: Fields) -> Answer:
    """IB's reset of every night: an `outage`, and after `seconds` (60) its end by `restore`. With
    `restart` the gateway restarts as well at that time, as its own daily restart does.
    """
    code = int(fields.choice("code", ("1101", "1102"), "1102"))
    reports, also = _report_time(fields), fields.flag("restart")
    gateway = context.gateway

    def end() -> None:
        gateway.outages.restore(code, reports)
        if also:
            gateway.flush()
            gateway.restart()

    gateway.outages.lose()
    gateway.clock.call_later(fields.seconds("seconds", 60.0), end)
    return {}


@verb("sockets")
def quit_(context: Context, fields: Fields) -> Answer:
    """Stop the program."""
    if context.on_quit is None:
        raise CommandError("this gateway cannot be stopped from here")
    context.on_quit()
    return {}


def _report_time(fields: Fields) -> ReportTime:
    return ReportTime(fields.choice("reports", tuple(ReportTime), "after"))


VERBS: Final = (
    *(cut, close, half_open, slow_reads, refuse, accept, restart),
    *(outage, restore, nightly_reset, quit_),
)
