"""What holds for every answer, whatever made it: read-only, self-contained, for one reader.

- Only GET and HEAD pass. There is nothing to write to, and a test asks every address with the rest.
- A request must call the server by a name that is its own, and bring its password (`oms.access`).
- No page may run a script, load anything from elsewhere or be put in a frame; broker text is
  escaped by the templates, and this is the second lock on the same door.
- Nothing is kept by a cache: an old page that looks like a new one is a lie.
"""

from __future__ import annotations

from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from oms.access import Access

METHODS: Final = ("GET", "HEAD")

HEADERS: Final = {
    "content-security-policy": (
        "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; "
        "form-action 'self'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "cache-control": "no-store",
    "vary": "Accept",
}


class Guard:
    """The outermost layer of the application."""

    def __init__(self, app: ASGIApp, access: Access | None) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer or refuse one request; what is not HTTP passes (start and stop of the server)."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        app = self._refusal(scope) or self._app
        await app(scope, receive, send_with_headers)

    def _refusal(self, scope: Scope) -> ASGIApp | None:
        if scope["method"] not in METHODS:
            text = f"{scope['method']} is refused: these pages can only be read\n"
            return PlainTextResponse(text, 405, {"allow": ", ".join(METHODS)})
        headers = Headers(scope=scope)
        asked = headers.get("host", ""), headers.get("authorization", "")
        refusal = self._access.refusal(*asked) if self._access is not None else None
        if refusal is None:
            return None
        return PlainTextResponse(refusal.text, refusal.status, refusal.headers)
