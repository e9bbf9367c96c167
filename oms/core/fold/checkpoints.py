"""The fold of signed checkpoints: how far the log stands under a signature."""

from __future__ import annotations

from typing import Final

from oms.core.events import CheckpointSigned, Envelope
from oms.core.fold.books import Books, set_system
from oms.core.fold.fold import Fold
from oms.core.fold.wants import nothing


def _signed(books: Books, envelope: Envelope, event: CheckpointSigned) -> None:
    lost = [f"{kept.place}: {kept.text}" for kept in event.kept if not kept.ok]
    set_system(
        books,
        signed_sequence=event.last,
        signed_at=envelope.recorded_at,
        signed_event_sequence=envelope.sequence,
        checkpoint_lost="; ".join(lost),
    )


FOLDS: Final = (Fold(CheckpointSigned, _signed, nothing),)
