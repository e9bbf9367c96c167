"""What the person who starts a gateway can choose. Faults are not here: see `faults`."""

from __future__ import annotations

from dataclasses import dataclass, fields
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Final, Literal, get_args, get_origin, get_type_hints
from zoneinfo import ZoneInfo

from oms.sim.protocol.fields import is_written_otherwise
from oms.sim.protocol.versions import SERVER_VERSION_MAX, SERVER_VERSION_MIN

TimeForm = Literal["zone", "utc", "bare"]
Commission = Literal["fixed", "tiered", "none"]
Hours = Literal["always", "regular"]
Liquidity = Literal["endless", "touch"]
CancelOrder = Literal["status-first", "error-first", "pending-first"]
Acknowledge = Literal["both", "submitted"]
Fills = Literal["market", "manual"]
Children = Literal["partial", "whole"]
ModifyReject = Literal["keep", "kill"]
OcaRule = Literal["kept", "ignored"]
MarketMoves = Literal["still", "moving"]

#: Least and most of each number.
BOUNDS: Final[dict[str, tuple[float, float]]] = {
    "port": (0, 65_535),
    "control_port": (0, 65_535),
    "server_version": (SERVER_VERSION_MIN, SERVER_VERSION_MAX),
    "seed": (-(2**63), 2**63 - 1),
    "cash": (-1e15, 1e15),
    "parts": (1, 1_000),
    "part_seconds": (0, 86_400),
    "master_client": (0, 2**31 - 1),
    "clients_max": (1, 1_000),
    "account_summaries_max": (1, 100),
    "tickers_max": (0, 100_000),
    "messages_per_second": (0, 1_000_000),
    "chunk_bytes": (0, 2**20),
    "step_seconds": (0.001, 86_400),
    "trigger_seconds": (0, 86_400),
}
#: What may be changed while a gateway runs.
RUNNING: Final = frozenset(
    (
        *("time_form", "commission", "liquidity", "cancel_order", "acknowledge", "fills"),
        *("modify_reject", "parts", "part_seconds", "master_client", "clients_max"),
        *("account_summaries_max", "tickers_max", "messages_per_second", "chunk_bytes"),
        *(
            "read_only",
            "download_open_orders",
            "bind_negative",
            "expiry_notice",
            "pacing",
            "filled_twice",
            "ledger_prefix",
            "oca",
        ),
    )
)


class SettingError(ValueError):
    """A setting that cannot be: its name, what it was given, and what it may be."""


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
    """The gateway's time zone: of its times and its midnight."""
    time_form: TimeForm = "zone"
    """Times in executions and completed orders: `zone`, `utc` or `bare`."""
    server_version: int = 178
    """Highest version offered, 157 to 178."""
    cash: Decimal = Decimal(1_000_000)
    """Opening balance of each account, in `base_currency`."""
    base_currency: str = "USD"
    """Currency of the accounts."""
    commission: Commission = "fixed"
    """`fixed`, `tiered` or `none`."""
    hours: Hours = "always"
    """`always` open, with a day that ends at midnight in `zone`; or `regular`: every class of
    contracts by the hours of its exchange."""
    liquidity: Liquidity = "endless"
    """`endless`: the touch fills any size; `touch`: its displayed size, renewed by a quote."""
    parts: int = 1
    """A marketable order fills in this many parts, at the same price."""
    part_seconds: float = 0.0
    """Time between the parts; 0 sends them in one burst."""
    read_only: bool = False
    """Refuse orders with 321, as a gateway with the read-only box ticked."""
    download_open_orders: bool = True
    """Push a client's own open orders when it connects."""
    cancel_order: CancelOrder = "status-first"
    """`status-first`: orderStatus Cancelled, then 202; `error-first`: the other way round;
    `pending-first`: PendingCancel before both."""
    acknowledge: Acknowledge = "both"
    """`both`: PreSubmitted, then Submitted for a resting order; `submitted`: Submitted only."""
    master_client: int | None = None
    """The client that hears of every client's orders."""
    clients_max: int = 32
    """Connections at a time; one more gets 326."""
    account_summaries_max: int = 2
    """Account summaries of one client at a time; more get 322. The field reports 2 and 3."""
    tickers_max: int = 100
    """Lines of quotes of one client at a time; more get 101."""
    pacing: bool = True
    """Refuse historical questions that IB's pacing rules forbid (162): bars of 30 seconds and less,
    and ticks. `no` takes any."""
    bind_negative: bool = True
    """Bound manual orders get ids -2, -3 and so on; otherwise client 0's next ones."""
    fills: Fills = "market"
    """`market`: orders trade by the liquidity rule; `manual`: only the verb `fill` fills them."""
    modify_reject: ModifyReject = "keep"
    """A 201 to a modify leaves the old terms in force (`keep`) or ends the order (`kill`)."""
    children: Children = "partial"
    """`partial`: children of a parent that has filled in part go to work for that part; `whole`:
    they wait until all of it has."""
    oca: OcaRule = "kept"
    """`kept`: a fill ends or reduces the other orders of its group, or of its parent; `ignored`:
    it leaves them alone."""
    filled_twice: bool = True
    """Say openOrder and orderStatus Filled twice, as IB does; `no` says them once."""
    ledger_prefix: bool = False
    """Begin per-currency keys of account updates with `$LEDGER-`. Gateways from 10.47 do so for new
    users, and leave it to a box in their settings for those who upgrade."""
    expiry_notice: bool = True
    """Send 202 when a day order ends with the session, as well as its status."""
    messages_per_second: int = 0
    """More from one client get error 100, the third time the connection ends; 0 takes any number.
    IB's own limit is 50."""
    chunk_bytes: int = 0
    """Write the output in pieces of so many bytes, one a turn of the event loop; 0: as it comes."""
    market: MarketMoves = "still"
    """`still`: prices move on command only; `moving`: a step of the seeded path at a time."""
    step_seconds: float = 1.0
    """Time between the steps of a moving market."""
    trigger_seconds: float = 300.0
    """With `--once`: a scenario in which no block happens for so many seconds of real time fails,
    unless an `at` or `after` of a running clock is still to come; 0 waits for ever."""

    def put(self, name: str, text: str) -> None:
        """Set one from a text. Raises SettingError, and then nothing has changed."""
        default = {one.name: getattr(_DEFAULT, one.name) for one in fields(self)}
        if name not in default:
            raise SettingError(f"{name[:40]} is no setting: {', '.join(sorted(default))}")
        value = _read(name, text, default[name])
        check(name, value)
        setattr(self, name, value)

    def check(self) -> None:
        """Raise SettingError for the first setting that cannot be."""
        for one in fields(self):
            check(one.name, getattr(self, one.name))


#: The words of each setting that is one of a few.
CHOICES: Final[dict[str, tuple[str, ...]]] = {
    name: get_args(hint)
    for name, hint in get_type_hints(Settings).items()
    if get_origin(hint) is Literal
}
_DEFAULT: Final = Settings()
_FLAGS: Final = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}


def _read(name: str, text: str, default: object) -> Any:
    try:
        if isinstance(default, bool):
            return _FLAGS[text.lower()]
        if isinstance(default, int | float | Decimal):
            return type(default)("" if is_written_otherwise(text) else text)
    except (ValueError, KeyError, InvalidOperation) as error:
        kind = "yes or no" if isinstance(default, bool) else "a number"
        raise SettingError(f"{name}={text[:40]} is not {kind}") from error
    if isinstance(default, tuple):
        return tuple(text.split(","))
    if name == "books":
        return Path(text)
    if default is None:
        return _read(name, text, 0)
    return text


def brief(value: object) -> str:
    """Return a value from outside in a length that fits an error."""
    try:
        return str(value)[:40]
    except ValueError:  # Python writes no integer of more than 4,300 digits
        return "a number of more than 4,300 digits"


def check(name: str, value: Any) -> None:
    """Raise SettingError when a setting cannot have that value."""
    if value is None:
        return
    if name in CHOICES and value not in CHOICES[name]:
        raise SettingError(f"{name}={brief(value)} is not one of {', '.join(CHOICES[name])}")
    if name in BOUNDS:
        least, most = BOUNDS[name]
        finite = not isinstance(value, Decimal) or value.is_finite()
        if not finite or not least <= value <= most:
            raise SettingError(f"{name}={brief(value)} is out of bounds: {least:g} to {most:g}")
    if name == "host":
        try:
            good = len(value.encode("idna")) > 0
        except UnicodeError:
            good = False
        if not good:
            raise SettingError(f"host={brief(value)!r} is neither an address nor a name")
    if name == "zone":
        try:
            ZoneInfo(value)
        except (OSError, ValueError, KeyError) as error:
            raise SettingError(
                f"zone={brief(value)} is no time zone, such as Europe/Zurich"
            ) from error
    if name == "accounts":
        good = value and all(one.isascii() and one.isalnum() for one in value)
        if not good or len(set(value)) != len(value):
            raise SettingError(f"accounts={brief(','.join(value))}: letters and digits, each once")
    if name == "base_currency" and not (value.isascii() and value.isupper() and len(value) == 3):
        raise SettingError(f"base_currency={brief(value)} is not three capital letters")
