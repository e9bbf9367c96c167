"""An event-sourced order management subsystem for Interactive Brokers.

    import oms

    async with oms.connect() as om:
        spy = await om.qualify(oms.Stock("SPY"))
        order = await om.submit(spy, oms.Limit("BUY", 100, "512.35"), order_id="my-key")
        await order.working(timeout=5)
        await order.modify(limit="512.40")
        await order.done()

`connect` uses the daemon that runs on the database, or runs the whole subsystem inside the caller's
process: the log, the session with the gateway, recovery and reconciliation. The names below are the
public ones; everything else can change.
"""

from __future__ import annotations

import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import ModuleType
from typing import TYPE_CHECKING

from oms._version import __version__

if TYPE_CHECKING:
    from oms.api.attached import Attached
    from oms.core.adapter import BrokerAdapter
    from oms.core.admit.groups import NewOrder
    from oms.core.contracts import (
        Combo,
        ComboLeg,
        Contract,
        Forex,
        Future,
        FuturesOption,
        Index,
        Leg,
        Option,
        Stock,
    )
    from oms.core.events import Terms, WhatIfReceived
    from oms.core.fold.records import Fill, Order, OrderState, Position
    from oms.core.order_types import (
        Limit,
        LimitOnClose,
        LimitOnOpen,
        Market,
        MarketOnClose,
        MarketOnOpen,
        Stop,
        StopLimit,
        TrailingStop,
        TrailingStopLimit,
    )
    from oms.errors import (
        IBConnectionError,
        IBOrderRejectError,
        OmsError,
        OrderDeniedError,
        OutcomeUnknown,
    )
    from oms.service.adapter import IBBrokerAdapter
    from oms.service.manager import OrderManager
    from oms.service.ticket import Ticket
    from oms.settings import Settings

__all__ = [
    "Attached",
    "BrokerAdapter",
    "Combo",
    "ComboLeg",
    "Contract",
    "Fill",
    "Forex",
    "Future",
    "FuturesOption",
    "IBBrokerAdapter",
    "IBConnectionError",
    "IBOrderRejectError",
    "Index",
    "Leg",
    "Limit",
    "LimitOnClose",
    "LimitOnOpen",
    "Market",
    "MarketOnClose",
    "MarketOnOpen",
    "NewOrder",
    "OmsError",
    "Option",
    "Order",
    "OrderDeniedError",
    "OrderManager",
    "OrderState",
    "OutcomeUnknown",
    "Position",
    "Stock",
    "Stop",
    "StopLimit",
    "Terms",
    "Ticket",
    "TrailingStop",
    "TrailingStopLimit",
    "WhatIfReceived",
    "__version__",
    "connect",
]


@asynccontextmanager
async def connect(
    settings: Settings | None = None,
    *,
    strategy: str = "python",
    wait_seconds: float = 60.0,
    attach: bool | None = None,
) -> AsyncIterator[OrderManager | Attached]:
    """Give the orders of the daemon that runs on the database, or run the whole subsystem in this
    process where none does; both take the same calls, once orders may leave.

    `attach=True` insists on a daemon, `attach=False` on none. Settings come from the environment,
    `.env` and `oms.toml` where none are given. Raises `InvalidRequest` for an argument that is
    none, `IBConnectionError` when no gateway answered whole within `wait_seconds`,
    `DaemonNotRunning` where one is insisted on, and `LeaseHeld` where a daemon is there and either
    it or the caller wants no company.
    """
    # Imported late: a program that only reads the log should not load ib_async.
    from oms.core.asked import check, check_actor
    from oms.settings import Settings, load

    check("settings", settings, Settings | None)
    check_actor("strategy", strategy)
    check("wait_seconds", wait_seconds, float)
    check("attach", attach, bool | None)
    chosen, actor = settings or load(), f"strategy:{strategy}"
    if attach is None:
        from oms.api.places import daemon_answers

        attach = await daemon_answers(chosen.database_url)
    if attach:
        from oms.api.attached import attached

        async with attached(chosen, actor, wait_seconds) as om:
            yield om
        return
    from oms.service.daemon import open_oms

    async with open_oms(chosen, actor=actor) as running:
        await running.until_ready(wait_seconds)
        yield running.manager


def __getattr__(name: str) -> object:
    """Load a public name at its first use.

    The simulator is a package inside this one and must stand alone (decision D11), and a program
    that only reads the log needs no ib_async.
    """
    home: ModuleType
    match name:
        case "BrokerAdapter":
            from oms.core import adapter as home
        case "Combo" | "ComboLeg" | "Contract" | "Forex" | "Future" | "FuturesOption" | "Index":
            from oms.core import contracts as home
        case "Leg" | "Option" | "Stock":
            from oms.core import contracts as home
        case "Terms" | "WhatIfReceived":
            from oms.core import events as home
        case "Limit" | "LimitOnClose" | "LimitOnOpen" | "Market" | "MarketOnClose":
            from oms.core import order_types as home
        case "MarketOnOpen" | "Stop" | "StopLimit" | "TrailingStop" | "TrailingStopLimit":
            from oms.core import order_types as home
        case "Fill" | "Order" | "OrderState" | "Position":
            from oms.core.fold import records as home
        case "OrderDenied":  # as in `oms.errors`
            from oms.errors import ORDER_DENIED_RENAMED, OrderDeniedError

            warnings.warn(ORDER_DENIED_RENAMED, DeprecationWarning, stacklevel=2)
            return OrderDeniedError
        case "OmsError" | "OrderDeniedError" | "OutcomeUnknown":
            from oms import errors as home
        case "IBConnectionError" | "IBOrderRejectError":
            from oms import errors as home
        case "IBBrokerAdapter":
            from oms.service import adapter as home
        case "Attached":
            from oms.api import attached as home
        case "NewOrder":
            from oms.core.admit import groups as home
        case "OrderManager":
            from oms.service import manager as home
        case "Ticket":
            from oms.service import ticket as home
        case _:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(home, name)
