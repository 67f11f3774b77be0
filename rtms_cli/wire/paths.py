"""Normalizes the path of a request for comparison."""

import re
from urllib.parse import unquote, urlsplit


def path_of(target: str) -> str:
    """Return the path of a request without its query, tolerating changes by proxies."""
    if not target.startswith("/"):
        try:
            target = urlsplit(target).path  # a request to a proxy contains the full URL
        except ValueError:
            return target
    path = unquote(target.partition("?")[0].partition("#")[0], errors="surrogateescape")
    return re.sub("/+", "/", f"/{path}").rstrip("/") or "/"
