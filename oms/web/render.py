"""The template engine: every value is escaped, every age is counted from one moment."""

from __future__ import annotations

import hashlib
import re
from base64 import b64encode
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cache
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined, pass_context
from jinja2.runtime import Context
from markupsafe import Markup

from oms.core.codec import encode
from oms.core.events import Event
from oms.core.fold.records import Order
from oms.core.words import ago, counted, duration
from oms.report.html_view import shown_in_markup
from oms.report.sentences import describe_terms, name_of, sentence
from oms.report.situation_json import queue_words
from oms.report.why_view import checks_text, role_text, times_text
from oms.report.wire import wire_fields, wire_text
from oms.report.words import (
    BREAKS,
    OUTCOMES,
    coverage_words,
    moment,
    query_words,
    shown_price,
    trigger_words,
    witness_words,
)
from oms.web import words
from oms.web.words import Badge


@cache
def environment() -> Environment:
    """Return the engine with the words of the pages."""
    made = Environment(
        loader=PackageLoader("oms.web"),
        autoescape=True,
        finalize=shown_in_markup,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "when": when,
        "tag": tag,
        "number": words.grouped,
        "price": price,
        "costs": costs,
        "moment": moment,
        "instant": instant,
        "amount": words.grouped_text,
        "duration": duration,
        "sentence": sentence,
        "payload": encode,
        "type_name": type_name,
        "segment": segment,
        "contract": name_of,
        "order_words": order_words,
        "said_by_ib": words.said_by_ib,
        "state_badge": words.state_badge,
        "severity_badge": words.severity_badge,
        "case_badge": words.case_badge,
        "commands": commands,
        "trigger_words": trigger_words,
        "queue_words": queue_words,
        "witness": witness_words,
        "coverage": coverage_words,
        "wire_fields": wire_fields,
        "wire_text": wire_text,
        "query_words": query_words,
        "step_role": role_text,
        "step_times": times_text,
        "step_checks": checks_text,
    }
    made.globals |= {
        "counted": counted,
        "classes": BREAKS,
        "outcomes": OUTCOMES,
        "levels": words.LEVELS,
        "icons": words.ICONS,
        "verdicts": words.VERDICT_BADGES,
        "under_way": words.RUNNING,
        "style_path": style_path(),
    }
    return made


def render(template: str, values: Mapping[str, Any]) -> str:
    """Return a page as HTML."""
    return environment().get_template(f"{template}.html.j2").render(values)


@cache
def style() -> str:
    """Return the style sheet, the only thing that a page loads beside its icon."""
    loader = PackageLoader("oms.web")
    source, _, _ = loader.get_source(Environment(autoescape=True), "style.css")
    return source


@cache
def style_path() -> str:
    """Return the address of the style sheet; it changes with the contents, so it can be cached."""
    return f"/style-{hashlib.sha256(style().encode()).hexdigest()[:12]}.css"


def inline_style_policy(document: str) -> str:
    """Return the sources of a Content-Security-Policy that allow a document's own styles, by hash.

    Whatever a hostile text might smuggle into the document after that is not in the list.
    """
    sheets = re.findall(r"<style>(.*?)</style>", document, re.DOTALL)
    attributes = re.findall(r' style="([^"]*)"', document)
    hashes = sorted({_source(text) for text in (*sheets, *attributes)})
    return " ".join((*hashes, "'unsafe-hashes'")) if attributes else " ".join(hashes)


def _source(text: str) -> str:
    return f"'sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


# ── filters ──────────────────────────────────────────────────────────────────────────────────────


@pass_context
def when(context: Context, at: datetime | None, absent: str = "unknown") -> Markup:
    """Return a time as its age, with the clock beside it; what is not known says so."""
    if at is None:
        return Markup('<span class="absent">{}</span>').format(absent)
    now = context["read_at"]
    # The top of the page names the day; another day is worth saying.
    clock = f"{at.astimezone(UTC):%H:%M:%S} UTC" if _day(at) == _day(now) else moment(at)
    return Markup(
        '<time datetime="{}"><span class="age">{}</span> <span class="at">{}</span></time>'
    ).format(at.astimezone(UTC).isoformat(), ago(at, now), clock)


def _day(at: datetime) -> date:
    return at.astimezone(UTC).date()


def instant(at: datetime) -> str:
    """Return a time to the millisecond, as a timeline needs it."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}"[:-3]


def commands(text: str) -> Markup:
    """Return words in which commands stand between backticks, each as code."""
    parts = [
        Markup("<code>{}</code>" if n % 2 else "{}").format(part)
        for n, part in enumerate(text.split("`"))
    ]
    return Markup("").join(parts)


def tag(badge: Badge) -> Markup:
    """Return a state as a word with its sign; the colour says nothing that they do not."""
    return Markup('<span class="tag {}"><span aria-hidden="true">{}</span> {}</span>').format(
        badge.tone, badge.sign, badge.word
    )


def price(value: Decimal | None) -> str:
    """Return a price; "" for None."""
    return "" if value is None else words.grouped(shown_price(value))


def costs(amounts: tuple[tuple[str, Decimal], ...]) -> str:
    """Return amounts by currency."""
    return ", ".join(f"{words.grouped(amount)} {currency}" for currency, amount in amounts)


def order_words(order: Order) -> str:
    """Return what an order asks for, as a trader says it."""
    return describe_terms(order.terms, order.contract)


def type_name(event: Event) -> str:
    """Return the name that an event has in the log."""
    return type(event).__name__


def segment(text: object) -> str:
    """Return a text as a part of a path, whatever is in it."""
    return quote(str(text), safe="")
