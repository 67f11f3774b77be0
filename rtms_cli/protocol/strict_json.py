"""JSON from sources that may be hostile, and compact JSON for the wire.

One rule for text that is no text: JSON can hold half of a pair of surrogates (`"\\ud83d"`, an emoji that was cut), and
no encoding can. Here, where JSON becomes values, it turns into U+FFFD, so that nothing which writes a text later can
fail on it. Bytes stay as they came: a capture has the escape.
"""

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


_SURROGATE = re.compile("[\ud800-\udfff]")
_NAMES_SOMETHING = ("id", "uuid", "session_key")
"""How the keys end whose values tell one thing from another."""


def dumps(value: object, *, lone: bool = False) -> bytes:
    """Compact JSON in UTF-8, of whatever `msgspec` can encode.

    :param lone: leave lone surrogates as escapes, which strict readers refuse.
    """
    try:
        return msgspec.json.encode(value)
    except (msgspec.MsgspecError, UnicodeError, OverflowError):  # the others are integers of more than 64 bits
        plain = msgspec.to_builtins(value)
        return json.dumps(plain if lone else whole_text(plain), ensure_ascii=lone, separators=(",", ":")).encode()


def loads(raw: bytes, *, lone: bool = False) -> object:
    """Parse JSON strictly: no NaN, no invalid UTF-8, no deep nesting, no more members than a message can have.

    :param lone: keep lone surrogates.
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
        value = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not JSON: {error}") from None
    return value if lone else whole_text(value)


def whole_text(value: object, *, names: bool = False) -> object:
    """The same value without lone surrogates: each is U+FFFD.

    In keys and in ids its number stands behind that, so that two which differ only there stay two.
    """
    match value:
        case str():
            return _SURROGATE.sub(_named if names else "\ufffd", value)
        case dict():
            return {
                whole_text(key, names=True): whole_text(inner, names=str(key).endswith(_NAMES_SOMETHING))
                for key, inner in value.items()
            }
        case list() | tuple():
            return [whole_text(inner, names=names) for inner in value]
        case _:
            return value


def _named(found: re.Match[str]) -> str:
    return f"\ufffd{ord(found[0]):x}"


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
