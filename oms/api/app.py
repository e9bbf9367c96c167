"""The application: who asks is looked at first, then what, and every refusal says what to do."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp
from starlette.websockets import WebSocket, WebSocketDisconnect

from oms.access import Access
from oms.api import openapi
from oms.api.operations import OPERATIONS, Operation
from oms.api.requests import FeedBody
from oms.api.rights import Caller, Gatekeeper
from oms.api.service import Asked, Service
from oms.api.stream import Bell, Stream, Wanted
from oms.clock import Clock
from oms.core.asked import check_actor, in_words
from oms.core.bounds import OutOfBounds, reason_of
from oms.core.events import Right
from oms.core.values import Given, read_with_model
from oms.errors import (
    AccessRefused,
    BrokerError,
    ConfigurationError,
    ContractUnknown,
    IBConnectionError,
    InvalidRequest,
    NotFound,
    OmsError,
    OrderDeniedError,
    OutcomeUnknown,
    RequestTimedOut,
    RightMissing,
    StoreError,
    TooManyRequests,
    TradingHalted,
)
from oms.report.json_view import SCHEMA
from oms.store.reader import Reader
from oms.telemetry import get_logger

log = get_logger("api")

#: Of a body; a list of a thousand orders has a fifth of it.
BODY_BYTES_MAX: Final = 1_000_000
#: A stream that has nothing to tell says so after this: a dead line is noticed at both ends.
QUIET_SECONDS: Final = 15.0
#: Why a stream is closed, as a WebSocket's code.
_REFUSED: Final = 4401
_BAD: Final = 4400


class Application:
    """The answers, with what they need to know."""

    def __init__(
        self,
        service: Service,
        *,
        reader: Reader,
        gate: Gatekeeper,
        bell: Bell,
        access: Access,
        clock: Clock,
    ) -> None:
        self._service = service
        self._reader = reader
        self._gate = gate
        self._bell = bell
        self._access = access
        self._clock = clock
        self._document: dict[str, Any] | None = None

    def asgi(self) -> ASGIApp:
        """Return it as a server runs it."""
        routes: list[Route | WebSocketRoute] = [
            Route(one.path, self._endpoint(one), methods=[one.method]) for one in OPERATIONS
        ]
        routes.append(Route("/v1/openapi.json", self._openapi))
        routes.append(WebSocketRoute("/v1/stream", self._stream))
        routes.append(WebSocketRoute("/v1/feed", self._feed))
        refusals = {OmsError: _refuse, HTTPException: _refuse_http, Exception: _refuse_bug}
        return Starlette(routes=routes, exception_handlers=refusals)

    def _endpoint(self, one: Operation) -> Callable[[Request], Awaitable[Response]]:
        async def respond(request: Request) -> Response:
            caller = self._let_in(request, one.right)
            self._gate.count(caller, self._clock.monotonic())
            unknown = [name for name in request.query_params if name not in one.words]
            if unknown:
                raise InvalidRequest(
                    f"{unknown[0]} is no parameter of {one.path}",
                    hint=f"there are: {', '.join(one.words) or 'none'}",
                )
            words = {
                name: values if len(values) > 1 else values[0]
                for name in one.words
                if (values := request.query_params.getlist(name))
            }
            body = None if one.body is None else _read(one.body, await _body(request))
            asked = Asked(caller, request.path_params.get("name", ""), words, body)
            with in_words():
                answer = await one.answer(self._service, asked)
            return JSONResponse({"schema": SCHEMA, "kind": one.kind, **answer})

        return respond

    async def _openapi(self, request: Request) -> Response:
        self._let_in(request, "read")
        self._document = self._document or openapi.document()
        return JSONResponse(self._document)

    def _let_in(self, request: Request | WebSocket, wanted: Right) -> Caller:
        """Return who asks; raises `AccessRefused`."""
        headers = request.headers
        refusal = self._access.refusal(headers.get("host", ""), "")
        if refusal is not None:
            raise AccessRefused(refusal.text.strip())
        named = headers.get("oms-actor", "")
        if named:
            check_actor("OMS-Actor", named)
        caller = self._gate.caller(headers.get("authorization", ""), named)
        if not caller.may(wanted):
            raise RightMissing(
                f"{caller.actor} has the right to {caller.right}; this needs {wanted}"
            )
        return caller

    # ── the streams ──

    async def _stream(self, socket: WebSocket) -> None:
        await socket.accept()
        try:
            caller = self._let_in(socket, "read")
            self._gate.count(caller, self._clock.monotonic())
            stream = await self._opened(socket, caller)
        except OmsError as error:
            await socket.send_json(_refusal_json(error))
            await socket.close(_REFUSED if isinstance(error, AccessRefused) else _BAD)
            return
        gone = asyncio.ensure_future(_until_gone(socket))
        try:
            await self._tell(socket, stream, caller, gone)
        except (WebSocketDisconnect, RuntimeError):
            pass  # it went while something was on its way
        finally:
            gone.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await gone

    async def _feed(self, socket: WebSocket) -> None:
        """Tell the market of the contract that the first message names."""
        await socket.accept()
        try:
            caller = self._let_in(socket, "read")
            self._gate.count(caller, self._clock.monotonic())
            wanted = _read(FeedBody, await socket.receive_text())
            assert isinstance(wanted, FeedBody)
            feed = await self._service.feed(wanted)
        except OmsError as error:
            await socket.send_json(_refusal_json(error))
            await socket.close(_REFUSED if isinstance(error, AccessRefused) else _BAD)
            return
        except (WebSocketDisconnect, KeyError):
            return  # it went, or sent bytes
        gone = asyncio.ensure_future(_until_gone(socket))
        try:
            while self._gate.holds(caller):
                item = asyncio.ensure_future(self._service.next_item(feed))
                await asyncio.wait({item, gone}, return_when=asyncio.FIRST_COMPLETED)
                if gone.done():
                    item.cancel()
                    break
                await socket.send_json(
                    {"dropped": feed.dropped, "item": msgspec.to_builtins(item.result())}
                )
        except OmsError as error:
            with contextlib.suppress(WebSocketDisconnect, RuntimeError):
                await socket.send_json(_refusal_json(error))
                await socket.close(_BAD)
        except (WebSocketDisconnect, RuntimeError):
            pass  # it went while something was on its way
        finally:
            gone.cancel()
            await self._service.close_feed(feed)
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await gone

    async def _opened(self, socket: WebSocket, caller: Caller) -> Stream:
        words = socket.query_params
        for name in words:
            if name not in {"after", "mine", "account"}:
                raise InvalidRequest(f"{name} is no parameter of a stream: after, mine, account")
        head = (await self._reader.head()).sequence
        text = words.get("after", "") or str(head)
        if not (text.isascii() and text.isdecimal()) or int(text) > head:
            raise InvalidRequest(
                f"after is a sequence of the log, from 0 to {head}, found {text[:48]}",
                hint="a stream goes on after the last sequence that it told",
            )
        mine = words.get("mine", "false")
        if mine not in {"true", "false"}:
            raise InvalidRequest(f"mine is true or false, found {mine[:48]}")
        actor = caller.actor if mine == "true" else ""
        return Stream(self._reader, Wanted(actor, words.get("account", "")), int(text))

    async def _tell(
        self, socket: WebSocket, stream: Stream, caller: Caller, gone: asyncio.Future[None]
    ) -> None:
        while not gone.done():
            rung = asyncio.ensure_future(self._bell.wait())
            if not self._gate.holds(caller):
                error = AccessRefused("this token was revoked")
                await socket.send_json(_refusal_json(error))
                await socket.close(_REFUSED)
                rung.cancel()
                return
            message = await stream.next_message()
            if message is None:
                await asyncio.wait(
                    {rung, gone}, timeout=QUIET_SECONDS, return_when=asyncio.FIRST_COMPLETED
                )
                if not rung.done() and not gone.done():
                    await socket.send_json(
                        {"after": stream.after, "sequence": stream.after, "news": []}
                    )
            else:
                await socket.send_json(message)
            rung.cancel()


async def _until_gone(socket: WebSocket) -> None:
    """Return when the other end has closed; what it says is not listened to."""
    while (await socket.receive())["type"] != "websocket.disconnect":
        pass


async def _body(request: Request) -> str:
    parts: list[bytes] = []
    length = 0
    async for part in request.stream():
        length += len(part)
        if length > BODY_BYTES_MAX:
            raise HTTPException(413, f"the body has more than {BODY_BYTES_MAX:,} bytes")
        parts.append(part)
    try:
        return b"".join(parts).decode()
    except UnicodeDecodeError as error:
        raise InvalidRequest("the body is not text in UTF-8") from error


def _read(cls: type[Given], text: str) -> Given:
    if not text.strip():
        text = "{}"
    try:
        return read_with_model(cls, text)
    except OutOfBounds as error:
        raise InvalidRequest(f"the body: {reason_of(error)}") from error


# ── refusals ──


def status_of(error: OmsError) -> int:
    """Return the HTTP status that an error is answered with."""
    match error:
        case TooManyRequests():
            return 429
        case RightMissing():
            return 403
        case AccessRefused():
            return 401
        case NotFound() | ContractUnknown():
            return 404
        case OutcomeUnknown() | RequestTimedOut():
            return 504
        case IBConnectionError() | StoreError():
            return 503
        case OrderDeniedError() | TradingHalted() | BrokerError():
            return 409
        case ConfigurationError():
            return 400
        case _:
            return 500


def _refusal_json(error: OmsError) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "kind": "error",
        "error": type(error).__name__,
        "message": error.message,
        "hint": error.hint,
    }


async def _refuse(request: Request, error: Exception) -> Response:
    assert isinstance(error, OmsError)
    headers = {"www-authenticate": "Bearer"} if status_of(error) == 401 else None
    return JSONResponse(_refusal_json(error), status_of(error), headers)


async def _refuse_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    found = NotFound(
        f"{request.method} {request.url.path}: {error.detail}",
        hint="/v1/openapi.json lists what there is",
    )
    return JSONResponse(_refusal_json(found) | {"error": "HTTP"}, error.status_code, error.headers)


async def _refuse_bug(request: Request, error: Exception) -> Response:
    log.error("request_failed", path=request.url.path, error=type(error).__name__)
    failed = OmsError(
        f"the request failed: {type(error).__name__}", hint="the messages of the daemon say why"
    )
    return JSONResponse(_refusal_json(failed), 500)
