"""Which store a URL names: `s3://BUCKET/PREFIX`, `gs://…`, `az://…`."""

import re
from urllib.parse import unquote, urlsplit

from msgspec import Struct

from rtms_cli.errors import Problem

SCHEMES = {"s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs", "az": "az", "azure": "az"}
"""As people write them, and what each is."""
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")
_MOST_KEY = 900
"""Bytes of a key: stores take 1,024, and names of files follow."""


class StoreUrl(Struct, frozen=True):
    """A place in a store."""

    scheme: str
    bucket: str
    """Of Azure, the container."""
    prefix: str = ""
    """Without slashes at its ends."""

    def __str__(self) -> str:
        return f"{self.scheme}://{self.bucket}{'/' if self.prefix else ''}{self.prefix}"

    @property
    def name(self) -> str:
        """The last part."""
        return self.prefix.rpartition("/")[2]

    def child(self, name: str) -> "StoreUrl":
        """A place below."""
        return StoreUrl(self.scheme, self.bucket, f"{self.prefix}/{name}".strip("/"))


def is_store_url(text: str) -> bool:
    """Whether a text means a store, and not a folder."""
    scheme, colon, rest = text.partition(":")
    return bool(colon) and scheme.lower() in SCHEMES and rest.startswith("/")


def read_store_url(text: str) -> StoreUrl:
    """Take a store's URL apart.

    :raises Problem: if it is not valid.
    """
    try:
        parts = urlsplit(text)
        bucket, path = parts.netloc, unquote(parts.path)
    except ValueError:
        bucket, path = "", ""
    prefix = "/".join(part for part in path.split("/") if part)
    is_good = (
        text.isprintable()
        and is_store_url(text)
        and _BUCKET.fullmatch(bucket) is not None
        and not parts.query
        and not parts.fragment
    )
    if not is_good or not is_safe_key(prefix or "x"):
        raise Problem(f"{text[:200]!r} is not a store's URL.", "Give s3://BUCKET/PREFIX, gs://… or az://….")
    return StoreUrl(SCHEMES[parts.scheme.lower()], bucket, prefix)


def is_safe_key(key: str) -> bool:
    """Whether a key, which may come from a store's listing, is a path below a folder: no `..`, nothing hidden in it."""
    return (
        0 < len(key.encode("utf-8", "replace")) <= _MOST_KEY
        and key.isprintable()
        and "\\" not in key
        and all(part not in ("", ".", "..") for part in key.split("/"))
    )
