"""What reaches no file and no screen: values under secrets' keys, secrets in URLs, and secrets that come back.

A hostile message is large, so everything here takes one pass over it, or a bounded number of looks.
"""

import base64
import re
from collections import deque
from collections.abc import Iterable, Iterator
from heapq import merge
from itertools import islice
from urllib.parse import quote

from rtms_cli.protocol.strict_json import MAX_TEXT, dumps, is_json, loads

REDACTED = "[redacted]"
SECRET_ENDINGS = (
    "signature",
    "secret",
    "token",
    "authorization",
    "password",
    "passcode",
    "passphrase",
    *(
        f"{first}{between}{last}"
        for first in ("srtp", "private")
        for between in ("", "_", "-")
        for last in ("key", "keys")
    ),
)
"""How the keys end whose values never reach a file, whatever their case: `srt_passphrase`, `plainToken`."""

_SECRET_BYTES = tuple(ending.encode() for ending in SECRET_ENDINGS)
_STEMS = (b"signature", b"secret", b"token", b"authorization", b"pass", b"srtp", b"private")
"""What some key must hold to be a secret's: fewer to look for in a large frame."""
_SECRET_VALUE = re.compile(
    rb'([^"]++"\s*+:\s*+)(?:"(?:[^"\\]++|(?:\\.)++)*+"?|[\[{].*|[^\s,}\]]++)', re.DOTALL | re.ASCII
)
"""The end of a key, and its value, in what is not JSON; of an object or a list everything that follows."""
_ESCAPE = rb"\u00"
_ESCAPED = re.compile(rb"\\u00[2-7][0-9a-fA-F]")
_LETTERS = {
    _ESCAPE + hexadecimal.encode(): bytes((code,))
    for code in range(0x20, 0x80)
    for hexadecimal in (f"{code:02x}", f"{code:02X}")
}
_IN_QUERY = re.compile(r"([?&;#])([\w.%-]{1,60})=(?:[^&;#\s\"'<>,]|,(?!\s|[A-Za-z][\w+.-]{0,20}://))++")
_QUERY_ENDINGS = (*SECRET_ENDINGS, "sig", "key", "auth", "jwt", "pwd", "zak", "credential")
_WORDS = frozenset(("data", "text"))
"""Keys whose values are what people say, who may say URLs."""
_USER = re.compile(r"(\b[A-Za-z][\w+.-]{0,20}://)[^/?#\s@\"'<>,]{1,1000}@")
_MOST_LOOKS = 2_000
"""Places that are looked at in what is not JSON; behind them, nothing of it is kept."""


def redact(raw: bytes) -> bytes:
    """The same JSON with `"[redacted]"` for every value under a secret's key, and in URLs, at any depth."""
    if b"\\u" not in raw and b"//" not in raw and b"\\/" not in raw and not _hides(raw):
        return raw
    value = loads(raw, lone=True)
    cleaned = _redacted(value)
    return raw if cleaned == value else dumps(cleaned, lone=True)


def redact_unreadable(raw: bytes) -> tuple[bytes, bool]:
    """What is not a message, without secrets, and whether it is JSON anyway."""
    if len(raw) <= MAX_TEXT and is_json(raw):
        return redact(raw), True
    kept = redact_text(raw)
    if kept != raw and len(kept) <= MAX_TEXT and is_json(kept):
        # What made it unreadable is gone with the secret; a replay must not read a message in it.
        kept = b"[redacted] " + kept
    return kept, False


def redact_text(raw: bytes) -> bytes:
    """What is not JSON, without the values of what look like secrets' keys."""
    if _ESCAPE in raw and _hides(plain := _unescaped(raw)):
        raw = plain
    lowered = raw.lower()
    stems = [stem for stem in _STEMS if stem in lowered]
    if not stems:
        return raw
    # One key after the other: a pattern that looks for all of them would keep every other thread waiting for seconds.
    cleaned, done = bytearray(), 0
    endings = [ending for ending in _SECRET_BYTES if any(stem in ending for stem in stems)]
    places = merge(*(_places(lowered, ending + b'"') for ending in endings))
    for start in islice(places, _MOST_LOOKS):
        found = _SECRET_VALUE.match(raw, start) if start >= done else None
        if found is not None:
            cleaned += raw[done:start] + found[1] + b'"' + REDACTED.encode() + b'"'
            done = found.end()
    more = next(places, None)
    return bytes(cleaned + raw[done:]) if more is None else bytes(cleaned + raw[done:more]) + REDACTED.encode()


def redact_url(url: str) -> str:
    """A URL, or a text that has some, without users and what looks like a secret in a query."""
    if "@" in url:
        url = _USER.sub(rf"\1{REDACTED}@", url)
    return _IN_QUERY.sub(_in_query, url) if "=" in url and "://" in url else url


def _in_query(found: re.Match[str]) -> str:
    return f"{found[1]}{found[2]}={REDACTED}" if found[2].lower().endswith(_QUERY_ENDINGS) else found[0]


class Secret(str):
    """A text that must not appear in a log by way of `repr`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'[redacted]'"


class Secrets:
    """Secrets that are known by value, wherever they come back: whole or a good part of one, in upper or lower case,
    URL-encoded, in hexadecimal or base64.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._known: deque[str] = deque(maxlen=_MOST_SECRETS)
        self._grams: tuple[str, ...] = ()
        self.needle = b""
        """The newest one; to look for it costs a media packet next to nothing."""
        for secret in secrets:
            self.learn(secret)

    def learn(self, secret: str | None) -> None:
        """Take note of a secret; one that is short says nothing where it is found."""
        if secret is None or len(secret) < _GRAM or secret in self._known:
            return
        self._known.append(secret)
        self.needle = secret.encode("utf-8", "replace")
        self._grams = tuple({gram: None for known in self._known for gram in _grams_of(known)})

    def hide(self, raw: bytes) -> bytes:
        """A frame's bytes without known secrets."""
        if not self._grams:
            return raw
        if len(raw) > MAX_TEXT:
            return self._hide_in_large(raw)
        plain = raw
        if b"\\u" in raw:
            try:
                value = loads(raw, lone=True)
            except ValueError:
                plain = _unescaped(raw)
            else:
                hidden = self._hidden(value)
                return raw if hidden == value else dumps(hidden, lone=True)
        text = plain.decode("latin-1")
        masked = self.hide_text(text)
        return raw if masked == text else masked.encode("latin-1")

    def _hide_in_large(self, raw: bytes) -> bytes:
        """A media packet loses the secret only, what else is so large all that follows it."""
        spelled = (self.needle, self.needle.upper())
        places = [place for needle in spelled if (place := raw.find(needle)) >= 0]
        if not places:
            return raw
        try:
            return dumps(self._hidden(loads(raw, lone=True)), lone=True)
        except ValueError:
            return raw[: min(places)] + REDACTED.encode()

    def hide_text(self, text: str) -> str:
        """A text without known secrets."""
        lowered = text.lower()
        return _RUN.sub(self._mask, text) if any(gram in lowered for gram in self._grams) else text

    def _mask(self, found: re.Match[str]) -> str:
        lowered = found[0].lower()
        return REDACTED if any(gram in lowered for gram in self._grams) else found[0]

    def _hidden(self, value: object) -> object:
        if isinstance(value, str):
            return value if len(value) > _LONGEST else self.hide_text(value)
        if isinstance(value, dict):
            return {self.hide_text(key): self._hidden(inner) for key, inner in value.items()}
        return [self._hidden(inner) for inner in value] if isinstance(value, list) else value


_MOST_SECRETS = 4
_LONGEST = MAX_TEXT
"""Letters of a text that is looked into."""
_GRAM = 16
"""Characters of a secret that give it away."""
_RUN = re.compile(r"[0-9A-Za-z+/_=%.-]{16,}")
"""What a secret is a part of when it is found: no white space, no quotes."""


def _grams_of(secret: str) -> Iterator[str]:
    """Pieces of a secret, in each of its forms, one of which is in each part of 23 characters; in lower case."""
    plain = secret.encode("utf-8", "replace")
    forms = [secret, quote(secret, safe=""), plain.hex()]
    for shift in range(3):  # base64 depends on where the secret begins
        shifted = base64.b64encode(bytes(shift) + plain).decode().rstrip("=")
        forms += [shifted[shift + 1 : -1], shifted[shift + 1 : -1].replace("+", "-").replace("/", "_")]
    for form in forms:
        yield from _pieces(form)


def _pieces(form: str) -> Iterator[str]:
    for start in range(0, max(1, len(form) - _GRAM + 1), _GRAM // 2):
        gram = form[start : start + _GRAM].lower()
        if len(gram) == _GRAM and len(set(gram)) > 1:
            yield gram


def _hides(raw: bytes) -> bool:
    """Whether some secret's key may be in it."""
    lowered = raw.lower()
    return any(stem in lowered for stem in _STEMS)


def _unescaped(raw: bytes) -> bytes:
    """What is not JSON, with plain letters for escaped ones."""
    last = None if len(raw) <= MAX_TEXT else next(islice(_places(raw, _ESCAPE), _MOST_LOOKS, None), None)
    plain = _ESCAPED.sub(lambda found: _LETTERS[found[0]], raw[:last])
    return plain if last is None else plain + REDACTED.encode()


def _places(raw: bytes, sought: bytes) -> Iterator[int]:
    place = raw.find(sought)
    while place >= 0:
        yield place
        place = raw.find(sought, place + 1)


def _redacted(value: object) -> object:
    if isinstance(value, str):
        return redact_url(value)
    if isinstance(value, dict):
        return {
            key: REDACTED
            if key.lower().endswith(SECRET_ENDINGS) and inner
            else inner
            if key in _WORDS and isinstance(inner, str)
            else _redacted(inner)
            for key, inner in value.items()
        }
    return [_redacted(inner) for inner in value] if isinstance(value, list) else value
