"""The one table of what can be asked of the service: where, by whom, with what.

Routes, rights and the OpenAPI document are made from it; a test asks the server for each row.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from oms.api import requests as bodies
from oms.api.service import Asked, Service
from oms.core.events import Right
from oms.core.values import Given
from oms.history.query import CONDITIONS
from oms.report.record_json import Json

_LIST: Final = ("live", *CONDITIONS)


@dataclass(frozen=True, slots=True)
class Operation:
    """One thing that can be asked for."""

    method: str
    path: str
    right: Right
    answer: Callable[[Service, Asked], Awaitable[Json]]
    #: What the answer calls itself, as all JSON of the program does.
    kind: str
    body: type[Given] | None = None
    #: Parameters of the address.
    words: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Return the name by which clients are generated."""
        return self.answer.__name__


OPERATIONS: Final = (
    Operation("GET", "/v1/status", "read", Service.status, "status"),
    Operation("GET", "/v1/orders", "read", Service.orders, "orders", words=_LIST),
    Operation("GET", "/v1/orders/{name}", "read", Service.order, "order"),
    Operation("GET", "/v1/fills", "read", Service.fills, "fills", words=_LIST),
    Operation("GET", "/v1/positions", "read", Service.positions, "positions", words=_LIST),
    Operation("GET", "/v1/breaks", "read", Service.breaks, "breaks", words=_LIST),
    Operation("GET", "/v1/alarms", "read", Service.alarms, "alarms", words=_LIST),
    Operation("GET", "/v1/accounts", "read", Service.accounts, "accounts"),
    Operation("GET", "/v1/events", "read", Service.events, "events", words=CONDITIONS),
    Operation("POST", "/v1/contracts", "read", Service.qualify, "contract", bodies.ContractBody),
    Operation("POST", "/v1/quotes", "read", Service.quote, "quote", bodies.ContractBody),
    Operation("POST", "/v1/what-if", "trade", Service.what_if, "what_if", bodies.PreviewBody),
    Operation("POST", "/v1/orders", "trade", Service.submit, "order", bodies.OrderBody),
    Operation("POST", "/v1/orders/many", "trade", Service.submit_many, "orders", bodies.OrdersBody),
    Operation(
        "POST", "/v1/brackets", "trade", Service.submit_bracket, "orders", bodies.BracketBody
    ),
    Operation("POST", "/v1/groups", "trade", Service.submit_group, "orders", bodies.GroupBody),
    Operation("PATCH", "/v1/orders/{name}", "trade", Service.modify, "order", bodies.ChangeBody),
    Operation("DELETE", "/v1/orders/{name}", "trade", Service.cancel, "order", words=("reason",)),
    Operation(
        "POST", "/v1/orders/{name}/resolve", "operate", Service.resolve, "order", bodies.DoubtBody
    ),
    Operation(
        *("POST", "/v1/cancel-everything", "operate", Service.cancel_everything),
        *("cancel_everything", bodies.ReasonBody),
    ),
    Operation("POST", "/v1/halt", "operate", Service.halt, "halt", bodies.ReasonBody),
    Operation("POST", "/v1/resume", "operate", Service.resume, "halt", bodies.ReasonBody),
)
