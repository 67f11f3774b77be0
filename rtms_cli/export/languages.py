"""The language of a recording as containers name it (ISO 639-2)."""

from collections.abc import Sequence

from rtms_cli.protocol.sentences import Sentence

_TABLE = """
arabic ar ara, bengali bn ben, cantonese yue yue, catalan ca cat, chinese zh zho, czech cs ces, danish da dan,
dutch nl nld, english en eng, estonian et est, finnish fi fin, french fr fra, german de deu, hebrew he heb,
hindi hi hin, hungarian hu hun, indonesian id ind, italian it ita, japanese ja jpn, korean ko kor, malay ms msa,
persian fa fas, polish pl pol, portuguese pt por, romanian ro ron, russian ru rus, spanish es spa, swedish sv swe,
tagalog tl tgl, tamil ta tam, telugu te tel, thai th tha, turkish tr tur, ukrainian uk ukr, vietnamese vi vie
"""
_CODES: dict[str, str] = {
    name: names[-1] for names in (row.split() for row in _TABLE.replace("\n", " ").split(",")) for name in names
}
_IN_MATROSKA = {
    "ces": "cze", "deu": "ger", "fas": "per", "fra": "fre", "msa": "may", "nld": "dut", "ron": "rum", "zho": "chi",
}  # fmt: skip
"""Matroska wants the bibliographic codes, where there are two."""
_SEVERAL = "mul"


def spoken(sentences: Sequence[Sentence], form: str) -> str:
    """The language of what was said; empty if the transcript does not say it, `mul` for several.

    :param form: `mp4` or `mkv`.
    """
    names = {sentence.language for sentence in sentences if sentence.language not in ("", "none")}
    found = {_code(name) for name in names}
    if len(found) != 1:
        return _SEVERAL if found else ""
    code = found.pop()
    return _IN_MATROSKA.get(code, code) if form == "mkv" else code


def _code(name: str) -> str:
    """By a name (`French (Canada)`) or a tag (`fr-CA`); empty for one that is not known."""
    words = name.lower().replace("-", " ").replace("_", " ").split()
    return _CODES.get(words[0], "") if words else ""
