"""Every knob of the OMS, each with its unit, default, bound and reason.

`load` reads them, in falling priority, from the caller's arguments, the environment (`OMS_*`), a
`.env` file in the working directory and a TOML file (`oms.toml` there, or the path in
`OMS_CONFIG`). `Settings(...)` itself reads nothing but its arguments, so that a test or an embedded
daemon gets exactly what it wrote.

A name that is not known is refused wherever it comes from: a misspelt `OMS_ORDER_QUANTITY_MAX`
would otherwise leave an account without its limit, and nobody would notice until the day it was
needed. An empty variable counts as not set. Variables that begin with `OMS_TEST_` belong to the
test suite and are passed over.
"""

from __future__ import annotations

import difflib
import re
import stat
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NoReturn, get_args
from urllib.parse import unquote, urlsplit
from zoneinfo import ZoneInfo

import annotated_types
from pydantic import AfterValidator, BeforeValidator, Field, PrivateAttr, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from oms.core.admit.limits import Scoped
from oms.core.bounds import ASKED_LIMIT, brief
from oms.core.money import plain
from oms.core.resets import Region, parse_window
from oms.errors import ConfigurationError

ENV_PREFIX: Final = "OMS_"
#: Names the TOML file; it is about the settings, hence not one of them.
CONFIG_VARIABLE: Final = "OMS_CONFIG"
TEST_PREFIX: Final = "OMS_TEST_"
CONFIG_FILE: Final = "oms.toml"
ENV_FILE: Final = ".env"
#: Of a file of settings; one with every setting and its text has 60,000.
_FILE_BYTES_MAX: Final = 2**20
#: Characters of a refused value that an error shows.
_SAID_MAX: Final = 200
#: In the name of what an address carries and nobody else may read.
_SECRET: Final = re.compile(r"pass|pwd|secret|token|api.?key|auth|credential|signature", re.I)


@dataclass(frozen=True, slots=True)
class Unit:
    """What one of a setting's numbers counts."""

    name: str


def _split(value: object) -> object:
    """Let a person write `a, b` where a program writes a list."""
    if isinstance(value, str):
        parts = tuple(part.strip() for part in value.split(",") if part.strip())
        if value and not parts:
            # Empty can mean all: a slip of the hand must not.
            raise ValueError("it names nothing; leave it out, or name one")
        return parts
    return value


def _upper(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


def _known_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ValueError, KeyError, OSError) as error:
        raise ValueError(f"no IANA time zone is called {name!r}") from error
    return name


def _reset_window(text: str) -> str:
    parse_window(text)
    return text


def _database_file(value: str) -> Path:
    """Return the path of a database; raises ValueError where something else is there, which SQLite
    would wait for (a pipe), or where nothing can be (a loop of links).
    """
    try:
        path = Path(value).expanduser()
        is_file = stat.S_ISREG(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return path  # opening makes it, or says why it cannot
    except (OSError, RuntimeError) as error:  # too long a name, an unknown user
        raise ValueError(f"no file can have this path: {error.__class__.__name__}") from error
    if not is_file:
        raise ValueError("it must be the path of a file")
    return path


def _durable_url(value: str) -> str:
    """Accept a database URL or the path of an SQLite file; refuse a log that would not last."""
    if "://" not in value:
        if ":memory:" in value:
            raise ValueError("a log in memory is lost with the process")
        if not value.strip():
            raise ValueError("it must be the path of a file")
        if re.match(r"postgres|.*password\s*=", value, re.IGNORECASE):
            # As a path it would be a new, empty log, named after the password.
            raise ValueError(
                "it looks like an address of PostgreSQL, and is none: write"
                " postgresql://USER:PASSWORD@HOST/NAME, or ./NAME for a file of that name"
            )
        return f"sqlite:///{_database_file(value)}"
    scheme, rest = value.split("://", 1)
    if scheme.split("+")[0] == "sqlite" and rest.strip("/"):
        _database_file(rest.partition("?")[0].removeprefix("/"))
    if scheme.split("+")[0] not in {"sqlite", "postgresql"}:
        raise ValueError(f"{scheme!r} is not supported; use sqlite or postgresql")
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError as error:
        raise ValueError("the port must be a number from 1 to 65535") from error
    if port == 0:
        raise ValueError("the port must be a number from 1 to 65535")
    if parts.netloc.count("@") > 1:
        # The driver would take the rest of the password for the host, and show it.
        raise ValueError("a password with an @ in it must be written with %40 instead")
    if scheme.startswith("sqlite") and (not rest.lstrip("/") or ":memory:" in rest):
        raise ValueError("a log in memory is lost with the process")
    return value


def _limit(value: object) -> object:
    """Let a limit be written as a number, or as a text with exceptions."""
    match value:
        case str():
            return Scoped.read(value)
        case Decimal() | int() if not isinstance(value, bool):
            return Scoped.read(str(value))
        case None:
            return Scoped()
        case _:
            return value


Seconds = Annotated[float, Unit("seconds")]
Delays = Annotated[
    tuple[Annotated[float, Field(ge=0.1, le=300)], ...], BeforeValidator(_split), Unit("seconds")
]
Names = Annotated[tuple[str, ...], BeforeValidator(_split)]
Windows = Annotated[
    tuple[Annotated[str, AfterValidator(_reset_window)], ...], BeforeValidator(_split)
]
#: What can be shown by the positions alone; `core.compare.drift` has the patterns.
Causes = Annotated[
    tuple[
        Literal["assignment", "exercise", "expiry", "split", "symbol_change", "transfer"],
        ...,
    ],
    BeforeValidator(_split),
]
Zone = Annotated[str, AfterValidator(_known_zone)]
DatabaseUrl = Annotated[str, AfterValidator(_durable_url)]
Limit = Annotated[Scoped, BeforeValidator(_limit)]
Amount = Annotated[Decimal, AfterValidator(ASKED_LIMIT.check)]
LogLevel = Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR"], BeforeValidator(_upper)]


class Settings(BaseSettings):
    """The settings of one daemon or one command; immutable once read."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        validate_default=True,
        hide_input_in_errors=True,
        env_prefix=ENV_PREFIX,
        env_ignore_empty=True,
        env_file_encoding="utf-8",
        # Lists are written with commas; the library would insist on JSON.
        enable_decoding=False,
    )

    # ── the gateway ──────────────────────────────────────────────────────────────────────────────

    host: str = Field(
        "127.0.0.1",
        min_length=1,
        description="Where TWS or IB Gateway listens. The API has neither encryption nor a "
        "password, so it belongs on this host or behind a tunnel.",
    )
    port: int = Field(
        4002,
        ge=1,
        le=65535,
        description="The gateway's API port: 4002 paper Gateway, 4001 live Gateway, 7497 paper "
        "TWS, 7496 live TWS.",
    )
    client_id: int = Field(
        1,
        ge=0,
        le=2**31 - 1,
        description="Our number at the gateway. Fixed, because IB attributes orders to it. 0 also "
        "binds the orders that a person enters in TWS, so that they can be changed and cancelled; "
        "IB may send an order anew when it binds it, which loses its place in the queue.",
    )
    mode: Literal["paper", "live"] = Field(
        "paper",
        description="What kind of account may be traded. A live account under `paper` is refused "
        "before anything is asked or sent.",
    )
    accounts: Names = Field(
        (),
        description="Accounts to serve, separated by commas; empty means every account that the "
        "gateway manages.",
    )
    day_zone: Zone = Field(
        "UTC",
        description="Time zone of a day in a question that names none (IANA name): with "
        "Europe/Berlin, `--since 2026-06-01` begins at midnight in Berlin.",
    )
    gateway_zone: Zone = Field(
        "America/New_York",
        description="Time zone set in the gateway's login window (IANA name). It gives meaning to "
        "times that IB sends without a zone, and IB forgets the day's executions at its midnight.",
    )
    connect_timeout_seconds: Seconds = Field(
        10,
        ge=1,
        le=120,
        description="Longest wait for the handshake. A gateway that shows a dialog accepts the "
        "connection and then says nothing.",
    )
    probe_interval_seconds: Seconds = Field(
        15,
        ge=1,
        le=300,
        description="Time without an answer after which the gateway is asked for its clock. "
        "Messages that come by themselves are no answer, and TCP does not notice a half-open line "
        "for hours.",
    )
    probe_timeout_seconds: Seconds = Field(
        5,
        ge=0.1,
        le=60,
        description="Longest wait for the answer to that question before the line counts as lost; "
        "up to twelve times as long while other messages come, since it may be behind them.",
    )
    reconnect_delays_seconds: Delays = Field(
        (1, 2, 4, 8, 16),
        min_length=1,
        max_length=20,
        description="Waits before each new attempt to connect, each 0.1 to 300; the last one "
        "repeats.",
    )
    reconnect_jitter_fraction: Annotated[float, Unit("fraction of the delay")] = Field(
        0.2,
        ge=0,
        le=1,
        description="How much of each delay is random, so that several clients do not storm a "
        "gateway that has just come back.",
    )
    messages_per_second_max: Annotated[int, Unit("messages a second")] = Field(
        40,
        ge=1,
        le=10_000,
        description="Pace of all that we send, orders and questions alike; orders go first. IB "
        "allows half the number of market data lines, 50 for the usual hundred, refuses what is "
        "more (code 100), and ends the session at the third time.",
    )
    account_refresh_seconds: Seconds = Field(
        180,
        ge=0,
        le=86_400,
        description="How often IB is asked for the figures of each account (cash, margin, marks of "
        "holdings), of which the log keeps what changes; IB itself renews them every 3 minutes. 0 "
        "turns it off: then they are as old as the last reconciliation.",
    )
    request_timeout_seconds: Seconds = Field(
        20,
        ge=1,
        le=600,
        description="Longest wait for the whole answer to one question of a reconciliation; later "
        "it is `timed_out`, which is not an empty answer.",
    )

    market_type: Literal["live", "frozen", "delayed", "delayed_frozen"] = Field(
        "live",
        description="Which quotes to ask IB for. Live ones need a subscription to the exchange's "
        "data; delayed ones are free.",
    )
    market_lines_max: Annotated[int, Unit("lines")] = Field(
        100,
        ge=1,
        le=10_000,
        description="Contracts whose market is followed at a time. IB gives an account 100 lines "
        "at first, and what TWS itself shows takes from the same 100.",
    )

    # ── the log ──────────────────────────────────────────────────────────────────────────────────

    database_url: DatabaseUrl = Field(
        "sqlite:///oms.sqlite",
        description="Where the log lives: the path of an SQLite file, or an SQLAlchemy URL of "
        "SQLite or PostgreSQL.",
    )
    queue_length_max: Annotated[int, Unit("events")] = Field(
        100_000,
        ge=1_000,
        le=1_000_000,
        description="Events that may wait for the disk. A full queue stops trading; it never drops "
        "an event. The default holds the busiest minute that we have measured.",
    )
    batch_rows_max: Annotated[int, Unit("events")] = Field(
        2_000,
        ge=1,
        le=10_000,
        description="Events in one transaction at most: more is faster, and makes the first of "
        "them wait longer.",
    )
    resident_records_max: Annotated[int, Unit("records")] = Field(
        5_000,
        ge=100,
        le=10_000_000,
        description="Ended orders and fills kept in memory; older ones are read back from their "
        "projection rows when a late message names them.",
    )
    poll_interval_seconds: Seconds = Field(
        0.05,
        ge=0.005,
        le=5,
        description="How often the daemon looks for requests that a shell has appended.",
    )
    database_lock_seconds_max: Seconds = Field(
        300,
        ge=1,
        le=86_400,
        description="How long another program (a backup, a database browser) may hold the database "
        "before the daemon gives up and ends. Meanwhile nothing leaves, new orders are refused "
        "after 10 seconds, and what IB says waits in memory, up to `queue_length_max`.",
    )
    disk_free_megabytes_min: Annotated[int, Unit("megabytes")] = Field(
        256,
        ge=0,
        le=1_000_000,
        description="Space on the disk of an SQLite log below which new orders are refused and an "
        "alarm is raised, so that cancels and fills can still be written. Below 4 the daemon "
        "stops. 0 turns it off.",
    )
    recheck_interval_seconds: Seconds = Field(
        900,
        ge=0,
        le=604_800,
        description="Time between two checks of the whole database beside the running daemon: "
        "pages, indexes, triggers, rows and the hash of every event. Where one fails, new orders "
        "are refused and an alarm is raised. 0 checks once after each start.",
    )
    lease_seconds: Seconds = Field(
        10,
        ge=2,
        le=300,
        description="Age of a heartbeat after which another daemon may take over this account and "
        "client id.",
    )

    # ── orders ───────────────────────────────────────────────────────────────────────────────────

    order_quantity_max: Annotated[Limit, Unit("units of the contract")] = Field(
        Scoped(),
        description="Largest quantity of one order; larger ones are denied. Exceptions are written"
        " after it: `100, symbol:AAPL=200, sec_type:FUT=5`; scopes are con_id, symbol, account,"
        " sec_type and currency, and the first of them that fits counts. Empty means no limit.",
    )
    order_notional_max: Annotated[Limit, Unit("currency of the contract")] = Field(
        Scoped(),
        description="Largest value of one order, multiplier included; larger ones, and those that"
        " cannot be valued, are denied. Exceptions as above: `50000, currency:JPY=7000000`. Empty"
        " means no limit.",
    )
    order_collar_percent: Annotated[Limit, Unit("percent of the market's price")] = Field(
        Scoped(),
        description="How far beyond the market a limit may be (above it to buy, below it to sell),"
        " and a stop on its wrong side; farther ones are denied as slips of the hand. Exceptions as"
        " above. Empty means no collar, and no quotes are asked for.",
    )
    order_collar_without_quote: Literal["refuse", "pass"] = Field(
        "refuse",
        description="What a collar does with an order whose market shows no price: there is no "
        "subscription, or no trade yet.",
    )
    order_age_seconds_max: Seconds = Field(
        300,
        ge=1,
        le=86_400,
        description="Age above which a new order or a change no longer leaves, counted from the "
        "call or the request's take-up, the sleep of the machine included: it ends NOT_SENT, and a "
        "person sends it again. The default lets a full queue leave at the default pace. The wait "
        "for the database alone may take no longer than `request_age_seconds_max`.",
    )
    order_quote_wait_seconds: Seconds = Field(
        2,
        ge=0.05,
        le=30,
        description="Longest wait for the first price of a contract, where a collar or the value"
        " of an order needs one; the stream stays, so only a contract's first order waits.",
    )
    orders_per_minute_max: Annotated[int | None, Unit("orders in 60 seconds")] = Field(
        None,
        ge=1,
        le=3_000,
        description="Orders of the whole daemon in any minute; more are denied, also across "
        "restarts. It stops a strategy that runs wild. Empty means no limit.",
    )
    open_orders_max: Annotated[Limit, Unit("orders")] = Field(
        Scoped(),
        description="Orders at work in one contract of one account at a time, the new one included;"
        " more are denied. IB takes 15 a side. Exceptions as above. Empty means no limit.",
    )
    order_duplicate_seconds: Seconds = Field(
        0,
        ge=0,
        le=3600,
        description="How long after an order an equal one (account, side, contract, quantity, type "
        "and prices) is denied as a mistake, also across restarts; 0 turns it off.",
    )
    order_exposure: Literal["off", "warn", "refuse"] = Field(
        "off",
        description="What becomes of an order that, together with all that may still fill, could "
        "open or enlarge a short position or take a holding through zero: it leaves, it leaves "
        "with a warning in the log, or it is denied. A closing order is always denied then.",
    )
    order_contracts: Names = Field(
        (),
        description="Contracts that may be ordered, as symbols or con ids, separated by commas;"
        " empty means all.",
    )
    order_sec_types: Names = Field(
        (),
        description="Asset classes that may be ordered, in IB's words: STK, OPT, FUT, FOP, CASH,"
        " BAG; empty means all.",
    )
    request_age_seconds_max: Seconds = Field(
        30,
        ge=1,
        le=3600,
        description="A shell's request older than this is denied. A new order whose intent took "
        "longer than this to become durable, because the database was held or away, is not sent. "
        "Whoever asked has stopped waiting, and the market has moved.",
    )

    # ── recovery and reconciliation ──────────────────────────────────────────────────────────────

    acknowledgement_seconds_max: Seconds = Field(
        20,
        ge=0.1,
        le=3600,
        description="How long IB may say nothing at all about an order that left before the order "
        "counts as in doubt and the broker is asked.",
    )
    doubt_settle_seconds: Seconds = Field(
        10,
        ge=0,
        le=3600,
        description="How long after sending the broker's silence about an order is no evidence "
        "yet: the order may still be on its way.",
    )
    notice_settle_seconds: Seconds = Field(
        3,
        ge=0.1,
        le=3600,
        description="How long after a message of IB that leaves an order unsettled (a code that no "
        "table knows, a modify that failed because the order may have ended) the broker is asked "
        "about it, unless its own news settles it first.",
    )
    position_settle_seconds: Seconds = Field(
        3,
        ge=0,
        le=300,
        description="How long IB's positions and balances may lag an execution: a difference "
        "within that time is looked at again before it counts.",
    )
    commission_settle_seconds: Seconds = Field(
        120,
        ge=0,
        le=86_400,
        description="How old a fill must be before a commission that never came is a break: "
        "reports come after their execution.",
    )
    adjust_causes: Causes = Field(
        (),
        description="Causes of a position difference (assignment, exercise, expiry, split, "
        "symbol_change, transfer) that are booked without a person where evidence names them.",
    )
    break_notional_max: Annotated[Amount | None, Unit("currency of the contract")] = Field(
        None,
        ge=0,
        description="Value of a break above which closing or adjusting it takes a second person. A "
        "break that cannot be valued takes one too. Empty means that one person is enough.",
    )
    reconcile_interval_seconds: Seconds = Field(
        900,
        ge=0,
        le=86_400,
        description="Time between periodic reconciliations; 0 turns them off. Those at start and "
        "after each reconnect always run.",
    )
    glance_interval_seconds: Seconds = Field(
        60,
        ge=0,
        le=3600,
        description="Time between a comparison and the quick check after it, which asks for open "
        "orders and positions only and calls for a full one where they differ; 0 turns them off.",
    )
    midnight_lead_seconds: Seconds = Field(
        300,
        ge=0,
        le=3600,
        description="How long before midnight in `gateway_zone`, or before a reset that lies over "
        "it, the books are compared: IB forgets the day's executions then. 0 turns it off.",
    )
    doubt_retry_seconds_max: Seconds = Field(
        300,
        ge=1,
        le=3600,
        description="Longest wait before orders in doubt are asked about again. The first wait is "
        "`doubt_settle_seconds`, and each next one twice as long.",
    )
    reset_region: Region = Field(
        "north_america",
        description="Which of IB's data centres serves the account, for the hours of its daily "
        "and weekly reset: an outage inside them is expected and no alarm.",
    )
    reset_windows: Windows = Field(
        (),
        description="Hours of the reset instead of the region's, separated by commas, each like "
        "`Sun-Fri 00:15-01:45 America/New_York`.",
    )
    # ── the watchman ─────────────────────────────────────────────────────────────────────────────

    watch_interval_seconds: Seconds = Field(
        5,
        ge=0.05,
        le=300,
        description="How often the watchman looks for what has lasted too long.",
    )
    clock_check_seconds: Seconds = Field(
        600,
        ge=1,
        le=86_400,
        description="How often the gateway's clock is read, by up to seven questions over as many "
        "seconds; it is also read at the start of each session. A reading is written down where it "
        "says something new, and every half hour.",
    )
    alarm_order_silence_seconds: Seconds = Field(
        30,
        ge=0,
        le=86400,
        description="Longest silence of IB about an order that waits for its answer (sent, "
        "cancelled, changed, in doubt) before an alarm; 0 turns it off.",
    )
    alarm_order_waiting_seconds: Seconds = Field(
        86400,
        ge=0,
        le=2592000,
        description="How long IB may show an order without a trigger of its own as PreSubmitted "
        "before an alarm; the default lets an order wait for the next day's opening. "
        "0 turns it off.",
    )
    alarm_clock_drift_seconds: Seconds = Field(
        2,
        ge=0,
        le=3600,
        description="How far the gateway's clock may be from ours before an alarm: times in the "
        "log and the limits of days depend on it, and below 1 the measurement is too "
        "coarse. 0 turns it off.",
    )
    alarm_outage_seconds: Seconds = Field(
        120,
        ge=0,
        le=86400,
        description="How long the line to IB may be down before an alarm; where it went down "
        "during a reset, counted from the end of the reset. 0 turns it off.",
    )
    alarm_recovery_seconds: Seconds = Field(
        120,
        ge=0,
        le=86400,
        description="How long after a gap a whole comparison may be missing before an alarm: "
        "until then it is not known what happened in the gap. 0 turns it off.",
    )
    alarm_price_age_seconds: Seconds = Field(
        900,
        ge=0,
        le=86400,
        description="Age of the price behind a position's profit and loss above which an alarm "
        "says so; more than `account_refresh_seconds`. 0 turns it off.",
    )
    alarm_foreign_orders: bool = Field(
        True,
        description="Whether an order at work that we did not send is an alarm.",
    )
    alarm_foreign_accounts: Names = Field(
        (),
        description="Accounts in which such an order is an alarm, separated by commas; empty means "
        "all of them.",
    )

    # ── statements and reports ───────────────────────────────────────────────────────────────────

    flex_token: SecretStr = Field(
        SecretStr(""),
        description="Token of IB's Flex web service, for `oms statement fetch`; a credential that "
        "reads the account. Empty means that statements are downloaded by hand.",
    )
    flex_query: str = Field(
        "",
        pattern=r"^\d{0,12}$",
        description="Number of the activity Flex query whose statement is fetched.",
    )
    flex_url: str = Field(
        "https://ndcdyn.interactivebrokers.com/AccountManagement/FlexWebService",
        min_length=8,
        description="Where IB's Flex web service answers. The token goes to this host on any port, "
        "and over https to IB's own hosts, where IB's answer names one of them.",
    )
    report_directory: Path = Field(
        Path("reports"),
        description="Where HTML copies of reconciliation reports are written.",
    )

    # ── evidence ─────────────────────────────────────────────────────────────────────────────────

    signing_key_file: Path | None = Field(
        None,
        description="Key that signs checkpoints of the log, made by `oms key new`; a secret. Empty "
        "means that nothing is signed.",
    )
    checkpoint_file: Path | None = Field(
        None,
        description="Where signed checkpoints are appended; best on another disk or machine. Empty "
        "means beside the SQLite database.",
    )
    checkpoint_command: str = Field(
        "",
        description="A command that gets each signed checkpoint on its standard input, such as one "
        "that mails it. Empty means none.",
    )
    checkpoint_timestamp_url: str = Field(
        "",
        pattern=r"^(https?://\S+)?$",
        description="Time stamp authority (RFC 3161) that stamps each signed checkpoint. It gets a"
        " hash, no content. Empty means none.",
    )
    checkpoint_events: Annotated[int, Unit("events")] = Field(
        10_000, ge=1, le=1_000_000, description="After so many events a checkpoint is signed."
    )
    checkpoint_seconds: Seconds = Field(
        3_600,
        ge=1,
        le=86_400,
        description="After so long a checkpoint is signed, where there is anything new.",
    )

    # ── telemetry ────────────────────────────────────────────────────────────────────────────────

    log_level: Annotated[
        LogLevel, BeforeValidator(lambda v: v.upper() if isinstance(v, str) else v)
    ] = Field("INFO", description="Least severe program message that is written to stderr.")
    log_format: Literal["auto", "console", "json"] = Field(
        "auto",
        description="`console` for people, `json` for programs; `auto` is console on a terminal.",
    )
    metrics_host: str = Field(
        "127.0.0.1",
        min_length=1,
        description="Address on which metrics are served. They tell about accounts, so the default "
        "is this machine only.",
    )
    metrics_port: int = Field(
        0, ge=0, le=65535, description="Port on which Prometheus reads metrics; 0 turns it off."
    )

    # ── the service for other programs ───────────────────────────────────────────────────────────

    api: bool = Field(
        True, description="Whether `oms run` answers other programs: strategies, shells, notebooks."
    )
    api_host: str = Field(
        "127.0.0.1",
        min_length=1,
        description="Address on which it answers. Tokens travel as they are, so other machines"
        " belong behind a tunnel or a proxy with TLS.",
    )
    api_port: int = Field(
        0, ge=0, le=65535, description="Port on which it answers; 0 takes a free one."
    )
    api_requests_per_minute_max: Annotated[int | None, Unit("requests in 60 seconds")] = Field(
        1_200, ge=1, description="How often each token may ask; none means no bound."
    )

    # ── who may read the pages and the metrics ───────────────────────────────────────────────────

    web_password: SecretStr = Field(
        SecretStr(""),
        description="Password of `oms web` and of the daemon's metrics (HTTP Basic, any user name)."
        " Needed, with 12 characters or more, on an address that other machines reach; empty means"
        " none on this machine.",
    )
    web_hosts: Names = Field(
        (),
        description="More names under which the pages and metrics may be asked for, separated by"
        " commas; else the address that is served and the names of this machine.",
    )

    #: Where each value came from; what is not here is a default.
    _sources: dict[str, str] = PrivateAttr(default_factory=dict)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read nothing but the arguments here; `load` merges the sources and remembers which."""
        return (init_settings,)

    def describe(self) -> tuple[SettingRow, ...]:
        """Return one row a setting, for `oms settings`; passwords are masked, and what stands after
        the program in a command.
        """
        return tuple(
            SettingRow(
                name=name,
                env=env_name(name),
                default=_shown(field.default),
                value=_shown_of(name, getattr(self, name)),
                source=self._sources.get(name, "default"),
                unit=_unit(field),
                bounds=_bounds(field),
                description=field.description or "",
            )
            for name, field in type(self).model_fields.items()
        )


@dataclass(frozen=True, slots=True)
class SettingRow:
    """One setting as a person reads it; every value is text."""

    name: str
    env: str
    default: str
    value: str
    #: `default`, `argument`, or the variable and file that said it.
    source: str
    unit: str
    bounds: str
    description: str


def load(
    *,
    directory: Path | None = None,
    environment: Mapping[str, str] | None = None,
    **arguments: object,
) -> Settings:
    """Return the settings, merged from all sources; an argument that is None counts as not given.

    `directory` stands in for the working directory and `environment` for the process's own. Raises
    `ConfigurationError` naming the setting, the value, what is allowed and where it was said.
    """
    directory = directory if directory is not None else Path()
    given = {name: value for name, value in arguments.items() if value is not None}
    variables = _variables(environment)
    dotenv = _dotenv(directory / ENV_FILE)
    file = _config_file(directory, variables, dotenv)
    # Lowest priority first, so that the later ones write over it.
    layers = (
        _from_file(file) if file is not None else {},
        _from_variables(dotenv, f"{ENV_FILE}: "),
        _from_variables(variables, ""),
        {name: (value, "argument") for name, value in given.items()},
    )
    merged: dict[str, tuple[object, str]] = {}
    for layer in layers:
        merged |= layer
    for name, (_, source) in merged.items():
        if name not in Settings.model_fields:
            _refuse_unknown(name, source)
    try:
        settings = Settings(**{name: value for name, (value, _) in merged.items()})  # type: ignore[arg-type]
    except ValidationError as error:
        raise _explained(error, merged) from error
    settings._sources.update({name: source for name, (_, source) in merged.items()})
    return settings


def duration_of(seconds: float) -> timedelta | None:
    """Return what a setting in seconds says, None where 0 turns off what it is about."""
    return timedelta(seconds=seconds) if seconds else None


def env_name(name: str) -> str:
    """Return the environment variable of a setting."""
    return ENV_PREFIX + name.upper()


def _variables(environment: Mapping[str, str] | None) -> Mapping[str, str | None]:
    if environment is None:
        return EnvSettingsSource(Settings).env_vars
    return {name.lower(): value for name, value in environment.items() if value}


def _config_file(directory: Path, *variables: Mapping[str, str | None]) -> Path | None:
    for mapping in variables:
        named = mapping.get(CONFIG_VARIABLE.lower())
        if named:
            name = f"{CONFIG_VARIABLE} names {_said(named)}, which"
            try:
                path = directory / Path(named).expanduser()
            except RuntimeError as error:  # ~ of nobody
                raise ConfigurationError(f"{name} cannot be found: {error}") from error
            if not _is_there(path, name):
                raise ConfigurationError(f"{name} is not a file")
            return path
    path = directory / CONFIG_FILE
    return path if _is_there(path, CONFIG_FILE) else None


def _is_there(path: Path, name: str) -> bool:
    """Say whether there is a file of settings; raises `ConfigurationError` for what is none, which
    is not passed over: whoever put it there means it.
    """
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{name} cannot be read: {_reason(error)}") from error
    if not stat.S_ISREG(found.st_mode):
        raise ConfigurationError(
            f"{name} is not a file", hint="put the settings into a file, or rename what is there"
        )
    if found.st_size > _FILE_BYTES_MAX:
        raise ConfigurationError(
            f"{name} is no file of settings: it has {found.st_size:,} bytes, at most"
            f" {_FILE_BYTES_MAX:,} are read"
        )
    return True


def _dotenv(path: Path) -> Mapping[str, str | None]:
    # Many a folder of this name is a virtual environment.
    if path.is_dir() or not _is_there(path, ENV_FILE):
        return {}
    try:
        return DotEnvSettingsSource(Settings, env_file=path).env_vars
    except (ValueError, OSError) as error:
        raise ConfigurationError(f"{ENV_FILE} cannot be read: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    return (isinstance(error, OSError) and error.strerror) or str(error)


def _from_file(path: Path) -> dict[str, tuple[object, str]]:
    try:
        # Numbers of money must not pass through float on their way in.
        table = tomllib.loads(path.read_text(encoding="utf-8"), parse_float=Decimal)
    # An integer of more than 4,300 digits is a plain ValueError.
    except (ValueError, RecursionError, OSError) as error:
        raise ConfigurationError(f"{path.name} cannot be read: {error}") from error
    for name, value in table.items():
        _check_numbers(f"{name} = {_said(value)} cannot be used (from {path.name})", value)
    return {name: (value, f"{path.name}: {name}") for name, value in table.items()}


def _check_numbers(what: str, value: object) -> None:
    """Raise `ConfigurationError` for a number that no setting has, before it is calculated with:
    1e9999999999 as an integer would be written out.
    """
    if isinstance(value, list):
        for part in value:
            _check_numbers(what, part)
    elif isinstance(value, Decimal):
        try:
            ASKED_LIMIT.check(value)
        except ValueError as error:
            raise ConfigurationError(f"{what}: it {error}") from error


def _from_variables(
    variables: Mapping[str, str | None], prefix: str
) -> dict[str, tuple[object, str]]:
    return {
        name.removeprefix(ENV_PREFIX.lower()): (value, f"{prefix}{name.upper()}")
        for name, value in variables.items()
        if name.startswith(ENV_PREFIX.lower())
        and not name.startswith(TEST_PREFIX.lower())
        and name != CONFIG_VARIABLE.lower()
        and value
    }


def _refuse_unknown(name: str, source: str) -> NoReturn:
    close = difflib.get_close_matches(name, Settings.model_fields, n=1, cutoff=0.6)
    meant = f"; did you mean {close[0]} ({env_name(close[0])})?" if close else ""
    raise ConfigurationError(f"{name} is not a setting (from {source}){meant}")


def _explained(
    error: ValidationError, merged: Mapping[str, tuple[object, str]]
) -> ConfigurationError:
    sentences = []
    for problem in error.errors(include_url=False):
        name = str(problem["loc"][0])
        value, source = merged[name]
        bounds = _bounds(Settings.model_fields[name])
        reason = str(problem["msg"]).removeprefix("Value error, ")
        allowed = f"; allowed: {bounds}" if bounds else ""
        sentences.append(
            f"{name} = {_said(value)} cannot be used: {reason[:1].lower()}{reason[1:]}"
            f" (from {source}{allowed})"
        )
    return ConfigurationError("\n".join(sentences))


def _said(value: object) -> str:
    """Return a value that is refused, in a length that fits an error."""
    text = masked(value) if isinstance(value, str) else brief(value)
    return text if len(text) <= _SAID_MAX else f"{text[:_SAID_MAX]}... ({len(text):,} characters)"


def _shown_of(name: str, value: object) -> str:
    """Return a setting's value as people read it. A command line can carry a password where nobody
    can tell it from the rest: of it only the program is shown, and by what a change shows.
    """
    if not name.endswith("_command") or len(words := str(value).split(None, 1)) < 2:
        return _shown(value)
    return f"{words[0]} (sha256 {sha256(str(value).encode()).hexdigest()[:16]})"


def _shown(value: object) -> str:
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case Decimal():
            return plain(value) if value.is_finite() else str(value)
        case float():
            return f"{value:g}"
        case tuple() | list():
            return ", ".join(_shown(part) for part in value)
        case _:
            return masked(str(value))


def masked(text: str) -> str:
    """Return text that may hold an address of a database, without the passwords in it."""
    # Up to the last @: a password may hold one that was not written as %40.
    text = re.sub(r"((?:://|postgres\w*[:/]+)[^:/@\s]*):[^\s]*@", r"\1:***@", text)
    if "@" not in text:
        # The host was forgotten: what stands in the place of a port is the password.
        text = re.sub(r"(://[^:/\s\[]*):(?!\d{1,5}(?:[/?\s]|$))[^/?\s]*", r"\1:***", text)
    # The driver takes a password, and that of a key, among the options of the address as well, and
    # reads %77 in their names.
    return re.sub(r"([^?&=\s]+)(\s*=\s*)([^&\s]*)", _without_password, text)


def _without_password(option: re.Match[str]) -> str:
    name, sign, value = option.groups()
    return name + sign + ("***" if _SECRET.search(unquote(name)) else value)


def _unit(field: FieldInfo) -> str:
    return next((part.name for part in field.metadata if isinstance(part, Unit)), "")


def _bounds(field: FieldInfo) -> str:
    choices = _choices(field.annotation)
    if choices:
        return " | ".join(choices)
    if field.annotation is Scoped:
        return "each more than 0"
    low = high = ""
    for part in field.metadata:
        match part:
            case annotated_types.Ge(ge=bound):
                low = f"{bound} or more"
            case annotated_types.Gt(gt=bound):
                low = f"more than {bound}"
            case annotated_types.Le(le=bound):
                high = f"{bound} or less"
            case _:
                pass
    if low.endswith(" or more") and high:
        return f"{low.removesuffix(' or more')} to {high.removesuffix(' or less')}"
    return " and ".join(part for part in (low, high) if part)


def _choices(annotation: Any) -> tuple[str, ...]:
    return tuple(part for part in get_args(annotation) if isinstance(part, str))
