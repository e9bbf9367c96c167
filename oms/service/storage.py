"""What the log stands on: whether new orders may be taken while it stands like that."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from oms.core.watch import MEGABYTE, Storage, why_no_order
from oms.errors import StoreUnavailable
from oms.settings import Settings

if TYPE_CHECKING:
    from oms.store.log import EventLog


def storage_of(log: EventLog) -> Storage:
    """Return how a log's database and disk are."""
    return Storage(timedelta(seconds=log.stalled_seconds), log.free_bytes, log.damage)


def disk_free_of(settings: Settings) -> int | None:
    """Return how many bytes the settings want free on the disk of the log."""
    return settings.disk_free_megabytes_min * MEGABYTE or None


def check_takes_orders(log: EventLog, disk_free: int | None) -> None:
    """Raise `StoreUnavailable` where no new order is taken: nothing is written then."""
    if text := why_no_order(storage_of(log), disk_free):
        raise StoreUnavailable(
            f"no new order is taken: {text}",
            hint="nothing was written and nothing was sent; repeat when that is over; cancels pass",
        )
