"""What a page is made from: one visit in, one value out, shown as HTML or as JSON."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from oms.core.situation import Health, Situation
from oms.history.asof import Bookshelf, PastBooks, as_of_json
from oms.report.json_view import SCHEMA
from oms.settings import Settings
from oms.store.reader import Reader
from oms.web.query import Query

#: Seconds after which a page that shows the present is read again by the browser.
LIVE_REFRESH_SECONDS: Final = 15

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Visit:
    """One request for a page, with what every page needs."""

    reader: Reader
    #: The past that was asked for; None for now.
    past: PastBooks | None
    situation: Situation
    health: Health
    query: Query
    settings: Settings
    #: The part of the path that names one thing: an order id, a sequence; "" on lists.
    name: str = ""

    @property
    def books(self) -> Bookshelf:
        """Return where the page's records are: in the database, or in the past asked for."""
        return self.reader if self.past is None else self.past

    @property
    def now(self) -> datetime:
        """Return the moment from which every age on the page is counted."""
        return self.situation.read_at if self.past is None else self.past.now

    @property
    def sequence(self) -> int:
        """Return the event that the page's records have reached, or are newer than."""
        return self.situation.head.sequence if self.past is None else self.past.sequence


@dataclass(frozen=True, slots=True)
class Page:
    """What a visit found."""

    title: str
    #: File name of the template without its ending.
    template: str
    values: Mapping[str, Any]
    #: The JSON answer, without what every answer carries.
    json: Json
    kind: str
    #: A whole HTML document that is served as it is instead of the template.
    document: str = ""


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """The thing is known under another address: a shortened id was given."""

    path: str


Builder = Callable[[Visit], Awaitable[Page | Elsewhere]]


@dataclass(frozen=True, slots=True)
class Spec:
    """A page of the site: where it is, what builds it, which filters it takes."""

    path: str
    build: Builder
    filters: tuple[str, ...] = field(default=())
    #: Pages that show the present are read again by themselves; those that tell a story are not,
    #: because a reader would lose the place and every opened detail.
    refresh_seconds: int = 0


def answer(page: Page, visit: Visit) -> Json:
    """Return the whole JSON answer of a page."""
    return {
        "schema": SCHEMA,
        "kind": page.kind,
        "as_of_sequence": visit.sequence,
        **({} if visit.past is None else {"as_of": as_of_json(visit.past.as_of)}),
        **page.json,
    }
