"""Sentences → subtitles and documents."""

import json
import re
from collections import defaultdict
from collections.abc import Callable, Sequence

from rtms_cli.export.sentences import Sentence

_MOST_LETTERS = 84
"""Two lines of 42 letters: what a subtitle can hold and people can read."""
_LONGEST_CUE_S = 7.0


def merged(sentences: Sequence[Sentence], gap_s: float) -> list[Sentence]:
    """Sentences of the same speaker in the same language, closer than `gap_s`, made one."""
    found: list[Sentence] = []
    for sentence in sentences:
        last = found[-1] if found else None
        if (
            last is not None
            and (last.user_id, last.name, last.language) == (sentence.user_id, sentence.name, sentence.language)
            and sentence.start - last.end <= gap_s
        ):
            found[-1] = Sentence(
                last.start, max(last.end, sentence.end), last.user_id, last.name, last.language,
                f"{last.text} {sentence.text}",
            )  # fmt: skip
        else:
            found.append(sentence)
    return found


def cues(sentences: Sequence[Sentence]) -> list[tuple[float, float, str, str]]:
    """Subtitles: start, end, speaker, text. Long sentences are split in time, and none outlasts the next one."""
    found = []
    for number, sentence in enumerate(sentences):
        following = sentences[number + 1].start if number + 1 < len(sentences) else float("inf")
        end = max(sentence.start + 0.2, min(sentence.end, following))
        pieces = _split(sentence.text)
        letters = sum(map(len, pieces))
        at = sentence.start
        for piece in pieces:
            until = at + (end - sentence.start) * len(piece) / letters
            found.append((at, min(until, at + _LONGEST_CUE_S), sentence.name, piece))
            at = until
    return found


def _split(text: str) -> list[str]:
    pieces: list[str] = []
    for word in text.split() or [text]:
        if pieces and len(pieces[-1]) + len(word) < _MOST_LETTERS:
            pieces[-1] += f" {word}"
        else:
            pieces.append(word)
    return pieces


def srt(sentences: Sequence[Sentence]) -> str:
    """SubRip."""
    return "".join(
        f"{number}\n{_clock(start, ',')} --> {_clock(end, ',')}\n{f'{_flat(name)}: ' if name else ''}{_flat(text)}\n\n"
        for number, (start, end, name, text) in enumerate(cues(sentences), 1)
    )


def vtt(sentences: Sequence[Sentence]) -> str:
    """WebVTT, with the speakers as voices."""
    blocks = ["WEBVTT\n\n"]
    for start, end, name, text in cues(sentences):
        voice = f"<v {_escaped(name)}>" if name else ""
        blocks.append(f"{_clock(start, '.')} --> {_clock(end, '.')}\n{voice}{_escaped(text)}\n\n")
    return "".join(blocks)


def txt(sentences: Sequence[Sentence]) -> str:
    """A line for each time that somebody speaks."""
    return "".join(f"[{_short(one.start)}] {_flat(one.name or '?')}: {_flat(one.text)}\n" for one in sentences)


def md(sentences: Sequence[Sentence]) -> str:
    """Markdown: a paragraph for each time that somebody speaks."""
    blocks = ["# Transcript\n\n"]
    for one in sentences:
        name = _marked(one.name or "?")
        blocks.append(f"**{name}** <small>{_short(one.start)}</small>  \n{_marked(one.text)}\n\n")
    return "".join(blocks)


def as_json(sentences: Sequence[Sentence]) -> str:
    """Sentences with times, and how much each person said."""
    words: dict[str, dict[str, float]] = defaultdict(lambda: {"words": 0, "seconds": 0.0, "turns": 0})
    for one in sentences:
        said = words[one.name]
        said["words"] += len(one.text.split())
        said["seconds"] = round(said["seconds"] + one.end - one.start, 3)
        said["turns"] += 1
    listed = [
        {
            "start": round(one.start, 3),
            "end": round(one.end, 3),
            "user_id": one.user_id,
            "name": one.name,
            "language": one.language,
            "text": one.text,
        }
        for one in sentences
    ]
    return json.dumps({"speakers": words, "sentences": listed}, ensure_ascii=False, indent=2) + "\n"


WRITERS: dict[str, Callable[[Sequence[Sentence]], str]] = {
    "srt": srt,
    "vtt": vtt,
    "txt": txt,
    "md": md,
    "json": as_json,
}
"""The formats by their names on the command line, which are the files' extensions too."""


def _clock(seconds: float, point: str) -> str:
    total = max(0, round(seconds * 1000))
    return f"{total // 3_600_000:02}:{total // 60_000 % 60:02}:{total // 1000 % 60:02}{point}{total % 1000:03}"


def _short(seconds: float) -> str:
    return f"{int(seconds) // 3600}:{int(seconds) // 60 % 60:02}:{int(seconds) % 60:02}"


def _flat(text: str) -> str:
    """On one line, so that no text can end a cue or begin another."""
    return " ".join(text.replace("-->", "→").split())


def _escaped(text: str) -> str:
    return _flat(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _marked(text: str) -> str:
    return re.sub(r"([\\`*_{}\[\]<>#+\-!|])", r"\\\1", _flat(text))
