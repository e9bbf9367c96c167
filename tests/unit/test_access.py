"""Who may ask the servers of this program."""

from __future__ import annotations

import base64

import pytest

from oms.access import LOOPBACK_NAMES, access_for
from oms.cli import main
from oms.errors import ConfigurationError

PASSWORD = "correct horse battery"


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "trading-host", "2001:db8::1"])
@pytest.mark.parametrize("password", ["", "short"])
def test_server_for_other_machines_does_not_start_without_a_password(
    host: str, password: str
) -> None:
    with pytest.raises(ConfigurationError, match="OMS_WEB_PASSWORD") as caught:
        access_for(host, (), password)
    assert "OMS_WEB_PASSWORD" in caught.value.hint
    assert not password or password not in str(caught.value)


def test_verb_refuses_to_serve_other_machines_without_a_password(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["web", "--host", "0.0.0.0", "--port", "0"]) == 2
    assert "OMS_WEB_PASSWORD" in capsys.readouterr().err


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_this_machine_needs_no_password_and_no_other_name(host: str) -> None:
    access = access_for(host, (), "")
    for name in LOOPBACK_NAMES:
        assert access.refusal(f"[{name}]:1" if ":" in name else f"{name}:1", "") is None
    for name in ("evil.example", "evil.example:8010", "", "192.0.2.7", "localhost.evil.example"):
        refusal = access.refusal(name, "")
        assert refusal is not None
        assert refusal.status == 421


def test_server_on_every_address_answers_to_addresses_and_to_given_names() -> None:
    access = access_for("0.0.0.0", ("Desk.Example",), PASSWORD)
    said = basic(f"anybody:{PASSWORD}")
    for name in ("192.0.2.7:8010", "desk.example", "localhost"):
        assert access.refusal(name, said) is None
    for name in ("evil.example", "0x7f000001", "192.0.2.7.evil.example"):
        assert access.refusal(name, said).status == 421  # type: ignore[union-attr]  # it refuses


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Basic",
        "Basic !",
        basic("me:wrong"),
        basic(PASSWORD),
        "Bearer " + PASSWORD,
        basic("me:"),
    ],
)
def test_password_is_needed_as_it_is(authorization: str) -> None:
    refusal = access_for("192.0.2.7", (), PASSWORD).refusal("192.0.2.7", authorization)
    assert refusal is not None
    assert refusal.status == 401
    assert PASSWORD not in refusal.text
    assert PASSWORD not in repr(access_for("192.0.2.7", (), PASSWORD))
