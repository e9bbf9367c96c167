"""Transcripts of a real gateway: a file of JSON lines, one frame each.

    {"at": 0.0, "connection": 1, "from": "client", "handshake": "v157..178"}
    {"at": 0.1, "connection": 1, "from": "gateway", "fields": ["178", "20260105 10:00:00 EST"]}
    {"at": 0.2, "connection": 1, "from": "client", "fields": ["71", "2", "1", ""]}

`recorder` writes them and `replay` plays them back.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oms.sim.files import read_text
from oms.sim.protocol import messages
from oms.sim.protocol.errors import WireError

log = logging.getLogger("oms.sim.script.transcripts")


class TranscriptError(ValueError):
    """A file that is no transcript: which line, and why."""


@dataclass(frozen=True, slots=True)
class TranscriptLine:
    """One frame of a transcript."""

    #: Seconds since the recording began.
    at: float
    #: client or gateway.
    sender: str
    fields: tuple[str, ...] = ()
    #: What a client announced, in place of fields.
    handshake: str = ""
    #: Counted from 1, in their order.
    connection: int = 1

    def to_json(self) -> str:
        """Return the line as it stands in the file."""
        row: dict[str, Any] = {"at": round(self.at, 6), "connection": self.connection}
        row["from"] = self.sender
        if self.handshake:
            row["handshake"] = self.handshake
        else:
            row["fields"] = list(self.fields)
        return json.dumps(row)

    @classmethod
    def from_json(cls, text: str) -> TranscriptLine:
        """Return the line in a text. Raises ValueError, KeyError or TypeError when it is none."""
        row = json.loads(text)
        if not isinstance(row, dict):
            raise TypeError("not an object")
        fields = tuple(str(one) for one in row.get("fields", ()))
        if row["from"] not in ("client", "gateway"):
            raise ValueError(f"from {row['from']!r} is neither client nor gateway")
        number = int(row.get("connection", 1))
        return cls(float(row["at"]), row["from"], fields, str(row.get("handshake", "")), number)


def read(path: Path) -> list[TranscriptLine]:
    """Return the lines of a file. Raises TranscriptError naming the line that is wrong."""
    lines = []
    for number, text in enumerate(read_text(path).split("\n"), start=1):
        if not text.strip():
            continue
        try:
            lines.append(TranscriptLine.from_json(text))
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
            raise TranscriptError(f"line {number}: {str(error)[:200]}") from error
    return lines


def told(lines: list[TranscriptLine]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the gateway's messages of a transcript by name, unknown ones left out."""
    versions: dict[int, int] = {}
    for line in lines:
        if line.sender != "gateway":
            continue
        if line.connection not in versions:
            versions[line.connection] = int(line.fields[0])
            continue
        try:
            yield messages.decode(versions[line.connection], line.fields)
        except WireError as error:
            log.info("a frame the simulator does not know: %s", error)


async def some_bytes(reader: asyncio.StreamReader) -> bytes:
    """Return what comes next. Raises ConnectionError when the client is gone."""
    chunk = await reader.read(65536)
    if not chunk:
        raise ConnectionError("the client is gone")
    return chunk
