"""A TWS gateway without an account: any TWS API client trades against it and cannot tell.

Promise: what a client sees on the wire is what IB's gateway has been seen to send (server versions
157 to 178, text fields), the simulator's books are its own, and every misbehaviour is asked for.

It knows nothing of the rest of this project and nothing of any client library, so that the same
misunderstanding cannot sit on both ends of the wire.  Parts, from the socket inwards:

    wire            frames and field text (pure)
    layout          what a field list looks like at each server version (pure)
    requests        client messages: text to values (pure)
    messages        server messages: values to text (pure)
    render          orders, executions and contracts as values of messages (pure)
    session         one client's socket
    mishaps         what faults do to its messages
    upstream        the line to IB, and what waits for it while it is down
    gateway         the port, the sessions, who hears what
    answers         the requests that only read; account_answers and quote_answers are part of it
    intake          what clients ask the desk
    desk            the life of an order
    checks          what is refused before it reaches the market (pure)
    matching        when an order trades, and at what price; conditions, hours (pure)
    booking         executions, and what they do to positions and cash
    ledger          positions, cash, commission, margin (pure)
    accounting      account values from the books
    market          quotes from a seed
    instruments     the contract catalogue
    orders, books   what survives a restart, in SQLite
    faults          what goes wrong on purpose
    commands        the verbs of the control port and of scenarios; fields, verbs, life_verbs,
                    wire_verbs
    control         the line protocol for live use
    scenarios       files that say what happens, and when
    transcripts     recordings of a real gateway
    reference       generated pages
    clock, settings time and knobs
"""

from __future__ import annotations
