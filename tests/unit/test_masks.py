"""What a mask finds: names and accounts however they stand in a text, and digests over them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from oms.history.mask import Mask, Names

KEY = b"a key of thirty-two bytes or so."
ACCOUNT = "U7654321"
HOME = "/home"
_NAMES = ("7654321", "anna", "müller", "smith", "mueller", "0123abcd")


@pytest.fixture(scope="module")
def mask() -> Mask:
    names = Names()
    names.learn("X", "person:anna.müller", json.dumps({"account": ACCOUNT, "note": "n"}), None)
    names.learn("X", "strategy:mean", json.dumps({"assignee": "Bo Smith", "x": [1]}), None)
    return Mask(KEY, names.terms, names.parts)


@pytest.mark.parametrize(
    "text",
    [
        f"to {ACCOUNT}.",
        f"acct{ACCOUNT}x",
        f"u7654321_{ACCOUNT}",
        "closing U-7654321 and U 7654321",
        "account 7654321 is closed",
        "anna.müller wrote",
        "anna.mu\N{COMBINING DIAERESIS}ller wrote",
        "anna.m\\xfcller wrote",
        "ask Müller or ANNA",
        "Smith, Bo Smith",
        f"the file {HOME}/mueller/oms.sqlite is full",
        "C:\\" + "Users\\mueller\\oms.sqlite",
        "mueller@example.com said so",
        '{"key":"execution:U7654321:1","who":"Bo \\u0053mith"}',
        "nameless-0123abcd-1 is unknown, nameless-0123abcd-2 too",
        "conflict:" + "0123abcd" * 8,
    ],
)
def test_what_names_somebody_is_gone(mask: Mask, text: str) -> None:
    found = str(mask.value(text)).lower()
    for name in (*_NAMES, "mu\N{COMBINING DIAERESIS}ller", "m\\xfcller", "\\u0053mith"):
        assert name not in found
    assert "masked-" in found


@pytest.mark.parametrize(
    "text", ["meaning of 17654321 and annals", "BUY 100 @ 10.25", "bought; means", "0123abcd" * 4]
)
def test_what_names_nobody_stays(mask: Mask, text: str) -> None:
    assert mask.value(text) == text


def test_an_account_has_one_pseudonym_however_it_is_written(mask: Mask) -> None:
    written = (ACCOUNT, "u7654321", "U-7654321", "7654321")
    assert len({mask.value(one) for one in written}) == 1


@pytest.mark.parametrize(
    "field", ["digest", "set_digest", "hash", "hash_before", "key_notes", "folder", "backup"]
)
def test_digests_and_places_are_gone(mask: Mask, field: str) -> None:
    """An account has seven digits: who has a digest over it tries them all."""
    found = mask.value({"one": [{field: ["0123abcd"]}, {field: "/data/x"}]})
    assert "0123abcd" not in json.dumps(found)
    assert "/data/x" not in json.dumps(found)


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("flex_query", "998877", False),
        ("host", "tower", False),
        ("accounts", ACCOUNT, False),
        ("report_directory", "reports", True),
        ("report_directory", "/srv/mueller", False),
        ("port", "7497", True),
        ("mode", "paper", True),
        ("web_password", "set", True),
    ],
)
def test_settings_show_switches_and_numbers_alone(
    mask: Mask, name: str, value: str, shown: bool
) -> None:
    found: Any = mask.value({"name": name, "value": value, "source": f"{HOME}/x/.env"})
    assert (found["value"] == value, found["source"]) == (shown, "")


def test_a_question_does_not_say_whom_it_is_about(mask: Mask) -> None:
    """Also where nobody of that name is in the log."""
    asked = {"account": ["DU1"], "actor": ["person:carol", "broker"], "symbol": ["SPY"]}
    found = mask.query(asked)
    assert found["symbol"] == ["SPY"]
    actors: Any = found["actor"]
    assert actors[0].startswith("person:masked-")
    assert actors[1] == "broker"
    assert "DU1" not in json.dumps(found)
    assert "carol" not in json.dumps(found)
