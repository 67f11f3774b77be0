"""The path of a request, as it is compared with ours."""

import re
from urllib.parse import unquote, urlsplit


def path_of(target: str) -> str:
    """The path of a request, without its query, whatever was done to it on the way."""
    if not target.startswith("/"):
        try:
            target = urlsplit(target).path  # a proxy's request names all of the URL
        except ValueError:
            return target
    path = unquote(target.partition("?")[0].partition("#")[0], errors="surrogateescape")
    return re.sub("/+", "/", f"/{path}").rstrip("/") or "/"
