"""Who may ask for what: tokens, their rights, and how often."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from oms.core.events import AccessGranted, AccessRevoked, Envelope, Right
from oms.errors import AccessRefused, TooManyRequests

#: The correlation of every grant: they are found by it.
GRANTS: Final = "access"
_RIGHTS: Final[tuple[Right, ...]] = ("read", "trade", "operate")
_WINDOW_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, and how far the right goes."""

    actor: str
    right: Right
    #: Whoever can read the secret beside the database owns it, and may say who asks.
    is_owner: bool = False

    def may(self, wanted: Right) -> bool:
        """Say whether the right covers another: who may operate may trade, and read."""
        return _RIGHTS.index(self.right) >= _RIGHTS.index(wanted)


def new_token() -> str:
    """Return a token that nobody can guess."""
    return f"oms_{secrets.token_urlsafe(32)}"


def digest_of(token: str) -> str:
    """Return what the log keeps of a token: from it nobody can make the token."""
    return hashlib.sha256(token.encode()).hexdigest()


class Gatekeeper:
    """Knows the tokens, as the log has them, and counts what each asks."""

    def __init__(self, *, secret: str, owner: str, per_minute: int | None) -> None:
        """`secret` is the owner's token and `owner` the actor it stands for where none is named."""
        self._secret = digest_of(secret)
        self._owner = owner
        self._per_minute = per_minute
        self._grants: dict[str, AccessGranted] = {}
        self._asked: dict[str, deque[float]] = {}

    @property
    def grants(self) -> list[AccessGranted]:
        """Return who has a token, by name."""
        return sorted(self._grants.values(), key=lambda one: one.name)

    def note(self, envelopes: Iterable[Envelope]) -> bool:
        """Take what was granted and revoked; return whether anything was revoked."""
        revoked = False
        for envelope in envelopes:
            match envelope.event:
                case AccessGranted() as granted:
                    # A new token of a name takes the place of the old one.
                    revoked |= self._forget(granted.name)
                    self._grants[granted.digest] = granted
                case AccessRevoked(name=name):
                    revoked |= self._forget(name)
                case _:
                    pass
        return revoked

    def caller(self, authorization: str, named: str) -> Caller:
        """Return who brings a header; raises `AccessRefused`.

        `named` is who the owner says asks; it counts from nobody else.
        """
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise AccessRefused("a token is needed: `Authorization: Bearer TOKEN`")
        digest = digest_of(token.strip())
        if hmac.compare_digest(digest, self._secret):
            return Caller(named or self._owner, "operate", is_owner=True)
        # Looked up by digest: how long that takes says nothing about a token.
        granted = self._grants.get(digest)
        if granted is None:
            raise AccessRefused("this token is not known, or was revoked")
        return Caller(granted.name, granted.right)

    def holds(self, caller: Caller) -> bool:
        """Say whether a caller who was let in still may."""
        return caller.is_owner or any(
            (one.name, one.right) == (caller.actor, caller.right) for one in self._grants.values()
        )

    def count(self, caller: Caller, now: float) -> None:
        """Count a request of a caller; raises `TooManyRequests`."""
        if self._per_minute is None or caller.is_owner:
            return
        asked = self._asked.setdefault(caller.actor, deque())
        while asked and now - asked[0] >= _WINDOW_SECONDS:
            asked.popleft()
        if len(asked) >= self._per_minute:
            wait = _WINDOW_SECONDS - (now - asked[0])
            raise TooManyRequests(
                f"{caller.actor} has asked {self._per_minute} times within a minute",
                hint=f"nothing was done; ask again in {wait:.0f} s, or raise"
                " OMS_API_REQUESTS_PER_MINUTE_MAX",
            )
        asked.append(now)

    def _forget(self, name: str) -> bool:
        known = [digest for digest, one in self._grants.items() if one.name == name]
        for digest in known:
            del self._grants[digest]
        return bool(known)
