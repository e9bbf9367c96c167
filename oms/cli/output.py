"""What a verb writes: results to stdout, words to stderr."""

from __future__ import annotations

import json
import os
import sys
from typing import Final

import typer

from oms.core.shown import shown

#: Number of the JSON contract, in every answer; docs/reference/json-output.md.
SCHEMA: Final = 1


def print_json(kind: str, **values: object) -> None:
    """Write one JSON object: the number of the contract, what it is, and the values."""
    write_json({"schema": SCHEMA, "kind": kind, **values})


def write_json(value: object) -> None:
    """Write a JSON value on one line: programs read lines."""
    write(json.dumps(value, ensure_ascii=False))


def write(words: str) -> None:
    """Write a line of the result to stdout."""
    typer.echo(shown(words))


def say(words: str) -> None:
    """Write words for a person to stderr."""
    typer.echo(shown(words), err=True)


def give_up_output() -> None:
    """Let nothing more be written to a stdout that takes nothing: what is still in its buffer could
    not be written at the end of the process either.
    """
    stdout = sys.__stdout__
    if stdout is not None and stdout is sys.stdout:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stdout.fileno())
