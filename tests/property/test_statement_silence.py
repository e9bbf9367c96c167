"""What a query leaves out is unknown, and never a difference."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.statement_books import FILES, Books, check, found
from tests.unit.test_statement_files import TABLE

AGREEING = [(name, books) for name, books, differences in TABLE if not differences]
#: Headings have them always.
ALWAYS = {"accountId", "count", "fromDate", "toDate", "queryName", "whenGenerated"}
FIELDS = sorted(
    {
        field
        for path in FILES.iterdir()
        for field in re.findall(r' (\w+)="', path.read_text(encoding="utf-8"))
    }
    - ALWAYS
)


@given(st.sampled_from(AGREEING), st.sets(st.sampled_from(FIELDS), max_size=12))
@settings(max_examples=300, deadline=None)
def test_no_field_that_is_left_out_makes_a_difference(
    case: tuple[str, str], left_out: set[str]
) -> None:
    """Goal: silence is no answer. Method: statements that agree with our books, without any set of
    fields; what is then found is unknown at worst.
    """
    name, books = case
    text = (FILES / f"{name}.xml").read_text(encoding="utf-8")
    pattern = rf' (?:{"|".join(sorted(left_out)) or "none"})="[^"]*"'
    with tempfile.TemporaryDirectory() as folder:
        checked = check(name, Books.of(books), Path(folder), (text, re.sub(pattern, "", text)))
    assert [one for one in found(checked) if not one.startswith("unknown")] == []
