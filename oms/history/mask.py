"""Stable pseudonyms for accounts and names, wherever they stand.

What is masked is found by reading the whole log once: the accounts, the people, strategies,
machines and groups that its fields name. Each of them is then replaced in every text of an export,
in wire fields and free words too, by a word that only the holder of the key can tie to it: the
first digits of HMAC-SHA256. The same key gives the same word, in every export.
"""

from __future__ import annotations

import base64
import hmac
import json
import os
import re
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from oms.core.codec import decode_wire
from oms.core.wire_names import named
from oms.errors import ConfigurationError
from oms.history.columns import Cell, Column, Row

#: Of a key: what nobody can guess.
KEY_BYTES_MIN: Final = 16
KEY_BYTES_MAX: Final = 65_536
PREFIX: Final = "masked-"
#: 60 bits: two of a million names have one word once in two million logs.
_DIGITS: Final = 12
#: Fields of events that say whose or who; a case's number is made of an account.
_PERSONAL: Final = frozenset(
    (
        *("account", "accounts", "actor", "approved_by", "assignee", "break_id", "explained_by"),
        *("foreign_accounts", "host", "oca_group", "order_ref", "query", "waiting_actor"),
    )
)
#: The same in a message of IB's.
_PERSONAL_WIRE: Final = frozenset(
    (
        *("account", "acctNumber", "clearingAccount", "deltaNeutralClearingAccount", "modelCode"),
        *("faGroup", "faProfile", "settlingFirm", "deltaNeutralSettlingFirm", "orderRef"),
        *("ocaGroup", "softDollarTierName", "softDollarTierDisplayName"),
    )
)
#: Digests over text that names an account: whoever tries all numbers finds the one that fits.
_DIGESTS: Final = frozenset(["digest", "hash", "note", "timestamp", "known_hash", "found_hash"])
#: Words of IB's and of ours, which a name may happen to be as well.
_FIXED: Final = frozenset(
    (
        *("type", "side", "tif", "state", "status", "sec_type", "order_type", "currency", "right"),
        *("class", "break_class", "severity", "kind", "outcome", "verdict", "origin", "exchange"),
        *("venue", "symbol", "local_symbol", "trading_class"),
    )
)
#: IB's account numbers, where no field named them.
_ACCOUNT: Final = r"\b(?:DU|DF|DI|U|F|I)[A-Z]?\d{5,9}\b"
#: A shorter name is replaced where it stands alone, else it would be found inside of words.
_ALONE_MAX: Final = 4
#: Who speaks for the program itself, and what an account field can hold beside accounts.
_NOBODY: Final = frozenset(
    ["", "broker", "daemon", "recovery", "reconciler", "all", "person", "strategy", "policy"]
)
_OURS: Final = re.compile(r"[0-9a-f]{32}(-[a-z]+)?")


def read_key(path: Path) -> bytes:
    """Return the key of a file; raises `ConfigurationError` where there is none of use."""
    try:
        mode = path.stat().st_mode
        # A device or a pipe may give bytes without an end, or none for ever.
        if not stat.S_ISREG(mode):
            raise ConfigurationError(
                f"the key {path} is not a regular file", hint="name a file with --key"
            )
        with path.open("rb") as file:
            key = file.read(KEY_BYTES_MAX + 1)
    except OSError as error:
        raise ConfigurationError(
            f"the key {path} cannot be read: {error.strerror}", hint="name a file with --key"
        ) from None
    if os.name == "posix" and mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ConfigurationError(
            f"other users can read the key {path}", hint=f"run: chmod 600 {path}"
        )
    if len(key) > KEY_BYTES_MAX:
        raise ConfigurationError(
            f"the key {path} has more than {KEY_BYTES_MAX:,} bytes", hint="is it another file?"
        )
    if len(key) < KEY_BYTES_MIN:
        raise ConfigurationError(
            f"the key {path} has {len(key)} bytes: it could be guessed",
            hint=f"make one of 32: (umask 077; head -c 32 /dev/urandom > {path})",
        )
    return key


class Mask:
    """Replaces what it was told of, and what looks like an account of IB's."""

    def __init__(self, key: bytes, terms: Iterable[str]) -> None:
        self._key = key
        self._known = {term.lower(): term for term in sorted(terms)}
        longest_first = sorted(self._known.values(), key=lambda term: (-len(term), term))
        words = [_pattern(term) for term in longest_first]
        self._pattern = re.compile("|".join([*words, _ACCOUNT]), re.IGNORECASE)
        numbered = [_pattern(term) for term in longest_first if re.search(r"\d", term)]
        self._numbered = re.compile("|".join([*numbered, _ACCOUNT]), re.IGNORECASE)

    @property
    def fingerprint(self) -> str:
        """Return by what two exports with one key are known."""
        return self._digits("the key itself")

    def text(self, text: str) -> str:
        """Return a text with pseudonyms for what it names."""
        return self._pattern.sub(lambda found: self.pseudonym(found[0]), text)

    def word(self, text: str) -> str:
        """Return one of IB's words or of ours, which a name may happen to be: only what has a digit
        is replaced in it, as accounts have.
        """
        return self._numbered.sub(lambda found: self.pseudonym(found[0]), text)

    def pseudonym(self, name: str) -> str:
        """Return the word that stands for a name."""
        return PREFIX + self._digits(self._known.get(name.lower(), name.upper()))

    def row(self, columns: Sequence[Column], row: Row) -> Row:
        """Return a row of an export without accounts and names."""
        return [self._cell(column, cell) for column, cell in zip(columns, row, strict=True)]

    def value(self, value: object, key: str = "") -> object:
        """Return a JSON value without accounts and names."""
        match value:
            case dict() if value.keys() == {"name", "value", "source"}:
                return {**value, "value": self._setting(value["value"]), "source": ""}
            case dict():
                return {name: self.value(one, name) for name, one in value.items()}
            case list():
                return [self.value(one, key) for one in value]
            case str() if key in _DIGESTS:
                return value and PREFIX + self._digits(value)
            case str():
                return self.word(value) if key in _FIXED else self.text(value)
            case _:
                return value

    def json(self, text: str) -> str:
        """Return JSON text without accounts and names."""
        try:
            found = json.loads(text)
        except ValueError:
            return self.text(text)
        return json.dumps(self.value(found), ensure_ascii=False, separators=(",", ":"))

    def _cell(self, column: Column, cell: Cell) -> Cell:
        if not isinstance(cell, str):
            return cell
        if column.name in _FIXED:
            return self.word(cell)
        match column.kind:
            case "json":
                return self.json(cell)
            case "text":
                return self.text(cell)
            case _:
                return cell

    def _setting(self, value: object) -> str:
        """Return a setting where it is a number or a switch: a path or an address names people."""
        text = str(value)
        shown = re.fullmatch(r"[-\d., ]*|true|false|[a-z_]{1,12}", text)
        return text if shown and text.lower() not in self._known else self.pseudonym(text)

    def _digits(self, text: str) -> str:
        digest = hmac.digest(self._key, text.encode(), "sha256")
        return base64.b32encode(digest).decode().lower()[:_DIGITS]


def _pattern(term: str) -> str:
    word = re.escape(term)
    return rf"(?<![^\W_]){word}(?![^\W_])" if len(term) <= _ALONE_MAX else word


class Names:
    """The accounts and names that the fields of a log have."""

    def __init__(self) -> None:
        self._found: set[str] = set()
        #: Ids of orders: what stands in their orderRef says no more.
        self._orders: set[str] = set()

    @property
    def terms(self) -> set[str]:
        """Return what is to be masked."""
        return self._found - self._orders

    def learn(self, type_name: str, actor: str, payload: str, wire: str | None) -> None:
        """Take an event as it is stored."""
        kind, colon, name = actor.partition(":")
        self._take(name if colon else kind)
        try:
            self._learn(json.loads(payload), "")
            fields, stamp = decode_wire(wire)
        except ValueError:
            return  # its text is no text of ours: what looks like an account is masked all the same
        version = 0 if stamp is None else stamp.server_version
        for name, text in named(fields or (), version, sent=type_name == "OrderMessageSent"):
            if name in _PERSONAL_WIRE:
                for one in text.split(","):
                    self._take(one.strip())

    def _learn(self, value: object, key: str) -> None:
        match value:
            case dict():
                if value.get("key") in {"AccountOrGroup", "AccountCode"}:
                    self._take(str(value.get("value", "")))
                for name, one in value.items():
                    self._learn(one, name)
            case list():
                for one in value:
                    self._learn(one, key)
            case str() if key in _PERSONAL:
                self._take(value.rpartition(":")[2] if key.endswith("actor") else value)
            case str() if key == "order_id":
                self._orders.add(value)
            case _:
                return

    def _take(self, name: str) -> None:
        if name.lower() not in _NOBODY and not _OURS.fullmatch(name):
            self._found.add(name)
