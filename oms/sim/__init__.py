"""A TWS gateway without an account: any TWS API client trades against it and cannot tell.

Promise: what a client sees on the wire is what IB's gateway has been seen to send (server versions
157 to 178, text fields), the simulator's books are its own, and every misbehaviour is asked for.

It knows nothing of the rest of this project and nothing of any client library, so that the same
misunderstanding cannot sit on both ends of the wire.  Parts, from the socket inwards:

    wire        frames and field text
    layout      what a field list looks like at each server version
    requests    client messages: text to values
    messages    server messages: values to text
    gateway     sockets, sessions, who sees what
    answers     the requests that only read
    intake      what clients ask the desk
    desk        the life of an order
    matching    when an order trades, and at what price (pure)
    ledger      positions, cash, commission, margin (pure)
    market      quotes from a seed (pure)
    instruments the contract catalogue (pure)
    books       what survives a restart, in SQLite
    faults      what goes wrong on purpose
    control     the line protocol for live use
    scenarios   files that say what happens when
    clock       real, accelerated or stepped time
"""

from __future__ import annotations
