"""What an answer of IB's Flex web service is, in true words: the codes, and what is no Flex answer.

The codes are IB's (Flex Web Service version 3, error codes). 1025 is not in IB's list; it was seen
in answers: the token is locked after too many requests that failed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal
from xml.parsers import expat

from oms.errors import ConfigurationError, IBConnectionError

#: What to do about a refusal: ask again later, ask again much later, ask the other address, do so
#: because this one does not answer at all, or let a person mend it.
Then = Literal["later", "slower", "elsewhere", "unreachable", "mend"]

_TOKEN: Final = "make a new token in the account's portal (Settings > Flex Web Service)"
_QUERY: Final = "check OMS_FLEX_QUERY: the portal shows the number of each Flex query"
_LATER: Final = "ask again later"

#: For each code what IB means, whether asking again helps, and what a person can do.
CODES: Final[Mapping[str, tuple[str, Then, str]]] = MappingProxyType(
    {
        "1001": (
            "IB could not make the statement",
            "later",
            "ask again later; where it stays so, check that OMS_FLEX_URL is IB's present address",
        ),
        "1003": (
            "IB has no statement for these days",
            "elsewhere",
            "choose days in the query that are over and on which the account was open",
        ),
        "1004": ("the statement is not complete yet", "later", _LATER),
        "1005": ("settlement is not ready yet", "later", _LATER),
        "1006": ("FIFO profit and loss is not ready yet", "later", _LATER),
        "1007": ("mark-to-market profit and loss is not ready yet", "later", _LATER),
        "1008": ("profit and loss is not ready yet", "later", _LATER),
        "1009": ("IB's server is too busy", "later", _LATER),
        "1010": (
            "the query is of an old kind",
            "mend",
            "make a new Activity Flex query in the portal, and set OMS_FLEX_QUERY to its number",
        ),
        "1011": (
            "the Flex web service of the account is not active",
            "mend",
            "activate it in the account's portal (Settings > Flex Web Service)",
        ),
        "1012": ("the token has expired", "mend", f"{_TOKEN}, and set OMS_FLEX_TOKEN"),
        "1013": (
            "the token may not be used from this IP address",
            "mend",
            "make a token without an IP address, or with the address of this machine",
        ),
        "1014": ("IB does not know the query", "mend", _QUERY),
        "1015": ("IB does not know the token", "mend", f"check OMS_FLEX_TOKEN, or {_TOKEN}"),
        "1016": (
            "IB does not know the account, or it has no access",
            "mend",
            "check in the portal which accounts the query names",
        ),
        "1017": (
            "IB does not know the reference of the statement any more",
            "elsewhere",
            "order the statement again",
        ),
        "1018": (
            "too many requests were made with this token",
            "slower",
            "let nothing else use the token, and ask again in some minutes",
        ),
        "1019": ("IB is still making the statement", "later", _LATER),
        "1020": (
            "IB cannot read or check the request",
            "elsewhere",
            "check OMS_FLEX_TOKEN, OMS_FLEX_QUERY and OMS_FLEX_URL",
        ),
        "1021": ("IB could not fetch the statement", "later", _LATER),
        "1025": (
            "IB has locked the token after too many requests that failed",
            "mend",
            f"do not ask again with this token: {_TOKEN}, and set OMS_FLEX_TOKEN",
        ),
    }
)
#: HTTP statuses that say that the same request may succeed later.
_PASSING: Final = frozenset({408, 425, 500, 502, 503, 504})
_THROTTLED: Final = 429
_TEXT: Final = "a text that is no XML"


@dataclass(frozen=True, slots=True)
class Ordered:
    """The statement is ordered: IB's name for it, and where IB says that it can be fetched."""

    reference: str
    url: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """No statement yet, or none at all: why, what follows, and what a person can do."""

    text: str
    then: Then
    hint: str
    #: What it becomes where nothing else helps: a fault of settings or query, or of the line.
    error: type[ConfigurationError] | type[IBConnectionError] = IBConnectionError


class Statement:
    """The answer is the statement itself."""


def read_answer(head: bytes, status: int = 200) -> Statement | Ordered | Refusal:
    """Return what an answer is; `head` is all of it, or the beginning of a long one."""
    root, fields = _elements(head)
    code = fields.get("ErrorCode", "")
    if root == "FlexQueryResponse" and status < 300:
        return Statement()
    if fields.get("Status") == "Success" and fields.get("ReferenceCode"):
        return Ordered(fields["ReferenceCode"], fields.get("Url", ""))
    if code or root == "FlexStatementResponse":
        return _refused(code, fields.get("ErrorMessage", ""))
    return _no_flex_answer(_what(root, head.strip()), status)


def _refused(code: str, words: str) -> Refusal:
    meaning, then, hint = CODES.get(
        code, ("IB refuses the statement", "mend", "IB's words say why; see the account's portal")
    )
    said = " ".join(word for word in (code, words) if word) or "no reason given"
    return Refusal(f"{meaning} (IB: {said})", then, hint, ConfigurationError)


def _no_flex_answer(what: str, status: int) -> Refusal:
    """Return what came instead; the token may be good, so nothing is said against it."""
    if status == _THROTTLED:
        return Refusal("too many requests were made (HTTP 429)", "slower", CODES["1018"][2])
    if status in _PASSING:
        text = f"IB's server is not available: HTTP {status}, and the answer is {what}"
        return Refusal(text, "later", "IB may be in maintenance: ask again later")
    if status >= 300:
        hint = "check OMS_FLEX_URL, and that this machine may reach it"
        return Refusal(f"HTTP {status}, and the answer is {what}", "elsewhere", hint)
    text = f"the answer is {what}, not what IB's Flex service answers"
    if what == _TEXT:
        hint = "choose XML as the format of the Flex query"
        return Refusal(text, "elsewhere", hint, ConfigurationError)
    hint = "IB may be in maintenance: ask again later; where it stays so, check OMS_FLEX_URL"
    return Refusal(text, "elsewhere", hint)


def _what(root: str, body: bytes) -> str:
    start = body[:1024].lower()
    if not body:
        return "empty"
    if root.lower() == "html" or b"<html" in start or start.startswith(b"<!doctype html"):
        return "an HTML page"
    if root:
        return f"<{root[:40]}>"
    return "damaged XML" if start.startswith(b"<") else _TEXT


def _elements(body: bytes) -> tuple[str, dict[str, str]]:
    """Return the root, and the texts of the elements of an answer that is whole.

    A document type is read no further: no answer of IB's has one.
    """
    roots: list[str] = []
    found: dict[str, str] = {}
    path: list[str] = []
    parser = expat.ParserCreate()
    parser.buffer_text = True

    def start(tag: str, _: dict[str, str]) -> None:
        """Remember where the text that follows stands."""
        if not path:
            roots.append(tag)
        path.append(tag)

    def text(words: str) -> None:
        """Keep a text under the name of its element."""
        found[path[-1]] = (found.get(path[-1], "") + words).strip()

    parser.StartElementHandler = start
    parser.EndElementHandler = lambda _: path.pop()
    parser.CharacterDataHandler = text
    parser.StartDoctypeDeclHandler = refuse_document_type
    try:
        parser.Parse(body, True)
    except (expat.ExpatError, DocumentType):
        # The beginning of a statement ends in the middle.
        found = {}
    return (roots[0] if roots else ""), found


class DocumentType(Exception):
    """A document type is declared, which nothing of IB's has."""


def refuse_document_type(*_: object) -> None:
    """Stop before anything that it declares is expanded."""
    raise DocumentType
