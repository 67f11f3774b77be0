"""`server_urls`, of webhooks and of `2`: several URLs for different protocols, in several shapes (PROTOCOL §2, §4)."""

import re
from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

_PREFERRED = ("signaling", "signal", "all")
_SEPARATOR = re.compile(r"\s+|,(?=\s|,|\Z)|[,;|](?=[A-Za-z][A-Za-z0-9+.-]*://)")
"""What stands between two URLs: a comma, or what people take for it; another one is a part of a URL."""
_MOST = 100
"""URLs that are looked at."""


def first_url(given: object) -> str | None:
    """The WebSocket URL to use: of a string or list the first one, of an object the best key's."""
    return next((url for url in every_url(given) if is_websocket_url(url)), None)


def other_urls(given: object) -> list[str]:
    """What else is offered, for protocols that are not spoken here, without what may be secret: user, path, query."""
    found: dict[str, None] = {}
    for url in every_url(given):
        scheme, colon, rest = url.partition("://")
        if colon and scheme.lower() not in ("ws", "wss"):
            host = re.split(r"[/?#]", rest, maxsplit=1)[0].rpartition("@")[2]
            found[f"{scheme.lower()}://{host}"[:200]] = None
    return list(found)


def is_websocket_url(text: str) -> bool:
    """Whether a text is a `ws://` or `wss://` URL with a host."""
    try:
        parts = urlsplit(text)
        return parts.scheme in ("ws", "wss") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        return False


def every_url(given: object) -> Iterator[str]:
    """The URLs, and whatever else is a text, the best first."""
    if isinstance(given, Mapping):
        given = [given[key] for key in sorted(given, key=_rank)]
    flat: list[object] = []
    for one in given if isinstance(given, list) else [given]:
        flat += one.values() if isinstance(one, Mapping) else one if isinstance(one, list) else [one]
    for text in flat[:_MOST]:
        if isinstance(text, str):
            yield from (url for part in _SEPARATOR.split(text, _MOST) if (url := part.strip()))


def _rank(key: object) -> int:
    return _PREFERRED.index(key) if key in _PREFERRED else len(_PREFERRED)
