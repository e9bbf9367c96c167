"""A Flex statement, read as a stream of rows.

The file comes from outside, so it is read with suspicion: a document type is refused before
anything in it is expanded, nothing outside the file is opened, names and nesting are bounded, and
no more than one chunk of its rows is in memory however long the file is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import BinaryIO, Final
from xml.parsers import expat

from oms.core.bounds import LABEL
from oms.core.compare.statement_coverage import SECTIONS
from oms.core.compare.statement_fields import RowUnreadable
from oms.core.compare.statement_rows import Heading, PassedOver, Section, StatementRow, read_row
from oms.errors import StatementUnreadable

_CHUNK_BYTES: Final = 64 * 1024
_HEAD_BYTES: Final = 256
#: How other files begin that people have at hand.
_OTHERS: Final = (
    (b"PK\x03\x04", "a ZIP archive or a spreadsheet"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"%PDF", "a PDF"),
)
#: Elements inside one another; a statement has five.
_DEPTH_MAX: Final = 16
#: Of one element with its attributes, which the parser keeps whole; a statement's have 2,000.
_ELEMENT_BYTES_MAX: Final = 2**20


def read_statement(source: BinaryIO) -> Iterator[StatementRow]:
    """Yield the rows of a statement as they stand in the file.

    A row that cannot be understood is a value, too. Raises `StatementUnreadable` for what is no
    statement, naming the line; the rows before it have been yielded, so nothing may be concluded
    before the end.
    """
    rows: list[StatementRow] = []
    parser = _parser(rows)
    is_over = False
    read = 0
    while not is_over:
        chunk = source.read(_CHUNK_BYTES)
        if parser.CurrentByteIndex < 0:
            _refuse_other_files(chunk[:_HEAD_BYTES])
        is_over = not chunk
        try:
            parser.Parse(chunk, is_over)
            read += len(chunk)
            if read - max(parser.CurrentByteIndex, 0) > _ELEMENT_BYTES_MAX:
                raise RowUnreadable(f"an element is longer than {_ELEMENT_BYTES_MAX:,} bytes")
        except expat.ExpatError as error:
            raise StatementUnreadable(
                f"line {error.lineno}: not well-formed XML: {expat.ErrorString(error.code)}",
                hint="the file may have been cut off; download it again",
            ) from error
        except RowUnreadable as error:
            raise StatementUnreadable(f"line {parser.CurrentLineNumber}: {error}") from error
        except (LookupError, ValueError) as error:
            raise StatementUnreadable(
                f"line {parser.CurrentLineNumber}: the encoding that the file names cannot be"
                f" read: {error}",
                hint="IB's files are in UTF-8; download it again",
            ) from error
        yield from rows
        rows.clear()


def _parser(rows: list[StatementRow]) -> expat.XMLParserType:
    parser = expat.ParserCreate()
    path: list[str] = []
    query: dict[str, str] = {}

    def start(tag: str, attributes: dict[str, str]) -> None:
        """Read an element, and where it stands."""
        if not path and tag != "FlexQueryResponse":
            raise RowUnreadable(_not_a_statement(tag))
        path.append(tag)
        if len(path) > _DEPTH_MAX:
            raise RowUnreadable(f"<{tag[:40]}> is nested more than {_DEPTH_MAX} deep")
        if len(path) == 1:
            query.update(attributes)
        parent = path[-2] if len(path) > 1 else ""
        if parent == "FlexStatement" and tag in SECTIONS and not attributes:
            # An element can have the name of its rows.
            rows.append(Section("", tag))
            return
        place = (parser.CurrentLineNumber, parser.CurrentColumnNumber)
        row = read_row(tag, attributes, place)
        if isinstance(row, Heading):
            name = LABEL.fitted(query.get("queryName", ""))
            row = replace(row, query=name, kind=query.get("type", ""))
        elif row is None and parent in SECTIONS:
            row = PassedOver(attributes.get("accountId", ""), parent)
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


def _refuse_other_files(head: bytes) -> None:
    """Say what a file is that cannot be XML, before a parser says that it is not well-formed."""
    kind = next((kind for start, kind in _OTHERS if head.startswith(start)), "")
    text = head.decode("utf-8-sig", "ignore").lstrip()
    if not kind and text and not text.startswith("<") and b"\0" not in head:
        kind = f"text that begins with {text.splitlines()[0][:40]!r}, perhaps CSV"
    if kind:
        raise StatementUnreadable(
            f"this is no XML: it is {kind}",
            hint="choose XML as the format of the Flex query, and give its file as it was loaded",
        )


def _not_a_statement(tag: str) -> str:
    if tag == "FlexStatementResponse":
        return "this is the Flex service's answer to a request, not the statement itself"
    return f"the root is <{tag[:40]}>, not <FlexQueryResponse>: choose XML as the query's format"
