"""A Flex statement, read as a stream of rows.

The file comes from outside, so it is read with suspicion: a document type is refused before
anything in it is expanded, nothing outside the file is opened, names and nesting are bounded, and
no more than one chunk of its rows is in memory however long the file is.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO, Final
from xml.parsers import expat

from oms.core.compare.statement_rows import RowUnreadable, StatementRow, read_row
from oms.errors import StatementUnreadable

_CHUNK_BYTES: Final = 64 * 1024
#: Elements inside one another; a statement has five.
_DEPTH_MAX: Final = 16


def read_statement(source: BinaryIO) -> Iterator[tuple[StatementRow, bytes]]:
    """Yield the rows of a statement as they stand in the file, each with the last bytes read.

    Raises `StatementUnreadable` for what is no statement, naming the line; the rows before it have
    been yielded, so nothing may be concluded before the end.
    """
    rows: list[StatementRow] = []
    parser = _parser(rows)
    is_over = False
    while not is_over:
        chunk = source.read(_CHUNK_BYTES)
        is_over = not chunk
        try:
            parser.Parse(chunk, is_over)
        except expat.ExpatError as error:
            raise StatementUnreadable(
                f"line {error.lineno}: not well-formed XML: {expat.ErrorString(error.code)}",
                hint="the file may have been cut off; download it again",
            ) from error
        except RowUnreadable as error:
            raise StatementUnreadable(f"line {parser.CurrentLineNumber}: {error}") from error
        yield from ((row, chunk) for row in rows)
        rows.clear()


def _parser(rows: list[StatementRow]) -> expat.XMLParserType:
    parser = expat.ParserCreate()
    path: list[str] = []

    def start(tag: str, attributes: dict[str, str]) -> None:
        """Read an element, and where it stands."""
        if not path and tag != "FlexQueryResponse":
            raise RowUnreadable(_not_a_statement(tag))
        path.append(tag)
        if len(path) > _DEPTH_MAX:
            raise RowUnreadable(f"<{tag}> is nested more than {_DEPTH_MAX} deep")
        row = read_row(tag, attributes)
        if row is not None:
            rows.append(row)

    def end(tag: str) -> None:
        """Leave an element."""
        path.pop()

    def doctype(*_: object) -> None:
        """Refuse what no statement has."""
        raise RowUnreadable("a document type is declared, which no statement of IB has")

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.StartDoctypeDeclHandler = doctype
    return parser


def _not_a_statement(tag: str) -> str:
    if tag == "FlexStatementResponse":
        return "this is the Flex service's answer to a request, not the statement itself"
    return f"the root is <{tag}>, not <FlexQueryResponse>: choose XML as the query's format"
