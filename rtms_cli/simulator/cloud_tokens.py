"""Tokens of the simulated cloud: which app each belongs to, its scopes, and its expiry (PROTOCOL §12)."""

import hashlib
import hmac
from collections import OrderedDict
from enum import StrEnum

from msgspec import Struct

LIFETIME_S = 3600
"""Validity of a token in seconds: `expires_in`."""
MOST_TOKENS = 10_000
"""Tokens that are remembered. The oldest is forgotten first."""

_NEVER_US = 1 << 62


class Worth(StrEnum):
    """The validity of a token."""

    GOOD = "good"
    MISSING = "missing"
    UNKNOWN = "unknown"
    EXPIRED = "expired"


class Grant(Struct):
    """The properties of a token."""

    flow: str
    """The `grant_type` of the request."""
    client_id: str
    scopes: tuple[str, ...]
    expires_us: int
    """On the cloud's clock."""


class TokenOffice:
    """Issues tokens and checks them.

    :param seed: secret from which tokens are derived, so that nobody can guess one.
    """

    def __init__(self, seed: bytes, lifetime_s: int = LIFETIME_S) -> None:
        self.lifetime_s = lifetime_s
        self._seed = seed
        self._count = 0
        self._grants: OrderedDict[str, Grant] = OrderedDict()

    @property
    def count(self) -> int:
        """Return how many tokens were issued."""
        return self._count

    def issue(
        self, at_us: int, flow: str = "client_credentials", client_id: str = "", scopes: tuple[str, ...] = ()
    ) -> str:
        """Issue a new token."""
        self._count += 1
        # Contains + and /, as base64 does: clients must encode them in a URL.
        token = f"{hmac.digest(self._seed, str(self._count).encode(), hashlib.sha256).hex()}+/{self._count}=="
        self._grants[token] = Grant(flow, client_id, scopes, at_us + self.lifetime_s * 1_000_000)
        if len(self._grants) > MOST_TOKENS:
            self._grants.popitem(last=False)
        return token

    def know(self, token: str, scopes: tuple[str, ...] = ()) -> None:
        """Register a token issued elsewhere: a user's token, which does not expire."""
        self._grants[token] = Grant("", "", scopes, _NEVER_US)

    def worth(self, token: str, at_us: int) -> Worth:
        """Return the validity of a token at a time."""
        if not token:
            return Worth.MISSING
        grant = self._grants.get(token)
        if grant is None:
            return Worth.UNKNOWN
        return Worth.GOOD if at_us < grant.expires_us else Worth.EXPIRED

    def grant(self, token: str) -> Grant | None:
        """Return a token's properties, even after it has expired."""
        return self._grants.get(token)

    def expire_all(self, at_us: int) -> None:
        """Expire all tokens."""
        for grant in self._grants.values():
            grant.expires_us = min(grant.expires_us, at_us)
