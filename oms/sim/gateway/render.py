"""Orders, executions and contracts as the named values of server messages. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from oms.sim.broker.books.executions import Execution
from oms.sim.broker.books.orders import Order
from oms.sim.broker.exchange.contracts import Contract
from oms.sim.broker.exchange.market import Quote
from oms.sim.broker.rules.matching import limit_price
from oms.sim.protocol.fields import UNSET_DOUBLE, ascii7, number


def open_order(order: Order, contract: Contract) -> dict[str, Any]:
    """Return the values of openOrder: the terms as they came, with what IB makes of them."""
    values = _terms(order, contract)
    values["orderId"] = str(order.order_id)
    values["clientId"] = str(order.client_id)
    values["parentId"] = str(order.parent_id)
    values["status"] = order.wire_status
    if order.trail_price is not None:
        # IB says where the stop stands, also when the client left that to it.
        values["trailStopPrice"] = number(contract.on_tick(order.trail_price))
        limit = limit_price(order, order.trail_price)
        if limit is not None:
            values["lmtPrice"] = number(contract.on_tick(limit))
    if order.warning:
        values["warningText"] = order.warning
    return values


def completed_order(order: Order, contract: Contract, completed_time: str) -> dict[str, Any]:
    """Return the values of completedOrder.

    totalQuantity is 0 for a filled order, the full size for one that never traded. That is what
    field samples show, odd as it is; filledQuantity is the one to trust.
    """
    values = _terms(order, contract)
    if order.status == "Filled":
        values["totalQuantity"] = "0"
    values["status"] = order.wire_status
    values["filledQuantity"] = number(order.filled)
    if order.parent_perm_id:
        values["parentPermId"] = str(order.parent_perm_id)
    values["completedTime"] = completed_time
    values["completedStatus"] = order.completed_status
    return values


def order_status(order: Order) -> dict[str, str]:
    """Return the values of orderStatus."""
    return {
        "orderId": str(order.order_id),
        "status": order.wire_status,
        "filled": number(order.filled),
        "remaining": number(order.remaining),
        "avgFillPrice": number(order.average_price),
        "permId": str(order.perm_id),
        "parentId": str(order.parent_id),
        "lastFillPrice": number(order.last_price),
        "clientId": str(order.client_id),
        "whyHeld": order.why_held,
        "mktCapPrice": "0",
    }


def execution(row: Execution, contract: Contract, time: str, request_id: str) -> dict[str, str]:
    """Return the values of execDetails; `request_id` is -1 when it is pushed."""
    values = contract.wire(row.venue)
    values |= {
        "reqId": request_id,
        "orderId": str(row.order_id),
        "execId": row.exec_id,
        "time": time,
        "acctNumber": row.account,
        "venue": row.venue,
        "side": row.side,
        "shares": number(row.quantity),
        "price": number(row.price),
        "permId": str(row.perm_id),
        "clientId": str(row.client_id),
        "liquidation": "1" if row.liquidation else "0",
        "cumQty": number(row.cumulative),
        "avgPrice": number(row.average_price),
        "orderRef": row.order_ref,
        "modelCode": row.model_code,
        "lastLiquidity": str(row.liquidity),
        "pendingPriceRevision": "1" if row.pending_revision else "0",
    }
    return values


def commission(row: Execution) -> dict[str, str]:
    """Return the values of commissionReport."""
    return {
        "execId": row.exec_id,
        "commission": number(row.commission),
        "currency": row.commission_currency,
        "realizedPNL": UNSET_DOUBLE if row.realized is None else number(row.realized),
        "yield": UNSET_DOUBLE,
        "yieldRedemptionDate": "",
    }


def contract_details(
    contract: Contract, exchange: str, request_id: str, hours: Mapping[str, str]
) -> dict[str, Any]:
    """Return the values of contractDetails, for the exchange that was asked for."""
    exchanges = contract.valid_exchanges.split(",")
    values: dict[str, Any] = contract.wire(exchange or exchanges[0])
    values |= {
        "reqId": request_id,
        # Here IB names the listing exchange of a share only.
        "primaryExchange": contract.primary_exchange if contract.sec_type == "STK" else "",
        "marketName": contract.trading_class,
        "minTick": number(contract.minimum_tick),
        "orderTypes": "ACTIVETIM,ADJUST,ALERT,BAG,COND,DAY,DEACT,GAT,GTC,GTD,GTT,IOC,LIT,LMT,LOC,"
        "LTH,MIT,MKT,MOC,OCA,OPG,SCALE,STP,STPLMT,TRAIL,TRAILLIT,TRAILLMT,TRAILMIT,WHATIF",
        "validExchanges": contract.valid_exchanges,
        "underConId": str(contract.under_id),
        "underSymbol": contract.symbol if contract.sec_type in UNDERLYINGS else "",
        "underSecType": UNDERLYINGS.get(contract.sec_type, ""),
        "longName": ascii7(contract.long_name),
        "contractMonth": contract.expiry[:6],
        **hours,
        "marketRuleIds": ",".join([str(contract.market_rule)] * len(exchanges)),
        "realExpirationDate": contract.expiry,
        "secIdList": sec_ids(contract),
        "stockType": contract.stock_type if contract.sec_type == "STK" else "",
        "minSize": number(contract.size_increment),
        "sizeIncrement": number(contract.size_increment),
        "suggestedSizeIncrement": number(contract.size_increment),
    }
    return values


def sec_ids(contract: Contract) -> list[dict[str, str]]:
    """Return the numbers of a security: of a bond both, of a share its ISIN, of others none."""
    numbers = (("CUSIP", contract.cusip), ("ISIN", contract.isin))
    return [{"tag": tag, "value": value} for tag, value in numbers if value]


def bond_contract_details(contract: Contract, request_id: str) -> dict[str, Any]:
    """Return the values of bondContractDetails: for want of a licence IB tells no more of a bond
    than its name, its numbers, its exchange and its step of price.
    """
    exchanges = contract.valid_exchanges.split(",")
    return {
        **contract.wire("SMART"),
        "reqId": request_id,
        "descAppend": contract.long_name,
        "marketName": contract.trading_class,
        "minTick": number(contract.minimum_tick),
        "orderTypes": "ACTIVETIM,ADJUST,ALERT,DAY,GTC,LMT,MKT,WHATIF",
        "validExchanges": contract.valid_exchanges,
        "longName": ascii7(contract.long_name),
        "secIdList": sec_ids(contract),
        "marketRuleIds": ",".join([str(contract.market_rule)] * len(exchanges)),
        "minSize": number(contract.size_increment),
        "sizeIncrement": number(contract.size_increment),
        "suggestedSizeIncrement": number(contract.size_increment),
    }


#: What a derivative is on.
UNDERLYINGS: Final = {"OPT": "STK", "FUT": "IND", "FOP": "FUT", "WAR": "STK"}
#: The tick type of a delayed figure for that of the live one.
DELAYED_TICKS: Final = {
    1: 66,
    2: 67,
    4: 68,
    0: 69,
    3: 70,
    5: 71,
    6: 72,
    7: 73,
    8: 74,
    9: 75,
    14: 76,
    -1: -1,
}


def ticks(quote: Quote, *, delayed: bool = False) -> list[tuple[int, str, int, str]]:
    """Return price tick, price, size tick and size of bid, ask, last and the day's figures."""
    if delayed:
        return [
            (DELAYED_TICKS[tick], price, DELAYED_TICKS[size_tick], size)
            for tick, price, size_tick, size in ticks(quote)
        ]
    return [
        (1, number(quote.bid), 0, number(quote.bid_size)),
        (2, number(quote.ask), 3, number(quote.ask_size)),
        (4, number(quote.last), 5, number(quote.last_size)),
        (6, number(quote.high), 8, number(quote.volume)),
        (7, number(quote.low), -1, "0"),
        (9, number(quote.close), -1, "0"),
        (14, number(quote.open), -1, "0"),
    ]


def _terms(order: Order, contract: Contract) -> dict[str, Any]:
    values = dict(order.terms)
    values |= contract.wire(order.exchange)
    if not contract.right:
        values["right"] = "?"
    values |= {
        "action": order.side,
        "totalQuantity": number(order.quantity),
        "orderType": order.order_type,
        "account": order.account,
        "orderRef": order.order_ref,
        "permId": str(order.perm_id),
    }
    return values
