"""What the person who starts a gateway can choose.  Faults are not here: see `faults`."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path


@dataclass(slots=True)
class Settings:
    """Every knob with its default; the command line has an option of the same name for each."""

    host: str = "127.0.0.1"
    port: int = 4002
    control_port: int = 4003
    books: Path | None = None
    seed: int = 1
    accounts: tuple[str, ...] = ("DU1234567",)
    zone: str = "America/New_York"
    time_form: str = "zone"
    """zone, utc or bare: see `clock.message_time`."""
    server_version: int = 178
    cash: Decimal = Decimal(1_000_000)
    """Opening balance of each account, in `base_currency`."""
    base_currency: str = "USD"
    commission: str = "fixed"
    """fixed, tiered or none: see `ledger.commission`."""
    hours: str = "always"
    """always: the market is open; regular: 09:30 to 16:00 on weekdays in `zone`."""
    liquidity: str = "endless"
    """endless: the touch fills any size; touch: its displayed size, renewed by the next quote."""
    parts: int = 1
    """A marketable order fills in this many parts, one after the other, at the same price."""
    part_seconds: float = 0.0
    """Time between the parts; 0 sends them in one burst."""
    read_only: bool = False
    """Refuse orders with 321, as a gateway with the read-only box ticked."""
    download_open_orders: bool = True
    """Push the client's own open orders when it connects."""
    cancel_order: str = "status-first"
    """status-first: orderStatus Cancelled, then 202; error-first: the other way round."""
    acknowledge: str = "both"
    """both: PreSubmitted then Submitted for a resting order; submitted: Submitted only."""
    master_client: int | None = None
    clients_max: int = 32
    account_summaries_max: int = 2
    """Concurrent reqAccountSummary of one client; more get 322.  The field reports 2 and 3."""
    bind_negative: bool = True
    """Bound manual orders get ids -1, -2, ...; otherwise client 0's next ones."""
    fills: str = "market"
    """market: orders trade by the liquidity rule; manual: only the control command fills them."""
    modify_reject: str = "keep"
    """What a 201 to a modify does to the live order: keep its old terms, or kill it."""
    expiry_notice: bool = True
    """Send 202 when a day order ends with the session, as well as its status."""
    messages_per_second: int = 0
    """More than so many from one client in a second get error 100, the third time the connection
    ends.  0 takes any number; IB's own limit is 50."""
    chunk_bytes: int = 0
    """Write the output in pieces of so many bytes, one a turn of the event loop; 0: as it comes."""
    market: str = "still"
    """still: prices move on command only; moving: a step of the seeded path each `step_seconds`."""
    step_seconds: float = 1.0
