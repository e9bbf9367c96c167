"""Signing checkpoints while the daemon runs: after so many events, and after so much time.

If the process dies, the next one signs what has come since the last checkpoint.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from oms.clock import Clock
from oms.core.events import CheckpointSigned, Context, Pending
from oms.errors import ConfigurationError
from oms.evidence.checkpoints import refuse_other_key
from oms.evidence.keys import Signer, read_key
from oms.evidence.sealing import Places, failures, places_of, refuse_signed_loss, seal
from oms.service.view import View
from oms.settings import Settings
from oms.telemetry import get_logger

if TYPE_CHECKING:
    from oms.store.log import EventLog
    from oms.store.reader import Reader

log = get_logger("service.checkpoints")

ACTOR: Final = "daemon"
#: How often the daemon looks whether one is due; 15 s late is no loss of proof.
LOOK_SECONDS: Final = 15


def signing(settings: Settings) -> tuple[Signer, Places]:
    """Return the key and the places that the settings name.

    Raises `ConfigurationError` where no key is named, it cannot be used, or no place is named.
    """
    if settings.signing_key_file is None:
        raise ConfigurationError(
            "no signing key is set",
            hint="make one with `oms key new`, and set OMS_SIGNING_KEY_FILE",
        )
    return read_key(settings.signing_key_file), places_named(settings)


def places_named(settings: Settings) -> Places:
    """Return the places that the settings name; raises `ConfigurationError` where there is none."""
    file = settings.checkpoint_file or _beside(settings.database_url)
    return places_of(file, settings.checkpoint_command, settings.checkpoint_timestamp_url)


def refuse_loss(settings: Settings) -> None:
    """Raise `LogWentBack` where the log lacks events that were signed, if checkpoints are."""
    if settings.signing_key_file is not None:
        refuse_signed_loss(settings.database_url, signing(settings)[1])


def _beside(url: str) -> Path:
    scheme, _, path = url.partition(":///")
    if scheme != "sqlite":
        raise ConfigurationError(
            "no file for signed checkpoints is named",
            hint="set OMS_CHECKPOINT_FILE to a path outside the database's machine, if you can",
        )
    return Path(f"{path}.checkpoints")


class Checkpoints:
    """Signs when it is due; nothing where the settings name no key."""

    def __init__(
        self, settings: Settings, *, log: EventLog, reader: Reader, view: View, clock: Clock
    ) -> None:
        """Read the key; raises `ConfigurationError` where it cannot be used."""
        self._signing = None if settings.signing_key_file is None else signing(settings)
        if self._signing is not None:
            signer, places = self._signing
            refuse_other_key(places.file.notes(), signer, str(places.file.path))
        self._events = settings.checkpoint_events
        self._age = timedelta(seconds=settings.checkpoint_seconds)
        self._log = log
        self._reader = reader
        self._view = view
        self._clock = clock

    async def serve(self) -> None:
        """Sign for ever; raises `ChainBroken` where the log is not the one that was signed."""
        while self._signing is not None:
            if self._is_due():
                await self._sign(*self._signing)
            await asyncio.sleep(LOOK_SECONDS)

    def _is_due(self) -> bool:
        system, head = self._view.system, self._log.books.sequence
        # Its own event is no news, or an idle log would be signed for ever.
        if head <= max(system.signed_event_sequence, system.signed_sequence):
            return False
        at = system.signed_at
        is_old = at is None or self._clock.now() - at >= self._age
        return is_old or head - system.signed_sequence >= self._events

    async def _sign(self, signer: Signer, places: Places) -> None:
        try:
            async for signed in seal(self._reader, signer, places, self._clock):
                for words in failures([signed]):
                    log.error("checkpoint_not_kept", reason=words)
                await self._append(signed)
                log.info("checkpoint_signed", first=signed.first, last=signed.last)
        except ConfigurationError as error:
            # The file cannot be read, or the key was replaced since we began: orders go on.
            log.error("checkpoint_not_kept", reason=f"{error.message}; {error.hint}")

    async def _append(self, signed: CheckpointSigned) -> None:
        await self._log.append(Pending(signed, Context(actor=ACTOR)))
