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
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
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
#: Those of them that are people, by name or as an actor.
_PEOPLE_FIELDS: Final = frozenset(
    ["actor", "approved_by", "assignee", "explained_by", "waiting_actor"]
)
#: The same in a message of IB's.
_PERSONAL_WIRE: Final = frozenset(
    (
        *("account", "acctNumber", "clearingAccount", "deltaNeutralClearingAccount", "modelCode"),
        *("faGroup", "faProfile", "settlingFirm", "deltaNeutralSettlingFirm", "orderRef"),
        *("ocaGroup", "softDollarTierName", "softDollarTierDisplayName"),
    )
)
#: Digests over text that names an account: whoever tries all numbers finds the one that fits. And
#: places of files, which lie in a folder of somebody's.
_DIGESTS: Final = frozenset(
    (
        *("digest", "set_digest", "hash", "hash_before", "known_hash", "found_hash"),
        *("note", "key_notes", "timestamp", "folder", "backup"),
    )
)
#: The same in words: a whole digest, and what an order that IB lists without a number is called.
_DIGEST: Final = r"\b[0-9a-f]{64}\b|\bnameless-[0-9a-f]{8}-\d+"
#: Words of IB's and of ours, which a name may happen to be as well.
_FIXED: Final = frozenset(
    (
        *("type", "side", "tif", "state", "status", "sec_type", "order_type", "currency", "right"),
        *("class", "break_class", "severity", "kind", "outcome", "verdict", "origin", "exchange"),
        *("venue", "symbol", "local_symbol", "trading_class"),
    )
)
#: IB's account numbers, where no field named them.
_ACCOUNT: Final = (
    r"(?<![A-Z0-9])(?:DU|DF|DI|U|F|I)[A-Z]?\d{5,9}(?!\d)"
    r"|(?-i:(?<=[a-z])(?:DU|DF|DI|U|F|I)[A-Z]?\d{5,9}(?!\d))"
)
#: Where people are named without a field: addresses of mail, and folders of a machine's users.
_PEOPLE: Final = (
    r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+"
    r"|(?<=[/\\]home[/\\])[^/\\\s]+|(?<=[/\\]users[/\\])[^/\\\s]+"
)
#: People write an account with a sign in it, or its digits alone.
_SIGN: Final = r"[\s._-]"
_NUMBERED: Final = re.compile(r"([A-Z]{1,3})(\d{5,9})", re.IGNORECASE)
#: Settings that can be a plain word or a number, and say whose or where.
_PERSONAL_SETTING: Final = re.compile(r"(^|_)(query|host|name|accounts?)$")
#: A shorter name is replaced where it stands alone, else it would be found inside of words. So is
#: a part of a name, which has at least so many letters.
_ALONE_MAX: Final = 4
_PART_MIN: Final = 3
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

    def __init__(self, key: bytes, terms: Iterable[str], parts: Iterable[str] = ()) -> None:
        """`parts` are words of names, which are replaced where they stand alone."""
        self._key = key
        whole = sorted({_composed(term) for term in terms})
        self._known = {term.lower(): term for term in whole}
        for term in whole:
            for other in _spellings(term):
                self._known.setdefault(other.lower(), term)
        longest_first = sorted(self._known, key=lambda term: (-len(term), term))
        words = [_pattern(term) for term in longest_first]
        alone = sorted({_composed(one).lower() for one in parts} - self._known.keys())
        alone = [_alone(re.escape(one)) for one in alone]
        always = [_DIGEST, _ACCOUNT]
        self._pattern = re.compile("|".join([*words, *alone, *always, _PEOPLE]), re.IGNORECASE)
        numbered = [_pattern(term) for term in longest_first if re.search(r"\d", term)]
        self._numbered = re.compile("|".join([*numbered, *always]), re.IGNORECASE)

    @property
    def fingerprint(self) -> str:
        """Return by what two exports with one key are known."""
        return self._digits("the key itself")

    def text(self, text: str) -> str:
        """Return a text with pseudonyms for what it names."""
        return self._pattern.sub(lambda found: self.pseudonym(found[0]), _composed(text))

    def word(self, text: str) -> str:
        """Return one of IB's words or of ours, which a name may happen to be: only what has a digit
        is replaced in it, as accounts have.
        """
        return self._numbered.sub(lambda found: self.pseudonym(found[0]), text)

    def pseudonym(self, name: str) -> str:
        """Return the word that stands for a name."""
        found = _composed(name).lower()
        term = self._known.get(found) or self._known.get(re.sub(_SIGN, "", found))
        return PREFIX + self._digits(term or found.upper())

    def row(self, columns: Sequence[Column], row: Row) -> Row:
        """Return a row of an export without accounts and names."""
        return [self._cell(column, cell) for column, cell in zip(columns, row, strict=True)]

    def value(self, value: object, key: str = "") -> object:
        """Return a JSON value without accounts and names."""
        match value:
            case dict() if value.keys() == {"name", "value", "source"}:
                shown = self._setting(str(value["name"]), str(value["value"]))
                return {**value, "value": shown, "source": ""}
            case dict():
                return {name: self.value(one, name) for name, one in value.items()}
            case list():
                return [self.value(one, key) for one in value]
            case str() if key in _DIGESTS:
                return value and PREFIX + self._digits(value)
            case str() if value[:1] in {"{", "["}:
                return self.json(value)
            case str():
                return self.word(value) if key in _FIXED else self.text(value)
            case _:
                return value

    def json(self, text: str) -> str:
        """Return JSON text without accounts and names."""
        try:
            masked = self.value(json.loads(text))
            return json.dumps(masked, ensure_ascii=False, separators=(",", ":"))
        except (ValueError, RecursionError):
            return self.text(text)

    def query(self, asked: Mapping[str, object]) -> dict[str, object]:
        """Return a question, as values of JSON, without whom it is about."""
        return {
            name: [self._whom(str(one)) for one in value]
            if isinstance(value, list | tuple) and name in {"account", "actor", "strategy"}
            else self.value(value)
            for name, value in asked.items()
        }

    def _whom(self, name: str) -> str:
        kind, colon, who = name.rpartition(":")
        return f"{kind}{colon}{name if name in _NOBODY else self.pseudonym(who)}"

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

    def _setting(self, name: str, text: str) -> str:
        """Return a setting where it is a number or a switch: a path or an address names people."""
        shown = re.fullmatch(r"[-\d., ]*|true|false|[a-z_]{1,12}", text)
        if not text or (shown and not _PERSONAL_SETTING.search(name)):
            return self.text(text)
        return self.pseudonym(text)

    def _digits(self, text: str) -> str:
        digest = hmac.digest(self._key, text.encode(), "sha256")
        return base64.b32encode(digest).decode().lower()[:_DIGITS]


def _composed(text: str) -> str:
    """Return text with one sign for each letter, however somebody's keyboard wrote it."""
    return unicodedata.normalize("NFC", text)


def _spellings(term: str) -> Iterator[str]:
    """Yield how else a name stands in texts: as bytes that are no UTF-8, and an account's digits
    alone.
    """
    if not term.isascii():
        yield term.encode("latin-1", "replace").decode("ascii", "backslashreplace")
    if (account := _NUMBERED.fullmatch(term)) is not None:
        yield account[2]


def _pattern(term: str) -> str:
    if term.isdigit():
        return rf"(?<!\d){term}(?!\d)"
    if (account := _NUMBERED.fullmatch(term)) is not None:
        return rf"{account[1]}{_SIGN}?{account[2]}"
    word = re.escape(term)
    return _alone(word) if len(term) <= _ALONE_MAX else word


def _alone(word: str) -> str:
    return rf"(?<![^\W_]){word}(?![^\W_])"


class Names:
    """The accounts and names that the fields of a log have."""

    def __init__(self) -> None:
        self._found: set[str] = set()
        #: Words of people's names.
        self.parts: set[str] = set()
        #: Ids of orders: what stands in their orderRef says no more.
        self._orders: set[str] = set()

    @property
    def terms(self) -> set[str]:
        """Return what is to be masked."""
        return self._found - self._orders

    def learn(self, type_name: str, actor: str, payload: str, wire: str | None) -> None:
        """Take an event as it is stored."""
        self._take_who(actor)
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
            case str() if key in _PEOPLE_FIELDS:
                self._take_who(value if ":" in value else f"person:{value}")
            case str() if key in _PERSONAL:
                self._take(value)
            case str() if key == "order_id":
                self._orders.add(value)
            case _:
                return

    def _take_who(self, actor: str) -> None:
        kind, _, name = actor.rpartition(":")
        self._take(name)
        if kind == "person":
            words = (one.lower() for one in re.findall(r"[^\W\d_]+", name))
            self.parts |= {one for one in words if len(one) >= _PART_MIN} - _NOBODY

    def _take(self, name: str) -> None:
        if name.lower() not in _NOBODY and not _OURS.fullmatch(name):
            self._found.add(name)
