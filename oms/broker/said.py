"""What IB said last of each thing, to know a row that says the same word for word.

Every message about an order at work, a position or an account is remembered by its hash, those
that IB pushed as well: a row repeats the last that was stored for its key, whichever way that came.
Only rows of answers are ever offered to the log as repeats; whether one is stored all the same, the
log decides by its books (decision 0152). What is forgotten here is stored once more.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import Final, NamedTuple

from oms.broker.sink import Durable
from oms.core.answer_rows import SAID_AGAIN, key_of
from oms.core.events import Envelope, Event

#: Things that are remembered: orders of a busy day, and every holding.
KEYS_MAX: Final = 50_000
#: Where the number of the question stands, which differs from answer to answer.
_NUMBER_AT: Final = {"63": 2, "55": 2, "64": 2}


class _Said(NamedTuple):
    #: Of the wire text: 64 bits by a key that each process draws anew. A digest would cost a burst
    #: ten times as much.
    hash: int
    #: Of the event, or what will say it.
    sequence: int
    durable: Durable | None


class Said:
    """The last words about each thing."""

    def __init__(self) -> None:
        self._last: OrderedDict[str, _Said] = OrderedDict()

    def repeated(self, event: Event, wire: tuple[str, ...]) -> int:
        """Return the event that holds what a message says word for word, where it is the last about
        the same thing; 0 for none.
        """
        if type(event) not in SAID_AGAIN:
            return 0
        last = self._last.get(key_of(event))
        if last is None or last.hash != _hash_of(wire):
            return 0
        durable = last.durable
        if durable is None:
            return last.sequence
        # One that is on its way has no number yet.
        is_stored = durable.done() and not durable.cancelled() and durable.exception() is None
        return durable.result().sequence if is_stored else 0

    def note(self, event: Event, wire: tuple[str, ...], durable: Durable) -> None:
        """Remember what was handed to the log."""
        if type(event) in SAID_AGAIN:
            self._keep(key_of(event), _Said(_hash_of(wire), 0, durable))

    def learn(self, envelopes: Iterable[Envelope]) -> None:
        """Remember what the log has, in its order, of things that nothing was heard of yet."""
        found: dict[str, _Said] = {}
        for one in envelopes:
            if type(one.event) in SAID_AGAIN and one.wire is not None:
                found[key_of(one.event)] = _Said(_hash_of(one.wire), one.sequence, None)
        for key, said in found.items():
            if key not in self._last:
                self._keep(key, said)

    def _keep(self, key: str, said: _Said) -> None:
        self._last[key] = said
        self._last.move_to_end(key)
        if len(self._last) > KEYS_MAX:
            self._last.popitem(last=False)


def _hash_of(wire: tuple[str, ...]) -> int:
    number_at = _NUMBER_AT.get(wire[0])
    return hash(wire if number_at is None else (*wire[:number_at], *wire[number_at + 1 :]))
