"""Texts from outside have no bound; what is summarised or shown of them has. The capture keeps all of it."""

LONGEST = 500
"""Letters of a reason, a type or a warning."""


def cut(text: str, most: int = LONGEST) -> str:
    """A text as it is, or its beginning with its length."""
    return text if len(text) <= most else f"{text[:most]}… ({len(text):,} characters)"
