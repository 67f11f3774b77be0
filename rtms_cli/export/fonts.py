"""Letters for pictures: fonts that have them, and what stands for a letter that no font has."""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path

from msgspec import Struct

_FIRST = "DejaVu Sans"
"""Comes with matplotlib: Latin, Greek, Cyrillic, Hebrew, Arabic, many symbols."""
_UNSEEN = frozenset(("\u200c", "\u200d", *map(chr, range(0xFE00, 0xFE10)), *map(chr, range(0x1F3FB, 0x1F400))))
"""What joins or colours emoji and letters; one that is not joined is shown by its parts."""
_REPLACEMENT = "�"
_STAND_INS = re.compile("last ?resort|blank|notdef", re.IGNORECASE)
"""Fonts that claim every letter and show a box; matplotlib brings one."""


class Lettering(Struct, frozen=True):
    """How to show some texts."""

    families: list[str]
    """Fonts, the first one first: each letter comes from the first that has it."""
    missing: frozenset[str]
    """Letters that no font has."""

    def shown(self, text: str, room: int = 60) -> str:
        """A text from outside as a picture can hold it, on at most two lines.

        An emoji that no font has becomes its name (`:party popper:`), and a letter its number (`\\u0e2a`).
        """
        clean = "".join(map(self._letter, (char for char in text[: 2 * room] if char not in _UNSEEN)))
        return clean if len(clean) <= room else f"{clean[: room - 1]}…"

    def _letter(self, char: str) -> str:
        if char == "\n":
            return char
        if not char.isprintable():
            return _REPLACEMENT
        if char not in self.missing:
            return char
        name = unicodedata.name(char, "").lower() if unicodedata.category(char) == "So" else ""
        return f":{name}:" if name else char.encode("unicode_escape").decode()


def lettering(texts: Iterable[str]) -> Lettering:
    """Find fonts that have the letters of some texts: matplotlib's own, that of our package, then the system's."""
    from matplotlib import font_manager

    wanted = {char for text in texts for char in text if char.isprintable() and char not in _UNSEEN}
    families = [_FIRST]
    missing = wanted - _letters(font_manager.findfont(_FIRST))
    for family, path in _others() if missing else ():
        if missing & (found := _letters(path)):
            families.append(family)
            missing -= found
        if not missing:
            break
    return Lettering(families, frozenset(missing))


def _others() -> Iterator[tuple[str, str]]:
    """Families and files of further fonts, those that people read best first."""
    from matplotlib import font_manager

    manager = font_manager.fontManager
    try:
        from noto_cjk_sans_jp_regular import FONT_PATH
    except ImportError:
        pass  # the system's fonts may do
    else:
        manager.addfont(str(FONT_PATH))
        yield manager.ttflist[-1].name, str(FONT_PATH)
    upright = [font for font in manager.ttflist if font.style == "normal" and not _STAND_INS.search(font.name)]
    for font in sorted(upright, key=lambda font: ("Sans" not in font.name, str(font.weight) not in ("400", "normal"))):
        yield font.name, font.fname


def _letters(path: str) -> frozenset[str]:
    """The letters of a font that can be drawn in any size; none of one that cannot be read."""
    from matplotlib.font_manager import get_font

    try:
        font = get_font(path)
        return frozenset(map(chr, font.get_charmap())) if font.scalable and Path(path).exists() else frozenset()
    except (OSError, RuntimeError, ValueError):
        return frozenset()
