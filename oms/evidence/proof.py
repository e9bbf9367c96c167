"""A proof that some events stand in the log, which shows no other event.

Each event comes whole, with the hash of the one before and the path from its own hash to the root
that a checkpoint signs. Of the other events it shows hashes, from which nothing can be read.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from oms.errors import ChainBroken, NotFound
from oms.evidence.checkpoints import inclusion_path
from oms.store.reader import Reader
from oms.verify import (
    CHECKPOINT,
    GENESIS,
    NEW_KEY,
    Checkpoint,
    Note,
    event_hash,
    root_from_path,
)


async def prove_order(
    reader: Reader, order_id: str, notes: Sequence[Note]
) -> tuple[dict[str, Any], list[int]]:
    """Return a proof of the events of an order that stand under a checkpoint, and the sequences of
    those that stand under none yet.

    Raises `NotFound` where all of them are so, and `ChainBroken` where one is not what was signed.
    """
    signed = [Checkpoint.of(note) for note in notes if note.kind == CHECKPOINT]
    used: list[Checkpoint] = []
    entries: list[dict[str, Any]] = []
    unsigned: list[int] = []
    hashes: list[bytes] = []
    for columns in await reader.stored_columns(order_id):
        sequence = int(columns[0])
        mark = next((one for one in signed if one.first <= sequence <= one.last), None)
        if mark is None:
            unsigned.append(sequence)
            continue
        if not used or used[-1] is not mark:
            used.append(mark)
            # With the hash before the first, which its event is hashed with.
            before = [] if mark.first > 1 else [GENESIS]
            hashes = before + await reader.hashes(max(1, mark.first - 1), mark.last)
        index, size = sequence - mark.first, mark.last - mark.first + 1
        if len(hashes) != size + 1:
            raise ChainBroken(f"the log has not all events to {mark.last}", sequence=sequence)
        path = inclusion_path(hashes[1:], index)
        digest = event_hash(hashes[index], columns)
        if root_from_path(index, size, digest, path) != mark.root:
            raise ChainBroken(f"event {sequence} is not the one that was signed", sequence=sequence)
        entries.append(
            {
                "columns": list(columns),
                "hash_before": hashes[index].hex(),
                "checkpoint": mark.last,
                "path": [step.hex() for step in path],
            }
        )
    if not entries:
        raise NotFound(
            f"no event of order {order_id} stands under a signed checkpoint yet",
            hint="run `oms checkpoint` first",
        )
    shown = [n for n in notes if n.kind == NEW_KEY or any(n is one.note for one in used)]
    return {"proof": 1, "notes": [str(note) for note in shown], "events": entries}, unsigned
