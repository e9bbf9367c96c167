"""Our books for the check of a statement, as a table of lines, and the files of statements.

    fill 50 ACME @ 12.5 at=10:15:00 exec=11.01 order=810000011 charge=1
    held 40 CIRR

A fill is of 10 March 2026 in New York unless `at` names a day; what is held follows from the fills
unless a line says it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from oms.core.contracts import Contract
from oms.core.events import Envelope
from oms.core.fold.books import stem_and_revision
from oms.core.fold.records import Fill, Position, SessionRecord
from oms.service.statement import Checked, check_statement
from oms.service.statement_placement import NEW_YORK

FILES = Path(__file__).parent / "unit" / "statements"
ACCOUNT = "U7654321"
CONTRACTS = {
    symbol: Contract(con_id=con_id, symbol=symbol, sec_type=sec_type, currency=currency)
    for symbol, con_id, sec_type, currency in (
        ("ACME", 70000001, "STK", "USD"),
        ("BORE", 70000002, "STK", "EUR"),
        ("CIRR", 70000003, "STK", "USD"),
        ("ACME-PUT", 70000101, "OPT", "USD"),
        ("ACME-CALL", 70000102, "OPT", "USD"),
        ("GRAIN", 70000201, "FUT", "USD"),
        ("EUR.USD", 12087792, "CASH", "USD"),
        ("USD.SGD", 70000301, "CASH", "SGD"),
        ("NOTE", 70000501, "BOND", "USD"),
        ("ACME-CFD", 70000601, "CFD", "USD"),
        ("ETH", 70000701, "CRYPTO", "USD"),
        ("SPREAD", 28812380, "BAG", "USD"),
    )
}


@dataclass
class Books:
    """Our side, in place of the store's reader."""

    fills: list[Fill] = field(default_factory=list)
    held: dict[tuple[str, str], Decimal] = field(default_factory=dict)
    began: datetime = datetime(2026, 1, 5, 14, tzinfo=UTC)
    ended: datetime | None = None
    accounts: tuple[str, ...] = (ACCOUNT, "U7654322")
    adjusted: list[Envelope] = field(default_factory=list)
    broker_holds_the_same: bool = False

    @classmethod
    def of(cls, text: str) -> Books:
        """Return the books that a table says."""
        books = cls()
        stated: dict[tuple[str, str], Decimal] = {}
        for number, line in enumerate(filter(None, map(str.strip, text.splitlines()))):
            verb, quantity, symbol, *rest = line.split()
            words = dict(word.split("=", 1) for word in rest if "=" in word)
            account = words.get("account", ACCOUNT)
            if verb == "held":
                stated[account, symbol] = Decimal(quantity)
                continue
            fill = _fill(number + 1, Decimal(quantity), symbol, Decimal(rest[1]), words)
            books.fills.append(fill)
            if not fill.contract.is_combo:
                key = (account, symbol)
                books.held[key] = books.held.get(key, Decimal(0)) + fill.signed_quantity
        books.held |= stated
        return books

    async def rows(self, table: str, where: Mapping[str, Any] | None = None, **_: Any) -> list[Any]:
        return self._rows(table, where)

    async def ask(self, question: Callable[[Any], Any]) -> Any:
        """Answer from one state: these books do not change."""
        return question(SimpleNamespace(rows=self._rows, one=lambda *_: None))

    def _rows(self, table: str, where: Mapping[str, Any] | None = None, **_: Any) -> list[Any]:
        where = dict(where or {})
        if table == "sessions":
            return [_session(self.accounts, self.began, self.ended)]
        if table == "positions":
            return [
                Position(
                    account=account,
                    contract=CONTRACTS[symbol],
                    quantity=quantity,
                    broker_quantity=quantity if self.broker_holds_the_same else None,
                )
                for (account, symbol), quantity in self.held.items()
                if account == where["account"]
            ]
        if table != "fills":
            return []
        columns = {"fill_key": "key"}
        (name, wanted), *others = where.items()
        assert not others
        wanted = wanted if isinstance(wanted, list) else [wanted]
        found = [f for f in self.fills if getattr(f, columns.get(name, name)) in wanted]
        return list(reversed(found))

    async def events(self, **_: Any) -> list[Any]:
        return list(reversed(self.adjusted))


def _session(accounts: tuple[str, ...], began: datetime, ended: datetime | None) -> SessionRecord:
    return SessionRecord(
        epoch=1,
        host="127.0.0.1",
        port=4001,
        client_id=1,
        server_version=178,
        next_broker_order_id=1,
        opened_at=began,
        closed_at=ended,
        opened_sequence=1,
        accounts=accounts,
    )


def _fill(
    number: int, signed: Decimal, symbol: str, price: Decimal, words: Mapping[str, str]
) -> Fill:
    at = words.get("at", "10:15:00")
    day = "" if "T" in at else "2026-03-10T"
    exec_id = words.get("exec", f"0{number}.01")
    if exec_id.count(".") == 1:
        middle, _, last = exec_id.partition(".")
        exec_id = f"0000f1a2.69b0{middle:0>4}.01.{last}"
    stem, revision = stem_and_revision(exec_id)
    return Fill(
        account=words.get("account", ACCOUNT),
        stem=stem,
        exec_id=exec_id,
        revision=revision,
        order_id="",
        contract=CONTRACTS[symbol],
        side="BUY" if signed >= 0 else "SELL",
        quantity=abs(signed),
        price=price,
        venue="NYSE",
        time_text="",
        occurred_at=datetime.fromisoformat(day + at).replace(tzinfo=NEW_YORK).astimezone(UTC),
        perm_id=int(words.get("order", "0")),
        client_id=1,
        broker_order_id=number,
        order_ref="",
        liquidation=False,
        backfilled=False,
        booked_sequence=number,
        last_sequence=number,
        commission=Decimal(words["charge"]) if "charge" in words else Decimal(1),
        commission_currency="USD",
    )


def check(name: str, books: Books, tmp_path: Path, *edits: tuple[str, str]) -> Checked:
    text = (FILES / f"{name}.xml").read_text()
    for old, new in edits:
        assert old in text, old
        text = text.replace(old, new)
    path = tmp_path / "statement.xml"
    path.write_text(text)
    return asyncio.run(check_statement(books, path))  # type: ignore[arg-type]


def found(checked: Checked) -> list[str]:
    """Return what is not in agreement, as `class severity symbol` or `unknown subject symbol`."""
    return [
        f"{f.break_class} {f.severity} {f.symbol}"
        if f.result == "break"
        else f"unknown {f.subject.removeprefix('statement_')} {f.symbol}".strip()
        for f in checked.findings
    ]
