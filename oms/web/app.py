"""The application: which page is where, and what every answer has in common.

The database is opened anew for each request, read-only. That costs a few milliseconds, and it is
what makes the pages unable to lie: a file that was moved, replaced or deleted is noticed at once,
where a connection kept open would go on reading a file that is no longer written.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from oms.access import Access
from oms.core.resets import windows_of
from oms.core.shown import shown
from oms.core.situation import Health, Situation, judge, unreadable
from oms.errors import (
    ChainBroken,
    ConfigurationError,
    DatabaseDamaged,
    InvalidRequest,
    LogWentBack,
    MigrationNeeded,
    NotFound,
    OmsError,
    StoreError,
    StoreUnavailable,
    UnknownEventType,
)
from oms.report.json_view import SCHEMA
from oms.report.situation_json import health_json
from oms.settings import Settings, masked
from oms.store import schema
from oms.store.reader import Reader
from oms.store.situation import read_situation
from oms.store.soundness import find_damage
from oms.telemetry import get_logger
from oms.web import accounts, asking, cases, holdings, journal, metrics, orders, overview, why
from oms.web.guard import Guard
from oms.web.page import LIVE_REFRESH_SECONDS, Elsewhere, Page, Spec, Visit, answer
from oms.web.past import asked_for
from oms.web.query import REFRESHES, Query
from oms.web.render import inline_style_policy, render, style, style_path
from oms.web.words import ICONS

log = get_logger("web")

PAGES: Final = (
    Spec("/", overview.build, overview.FILTERS, LIVE_REFRESH_SECONDS),
    Spec("/orders", orders.build_list, orders.FILTERS, LIVE_REFRESH_SECONDS),
    Spec("/orders/{name:path}", orders.build_one, orders.STORY_FILTERS),
    Spec("/fills", holdings.build_fills, holdings.FILL_FILTERS, LIVE_REFRESH_SECONDS),
    Spec("/positions", holdings.build_positions, holdings.POSITION_FILTERS, LIVE_REFRESH_SECONDS),
    Spec("/breaks", cases.build_breaks, cases.BREAK_FILTERS, LIVE_REFRESH_SECONDS),
    Spec("/breaks/{name:path}", cases.build_break, cases.STORY_FILTERS),
    Spec("/accounts", accounts.build, accounts.FILTERS, LIVE_REFRESH_SECONDS),
    Spec("/alarms", asking.build_alarms, asking.ALARM_FILTERS, LIVE_REFRESH_SECONDS),
    Spec("/requests", asking.build_requests, asking.REQUEST_FILTERS, LIVE_REFRESH_SECONDS),
    Spec("/reports", cases.build_runs, cases.RUN_FILTERS),
    Spec("/reports/{name:path}", cases.build_run),
    Spec("/log", journal.build_list, journal.FILTERS),
    Spec("/log/{name:path}", journal.build_one),
    Spec("/why/{name:path}", why.build),
)

#: The links at the top of every page.
PLACES: Final = (
    ("/", "Overview"),
    ("/orders", "Orders"),
    ("/fills", "Fills"),
    ("/positions", "Positions"),
    ("/accounts", "Accounts"),
    ("/breaks", "Breaks"),
    ("/alarms", "Alarms"),
    ("/requests", "Requests"),
    ("/reports", "Reports"),
    ("/log", "Log"),
)

#: Where the first page's JSON is, which has no name to put an ending on.
_FRONT_JSON: Final = "/overview.json"

_DAMAGE_KNOWN_FOR: Final = timedelta(seconds=10)


def create_app(
    settings: Settings, *, now: Callable[[], datetime], access: Access | None = None
) -> ASGIApp:
    """Return the application over the settings' database.

    `now` is the clock. `access` says who may ask; None lets everybody, where nothing listens.
    """
    site = _Site(settings, now)
    routes = [
        Route("/health", site.health),
        Route("/health.json", site.health),
        Route("/metrics", site.metrics),
        Route(style_path(), _style),
        Route("/icon-{level}.svg", _icon),
    ]
    for spec in PAGES:
        endpoint = site.endpoint(spec)
        routes.append(Route(_FRONT_JSON if spec.path == "/" else f"{spec.path}.json", endpoint))
        routes.append(Route(spec.path, endpoint))
    refusals = {
        OmsError: site.refuse,
        HTTPException: site.refuse_http,
        Exception: site.refuse_bug,
    }
    # Around everything, so that no answer leaves without it, that of a bug included.
    return Guard(Starlette(routes=routes, exception_handlers=refusals), access)


class _Site:
    """The answers, with what they need to know."""

    def __init__(self, settings: Settings, now: Callable[[], datetime]) -> None:
        self._settings = settings
        self._now = now
        self._host = socket.gethostname()
        self._damage_known: ChainBroken | DatabaseDamaged | None = None
        self._damage_known_at: datetime | None = None

    def endpoint(self, spec: Spec) -> Callable[[Request], Awaitable[Response]]:
        """Return what answers at a page's address."""

        async def respond(request: Request) -> Response:
            query = Query(request.query_params, spec.filters)
            refresh = query.refresh(spec.refresh_seconds)
            # The front page says what is wrong, as `oms status` does.
            async with self._reading(checked=spec.path != "/") as reader:
                found = await self._situation(reader)
                visit = Visit(
                    reader=reader,
                    past=await asked_for(reader, query, self._settings.day_zone),
                    situation=found,
                    health=judge(found),
                    query=query,
                    settings=self._settings,
                    name=request.path_params.get("name", ""),
                )
                page = await spec.build(visit)
            if isinstance(page, Elsewhere):
                ending = ".json" if request.url.path.endswith(".json") else ""
                return RedirectResponse(page.path + ending, status_code=307)
            if wants_json(request):
                return _Json(answer(page, visit))
            if page.document:
                return _document(page.document)
            return HTMLResponse(_html(page, visit, request.url.path, refresh))

        return respond

    async def health(self, request: Request) -> Response:
        """Answer a probe: JSON, 200 or 503."""
        verdict, found = await self._probe()
        body = {
            "schema": SCHEMA,
            "kind": "health",
            **health_json(verdict),
            "read_at": self._now().isoformat(),
            "as_of_sequence": found.head.sequence if found is not None else None,
        }
        return _Json(body, status_code=503 if verdict.level == "down" else 200)

    async def metrics(self, request: Request) -> Response:
        """Answer Prometheus, also where nothing but the failure can be told."""
        verdict, found = await self._probe()
        text = metrics.exposition(verdict, found)
        return Response(text, media_type=metrics.CONTENT_TYPE)

    async def _probe(self) -> tuple[Health, Situation | None]:
        try:
            async with self._reading(checked=False) as reader:
                found = await self._situation(reader)
        except OmsError as error:
            return unreadable(error.message, error.hint), None
        return judge(found), found

    async def _situation(self, reader: Reader) -> Situation:
        settings = self._settings
        return await read_situation(
            reader,
            self._now(),
            host=self._host,
            resets=windows_of(settings.reset_region, settings.reset_windows),
            reconcile_interval_seconds=settings.reconcile_interval_seconds,
            damage=await self._damage(),
        )

    async def _damage(self) -> ChainBroken | DatabaseDamaged | None:
        """Return what is wrong with the database, looked for from time to time: it costs as much as
        ten pages.
        """
        now = self._now()
        if self._damage_known_at is None or now - self._damage_known_at >= _DAMAGE_KNOWN_FOR:
            url = self._settings.database_url
            self._damage_known = await asyncio.to_thread(find_damage, url)
            self._damage_known_at = now
        return self._damage_known

    @asynccontextmanager
    async def _reading(self, *, checked: bool) -> AsyncIterator[Reader]:
        url = self._settings.database_url
        try:
            reader = await Reader.open(url, checked=checked)
        except MigrationNeeded as error:
            if schema.current(url) is not None:
                raise
            # Its hint would make an empty log where a full one was expected.
            raise StoreUnavailable(
                f"there is no log at {masked(url)}",
                hint="was it moved? OMS_DATABASE_URL says where it is; `oms run` makes a new one",
            ) from error
        try:
            yield reader
        finally:
            await reader.close()

    async def refuse(self, request: Request, error: Exception) -> Response:
        """Answer an expected failure: what is wrong and what to do next."""
        assert isinstance(error, OmsError)
        match error:
            case NotFound():
                status = 404
            case UnknownEventType() | ChainBroken() if not isinstance(error, LogWentBack):
                status = 500
            case StoreError() | MigrationNeeded():
                status = 503
            case ConfigurationError() | InvalidRequest():
                status = 400
            case _:
                status = 500
        if status >= 500:
            log.warning("page_refused", path=request.url.path, reason=error.message, status=status)
        return self._refusal(request, status, error.message, error.hint)

    async def refuse_http(self, request: Request, error: Exception) -> Response:
        """Answer a request that no page takes."""
        assert isinstance(error, HTTPException)
        hint = "the pages are named in the line at the top" if error.status_code == 404 else ""
        return self._refusal(
            request, error.status_code, f"{request.url.path}: {error.detail}", hint
        )

    async def refuse_bug(self, request: Request, error: Exception) -> Response:
        """Answer a failure of ours; the server's own log gets the traceback, the page does not."""
        message = f"this page failed: {type(error).__name__}"
        return self._refusal(request, 500, message, "the program's messages on stderr say why")

    def _refusal(self, request: Request, status: int, message: str, hint: str) -> Response:
        if wants_json(request):
            body = {"schema": SCHEMA, "kind": "error", "message": message, "hint": hint}
            return _Json(body, status_code=status)
        values = {
            "status": status,
            "message": message,
            "hint": hint,
            "title": "Unavailable"
            if status == 503
            else "Not found"
            if status == 404
            else "Refused",
            "places": PLACES,
            "path": request.url.path,
            "read_at": self._now(),
            "health": None,
            "icon": "down" if status == 503 else "unknown",
            "past": None,
            # What is unavailable may come back; the rest stays as it is.
            "refresh": LIVE_REFRESH_SECONDS if status == 503 else 0,
            "refreshes": (),
        }
        return HTMLResponse(render("error", values), status_code=status)


class _Json(JSONResponse):
    """A JSON value in which text from outside is as it may be shown."""

    def render(self, content: object) -> bytes:
        """Return the text of a value."""
        return shown(super().render(content).decode()).encode()


def wants_json(request: Request) -> bool:
    """Say whether a program asks: by the address's ending, or by accepting JSON and no HTML."""
    accepted = request.headers.get("accept", "")
    return request.url.path.endswith(".json") or (
        "application/json" in accepted and "text/html" not in accepted
    )


def _html(page: Page, visit: Visit, path: str, refresh: int) -> str:
    links = [(seconds, visit.query.link(refresh=seconds)) for seconds in REFRESHES]
    values = {
        "title": page.title,
        "places": PLACES,
        "path": path,
        "read_at": visit.now,
        "past": visit.past,
        "situation": visit.situation,
        "health": visit.health,
        "icon": visit.health.level,
        "query": visit.query,
        # The past does not change.
        "refresh": refresh if visit.past is None else 0,
        "refreshes": links if visit.past is None else links[:0],
        "json_path": _FRONT_JSON if path == "/" else f"{path}.json{visit.query.link()}".rstrip("?"),
        **page.values,
    }
    return render(page.template, values)


def _document(document: str) -> Response:
    """Serve a report: its styles are in it, so they are allowed by what they are."""
    response = HTMLResponse(document)
    response.headers["content-security-policy"] = (
        f"default-src 'none'; style-src {inline_style_policy(document)}; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    )
    return response


async def _style(request: Request) -> Response:
    # Its address changes with its contents.
    caching = {"cache-control": "max-age=31536000, immutable"}
    return Response(style(), media_type="text/css", headers=caching)


async def _icon(request: Request) -> Response:
    """Return the tab's icon, so that the tab tells the state."""
    icon = ICONS.get(request.path_params["level"])
    if icon is None:
        raise HTTPException(404)
    drawing = (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32">'
        f'<circle cx="16" cy="16" r="15" fill="{icon.colour}"/>'
        '<text x="16" y="23" font-family="sans-serif" font-size="20" font-weight="700" '
        f'text-anchor="middle" fill="#fff">{icon.sign}</text></svg>'
    )
    return Response(drawing, media_type="image/svg+xml", headers={"cache-control": "max-age=86400"})
