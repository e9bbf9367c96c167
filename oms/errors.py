"""Every error that a caller or an operator can meet, in one tree.

    OmsError
    ├─ ConfigurationError            exit 2
    │  ├─ InvalidRequest             exit 2   the caller's own words are off: quantity, price ...
    │  │  └─ InvalidValue            exit 2   a contract or terms that no order can have
    │  ├─ StatementUnreadable        exit 2   not a Flex statement, or not of our accounts
    │  ├─ LiveAccountRefused         exit 2
    │  └─ MigrationNeeded            exit 2
    ├─ StoreError                    exit 1
    │  ├─ StoreUnavailable           exit 1   read-only, full or gone
    │  │  ├─ StoreLocked             exit 1   another program holds the database
    │  │  └─ StoreCutOff             exit 1   the database server does not answer
    │  ├─ ArchiveUnavailable         exit 1   it has texts of old events; all else goes on
    │  ├─ LeaseHeld                  exit 1   another daemon owns this account and client id
    │  ├─ LeaseLost                  exit 1   another daemon took over while we were not looking
    │  ├─ UnknownEventType           exit 4
    │  ├─ ChainBroken                exit 4
    │  │  └─ LogWentBack             exit 4   events that were in the log are not in it any more
    │  └─ DatabaseDamaged            exit 4   the log may be whole, the rest of the file is not
    ├─ BrokerError                   exit 1
    │  ├─ IBConnectionError          exit 5   nothing listens, or the line is down
    │  │  ├─ ClientIdInUse           exit 5
    │  │  └─ GatewayTooOld           exit 5
    │  ├─ ContractUnknown            exit 1
    │  ├─ ContractAmbiguous          exit 1
    │  ├─ MarketLinesExhausted       exit 1   so many quotes at a time, and no more
    │  ├─ IBOrderRejectError         exit 1   definitive; IB's code and text are kept
    │  └─ OutcomeUnknown             exit 6   ambiguous; the order is IN_DOUBT
    ├─ OrderDeniedError              exit 1   refused by our own checks, nothing was sent
    ├─ TradingHalted                 exit 1
    ├─ AccessRefused                 exit 1   a token that is not known, or none
    │  └─ RightMissing               exit 1   the token may not do that
    ├─ TooManyRequests               exit 1   more within a minute than the settings let pass
    ├─ CaseRefused                   exit 1   a break cannot be treated like that, nothing was done
    ├─ DaemonNotRunning              exit 1
    ├─ RequestTimedOut               exit 6
    ├─ NotFound                      exit 1   no such order, fill, break or report
    ├─ ExportFailed                  exit 1   the disk is full, or does not keep what is written
    └─ InvariantBroken               exit 1   a bug of ours; never caught below the daemon

The class docstring is the message when none is given. `hint` says what the operator should do next,
`transient` whether the same call can succeed later without a change, `exit_code` what the command
line returns. A refusal by rule inside the order manager is a value, the event `OrderDenied`;
`OrderDeniedError` is what it is raised as.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, ClassVar, Final

#: Said where a program still uses the exception's old name.
ORDER_DENIED_RENAMED: Final = "the exception OrderDenied is called OrderDeniedError now"


class OmsError(Exception):
    """Something went wrong in the order management subsystem."""

    exit_code: ClassVar[int] = 1
    transient: ClassVar[bool] = False
    default_hint: ClassVar[str] = ""

    def __init__(self, message: str | None = None, *, hint: str | None = None) -> None:
        self.message = message if message is not None else (type(self).__doc__ or "").strip()
        self.hint = hint if hint is not None else self.default_hint
        super().__init__(self.message)


class ConfigurationError(OmsError):
    """A setting or an argument cannot be used."""

    exit_code = 2
    default_hint = "`oms settings` lists every setting with its value, unit and bounds"


class InvalidRequest(ConfigurationError):
    """The request cannot be understood as an order."""

    default_hint = "nothing was sent and nothing was written; correct the value and repeat"


class InvalidValue(InvalidRequest, ValueError):
    """A value that a contract or an order cannot have."""


class StatementUnreadable(ConfigurationError):
    """The file is not a statement that can be compared."""

    default_hint = "nothing was written; docs/operating/statement-check.md lists what it must hold"


class LiveAccountRefused(ConfigurationError):
    """The gateway serves a live account while the settings say paper."""

    default_hint = "connect to a paper gateway, or set OMS_MODE=live if you mean it"


class MigrationNeeded(ConfigurationError):
    """The database was written by another version of the program."""

    default_hint = "run `oms db upgrade`; it makes a backup copy first"


class StoreError(OmsError):
    """The log could not do what was asked."""


class StoreUnavailable(StoreError):
    """The log cannot be written."""

    transient = True
    default_hint = "no order leaves until it can; check disk space, permissions and other writers"


class StoreLocked(StoreUnavailable):
    """Another program holds the database."""

    default_hint = (
        "end the other program (a backup, a database browser), or wait until it is done, then try"
        " again"
    )


class StoreCutOff(StoreUnavailable):
    """The database server cannot be reached, or has cut the connection."""

    default_hint = "is PostgreSQL running at the address of OMS_DATABASE_URL?"


class ArchiveUnavailable(StoreError):
    """The archive that has texts of old events cannot be read."""

    transient = True
    default_hint = (
        "the daemon and all newer events go on without it; mount it there again, or link to where"
        " it is now (ln -s), then repeat; docs/operating/backup.md"
    )


class LeaseHeld(StoreError):
    """Another daemon already serves this account and client id."""

    default_hint = "stop the other daemon, or give this one a database of its own"


class LeaseLost(StoreError):
    """Another daemon took the lease over; this one must not write any more."""

    default_hint = "this daemon has stopped; the one named in the message owns the log"


class UnknownEventType(StoreError):
    """The log holds an event of a type or version that this program does not know."""

    exit_code = 4
    default_hint = "the log was written by a newer version; upgrade ib-oms"


class ChainBroken(StoreError):
    """The hash chain of the log does not hold."""

    exit_code = 4
    default_hint = "stop trading, keep the file as it is, and see docs/operating/chain-broken.md"

    def __init__(self, message: str | None = None, *, sequence: int = 0, hint: str | None = None):
        super().__init__(message, hint=hint)
        self.sequence = sequence


class LogWentBack(ChainBroken):
    """The database lacks events that were in the log."""

    default_hint = (
        "nothing is sent: put the newest database back, with its -wal file, or rename it together "
        "with its .head file; where it is lost, `oms run --accept-loss --reason TEXT` goes on with "
        "this one; docs/operating/restore.md"
    )


class DatabaseDamaged(StoreError):
    """The database is not what was written."""

    exit_code = 4
    default_hint = (
        "no order leaves; stop the daemon, copy the file, then `oms rebuild`: it makes again what"
        " follows from the log, and says what needs a backup; docs/operating/damaged.md"
    )


class BrokerError(OmsError):
    """The broker or the line to it failed."""


class IBConnectionError(BrokerError):
    """The gateway is not reachable."""

    exit_code = 5
    transient = True
    default_hint = "is TWS or IB Gateway running, is OMS_PORT its API port, is this host trusted?"


class ClientIdInUse(IBConnectionError):
    """The gateway refused the client id because another program uses it (326)."""

    default_hint = "stop the other program, or set OMS_CLIENT_ID to a free number"


class GatewayTooOld(IBConnectionError):
    """The gateway's protocol version is below what the OMS can speak."""

    transient = False
    default_hint = "upgrade TWS or IB Gateway; protocol 157 is the least, 176 is advised"


class ContractUnknown(BrokerError):
    """IB knows no contract of this description."""

    default_hint = "check symbol, exchange and currency"


class ContractAmbiguous(BrokerError):
    """More than one contract fits the description."""

    default_hint = "name the exchange, the currency or the con_id"


class MarketLinesExhausted(BrokerError):
    """Every market data line that the account has is in use."""

    default_hint = "end a subscription, or raise OMS_MARKET_LINES_MAX if IB gives you more"


class IBOrderRejectError(BrokerError):
    """IB rejected the order."""

    def __init__(self, message: str | None = None, *, code: int = 0, hint: str | None = None):
        super().__init__(message, hint=hint)
        self.code = code


class OutcomeUnknown(BrokerError):
    """The order may or may not be at the broker."""

    exit_code = 6
    default_hint = "never resend it; `oms order ID` shows the evidence, `oms reconcile` asks IB"


class OrderDeniedError(OmsError):
    """The order was refused by our own checks; nothing was sent."""


class TradingHalted(OmsError):
    """New orders are halted."""

    default_hint = "cancels still pass; `oms status` says who halted and why"


class AccessRefused(OmsError):
    """Nobody is let in without a token that the log knows."""

    default_hint = "nothing was done; `oms token new NAME --right RIGHT` gives a token"


class RightMissing(AccessRefused):
    """The right of a token does not reach so far."""

    default_hint = "nothing was done; `oms token new NAME --right RIGHT` gives another token"


class TooManyRequests(OmsError):
    """A program asks more often than it may."""

    transient = True


class CaseRefused(OmsError):
    """The break cannot be treated like that."""

    default_hint = "nothing was changed; `oms breaks BREAK` tells its story"


class DaemonNotRunning(OmsError):
    """No daemon is running on this database; nothing was written."""

    default_hint = "start one with `oms run` and repeat the command"


class RequestTimedOut(OmsError):
    """The daemon has the request, but its outcome did not arrive in time."""

    exit_code = 6
    default_hint = "the request stands; `oms order ID` shows what became of it"


class NotFound(OmsError):
    """There is no such record."""


class InvariantBroken(OmsError):
    """An invariant of the program does not hold; this is a bug."""

    default_hint = "keep the database file and report what you did"


if not TYPE_CHECKING:  # a type checker would believe every name of this module

    def __getattr__(name: str) -> type[OmsError]:
        """Return the exception that once shared its name with the event `OrderDenied`."""
        if name != "OrderDenied":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        warnings.warn(ORDER_DENIED_RENAMED, DeprecationWarning, stacklevel=2)
        return OrderDeniedError


class ExportFailed(OmsError):
    """An export could not be written."""

    default_hint = "free space on that disk, or name a place on another one, then repeat"
