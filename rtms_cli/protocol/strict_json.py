"""JSON from sources that may be hostile, and compact JSON for the wire.

One rule for text that is not text: JSON can hold half of a pair of surrogates (`"\\ud83d"`, an emoji that was cut), and
no encoding can. Here, where JSON becomes values, it turns into U+FFFD, so that nothing which writes a text later can
fail on it. Bytes stay as they came: a capture has the escape.
"""

import json
import re

import msgspec

MAX_DEPTH = 64
"""JSON nested deeper than this is not read (it is kept verbatim): no documented message goes past 5."""

MAX_MEMBERS = 30_000
"""JSON with more commas or brackets than this is not read either, because a hostile frame must not hold up the event
loop. The base64 of a picture has neither, and no documented message has a thousand."""

MAX_TEXT = 1 << 20
"""Bytes of the largest message that is not a media packet. What is larger is read only as far as that takes no time to
speak of: pictures have few members and few escapes."""

_MAX_MEMBERS_LARGE = 200
_MAX_ESCAPES_LARGE = 10_000
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
    is_large = len(raw) > MAX_TEXT
    most = _MAX_MEMBERS_LARGE if is_large else MAX_MEMBERS
    brackets = raw.count(b"[") + raw.count(b"{")
    if max(raw.count(b","), brackets) > most:
        size = f", in {len(raw)} bytes" if is_large else ""
        raise ValueError(f"JSON of more than {most} members{size}")
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 (byte {error.start})") from None
    try:
        value = _parse(text, quickly=is_large and not 0 < raw.count(b"\\") <= _MAX_ESCAPES_LARGE, lone=lone)
    except RecursionError:
        raise ValueError(f"JSON nested deeper than {MAX_DEPTH}") from None
    if brackets > MAX_DEPTH and _is_deeper(value, MAX_DEPTH):
        raise ValueError(f"JSON nested deeper than {MAX_DEPTH}")
    return value


def _parse(text: str, *, quickly: bool, lone: bool) -> object:
    """Parse JSON by the faster parser, and what it refuses by the standard library, unless that would take long."""
    try:
        return msgspec.json.decode(text)
    except msgspec.MsgspecError as error:
        if quickly:
            raise ValueError(f"not JSON: {error}") from None
    try:  # it says what is wrong in better words, or reads it after all
        value = json.loads(text, parse_constant=_refuse_constant)
    except ValueError as error:
        raise ValueError(f"not JSON: {error}") from None
    return value if lone else whole_text(value)


def whole_text(value: object, *, names: bool = False) -> object:
    """The same value without lone surrogates: each is U+FFFD.

    In keys and in ids its number stands behind that, so that two which differ only there stay two.
    """
    match value:
        case str() if value.isascii():
            return value
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


def is_json(raw: bytes) -> bool:
    """Whether `loads` takes it."""
    try:
        loads(raw)
    except ValueError:
        return False
    return True


def is_utf8(raw: bytes) -> bool:
    """Whether bytes are valid UTF-8."""
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


def _is_deeper(value: object, limit: int) -> bool:
    """Whether a value is nested deeper; looks at each of its members once, and never recurses."""
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(limit):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
    return bool(level)


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")
