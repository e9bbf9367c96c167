"""The page about the database names what the database has."""

from __future__ import annotations

import re
from pathlib import Path

from oms.core.fold.records import TABLES
from oms.store.tables import INDEXED, METADATA, PROJECTIONS

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "reference" / "schema.md"


def test_page_describes_every_column_of_the_log_and_its_bookmarks() -> None:
    """A section a table; every column in the first cell of a line."""
    sections = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", PAGE.read_text(), re.M | re.S))
    for table in METADATA.sorted_tables:
        if table.name not in PROJECTIONS:
            cells = " ".join(re.findall(r"^\| ([^|]*) \|", sections[table.name], re.M))
            assert set(re.findall(r"`(\w+)`", cells)) == {c.name for c in table.columns}


def test_page_lists_every_projection_with_its_columns() -> None:
    """One line a projection, indexed columns in bold."""
    lines = {
        name: line
        for line in PAGE.read_text().splitlines()
        if (name := line.removeprefix("| `").split("`")[0]) in PROJECTIONS
    }
    assert lines == {name: line_of(name) for name in PROJECTIONS}


#: Modules that read stored texts and fill none, and why.
FILL_NONE = {
    "store/envelopes.py": "it has the statements",
    "verify.py": "it imports nothing, and fills with its own `Texts`",
    "sim/checker.py": "it judges logs of which no text was removed",
}
READS_TEXTS = re.compile(
    r"SELECT_EVENTS|SELECT_FACTS|select\(EVENTS\)|(payload|HASHED).*FROM events"
)


def test_whoever_reads_texts_of_events_has_them_filled_from_the_archive() -> None:
    """A text that was removed is empty in its row: who does not ask `archived` takes it for one."""
    reading = {
        str(path.relative_to(ROOT / "oms"))
        for path in (ROOT / "oms").rglob("*.py")
        if READS_TEXTS.search(text := path.read_text(encoding="utf-8")) and "filled(" not in text
    }
    assert reading == FILL_NONE.keys()


def line_of(name: str) -> str:
    spec, indexed = TABLES[name], INDEXED.get(name, ())
    columns = ", ".join(f"**`{c}`**" if c in indexed else f"`{c}`" for c in spec.columns)
    first_line = (spec.record.__doc__ or "").strip().split("\n\n")[0]
    meaning = " ".join(first_line.split())
    return f"| `{name}` | `{spec.key_name}` | {columns} | {meaning} |"
