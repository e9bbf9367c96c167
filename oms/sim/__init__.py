"""A TWS gateway without an account: any TWS API client trades against it and cannot tell.

Promise: what a client sees on the wire is what IB's gateway has been seen to send (server versions
157 to 178, text fields), the simulator's books are its own, and every misbehaviour is asked for.

It knows nothing of the rest of this project and nothing of any client library, so that the same
misunderstanding cannot sit on both ends of the wire. Rooms, from the bytes inwards; each names its
parts:

    protocol        frames, and what a field list looks like at each server version (pure)
    gateway         clients and their sockets, who hears what, requests that only read, faults
    broker          what IB does: orders, executions, positions, cash, the market, the day
    script          what a person makes happen: verbs, scenario files, recordings

Beside them `settings` (every knob), `clock` (the only reader of time) and `checker`, which compares
an OMS's database with the books of a running simulator.
"""

from __future__ import annotations
