"""Finding an order by any of its names: ours, IB's permanent number, a number in a session, an
execution.

Tables show the first eight characters of an id that we made, with the leg of a bracket (`-tp`,
`-sl`); what they show is accepted everywhere, and so is any unique beginning, as in git.
"""

from __future__ import annotations

import asyncio
import re
from collections import defaultdict
from dataclasses import dataclass
from typing import Final, cast

from oms.core.events import Event
from oms.core.fold.books import stem_and_revision
from oms.core.fold.records import Fill, Order
from oms.core.words import counted
from oms.errors import DatabaseDamaged, InvalidRequest, NotFound
from oms.history import index
from oms.history.terms import bucket
from oms.store.reader import Reader

#: Candidates that an error names.
OFFERED_MAX: Final = 8
_LEGS: Final = ("-tp", "-sl")
#: More than that is ambiguous anyway.
_CANDIDATES_MAX: Final = 1_000
#: Of so many digits that both databases can look for it.
_NUMBER: Final = re.compile(r"-?\d{1,18}", re.ASCII)
#: SESSION:NUMBER, or SESSION:CLIENT:NUMBER where two clients have the number.
_IN_SESSION: Final = re.compile(r"(\d{1,10}):(?:(\d{1,10}):)?(-?\d{1,18})", re.ASCII)
_HINT: Final = (
    "an order is named by our id or its beginning, IB's permanent number, SESSION:NUMBER, an"
    " orderRef or an execution id; `oms orders --all` lists them"
)
_NAME_PAGE: Final = 500


@dataclass(frozen=True, slots=True)
class Candidate:
    """An order that a text may mean, and by which of its names."""

    order_id: str
    name: str


async def resolve(reader: Reader, text: str) -> str:
    """Return our id of the order that a text names.

    Our whole id comes before everything else. Raises `NotFound`, and `InvalidRequest` with the
    candidates where it names several.
    """
    if text and await reader.one("orders", text) is not None:
        return text
    found = await candidates(reader, text) if text else []
    ids = list(dict.fromkeys(one.order_id for one in found))
    if not ids:
        raise NotFound(f"there is no order {text!r}", hint=_HINT)
    if len(ids) > 1:
        shown = {one.order_id: one for one in found}
        words = [f"{one.order_id} ({one.name})" for one in list(shown.values())[:OFFERED_MAX]]
        more = ", ..." if len(ids) > OFFERED_MAX else ""
        raise InvalidRequest(
            f"{text!r} names {counted(len(ids), 'order')}: {', '.join(words)}{more}",
            hint="give the whole id, or more of it",
        )
    return ids[0]


async def find_order(reader: Reader, text: str) -> Order:
    """Return the order that a text names; raises what `resolve` raises."""
    order_id = await resolve(reader, text)
    found = await reader.one("orders", order_id)
    if not isinstance(found, Order):
        # An order never leaves the books: its name stands in an index, and its row is gone.
        raise DatabaseDamaged(f"the row of the order {order_id} is missing")
    return found


async def candidates(reader: Reader, text: str) -> list[Candidate]:
    """Return every order that a text may mean."""
    found = [
        *await _by_beginning(reader, text),
        *await _by_execution(reader, text),
        *await _by_reference(reader, text),
    ]
    if _NUMBER.fullmatch(text):
        found += [
            *await _by_permanent_number(reader, int(text)),
            *await _by_number(reader, int(text), None, None),
        ]
    in_session = _IN_SESSION.fullmatch(text)
    if in_session is not None:
        session, client, number = in_session.groups()
        wanted = None if client is None else int(client)
        found += await _by_number(reader, int(number), int(session), wanted)
    return found


async def _by_beginning(reader: Reader, text: str) -> list[Candidate]:
    head, leg = text, ""
    for one in _LEGS:
        if text.endswith(one):
            head, leg = text.removesuffix(one), one
    keys = await reader.keys("orders", head, limit=_CANDIDATES_MAX) if head else []
    found = [key for key in keys if key.startswith(text) or (leg and key.endswith(leg))]
    # The legs of a bracket begin with their parent's id; who means a leg says so.
    if found and all(key.startswith(f"{found[0]}-") for key in found[1:]):
        found = found[:1]
    return [Candidate(key, "our id") for key in found]


async def _by_execution(reader: Reader, text: str) -> list[Candidate]:
    stem, _ = stem_and_revision(text)
    fills = [
        fill
        for fill in cast("list[Fill]", await reader.beginning("fills", "exec_id", stem))
        if text in {fill.exec_id, *fill.superseded}
    ]
    return [Candidate(fill.order_id, "execution") for fill in fills if fill.order_id]


async def _by_reference(reader: Reader, text: str) -> list[Candidate]:
    rows = await reader.rows("orders", {"order_ref": text}, limit=OFFERED_MAX + 1)
    return [Candidate(row.key, "orderRef") for row in rows]


async def _by_permanent_number(reader: Reader, perm_id: int) -> list[Candidate]:
    if perm_id <= 0:
        return []
    rows = await reader.rows("orders", {"perm_id": perm_id})
    earlier = (await reader.system()).earlier_perm_ids.get(perm_id)
    ids = [*(row.key for row in rows), *([earlier] if earlier else [])]
    return [Candidate(order_id, "permanent number") for order_id in ids]


async def _by_number(
    reader: Reader, number: int, session: int | None, client_id: int | None
) -> list[Candidate]:
    """Return the orders that had a number at the broker, in one session or in any.

    A number belongs to a session, and the row of an order knows the last one only: the events that
    say the number say whose it was.
    """
    name = bucket(str(number))
    wanted = [name, *([("session", str(session))] if session is not None else [])]
    last = (await reader.head()).sequence
    postings = await asyncio.to_thread(index.postings_of, reader.url, wanted, within=(1, last))
    bits = postings.of(name)
    for term in wanted[1:]:
        bits = index.both(bits, postings.of(term))
    found: dict[str, Candidate] = {}
    page: list[int] = []
    for sequence in (*index.sequences(bits), 0):
        if sequence:
            page.append(sequence)
        if len(page) == _NAME_PAGE or not sequence:
            for one in await _numbered(reader, page, number, client_id):
                found.setdefault(one.order_id, one)
            page = []
    return list(found.values())


async def _numbered(
    reader: Reader, page: list[int], number: int, client_id: int | None
) -> list[Candidate]:
    said = {
        envelope.sequence: envelope
        for envelope in await reader.envelopes(page)
        if _says(envelope.event, number, client_id)
    }
    about: defaultdict[int, list[str]] = defaultdict(list)
    for sequence, order_id in await reader.links(list(said)):
        about[sequence].append(order_id)
    every = sorted({order_id for ids in about.values() for order_id in ids})
    rows = await reader.rows("orders", {"order_id": every}) if every else []
    having = {row.key for row in rows if isinstance(row, Order) and row.broker_order_id == number}
    found = []
    for sequence, ids in about.items():
        # An event can be about a second order, such as the rest of a group that it ends.
        owners = [one for one in ids if one in having] or (ids if len(ids) == 1 else [])
        epoch = said[sequence].context.session_epoch
        found += [Candidate(one, f"number {number} in session {epoch}") for one in owners]
    return found


def _says(event: Event, number: int, client_id: int | None) -> bool:
    named = getattr(event, "broker_order_id", None) == number
    return named and (client_id is None or getattr(event, "client_id", None) == client_id)
