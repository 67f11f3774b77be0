"""Sentences → subtitles and documents."""

import json
import re
from collections import defaultdict
from collections.abc import Callable, Sequence

from rtms_cli.export.breaking import flat, joined, pieces, width
from rtms_cli.protocol.sentences import Sentence
from rtms_cli.protocol.times import clock_time

_MOST_COLUMNS = 84
"""Two lines of 42 letters, or of 21 that are twice as wide: what a subtitle can hold and people can read."""
_LONGEST_CUE_S = 7.0
_SHORTEST_S = 0.2
_LISTED = re.compile(r"^(\d+)([.)])")
_TOGETHER_S = 1.0
"""Sentences that begin so soon after another share the time until the next one: people talk over each other."""
_FEWEST_COLUMNS = _MOST_COLUMNS // 3
"""A shorter text is given as much time as one of this width."""


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
                joined(last.text, sentence.text),
            )  # fmt: skip
        else:
            found.append(sentence)
    return found


def cues(sentences: Sequence[Sentence]) -> list[tuple[float, float, str, str]]:
    """Subtitles: start, end, speaker, text. Long sentences are split in time, and none outlasts the next one."""
    found = []
    groups: list[list[Sentence]] = []
    for sentence in sentences:
        if groups and sentence.start - groups[-1][0].start < _TOGETHER_S:
            groups[-1].append(sentence)
        else:
            groups.append([sentence])
    for number, group in enumerate(groups):
        start = group[0].start
        following = groups[number + 1][0].start if number + 1 < len(groups) else float("inf")
        end = max(start + _SHORTEST_S, min(max(one.end for one in group), following))
        parts = [(one.name, piece) for one in group for piece in pieces(flat(one.text), _MOST_COLUMNS) if piece]
        columns = sum(max(_FEWEST_COLUMNS, width(piece)) for _, piece in parts)
        at = start
        for name, piece in parts:
            until = at + (end - start) * max(_FEWEST_COLUMNS, width(piece)) / columns
            found.append((at, min(until, at + _LONGEST_CUE_S), name, piece))
            at = until
    return found


def srt(sentences: Sequence[Sentence]) -> str:
    """SubRip."""
    blocks = []
    for number, (start, end, name, text) in enumerate(cues(sentences), 1):
        voice = f"{_one_line(name)}: " if name else ""
        blocks.append(f"{number}\n{_clock(start, ',')} --> {_clock(end, ',')}\n{voice}{_one_line(text)}\n\n")
    return "".join(blocks)


def vtt(sentences: Sequence[Sentence]) -> str:
    """WebVTT, with the speakers as voices."""
    blocks = ["WEBVTT\n\n"]
    for start, end, name, text in cues(sentences):
        voice = f"<v {_escaped(name)}>" if name else ""
        blocks.append(f"{_clock(start, '.')} --> {_clock(end, '.')}\n{voice}{_escaped(text)}\n\n")
    return "".join(blocks)


def txt(sentences: Sequence[Sentence]) -> str:
    """A line for each time that someone speaks."""
    return "".join(
        f"[{clock_time(one.start)}] {_one_line(one.name or '?')}: {_one_line(one.text)}\n" for one in sentences
    )


def md(sentences: Sequence[Sentence]) -> str:
    """Markdown: a paragraph for each time that someone speaks."""
    blocks = ["# Transcript\n\n"]
    for one in sentences:
        name = marked(one.name or "?")
        blocks.append(f"**{name}** <small>{clock_time(one.start)}</small>  \n{marked(one.text)}\n\n")
    return "".join(blocks)


def as_json(sentences: Sequence[Sentence]) -> str:
    """Sentences with times, and how much each person said."""
    words: dict[str, dict[str, float]] = defaultdict(lambda: {"words": 0, "seconds": 0.0, "turns": 0})
    ids = defaultdict(set)
    for one in sentences:
        ids[one.name].add(one.user_id)
    for one in sentences:
        # Two people may share a name.
        said = words[one.name if len(ids[one.name]) == 1 else f"{one.name} ({one.user_id})"]
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


def _one_line(text: str) -> str:
    """On one line, so that no text can end a cue or begin another."""
    return flat(text.replace("-->", "→"))


def _escaped(text: str) -> str:
    return _one_line(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def marked(text: str) -> str:
    """A text that Markdown shows as it is: no letter of it begins a list, a heading, a fence or an entity."""
    return _LISTED.sub(r"\1\\\2", re.sub(r"([\\`*_{}\[\]<>#+\-!|~=&$])", r"\\\1", _one_line(text)))
