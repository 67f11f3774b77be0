"""Text as people save it, often without knowing: in any encoding, with typographic quotation marks."""

import codecs
import re
from typing import Any

_MARKS = {
    codecs.BOM_UTF8: ("utf-8", "UTF-8 with a byte order mark"),
    codecs.BOM_UTF32_LE: ("utf-32-le", "UTF-32"),
    codecs.BOM_UTF32_BE: ("utf-32-be", "UTF-32"),
    codecs.BOM_UTF16_LE: ("utf-16-le", "UTF-16"),
    codecs.BOM_UTF16_BE: ("utf-16-be", "UTF-16"),
}


_BINARY = {
    b"\x1f\x8b": "gzip: unpack it",
    b"\x28\xb5\x2f\xfd": "zstd: unpack it",
    b"PK\x03\x04": "a ZIP file or an office document: give the text in it",
    b"%PDF-": "PDF: give the text in it",
    b"\x89PNG": "a picture: give the text",
    b"\xff\xd8\xff": "a picture: give the text",
    b"{\\rtf": "RTF: save it as plain text",
}

_DOUBLE = dict.fromkeys("“”„‟″«»＂", '"') | dict.fromkeys("\u200b\u2060\ufeff\u00ad", "") | {"\u00a0": " "}
SMART_DOUBLE = str.maketrans(_DOUBLE)
"""Double quotation marks as word processors write them, to straight ones; without what cannot be seen."""
SMART = str.maketrans(_DOUBLE | dict.fromkeys("‘’‚‛′‹›＇", "'"))
"""The same, and single ones."""


def encoding_of(raw: bytes) -> tuple[str, str, int]:
    """The encoding of a text, its name for people where it is not plain UTF-8, and the length of its mark."""
    for mark, (encoding, name) in _MARKS.items():
        if raw.startswith(mark):
            return encoding, name, len(mark)
    head = raw[:64]
    even, odd = head[::2], head[1::2]  # JSON and .env files are Latin letters for the most part
    if raw[1:4] == b"\0\0\0" and raw[:1] != b"\0":
        return "utf-32-le", "UTF-32 without a byte order mark", 0
    if raw[:3] == b"\0\0\0" and raw[3:4] != b"\0":
        return "utf-32-be", "UTF-32 without a byte order mark", 0
    if len(odd) >= 2:
        if all(even) and odd.count(0) * 2 > len(odd):
            return "utf-16-le", "UTF-16 without a byte order mark", 0
        if all(odd) and even.count(0) * 2 > len(even):
            return "utf-16-be", "UTF-16 without a byte order mark", 0
    return "utf-8", "", 0


def decode_text(raw: bytes) -> tuple[str, str]:
    """A file's text, and the name of its encoding where that is not plain UTF-8.

    :raises ValueError: with a reason for people.
    """
    for start, what in _BINARY.items():
        if raw.startswith(start):
            raise ValueError(f"it is {what}")
    encoding, name, mark = encoding_of(raw)
    try:
        return raw[mark:].decode(encoding), name
    except UnicodeDecodeError as error:
        if name:
            raise ValueError(f"it begins as {name}, but does not go on so (byte {mark + error.start})") from None
        raise ValueError(f"it is not UTF-8 (byte {error.start}): save it as UTF-8") from None


def read_toml(raw: bytes) -> dict[str, Any]:
    """TOML as people save it: in another encoding, or with typographic quotation marks.

    :raises ValueError: with what is wrong.
    """
    import tomllib

    text, _ = decode_text(raw)
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except ValueError as error:
        straight = text.translate(SMART)
        if straight != text:
            return read_toml(straight.encode())
        if text.lstrip().startswith("{"):
            raise ValueError("it is JSON, not TOML") from None
        if re.search(r'"[^"\n]*\\[^"\n]*"', text):
            raise ValueError(f"{error}; a path with \\ goes between ' and '") from None
        raise
