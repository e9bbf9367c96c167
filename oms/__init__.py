"""An event-sourced order management subsystem for Interactive Brokers.

    import oms

    async with oms.connect() as om:
        spy = await om.qualify(oms.Stock("SPY"))
        order = await om.submit(spy, oms.Limit("BUY", 100, "512.35"), order_id="my-key")
        await order.working(timeout=5)
        await order.modify(limit="512.40")
        await order.done()

`connect` runs the whole subsystem inside the caller's process: the log, the session with the
gateway, recovery and reconciliation. The names below are the public ones; everything else can
change.
"""

from __future__ import annotations

import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import ModuleType
from typing import TYPE_CHECKING

from oms._version import __version__

if TYPE_CHECKING:
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
    settings: Settings | None = None, *, strategy: str = "python", wait_seconds: float = 60.0
) -> AsyncIterator[OrderManager]:
    """Run the subsystem in this process and give its order manager, once orders may leave.

    Settings come from the environment, `.env` and `oms.toml` where none are given. Raises
    `InvalidRequest` for an argument that is none, `IBConnectionError` when no gateway answered
    whole within `wait_seconds`, and `LeaseHeld` when a daemon serves the same database already.
    """
    # Imported late: a program that only reads the log should not load ib_async.
    from oms.core.asked import check, check_actor
    from oms.service.daemon import open_oms
    from oms.settings import Settings, load

    check("settings", settings, Settings | None)
    check_actor("strategy", strategy)
    check("wait_seconds", wait_seconds, float)
    async with open_oms(settings or load(), actor=f"strategy:{strategy}") as running:
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
        case "NewOrder":
            from oms.core.admit import groups as home
        case "OrderManager":
            from oms.service import manager as home
        case "Ticket":
            from oms.service import ticket as home
        case _:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(home, name)
