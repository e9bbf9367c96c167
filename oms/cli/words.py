"""From a person's words to a request: what cannot be an order is refused here, with the reason."""

from __future__ import annotations

import json
import re
import uuid
from decimal import Decimal
from typing import Any, Final

import typer

from oms.cli.frame import print_json, say
from oms.core.codec import encode
from oms.core.contracts import Stock
from oms.core.events import ModifyRequested, OrderRequested, Side, Terms
from oms.core.money import NotANumber, parse_decimal
from oms.core.order_rules import validate
from oms.core.records import Order
from oms.errors import InvalidRequest

#: orderRef carries the id to IB and back; plain text survives every gateway.
_KEY: Final = re.compile(r"[A-Za-z0-9._:-]{1,40}")


def order_request(
    side: Side,
    *,
    quantity: str,
    symbol: str,
    limit: str | None,
    stop: str | None,
    tif: str,
    account: str | None,
    exchange: str,
    currency: str,
    order_id: str | None,
    reason: str,
) -> OrderRequested:
    """Return the request for an order; raises `InvalidRequest` where the words make none."""
    if order_id is not None and not _KEY.fullmatch(order_id):
        raise InvalidRequest(
            f"order id {order_id!r} cannot travel to IB and back",
            hint="use up to 40 letters, digits and . _ : -",
        )
    limit_price = None if limit is None else number_of("limit", limit)
    stop_price = None if stop is None else number_of("stop", stop)
    kinds = {(False, False): "MKT", (True, False): "LMT", (False, True): "STP"}
    terms = Terms(
        side=side,
        quantity=number_of("quantity", quantity),
        order_type=kinds.get((limit is not None, stop is not None), "STP LMT"),
        limit_price=limit_price,
        stop_price=stop_price,
        tif=tif.upper(),
    )
    validate(terms)
    return OrderRequested(
        order_id=order_id or uuid.uuid4().hex,
        # Empty means the only account there is; the daemon knows it, we may not.
        account=account or "",
        contract=Stock(symbol, exchange, currency.upper()),
        terms=terms,
        reason=reason,
    )


def side_of(text: str) -> Side:
    """Return the side that a word names; raises `InvalidRequest`."""
    match text.upper():
        case "BUY":
            return "BUY"
        case "SELL":
            return "SELL"
        case _:
            raise InvalidRequest(f"side must be BUY or SELL, found {text!r}")


def number_of(name: str, text: str) -> Decimal:
    """Return the number that a text holds; raises `InvalidRequest` with the name of the field."""
    try:
        return parse_decimal(text)
    except NotANumber as error:
        raise InvalidRequest(f"{name}: {error}") from error


def changes_of(
    order: Order, limit: str | None, stop: str | None, quantity: str | None
) -> dict[str, Any]:
    """Return the terms to change; raises `InvalidRequest` where they cannot be an order's."""
    texts = {"limit_price": limit, "stop_price": stop, "quantity": quantity}
    changes = {
        name: number_of(name.replace("_", " "), text) for name, text in texts.items() if text
    }
    if not changes:
        raise InvalidRequest("a change needs --limit, --stop or --quantity")
    if order.live:
        validate(order.terms.model_copy(update=changes))
    return changes


def show_request(request: OrderRequested | ModifyRequested, *, as_json: bool) -> None:
    """Print what a dry run would have appended."""
    if as_json:
        print_json("request", type=type(request).__name__, payload=json.loads(encode(request)))
        return
    say("nothing was written; the request would be")
    if isinstance(request, ModifyRequested):
        typer.echo(encode(request))
        return
    # The reports bring rich and more with them, which `oms --help` must not load.
    from oms.report.sentences import describe_terms

    typer.echo(f"{describe_terms(request.terms, request.contract)}, order id {request.order_id}")
