"""IB's Flex web service: asks for a statement by token, waits until it is made, writes the file.

Two requests: one that orders the statement and answers with a reference, one that fetches it and is
refused with code 1019 while it is being made. The token is a credential: it travels in the query,
as IB wants it, over HTTPS only (a test's own server on this machine excepted), and is in no message
and no log.
"""

from __future__ import annotations

import contextlib
import os
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final
from xml.parsers import expat

from oms.clock import Clock
from oms.errors import ConfigurationError, IBConnectionError, StatementUnreadable

#: IB's word for "not ready yet", and for "too many requests": both pass.
_NOT_YET: Final = frozenset({"1001", "1009", "1018", "1019", "1021"})
_LOOK_SECONDS: Final = 5.0
_ANSWER_SECONDS: Final = 60.0
#: An answer that is not the statement is a few lines.
_ANSWER_BYTES: Final = 64 * 1024
_CHUNK_BYTES: Final = 1024 * 1024
_AGENT: Final = "ib-oms"


def fetch_statement(
    url: str,
    token: str,
    query: str,
    out: Path,
    *,
    clock: Clock,
    seconds_max: float,
    look_seconds: float = _LOOK_SECONDS,
) -> int:
    """Fetch a statement into a file and return its size in bytes; blocks the caller.

    Raises `ConfigurationError` without token or query, or where IB refuses them;
    `IBConnectionError` where IB does not answer or does not finish in time.
    """
    if not token or not query:
        missing = "OMS_FLEX_TOKEN" if not token else "OMS_FLEX_QUERY"
        raise ConfigurationError(
            f"{missing} is not set",
            hint="the account's portal gives both: Settings > Flex Web Service, and Flex Queries",
        )
    _check_url(url)
    deadline = clock.monotonic() + seconds_max
    reference = _ordered(
        url, token, query, clock=clock, deadline=deadline, look_seconds=look_seconds
    )
    while True:
        with _open(f"{url}/GetStatement", t=token, q=reference, v="3") as answer:
            head = answer.read(_ANSWER_BYTES)
            if b"<FlexQueryResponse" in head:
                return _write(out, head, answer)
        _wait_or_raise(_fields(head), clock, deadline, look_seconds)


def _ordered(
    url: str, token: str, query: str, *, clock: Clock, deadline: float, look_seconds: float
) -> str:
    while True:
        with _open(f"{url}/SendRequest", t=token, q=query, v="3") as answer:
            fields = _fields(answer.read(_ANSWER_BYTES))
        if fields.get("Status") == "Success" and fields.get("ReferenceCode"):
            return fields["ReferenceCode"]
        _wait_or_raise(fields, clock, deadline, look_seconds)


def _wait_or_raise(
    fields: dict[str, str], clock: Clock, deadline: float, look_seconds: float
) -> None:
    code, text = fields.get("ErrorCode", ""), fields.get("ErrorMessage", "no reason given")
    if code not in _NOT_YET:
        raise ConfigurationError(
            f"IB refuses the statement: {code} {text}".replace("  ", " "),
            hint="check OMS_FLEX_TOKEN (it expires) and OMS_FLEX_QUERY in the account's portal",
        )
    if clock.monotonic() + look_seconds > deadline:
        raise IBConnectionError(
            f"IB has not made the statement in time: {code} {text}", hint="try again later"
        )
    threading.Event().wait(look_seconds)


def _check_url(url: str) -> None:
    parts = urllib.parse.urlsplit(url)
    is_local = parts.hostname in {"127.0.0.1", "::1", "localhost"}
    if parts.scheme != "https" and not (parts.scheme == "http" and is_local):
        raise ConfigurationError(f"flex_url {url} is not https: the token would be readable")


@contextlib.contextmanager
def _open(url: str, **fields: str) -> Iterator[IO[bytes]]:
    request = urllib.request.Request(
        f"{url}?{urllib.parse.urlencode(fields)}", headers={"User-Agent": _AGENT}
    )
    try:
        with urllib.request.urlopen(request, timeout=_ANSWER_SECONDS) as answer:
            yield answer
    except urllib.error.HTTPError as error:
        raise IBConnectionError(f"the Flex service answered {error.code}", hint=_HINT) from None
    except OSError as error:
        reason = getattr(error, "reason", error)
        raise IBConnectionError(f"the Flex service: {reason}", hint=_HINT) from None


_HINT: Final = "nothing was written; try again later, or download the statement in the portal"


def _fields(answer: bytes) -> dict[str, str]:
    """Return the texts of the elements of a short answer."""
    found: dict[str, str] = {}
    path: list[str] = []
    parser = expat.ParserCreate()

    def text(words: str) -> None:
        found[path[-1]] = found.get(path[-1], "") + words.strip()

    def doctype(*_: object) -> None:
        raise StatementUnreadable("the Flex service's answer declares a document type")

    parser.StartElementHandler = lambda tag, _: path.append(tag)
    parser.EndElementHandler = lambda _: path.pop()
    parser.CharacterDataHandler = text
    parser.StartDoctypeDeclHandler = doctype
    try:
        parser.Parse(answer, True)
    except expat.ExpatError as error:
        raise IBConnectionError("the Flex service answered something else", hint=_HINT) from error
    return found


def _write(out: Path, head: bytes, answer: IO[bytes]) -> int:
    """Write the whole statement or nothing: half a file looks like a statement with gaps."""
    part = out.with_name(f"{out.name}.part")
    size = 0
    with part.open("wb") as file:
        chunk = head
        while chunk:
            file.write(chunk)
            size += len(chunk)
            chunk = answer.read(_CHUNK_BYTES)
        file.flush()
        os.fsync(file.fileno())
    part.replace(out)
    return size
