"""Texts from outside: they may hold lone surrogates, and they have no bound.

What is summarised or shown of them has one. The capture keeps all of it.
"""

LONGEST = 500
"""Letters of a reason, a type or a warning."""


def cut(text: str, most: int = LONGEST) -> str:
    """A text as it is, or its beginning with its length."""
    return text if len(text) <= most else f"{text[:most]}… ({len(text):,} characters)"


def utf8(text: str) -> bytes:
    """A text in UTF-8, also of lone surrogates: what a hostile message holds makes no exception."""
    return text.encode("utf-8", "surrogatepass")
