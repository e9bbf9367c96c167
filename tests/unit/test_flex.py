"""IB's Flex web service: where the token goes, what is asked again, and which words are said."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from oms.clock import SystemClock
from oms.errors import ConfigurationError, IBConnectionError
from oms.service import flex
from oms.service.flex import fetch_statement
from oms.service.flex_answer import CODES, Ordered, Refusal, Statement, read_answer

TOKEN = "31415926535"
STATEMENT = (
    '<FlexQueryResponse queryName="q" type="AF"><FlexStatements count="0">{}</FlexStatements>'
    "</FlexQueryResponse>"
)
PAGE = "<!DOCTYPE html><html><body>Page not found &nbsp;</body></html>"


def ordered(url: str = "") -> str:
    return (
        "<FlexStatementResponse timestamp='12 July, 2026 03:23 PM EDT'>\n<Status>Success</Status>\n"
        f"<ReferenceCode>77</ReferenceCode>\n<Url>{url}</Url>\n</FlexStatementResponse>"
    )


def refusal(code: int | str, text: str = "words of IB", status: str = "Fail") -> str:
    return (
        f"<FlexStatementResponse timestamp='x'><Status>{status}</Status><ErrorCode>{code}"
        f"</ErrorCode><ErrorMessage>{text}</ErrorMessage></FlexStatementResponse>"
    )


@dataclass
class Said:
    """One answer of a server."""

    body: str | bytes = ""
    status: int = 200
    location: str = ""
    #: More than there is, where it is cut off.
    length: int | None = None


@dataclass
class Server:
    """A server on this machine that gives the answers of a list; the last one for ever."""

    answers: list[Said] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    url: str = ""

    @property
    def places(self) -> list[str]:
        return [path.partition("?")[0].rpartition("/")[2] for path in self.asked]


StartServer = Callable[..., Server]


@pytest.fixture
def start() -> Iterator[StartServer]:
    running: list[tuple[ThreadingHTTPServer, threading.Thread]] = []

    def begin(*answers: Said | str) -> Server:
        server = Server([a if isinstance(a, Said) else Said(a) for a in answers])

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:  # the library's name for it
                server.asked.append(self.path)
                said = server.answers.pop(0) if len(server.answers) > 1 else server.answers[0]
                body = said.body.encode() if isinstance(said.body, str) else said.body
                self.send_response(said.status)
                if said.location:
                    self.send_header("Location", said.location)
                self.send_header("Content-Length", str(said.length or len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=http.serve_forever, args=(0.01,))
        thread.start()
        running.append((http, thread))
        server.url = f"http://127.0.0.1:{http.server_address[1]}/FlexWebService"
        return server

    yield begin
    for http, thread in running:
        http.shutdown()
        thread.join()
        http.server_close()


def fetch(server: Server, out: Path, *, seconds: float = 5, token: str = TOKEN) -> int:
    return fetch_statement(
        server.url, token, "123", out, clock=SystemClock(), seconds_max=seconds, look_seconds=0.005
    )


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "statement.xml"


# ── a statement ──────────────────────────────────────────────────────────────────────────────────


def test_statement_is_ordered_waited_for_and_written_whole(start: StartServer, out: Path) -> None:
    text = STATEMENT.format("<Trades></Trades>" * 100_000)
    server = start(ordered(), refusal(1019, status="Warn"), text)
    assert fetch(server, out) == len(text)
    assert out.read_text() == text
    assert server.places == ["SendRequest", "GetStatement", "GetStatement"]
    assert list(out.parent.iterdir()) == [out]


@pytest.mark.parametrize(
    "code", sorted(c for c, (_, then, _) in CODES.items() if then in ("later", "slower"))
)
def test_what_ib_says_will_pass_is_asked_again(start: StartServer, out: Path, code: str) -> None:
    server = start(refusal(code), ordered(), refusal(code), STATEMENT)
    assert fetch(server, out) == len(STATEMENT)
    assert len(server.asked) == 4


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_server_that_is_down_for_now_is_asked_again(
    start: StartServer, out: Path, status: int
) -> None:
    busy = Said(PAGE, status)
    server = start(busy, ordered(), busy, STATEMENT)
    assert fetch(server, out) == len(STATEMENT)


def test_statement_that_came_half_is_fetched_again_and_half_a_file_is_never_left(
    start: StartServer, out: Path
) -> None:
    text = STATEMENT.format("<Trades/>" * 20_000)
    half = Said(text[: len(text) // 2], length=len(text))
    server = start(ordered(), half, text)
    assert fetch(server, out) == len(text)
    with pytest.raises(IBConnectionError, match=r"did not come whole|cut off or damaged"):
        fetch(start(ordered(), half), out.with_name("other"), seconds=0.5)
    assert list(out.parent.iterdir()) == [out]


def test_statement_without_end_is_refused(
    start: StartServer, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flex, "_STATEMENT_BYTES_MAX", 1_000_000)
    server = start(ordered(), STATEMENT.format("<Trades/>" * 400_000))
    with pytest.raises(ConfigurationError, match="larger than 1,000,000 bytes"):
        fetch(server, out)
    assert not list(out.parent.iterdir())


def test_file_that_cannot_be_written_is_named(start: StartServer, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"none/x cannot be written: No such file"):
        fetch(start(ordered(), STATEMENT), tmp_path / "none" / "x")


# ── where the token goes ─────────────────────────────────────────────────────────────────────────


def test_address_in_the_answer_is_asked_first_and_the_configured_one_where_it_does_not_help(
    start: StartServer, out: Path
) -> None:
    good = start(STATEMENT)
    first = start(ordered(f"{good.url}/GetStatement"), PAGE)
    assert fetch(first, out) == len(STATEMENT)
    assert (first.places, good.places) == (["SendRequest"], ["GetStatement"])
    page = start(PAGE)
    second = start(ordered(f"{page.url}/GetStatement"), refusal(1019), STATEMENT)
    assert fetch(second, out) == len(STATEMENT)
    assert second.places == ["SendRequest", "GetStatement", "GetStatement"]
    assert page.places == ["GetStatement"], "what does not answer like Flex is not asked again"


def test_server_that_stands_in_for_ib_is_asked_before_ib(start: StartServer, out: Path) -> None:
    server = start(ordered("https://gdcdyn.interactivebrokers.com/GetStatement"), STATEMENT)
    assert fetch(server, out) == len(STATEMENT)
    assert server.places == ["SendRequest", "GetStatement"]


def test_address_that_nobody_answers_at_is_no_end(start: StartServer, out: Path) -> None:
    server = start(ordered("http://127.0.0.1:1/GetStatement"), STATEMENT)
    assert fetch(server, out) == len(STATEMENT)


@pytest.mark.parametrize(
    "address",
    [
        "http://gdcdyn.interactivebrokers.com/AccountManagement/FlexWebService/GetStatement",
        "https://interactivebrokers.com.example.net/GetStatement",
        "https://notinteractivebrokers.com/GetStatement",
        "https://gdcdyn.interactivebrokers.com@example.net/GetStatement",
        "https://user@gdcdyn.interactivebrokers.com/GetStatement",
        "https://example.net\\@gdcdyn.interactivebrokers.com/GetStatement",
        "http://localhost:1/GetStatement",
        "ftp://127.0.0.1/GetStatement",
        "https://[/GetStatement",
        "https://127.0.0.1:port/GetStatement",
    ],
)
def test_token_is_sent_nowhere_else(start: StartServer, out: Path, address: str) -> None:
    elsewhere = start(Said(status=302, location=address))
    with pytest.raises(IBConnectionError, match="the token was not sent there") as caught:
        fetch(start(ordered(address), PAGE), out)
    assert TOKEN not in str(caught.value)
    with pytest.raises(IBConnectionError, match="the token was not sent there"):
        fetch(elsewhere, out)
    assert len(elsewhere.asked) == 1


@pytest.mark.parametrize(
    ("address", "may"),
    [
        ("https://gdcdyn.interactivebrokers.com/AccountManagement/FlexWebService", True),
        ("https://NDCDYN.InteractiveBrokers.com:443/x", True),
        ("https://www.interactivebrokers.co.uk/x", True),
        ("https://flex.example.com:8443/x", True),
        ("http://flex.example.com/x", False),
        ("https://other.example.com/x", False),
    ],
)
def test_token_may_go_to_ib_and_to_the_configured_host_on_any_port(address: str, may: bool) -> None:
    service = flex._Service("https://flex.example.com/x", TOKEN, SystemClock(), 0, 0)
    assert service.may_ask(address) is may
    assert TOKEN not in repr(service)


def test_redirection_to_the_configured_host_is_followed_with_the_token_once(
    start: StartServer, out: Path
) -> None:
    server = start(ordered(), STATEMENT)
    moved = start(Said(status=301, location=f"{server.url}/SendRequest?t={TOKEN}&q=123&v=3&l=en"))
    assert fetch(moved, out) == len(STATEMENT)
    assert server.asked[0] == f"/FlexWebService/SendRequest?l=en&t={TOKEN}&q=123&v=3"


def test_redirection_without_end_is_no_answer(start: StartServer, out: Path) -> None:
    server = start(Said(status=302, location="/FlexWebService/SendRequest"))
    with pytest.raises(IBConnectionError, match="redirects without end"):
        fetch(server, out)


@pytest.mark.parametrize(
    ("url", "token", "words"),
    [
        ("http://example.com", "secret", "is not https"),
        ("https://me:pass@example.com", "secret", "is not https without a user name"),
        ("https://example.com", "", "OMS_FLEX_TOKEN is not set"),
    ],
)
def test_token_is_never_sent_in_the_clear_and_never_missing_in_silence(
    url: str, token: str, words: str, out: Path
) -> None:
    with pytest.raises(ConfigurationError, match=words):
        fetch_statement(url, token, "123", out, clock=SystemClock(), seconds_max=1)


# ── true words ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("body", "status", "then", "words"),
    [
        (PAGE, 200, "elsewhere", "the answer is an HTML page"),
        ("<html><head><title>Maintenance", 200, "elsewhere", "the answer is an HTML page"),
        ("", 200, "elsewhere", "the answer is empty"),
        ("  \n", 200, "elsewhere", "the answer is empty"),
        ('"ClientAccountID","Symbol"', 200, "elsewhere", "a text that is no XML"),
        ("<FlexQuery", 200, "elsewhere", "damaged XML"),
        ("<soap:Envelope/>", 200, "elsewhere", "the answer is <soap:Envelope>"),
        (PAGE, 503, "later", "not available: HTTP 503, and the answer is an HTML page"),
        ("", 429, "slower", "too many requests"),
        (PAGE, 403, "elsewhere", "HTTP 403, and the answer is an HTML page"),
        (refusal(1019), 503, "later", "still making"),
        ("<Status><ErrorCode>1009</ErrorCode></Status>", 200, "later", "too busy"),
        (refusal(4711, "New &amp; odd."), 200, "mend", "(IB: 4711 New & odd.)"),
        (refusal("", ""), 200, "mend", "refuses the statement (IB: no reason given)"),
    ],
)
def test_what_is_no_statement_is_called_what_it_is(
    body: str, status: int, then: str, words: str
) -> None:
    said = read_answer(body.encode(), status)
    assert isinstance(said, Refusal)
    assert (said.then, words in said.text) == (then, True), said.text
    assert said.hint


def test_statement_is_known_by_its_root_and_nothing_that_is_declared_is_expanded() -> None:
    assert isinstance(read_answer(STATEMENT.encode()[:60]), Statement)
    assert isinstance(read_answer(b"\xef\xbb\xbf" + STATEMENT.encode()), Statement)
    assert isinstance(read_answer(f"<html>{STATEMENT}</html>".encode()), Refusal)
    assert isinstance(read_answer(STATEMENT.encode(), 500), Refusal)
    assert read_answer(ordered(" https://a/b ").encode()) == Ordered("77", "https://a/b")
    bomb = '<!DOCTYPE a [<!ENTITY a "aaaa">]><FlexStatementResponse>&a;</FlexStatementResponse>'
    assert isinstance(read_answer(bomb.encode()), Refusal)


@pytest.mark.parametrize(
    "code", sorted(c for c, (_, then, _) in CODES.items() if then not in ("later", "slower"))
)
def test_refusal_says_what_ib_means_what_ib_said_and_what_to_do(
    start: StartServer, out: Path, code: str
) -> None:
    meaning, _, hint = CODES[code]
    server = start(refusal(code, f"words about {TOKEN}"))
    with pytest.raises(ConfigurationError) as caught:
        fetch(server, out)
    assert meaning in caught.value.message
    assert f"(IB: {code} words about (the token))" in caught.value.message
    assert caught.value.hint == hint
    assert len(server.asked) == 1, "what a person must mend is not asked again"


def test_code_of_one_address_says_more_than_the_page_of_the_other(
    start: StartServer, out: Path
) -> None:
    page = start(PAGE)
    server = start(ordered(f"{page.url}/GetStatement"), refusal(1003))
    with pytest.raises(ConfigurationError, match=r"an HTML page.*no statement for these days"):
        fetch(server, out)


def test_page_instead_of_a_flex_answer_says_nothing_against_the_token(
    start: StartServer, out: Path
) -> None:
    with pytest.raises(IBConnectionError, match="HTML page") as caught:
        fetch(start(PAGE), out)
    assert not re.search("token|expire", f"{caught.value} {caught.value.hint}", re.IGNORECASE)
    assert caught.value.exit_code == 5


def test_statement_that_is_not_made_in_time_is_told_with_ibs_last_word(
    start: StartServer, out: Path
) -> None:
    with pytest.raises(IBConnectionError, match="not made the statement in time: IB is still"):
        fetch(start(ordered(), refusal(1019)), out, seconds=0.05)


def test_server_that_breaks_off_and_one_that_nobody_started_are_no_answer(out: Path) -> None:
    nobody = Server(url="http://127.0.0.1:1")
    with pytest.raises(IBConnectionError, match=r"127.0.0.1 does not answer: .*refused"):
        fetch(nobody, out)
