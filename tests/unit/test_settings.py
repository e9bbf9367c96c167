"""Settings are read from four places, in one order, and every wrong one is named."""

from __future__ import annotations

import itertools
import os
from decimal import Decimal
from pathlib import Path

import pytest

from oms.errors import ConfigurationError
from oms.settings import Settings, load


def test_defaults_are_a_paper_gateway_on_this_host(tmp_path: Path) -> None:
    settings = load(directory=tmp_path, environment={})
    assert (settings.host, settings.port, settings.client_id, settings.mode) == (
        "127.0.0.1",
        4002,
        1,
        "paper",
    )
    assert settings.database_url == "sqlite:///oms.sqlite"
    assert {row.source for row in settings.describe()} == {"default"}


def test_priority_is_argument_environment_dotenv_file(tmp_path: Path) -> None:
    (tmp_path / "oms.toml").write_text("port = 1\nclient_id = 1\nhost = 'file'\nmode = 'live'\n")
    (tmp_path / ".env").write_text("OMS_PORT=2\nOMS_CLIENT_ID=2\nOMS_HOST=dotenv\n")
    settings = load(directory=tmp_path, environment={"OMS_PORT": "3", "OMS_CLIENT_ID": "3"}, port=4)
    sources = {row.name: (row.value, row.source) for row in settings.describe()}
    assert sources["port"] == ("4", "argument")
    assert sources["client_id"] == ("3", "OMS_CLIENT_ID")
    assert sources["host"] == ("dotenv", ".env: OMS_HOST")
    assert sources["mode"] == ("live", "oms.toml: mode")
    assert sources["lease_seconds"] == ("10", "default")


def test_process_environment_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMS_PORT", "7497")
    assert load(directory=tmp_path).port == 7497


def test_constructor_reads_nothing_but_its_arguments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMS_PORT", "7497")
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("OMS_CLIENT_ID=9\n")
    settings = Settings(host="10.0.0.1")
    assert (settings.host, settings.port, settings.client_id) == ("10.0.0.1", 4002, 1)


def test_config_variable_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "desk.toml").write_text("port = 7497\n")
    assert load(directory=tmp_path, environment={"OMS_CONFIG": "desk.toml"}).port == 7497
    with pytest.raises(ConfigurationError, match=r"OMS_CONFIG names gone\.toml"):
        load(directory=tmp_path, environment={"OMS_CONFIG": "gone.toml"})


def test_unreadable_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "oms.toml").write_text("port = \n")
    with pytest.raises(ConfigurationError, match=r"oms\.toml cannot be read: "):
        load(directory=tmp_path, environment={})


def test_lists_are_written_with_commas(tmp_path: Path) -> None:
    settings = load(
        directory=tmp_path,
        environment={"OMS_ACCOUNTS": "DU1, DU2,", "OMS_RECONNECT_DELAYS_SECONDS": "0.5,1"},
    )
    assert settings.accounts == ("DU1", "DU2")
    assert settings.reconnect_delays_seconds == (0.5, 1)


def test_limits_stay_exact_from_every_source(tmp_path: Path) -> None:
    (tmp_path / "oms.toml").write_text("order_notional_max = 100000.1234567890123456\n")
    settings = load(directory=tmp_path, environment={"OMS_ORDER_QUANTITY_MAX": "0.1"})
    limits = (settings.order_quantity_max.standard, settings.order_notional_max.standard)
    assert limits == (
        Decimal("0.1"),
        Decimal("100000.1234567890123456"),
    )


def test_fractions_of_seconds_are_read_from_the_file(tmp_path: Path) -> None:
    (tmp_path / "oms.toml").write_text("probe_timeout_seconds = 0.5\n")
    assert load(directory=tmp_path, environment={}).probe_timeout_seconds == 0.5


def test_empty_variable_counts_as_not_set(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("OMS_HOST=\nOMS_MODE\nOMS_PORT=7497\n")
    settings = load(directory=tmp_path, environment={"OMS_PORT": ""})
    assert (settings.host, settings.port) == ("127.0.0.1", 7497)


@pytest.mark.parametrize(
    ("variable", "value", "sentence"),
    [
        (
            "OMS_PORT",
            "70000",
            "port = 70000 cannot be used: input should be less than or equal to 65535"
            " (from OMS_PORT; allowed: 1 to 65535)",
        ),
        (
            "OMS_MODE",
            "Paper",
            "mode = Paper cannot be used: input should be 'paper' or 'live'"
            " (from OMS_MODE; allowed: paper | live)",
        ),
        (
            "OMS_MESSAGES_PER_SECOND_MAX",
            "10001",
            "messages_per_second_max = 10001 cannot be used: input should be less than or equal to"
            " 10000 (from OMS_MESSAGES_PER_SECOND_MAX; allowed: 1 to 10000)",
        ),
        (
            "OMS_ORDER_QUANTITY_MAX",
            "0",
            "order_quantity_max = 0 cannot be used: 0 must be more than 0"
            " (from OMS_ORDER_QUANTITY_MAX; allowed: each more than 0)",
        ),
        (
            "OMS_GATEWAY_ZONE",
            "New York",
            "gateway_zone = New York cannot be used: no IANA time zone is called 'New York'"
            " (from OMS_GATEWAY_ZONE)",
        ),
        (
            "OMS_DATABASE_URL",
            "mysql://desk:secret@host/oms",
            "database_url = mysql://desk:***@host/oms cannot be used: 'mysql' is not supported;"
            " use sqlite or postgresql (from OMS_DATABASE_URL)",
        ),
        (
            "OMS_DATABASE_URL",
            "postgresql://desk:secret@host:port/oms",
            "database_url = postgresql://desk:***@host:port/oms cannot be used: the port must be a"
            " number from 1 to 65535 (from OMS_DATABASE_URL)",
        ),
        (
            "OMS_DATABASE_URL",
            "postgresql://desk:se@cret@host/oms",
            "database_url = postgresql://desk:***@host/oms cannot be used: a password with an @ in"
            " it must be written with %40 instead (from OMS_DATABASE_URL)",
        ),
    ],
)
def test_wrong_value_is_named_with_bound_and_source(
    tmp_path: Path, variable: str, value: str, sentence: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(directory=tmp_path, environment={variable: value})
    assert caught.value.message == sentence
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("value", ["nan", "inf", "-1", "ten", "1e9"])
def test_seconds_that_are_no_duration_are_refused(tmp_path: Path, value: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^connect_timeout_seconds = "):
        load(directory=tmp_path, environment={"OMS_CONNECT_TIMEOUT_SECONDS": value})


@pytest.mark.parametrize("url", [":memory:", "sqlite://", "sqlite:///:memory:"])
def test_log_in_memory_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(ConfigurationError, match="lost with the process"):
        load(directory=tmp_path, environment={"OMS_DATABASE_URL": url})


def test_every_wrong_value_is_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(directory=tmp_path, environment={"OMS_PORT": "x", "OMS_CLIENT_ID": "-1"})
    assert [line.split(" = ")[0] for line in caught.value.message.splitlines()] == [
        "port",
        "client_id",
    ]


def test_misspelt_variable_is_refused_with_the_likely_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(directory=tmp_path, environment={"OMS_ORDER_QTY_MAX": "100"})
    assert caught.value.message == (
        "order_qty_max is not a setting (from OMS_ORDER_QTY_MAX); did you mean order_quantity_max"
        " (OMS_ORDER_QUANTITY_MAX)?"
    )


def test_unknown_key_of_the_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "oms.toml").write_text("[gateway]\nport = 1\n")
    with pytest.raises(ConfigurationError, match=r"gateway is not a setting \(from oms\.toml: "):
        load(directory=tmp_path, environment={})


def test_variables_of_others_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("AWS_REGION=x\n")
    environment = {"PATH": "/bin", "OMS_TEST_POSTGRES_URL": "postgresql://x"}
    assert load(directory=tmp_path, environment=environment) == Settings()


def test_plain_path_becomes_a_database_url(tmp_path: Path) -> None:
    settings = load(directory=tmp_path, environment={}, database_url="books/oms.sqlite")
    assert settings.database_url == "sqlite:///books/oms.sqlite"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql://desk:s3cret@host/oms", "postgresql://desk:***@host/oms"),
        ("postgresql://:s3cret@host/oms", "postgresql://:***@host/oms"),
        (
            "postgresql://host/oms?user=desk&password=s3cret&sslmode=require",
            "postgresql://host/oms?user=desk&password=***&sslmode=require",
        ),
        ("postgresql://host/oms?sslpassword=s3cret", "postgresql://host/oms?sslpassword=***"),
        ("postgresql://host/oms?PASSWORD=s3%26cret", "postgresql://host/oms?PASSWORD=***"),
        ("postgresql://host/oms?pass%77ord=s3cret", "postgresql://host/oms?pass%77ord=***"),
        ("postgresql://host:5432/oms?options=-c x=1", "postgresql://host:5432/oms?options=-c x=1"),
    ],
)
def test_password_is_never_shown(tmp_path: Path, url: str, expected: str) -> None:
    settings = load(directory=tmp_path, environment={"OMS_DATABASE_URL": url})
    assert settings.database_url == url
    shown = {row.name: row.value for row in settings.describe()}
    assert shown["database_url"] == expected


def test_command_and_address_show_no_token() -> None:
    command = "/usr/bin/curl\t-H Authorization:s3cret"
    url = "https://stamp.example/tsr?api_key=s3cret&kind=1"
    settings = Settings(checkpoint_command=command, checkpoint_timestamp_url=url)
    shown = {row.name: row.value for row in settings.describe()}
    assert shown["checkpoint_command"].startswith("/usr/bin/curl (sha256 ")
    assert shown["checkpoint_timestamp_url"] == "https://stamp.example/tsr?api_key=***&kind=1"
    bare = Settings(checkpoint_command="/bin/keep").describe()
    assert "/bin/keep" in {row.value for row in bare}


def test_an_address_without_its_host_shows_no_password(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(directory=tmp_path, environment={"OMS_DATABASE_URL": "postgresql://desk:s3cret"})
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["postgresql:/u:s3cret@h/db", "postgres:u:s3cret@h", "host=h port=1 password=s3cret"]
)
def test_a_slip_in_an_address_is_no_name_of_a_file(tmp_path: Path, url: str) -> None:
    with pytest.raises(ConfigurationError, match="looks like an address of PostgreSQL") as caught:
        load(directory=tmp_path, environment={"OMS_DATABASE_URL": url})
    assert "s3cret" not in str(caught.value)


def test_settings_cannot_be_changed_after_reading() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Settings().port = 1  # type: ignore[misc]


def test_every_duration_and_maximum_has_a_unit_and_a_bound() -> None:
    rows = [
        row
        for row in Settings().describe()
        if row.name.endswith(("_seconds", "_max", "_fraction")) or "_seconds_" in row.name
    ]
    bare = [row.name for row in rows if not row.unit or not row.bounds]
    assert bare == ["reconnect_delays_seconds"]  # its bounds are those of its members


def test_folder_named_as_the_file_of_variables_is_no_such_file(tmp_path: Path) -> None:
    (tmp_path / ".env").mkdir()
    assert load(directory=tmp_path, environment={}).port == Settings().port


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("oms.toml", "folder"),
        *itertools.product((".env", "oms.toml"), ("pipe", "device", "bytes", "long", "loop")),
    ],
)
def test_what_is_no_file_of_settings_is_refused_and_not_passed_over(
    name: str, kind: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    match kind:
        case "folder":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case "device":
            path.symlink_to("/dev/zero")
        case "loop":
            path.symlink_to(path)
        case "bytes":
            path.write_bytes(b"\xff\xfe=1\n")
        case _:
            path.write_bytes(b"#" * (2**20 + 1))
    with pytest.raises(ConfigurationError, match=f"^{name} "):
        load(directory=tmp_path, environment={})


@pytest.mark.parametrize(
    "named", ["/dev/zero", "/", "a\nb", "x" * 5_000, "a\0b", "~nobody-of-this-name/x"]
)
def test_a_named_file_that_cannot_be_one_is_refused(named: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="OMS_CONFIG names ") as refused:
        load(directory=tmp_path, environment={"OMS_CONFIG": named})
    assert len(refused.value.message) < 300


@pytest.mark.parametrize("value", ["1e9999999999", "1e-9999999999", "9" * 400, "NaN", "-1"])
def test_a_bound_of_money_is_a_number_that_can_be_written_out(value: str) -> None:
    with pytest.raises(ConfigurationError, match="break_notional_max = ") as refused:
        load(environment={"OMS_BREAK_NOTIONAL_MAX": value})
    assert len(refused.value.message) < 500


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("port = 1e9999999999", r"port = 1E\+9999999999 cannot be used"),
        ("lease_seconds = nan", "lease_seconds = NaN cannot be used"),
        ("reconnect_delays_seconds = [1, 1e9999999999]", "reconnect_delays_seconds = "),
    ],
)
def test_a_number_of_a_file_is_refused_in_a_line(line: str, found: str, tmp_path: Path) -> None:
    (tmp_path / "oms.toml").write_text(f"{line}\n")
    with pytest.raises(ConfigurationError, match=found):
        load(directory=tmp_path, environment={})
