"""Where a text may be cut for subtitles: by what it takes of a line, at sentences, else where Unicode lets a line end.

ICU knows where that is: in text without blanks too, as Chinese, Japanese and Thai are. No letter is ever cut from its
marks, and no emoji apart.
"""

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache

_BLANKS = re.compile(r"[\t-\r\x1c-\x20\x85\u2028\u2029\u3000]+")
_NO_TEXT = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")


def flat(text: str) -> str:
    """On one line, with nothing in it that is not text; a blank that is to keep words together stays."""
    return _SURROGATE.sub("�", _NO_TEXT.sub("", _BLANKS.sub(" ", text))).strip()


def width(text: str) -> int:
    """How much of a line a text takes: a letter of Chinese or Japanese is as wide as two others."""
    return len(text) if text.isascii() else sum(map(_width, text))


def pieces(text: str, most: int) -> list[str]:
    """A flat text in pieces that take no more than `most` of a line, but for a letter that takes more."""
    if width(text) <= most:
        return [text]
    from icu4py.breakers import SentenceBreaker

    found: list[str] = []
    for sentence in SentenceBreaker(text, "en"):
        if width(sentence.rstrip()) <= most:
            _put(found, sentence, most)
            continue
        found.append("")
        for word in _words(sentence, most):
            _put(found, word, most)
    return [piece for one in found if (piece := one.rstrip())]


def joined(one: str, other: str) -> str:
    """Two texts in one: where Chinese or Japanese goes on there is no blank."""
    return f"{one}{'' if one and other and _is_dense(one[-1]) and _is_dense(other[0]) else ' '}{other}"


def _put(found: list[str], text: str, most: int) -> None:
    if found and width(found[-1]) + width(text.rstrip()) <= most:
        found[-1] += text
    else:
        found.append(text)


def _words(sentence: str, most: int) -> Iterator[str]:
    """What no line may end in, and its letters where even that takes too much."""
    from icu4py.breakers import CharacterBreaker, LineBreaker

    for word in LineBreaker(sentence, "en"):
        if width(word.rstrip()) <= most:
            yield word
        else:
            yield from CharacterBreaker(word, "en")


@lru_cache(4096)
def _width(letter: str) -> int:
    if unicodedata.category(letter) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(letter) in ("W", "F") else 1


def _is_dense(letter: str) -> bool:
    return _width(letter) == 2 and not unicodedata.name(letter, "").startswith("HANGUL")
