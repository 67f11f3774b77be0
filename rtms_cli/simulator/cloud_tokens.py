"""Tokens of the stand-in's cloud: who gave one out, for what, and until when it is worth something (PROTOCOL §12)."""

import hashlib
import hmac
from collections import OrderedDict
from enum import StrEnum

from msgspec import Struct

LIFETIME_S = 3600
"""How long a token is good: `expires_in`."""
MOST_TOKENS = 10_000
"""That are remembered; the oldest is forgotten first, and unknown then."""

_NEVER_US = 1 << 62


class Worth(StrEnum):
    """What a token is worth."""

    GOOD = "good"
    MISSING = "missing"
    UNKNOWN = "unknown"
    EXPIRED = "expired"


class Grant(Struct):
    """What a token stands for."""

    flow: str
    """The `grant_type` that it was asked for with."""
    client_id: str
    scopes: tuple[str, ...]
    expires_us: int
    """On the cloud's clock."""


class TokenOffice:
    """Gives out tokens, and knows them again.

    :param seed: what tokens are made from, so that nobody can guess one.
    """

    def __init__(self, seed: bytes, lifetime_s: int = LIFETIME_S) -> None:
        self.lifetime_s = lifetime_s
        self._seed = seed
        self._count = 0
        self._grants: OrderedDict[str, Grant] = OrderedDict()

    @property
    def count(self) -> int:
        """How many were given out."""
        return self._count

    def issue(
        self, at_us: int, flow: str = "client_credentials", client_id: str = "", scopes: tuple[str, ...] = ()
    ) -> str:
        """Give out a new token."""
        self._count += 1
        # Slashes and plus signs, as in base64: they must be encoded in a URL.
        token = f"{hmac.digest(self._seed, str(self._count).encode(), hashlib.sha256).hex()}+/{self._count}=="
        self._grants[token] = Grant(flow, client_id, scopes, at_us + self.lifetime_s * 1_000_000)
        if len(self._grants) > MOST_TOKENS:
            self._grants.popitem(last=False)
        return token

    def know(self, token: str, scopes: tuple[str, ...] = ()) -> None:
        """Know a token that somebody else gave out: a user's, without an end of its own."""
        self._grants[token] = Grant("", "", scopes, _NEVER_US)

    def worth(self, token: str, at_us: int) -> Worth:
        """What a token is worth at a time."""
        if not token:
            return Worth.MISSING
        grant = self._grants.get(token)
        if grant is None:
            return Worth.UNKNOWN
        return Worth.GOOD if at_us < grant.expires_us else Worth.EXPIRED

    def grant(self, token: str) -> Grant | None:
        """What a token stands for, also after its end."""
        return self._grants.get(token)

    def expire_all(self, at_us: int) -> None:
        """Let every token end that has not ended yet."""
        for grant in self._grants.values():
            grant.expires_us = min(grant.expires_us, at_us)
