"""What the person who starts a gateway can choose.  Faults are not here: see `faults`."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path


@dataclass(slots=True)
class Settings:
    """Every knob with its default.

    The text under each is what the reference page says; the command line has an option for most.
    """

    host: str = "127.0.0.1"
    """Address to listen on."""
    port: int = 4002
    """API port; 0 for any free one."""
    control_port: int = 4003
    """Control port, on the local machine only; 0 for any free one."""
    books: Path | None = None
    """File that keeps the broker's books; without it they are in memory."""
    seed: int = 1
    """Decides perm ids, exec ids, prices and random faults."""
    accounts: tuple[str, ...] = ("DU1234567",)
    """Managed accounts."""
    zone: str = "America/New_York"
    """The gateway's time zone: of its times, its midnight and its trading hours."""
    time_form: str = "zone"
    """Times in executions and completed orders: `zone`, `utc` or `bare`."""
    server_version: int = 178
    """Highest version offered, 157 to 178."""
    cash: Decimal = Decimal(1_000_000)
    """Opening balance of each account, in `base_currency`."""
    base_currency: str = "USD"
    """Currency of the accounts."""
    commission: str = "fixed"
    """`fixed`, `tiered` or `none`."""
    hours: str = "always"
    """`always` open, or `regular`: 09:30 to 16:00 on weekdays in `zone`."""
    liquidity: str = "endless"
    """`endless`: the touch fills any size; `touch`: its displayed size, renewed by a quote."""
    parts: int = 1
    """A marketable order fills in this many parts, at the same price."""
    part_seconds: float = 0.0
    """Time between the parts; 0 sends them in one burst."""
    read_only: bool = False
    """Refuse orders with 321, as a gateway with the read-only box ticked."""
    download_open_orders: bool = True
    """Push a client's own open orders when it connects."""
    cancel_order: str = "status-first"
    """`status-first`: orderStatus Cancelled, then 202; `error-first`: the other way round;
    `pending-first`: PendingCancel before both."""
    acknowledge: str = "both"
    """`both`: PreSubmitted, then Submitted for a resting order; `submitted`: Submitted only."""
    master_client: int | None = None
    """The client that hears of every client's orders."""
    clients_max: int = 32
    """Connections at a time; one more gets 326."""
    account_summaries_max: int = 2
    """Account summaries of one client at a time; more get 322. The field reports 2 and 3."""
    bind_negative: bool = True
    """Bound manual orders get ids -1, -2 and so on; otherwise client 0's next ones."""
    fills: str = "market"
    """`market`: orders trade by the liquidity rule; `manual`: only the verb `fill` fills them."""
    modify_reject: str = "keep"
    """A 201 to a modify leaves the old terms in force (`keep`) or ends the order (`kill`)."""
    expiry_notice: bool = True
    """Send 202 when a day order ends with the session, as well as its status."""
    messages_per_second: int = 0
    """More from one client get error 100, the third time the connection ends; 0 takes any number.
    IB's own limit is 50."""
    chunk_bytes: int = 0
    """Write the output in pieces of so many bytes, one a turn of the event loop; 0: as it comes."""
    market: str = "still"
    """`still`: prices move on command only; `moving`: a step of the seeded path at a time."""
    step_seconds: float = 1.0
    """Time between the steps of a moving market."""
