"""JSON from sources that may be hostile, and compact JSON for the wire."""

import json
import re

import msgspec

MAX_DEPTH = 64
"""JSON nested deeper than this is not read (it is kept verbatim): no documented message goes past 5."""

MAX_MEMBERS = 100_000
"""JSON with more commas or brackets than this is not read either, because a hostile frame of 16 MiB must not hold up
the event loop. The base64 of a picture has neither, and no documented message has a thousand."""

_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)', re.DOTALL)
_NO_BRACKET = bytes(set(range(256)) - set(b"[]{}"))


def dumps(value: object) -> bytes:
    """Compact JSON in UTF-8; what UTF-8 cannot hold (lone surrogates) stays an escape."""
    try:
        return msgspec.json.encode(value)
    except (msgspec.MsgspecError, UnicodeError, OverflowError):
        return json.dumps(value, ensure_ascii=True, separators=(",", ":")).encode()


def loads(raw: bytes) -> object:
    """Parse JSON strictly: no NaN, no invalid UTF-8, no deep nesting, no more members than a message can have.

    Accepts what `json` does where the faster parser is too strict (lone surrogates in escapes).

    :raises ValueError: with a reason for people.
    """
    brackets = raw.count(b"[") + raw.count(b"{")
    if max(raw.count(b","), brackets) > MAX_MEMBERS:
        raise ValueError(f"JSON of more than {MAX_MEMBERS} members")
    if brackets > MAX_DEPTH and _deeper_than(raw, MAX_DEPTH):
        raise ValueError(f"JSON nested deeper than {MAX_DEPTH}")
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 (byte {error.start})") from None
    try:
        return msgspec.json.decode(text)
    except msgspec.MsgspecError:
        pass  # the standard library says what is wrong in better words, or reads it after all
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not JSON: {error}") from None


def is_utf8(raw: bytes) -> bool:
    """Whether bytes are valid UTF-8."""
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


def _deeper_than(raw: bytes, limit: int) -> bool:
    depth = 0
    for byte in _STRING.sub(b"", raw).translate(None, _NO_BRACKET):
        depth += 1 if byte in b"[{" else -1
        if depth > limit:
            return True
    return False


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is no JSON")
