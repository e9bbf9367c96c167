"""IB's Flex web service: asks for a statement by token, waits until it is made, writes the file.

Two requests: one that orders the statement and answers with a reference and an address, one that
fetches it there and is told to wait while it is being made. IB makes statements on several hosts,
and its documentation and its answers disagree about which one to ask: the address in the answer is
tried first, the configured one where that does not help; the other way round where the settings
name another server than IB's.

The token is a credential. It travels in the query, as IB wants it: over HTTPS to IB's hosts, or to
the host that the settings name (a test's own server on this machine may speak HTTP). It is in no
message and no log, and a redirection is followed only to where it may go.
"""

from __future__ import annotations

import contextlib
import http.client
import platform
import threading
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, overload
from xml.parsers import expat

from oms.clock import Clock
from oms.errors import ConfigurationError, IBConnectionError
from oms.files import whole_file
from oms.service.flex_answer import (
    DocumentType,
    Ordered,
    Refusal,
    Statement,
    read_answer,
    refuse_document_type,
)

#: IB takes ten requests a minute for a token.
_LOOK_SECONDS: Final = 7.0
#: After "too many requests", so many times longer.
_SLOWER: Final = 5
_ANSWER_SECONDS: Final = 60.0
#: An answer that is not the statement is a few lines.
_ANSWER_BYTES: Final = 64 * 1024
_CHUNK_BYTES: Final = 1024 * 1024
#: Years of a busy account are some hundred megabytes.
_STATEMENT_BYTES_MAX: Final = 2 * 1024**3
_REDIRECTS_MAX: Final = 4
#: IB wants the technology and its version, and turns away what has none.
_AGENT: Final = f"Python/{platform.python_version()}"
_LOCAL: Final = frozenset({"127.0.0.1", "::1", "localhost"})
#: Interactive Brokers' own domains, under which its portals stand; the hosts below them count.
_IB_DOMAINS: Final = (
    "interactivebrokers.com",
    "interactivebrokers.ca",
    "interactivebrokers.co.in",
    "interactivebrokers.co.jp",
    "interactivebrokers.co.uk",
    "interactivebrokers.com.au",
    "interactivebrokers.com.hk",
    "interactivebrokers.com.sg",
    "interactivebrokers.eu",
    "interactivebrokers.ie",
    "ibkr.com",
)
_HINT: Final = "nothing was written; try again later, or download the statement in the portal"


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

    Raises `ConfigurationError` without token or query, where IB refuses them, or where the file
    cannot be written; `IBConnectionError` where IB does not answer, answers with something else, or
    does not finish in time.
    """
    if not token or not query:
        missing = "OMS_FLEX_TOKEN" if not token else "OMS_FLEX_QUERY"
        raise ConfigurationError(
            f"{missing} is not set",
            hint="the account's portal gives both: Settings > Flex Web Service, and Flex Queries",
        )
    url = url.rstrip("/")
    service = _Service(url, token, clock, clock.monotonic() + seconds_max, look_seconds)
    if not service.may_ask(url):
        raise ConfigurationError(
            f"flex_url {url} is not https without a user name: the token would be readable"
        )
    ordered = service.order(query)
    return service.fetch(ordered, out)


@dataclass(frozen=True, slots=True)
class _Service:
    """The service at the configured address, asked until a deadline."""

    url: str
    token: str = field(repr=False)
    clock: Clock
    deadline: float
    look_seconds: float

    def order(self, query: str) -> Ordered:
        """Have IB make the statement; waits while IB says that it is too busy."""
        while True:
            said = self._asked(f"{self.url}/SendRequest", query)
            if isinstance(said, Ordered):
                return said
            if said.then not in ("later", "slower"):
                raise self._error("IB's Flex service did not take the request", [said])
            self._wait(said)

    def fetch(self, ordered: Ordered, out: Path) -> int:
        """Fetch what was ordered, where the answer says or at the configured address."""
        addresses = [f"{self.url}/GetStatement"]
        unasked = ""
        if ordered.url and self.may_ask(ordered.url):
            addresses = list(dict.fromkeys([*addresses, ordered.url]))
            # A server that stands in for IB's is asked before the one that it stands in for.
            if _is_ib(self.url) or _host(ordered.url) == _host(self.url):
                addresses.reverse()
        elif ordered.url:
            unasked = (
                f" (IB's answer names {_host(ordered.url)}, which is neither https at a host of IB"
                " nor the host of flex_url: the token was not sent there)"
            )
        while True:
            refusals: list[Refusal] = []
            for address in addresses:
                said = self._asked(address, ordered.reference, out)
                if isinstance(said, int):
                    return said
                refusals.append(said)
                if said.then not in ("elsewhere", "unreachable"):
                    break
            # What answered like the Flex service is asked first from now on.
            addresses = [*addresses[len(refusals) - 1 :], *addresses[: len(refusals) - 1]]
            said = refusals[-1]
            if said.then == "mend":
                raise self._error("IB's Flex service refuses the statement", [said])
            if said.then in ("elsewhere", "unreachable"):
                lost = next((one for one in refusals if one.then == "unreachable"), None)
                if lost is None:
                    raise self._error(f"the statement could not be fetched{unasked}", refusals)
                said = lost
            self._wait(said)

    def may_ask(self, url: str) -> bool:
        """Say whether the token may go there."""
        try:
            parts = urllib.parse.urlsplit(url)
            host, named = _host(url), _host(self.url)
            _ = parts.port
        except ValueError:
            return False
        if parts.username is not None or not host or "\\" in parts.netloc:
            return False
        if parts.scheme == "http":
            return host == named and host in _LOCAL
        return parts.scheme == "https" and (_is_ib(url) or host == named)

    @overload
    def _asked(self, address: str, about: str) -> Ordered | Refusal: ...

    @overload
    def _asked(self, address: str, about: str, out: Path) -> int | Refusal: ...

    def _asked(self, address: str, about: str, out: Path | None = None) -> int | Ordered | Refusal:
        """Ask, following redirections to where the token may go; a statement goes to `out`."""
        url = address
        for _ in range(_REDIRECTS_MAX + 1):
            try:
                seconds = min(_ANSWER_SECONDS, max(1.0, self.deadline - self.clock.monotonic()))
                with _opened(url, seconds, t=self.token, q=about, v="3") as answer:
                    location = answer.headers.get("Location", "")
                    if not location:
                        return self._read(answer, out)
            except (OSError, http.client.HTTPException, ValueError) as error:
                where = f"{_host(url)} does not answer: {self._reason(error)}"
                return Refusal(where, "unreachable", _HINT)
            with contextlib.suppress(ValueError):
                location = urllib.parse.urljoin(url, location)
            url = location
            if not self.may_ask(url):
                text = (
                    f"the server redirects to {_host(url)}, which is neither https at a host of IB"
                    " nor the host of flex_url: the token was not sent there"
                )
                return Refusal(text, "elsewhere", "check OMS_FLEX_URL")
        return Refusal("the server redirects without end", "elsewhere", "check OMS_FLEX_URL")

    def _read(self, answer: http.client.HTTPResponse, out: Path | None) -> int | Ordered | Refusal:
        head = answer.read(_ANSWER_BYTES)
        said = read_answer(head, answer.status)
        if isinstance(said, Statement) and out is not None:
            return self._written(out, head, answer)
        if isinstance(said, Statement) or (isinstance(said, Ordered) and out is not None):
            return Refusal("the answer belongs to another request", "elsewhere", _HINT)
        return said

    def _written(self, out: Path, head: bytes, answer: http.client.HTTPResponse) -> int | Refusal:
        """Write the whole statement or nothing: half a file looks like a statement with gaps."""
        parser = expat.ParserCreate()
        parser.StartDoctypeDeclHandler = refuse_document_type
        size = 0
        try:
            with whole_file(out) as file:
                for chunk in self._chunks(head, answer):
                    parser.Parse(chunk, False)
                    file.write(chunk)
                    size += len(chunk)
                parser.Parse(b"", True)
        except (expat.ExpatError, DocumentType):
            return Refusal("the statement came cut off or damaged", "later", _HINT)
        except _CutOff as error:
            return Refusal(f"the statement did not come whole: {error}", "later", _HINT)
        except OSError as error:
            reason = error.strerror or error
            raise ConfigurationError(f"{out} cannot be written: {reason}", hint="") from error
        return size

    def _chunks(self, head: bytes, answer: http.client.HTTPResponse) -> Iterator[bytes]:
        chunk, size = head, 0
        while chunk:
            yield chunk
            size += len(chunk)
            if size > _STATEMENT_BYTES_MAX:
                raise ConfigurationError(
                    f"the statement is larger than {_STATEMENT_BYTES_MAX:,} bytes",
                    hint="choose fewer days, sections or fields in the Flex query",
                )
            if self.clock.monotonic() > self.deadline:
                raise _CutOff("it was still on its way when the time was over")
            try:
                chunk = answer.read(_CHUNK_BYTES)
            except (OSError, http.client.HTTPException) as error:
                raise _CutOff(self._reason(error)) from None

    def _wait(self, said: Refusal) -> None:
        seconds = self.look_seconds * (_SLOWER if said.then == "slower" else 1)
        if self.clock.monotonic() + seconds > self.deadline:
            text = f"IB has not made the statement in time: {said.text}"
            raise IBConnectionError(self._without_token(text), hint=said.hint)
        threading.Event().wait(seconds)

    def _error(
        self, what: str, refusals: Sequence[Refusal]
    ) -> ConfigurationError | IBConnectionError:
        texts = "; ".join(dict.fromkeys(one.text for one in refusals))
        # What IB says by a code says more than a page that came instead.
        told = next((one for one in refusals if one.error is ConfigurationError), refusals[-1])
        return told.error(self._without_token(f"{what}: {texts}"), hint=told.hint)

    def _reason(self, error: Exception) -> str:
        reason = getattr(error, "reason", error)
        if isinstance(reason, TimeoutError):
            return "nothing came in time"
        return str(reason) or type(error).__name__

    def _without_token(self, text: str) -> str:
        for word in (self.token, urllib.parse.quote_plus(self.token)):
            text = text.replace(word, "(the token)")
        return text


class _CutOff(Exception):
    """The statement did not come whole."""


def _opener() -> urllib.request.OpenerDirector:
    """Return what opens an address and hands over whatever answers: redirections and refusals are
    read like the rest, and the token goes where we say.
    """
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler,
        urllib.request.HTTPHandler,
        urllib.request.HTTPSHandler,
    ):
        opener.add_handler(handler())
    return opener


def _opened(url: str, seconds: float, **fields: str) -> http.client.HTTPResponse:
    parts = urllib.parse.urlsplit(url)
    # A redirection repeats what was asked; it is asked once.
    kept = [
        (name, value) for name, value in urllib.parse.parse_qsl(parts.query) if name not in fields
    ]
    asked = parts._replace(query=urllib.parse.urlencode([*kept, *fields.items()]), fragment="")
    request = urllib.request.Request(asked.geturl(), headers={"User-Agent": _AGENT})
    answer: http.client.HTTPResponse = _opener().open(request, timeout=seconds)
    return answer


def _is_ib(url: str) -> bool:
    host = _host(url)
    return any(host == domain or host.endswith(f".{domain}") for domain in _IB_DOMAINS)


def _host(url: str) -> str:
    """Return the host of an address in lower case, without port and user; "" where it has none."""
    try:
        return (urllib.parse.urlsplit(url).hostname or "").rstrip(".")
    except ValueError:
        return ""
