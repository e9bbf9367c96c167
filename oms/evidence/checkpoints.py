"""Signed checkpoints: what the log was at a moment, in a place where the log cannot change it.

A checkpoint names the events since the one before it, the root of a Merkle tree over their hashes,
and the hash that they end in; its signature covers the checkpoint before it too. Whoever rewrites
the log afterwards, hashes and all, contradicts it.
"""

from __future__ import annotations

import json
import os
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from oms.errors import ChainBroken, ConfigurationError
from oms.evidence.keys import Signer
from oms.verify import (
    CHECKPOINT,
    NEW_KEY,
    Checkpoint,
    DamageError,
    Note,
    PublicKey,
    Tree,
    UncheckableError,
    checked_checkpoints,
    leaf_hash,
    node_hash,
    read_notes,
)

#: What the first checkpoint names as the one before it.
NONE_BEFORE: Final = "0" * 64


def checkpoint_text(log: str, first: int, hashes: Iterable[bytes], previous: str, at: str) -> str:
    """Return what is signed: the events from `first` on, whose hashes are given in order."""
    tree = Tree()
    head = b""
    for head in hashes:
        tree.add(head)
    assert head
    last = first + tree.size - 1
    return (
        f"{CHECKPOINT}\nlog {log}\nfirst {first}\nlast {last}\nhead {head.hex()}\n"
        f"root {tree.root().hex()}\nprevious {previous}\nat {at}\n"
    )


def inclusion_path(hashes: list[bytes], index: int) -> list[bytes]:
    """Return the siblings from a leaf up to the root (RFC 6962, 2.1.1), for the leaves given."""
    level = [leaf_hash(one) for one in hashes]
    path: list[bytes] = []
    while len(level) > 1:
        sibling = index ^ 1
        if sibling < len(level):
            path.append(level[sibling])
        # An odd one out goes up as it is: the tree of RFC 6962 for any number of leaves.
        pairs = zip(level[::2], level[1::2], strict=False)
        odd = level[-1:] if len(level) % 2 else []
        level = [node_hash(left, right) for left, right in pairs] + odd
        index //= 2
    return path


def root_of(hashes: Iterable[bytes]) -> bytes:
    """Return the root of a tree whose leaves have these contents."""
    tree = Tree()
    for one in hashes:
        tree.add(one)
    return tree.root()


def roots_beside(hashes: Sequence[bytes], known: Sequence[int]) -> Iterator[bytes]:
    """Yield the roots of the parts of a tree that have none of the leaves at the places `known`,
    from the left: the other way round of `oms.verify.root_of_some`.
    """
    if not known:
        yield root_of(hashes)
    elif len(hashes) > 1:
        half = 1 << (len(hashes) - 1).bit_length() - 1
        cut = bisect_left(known, half)
        yield from roots_beside(hashes[:half], known[:cut])
        yield from roots_beside(hashes[half:], [place - half for place in known[cut:]])


def note_line(note: Note) -> str:
    """Return a line of a file of notes."""
    stamp = {"timestamp": note.stamp} if note.stamp else {}
    return json.dumps({"note": str(note), **stamp}, ensure_ascii=False) + "\n"


def refuse_other_key(notes: Sequence[Note], signer: Signer, where: str) -> None:
    """Raise `ConfigurationError` unless a key is the one that signs after these notes."""
    if not notes:
        return
    last = notes[-1]
    key_hash, name = last.key_hash, last.signer
    if last.kind == NEW_KEY:
        successor = PublicKey.read(last.fields().get("key", ""))
        key_hash, name = successor.hash, successor.name
    if signer.public.hash != key_hash:
        raise ConfigurationError(
            f"the key {name} {key_hash.hex()} signs the checkpoints in {where}, and"
            f" {signer.name} {signer.public.hash.hex()} is another",
            hint="set OMS_SIGNING_KEY_FILE to that key; where it was lost or stolen:"
            " `oms key replace FILE --lost`, docs/operating/keys.md",
        )


class CheckpointFile:
    """The file that checkpoints are appended to, a JSON object with `note` a line."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def notes(self) -> list[Note]:
        """Return the notes that it holds, none where it does not exist.

        Raises `ConfigurationError` where it cannot be read, `ChainBroken` where a line is none.
        """
        try:
            lines = self.path.read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return []
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(
                f"the checkpoints in {self.path} cannot be read: {error}",
                hint="check OMS_CHECKPOINT_FILE and the rights of the file",
            ) from None
        try:
            return read_notes(lines)
        except DamageError as error:
            raise ChainBroken(f"{self.path}: {error}") from None

    def checkpoints(self, signer: Signer) -> list[Checkpoint]:
        """Return the checkpoints that our key signed, since it is ours; raises `ChainBroken`.

        Those of an earlier key are checked by whoever has its public half.
        """
        notes = [note for note in self.notes() if note.key_hash == signer.public.hash]
        try:
            return checked_checkpoints(notes, [signer.public])
        except (DamageError, UncheckableError) as error:
            raise ChainBroken(f"{self.path}: {error}") from None

    def append(self, note: Note) -> None:
        """Add a note, on disk when this returns; raises `OSError`."""
        line = note_line(note)
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        with os.fdopen(descriptor, "ab") as file:
            file.write(line.encode())
            file.flush()
            os.fsync(file.fileno())


def newest(notes: Iterable[Note]) -> Checkpoint | None:
    """Return the last checkpoint among notes."""
    found: Checkpoint | None = None
    for one in _checkpoints(notes):
        found = one
    return found


def _checkpoints(notes: Iterable[Note]) -> Iterator[Checkpoint]:
    return (Checkpoint.of(note) for note in notes if note.kind == CHECKPOINT)
