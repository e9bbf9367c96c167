"""The key that signs checkpoints: made, stored, read, and followed by another.

A key is an Ed25519 key in a PEM file that only its owner may read. Its public half is one line of
text beside it, for whoever checks; it says nothing that must be kept secret.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from oms.errors import ConfigurationError
from oms.verify import NEW_KEY, Note, PublicKey

#: Appended to the name of the key's file.
PUBLIC_SUFFIX: Final = ".pub"
#: Others who may read or write a file, on systems that know such rights.
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


@dataclass(frozen=True, slots=True)
class Signer:
    """A private key that is ready to sign."""

    name: str
    private: Ed25519PrivateKey

    @property
    def public(self) -> PublicKey:
        """Return the half that others check with."""
        return PublicKey(self.name, self.private.public_key().public_bytes_raw())

    def sign(self, text: str) -> Note:
        """Return a text, which ends with a line feed, with a signature under it."""
        return Note(text, self.name, self.public.hash, self.private.sign(text.encode()))

    def follow_with(self, successor: PublicKey, at: str) -> Note:
        """Return the note by which whoever trusts this key trusts the next one."""
        return self.sign(f"{NEW_KEY}\nkey {successor}\nat {at}\n")


def public_path(path: Path) -> Path:
    """Return where the public half of a key file stands."""
    return path.with_name(path.name + PUBLIC_SUFFIX)


def make_key(path: Path, name: str) -> Signer:
    """Make a key and write it, and its public half beside it; nobody else may read the key.

    The name stands in every signature. Raises `ConfigurationError` for a name that signatures
    cannot carry, a file that exists, and a folder that cannot be written.
    """
    if not _can_be_name(name):
        raise ConfigurationError(
            f"{name!r} is no name of a key: it needs printable characters, without spaces and +",
            hint="for example: oms key new --name ib-oms-paper",
        )
    if public_path(path).exists():
        raise ConfigurationError(
            f"{public_path(path)} exists already", hint="name another file; no key is overwritten"
        )
    signer = Signer(name, Ed25519PrivateKey.generate())
    pem = signer.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    _write_new(path, name.encode() + b"\n" + pem, 0o600)
    try:
        _write_new(public_path(path), f"{signer.public}\n".encode(), 0o644)
    except ConfigurationError:
        path.unlink()
        raise
    return signer


def read_key(path: Path) -> Signer:
    """Return the key of a file.

    Raises `ConfigurationError` where there is none, where others may read it, or where it is none.
    """
    try:
        mode = path.stat().st_mode
        # A pipe may give nothing for ever.
        text = path.read_bytes() if stat.S_ISREG(mode) else b""
        name, _, pem = text.partition(b"\n")
    except OSError as error:
        raise ConfigurationError(
            f"the signing key {path} cannot be read: {error.strerror}",
            hint="make one with `oms key new`, or correct OMS_SIGNING_KEY_FILE",
        ) from None
    if os.name == "posix" and mode & _OTHERS:
        raise ConfigurationError(
            f"other users can read the signing key {path}", hint=f"run: chmod 600 {path}"
        )
    try:
        private = load_pem_private_key(pem, password=None)
        if isinstance(private, Ed25519PrivateKey) and _can_be_name(name.decode()):
            return Signer(name.decode(), private)
    except (ValueError, TypeError):
        pass
    raise ConfigurationError(
        f"{path} is no signing key of this program",
        hint="make one with `oms key new`, or correct OMS_SIGNING_KEY_FILE",
    )


def _can_be_name(name: str) -> bool:
    return bool(name) and name.isprintable() and not any(c.isspace() or c == "+" for c in name)


def _write_new(path: Path, text: bytes, mode: int) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError:
        raise ConfigurationError(
            f"{path} exists already", hint="name another file; a key is never overwritten"
        ) from None
    except OSError as error:
        raise _not_written(path, error) from None
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        path.unlink(missing_ok=True)
        raise _not_written(path, error) from None


def _not_written(path: Path, error: OSError) -> ConfigurationError:
    return ConfigurationError(
        f"{path} cannot be written: {error.strerror}; no key was made",
        hint="check the folder, its rights and the space on its disk",
    )
