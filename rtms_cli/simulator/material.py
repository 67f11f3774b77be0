"""The user's own sound, film and transcript, as data; `decoding` reads the sound and the film."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from rtms_cli.errors import Problem
from rtms_cli.protocol.numbers import Language, whole
from rtms_cli.simulator.schedule import Span


class SoundFile(Struct, frozen=True):
    """A file with the sound of one participant."""

    path: Path
    duration_ms: int
    loud: tuple[Span, ...]
    """When there is something to hear, in steps of half a second."""


class FilmFile(Struct, frozen=True):
    """A file with what the first participant's camera sees."""

    path: Path
    duration_ms: int


class Line(Struct, frozen=True):
    """One line of a transcript."""

    start_ms: int
    end_ms: int
    speaker: str
    """Empty where the file does not say."""
    text: str
    language: int = Language.LANGUAGE_ID_ENGLISH


class Material(Struct, frozen=True):
    """What the user brought; the sounds are the participants' in order."""

    sounds: tuple[SoundFile, ...] = ()
    film: FilmFile | None = None
    lines: tuple[Line, ...] = ()

    @property
    def duration_ms(self) -> int:
        """How long the longest of it is."""
        lengths = [sound.duration_ms for sound in self.sounds] + [line.end_ms for line in self.lines]
        return max([*lengths, self.film.duration_ms if self.film is not None else 0], default=0)


_TIME = re.compile(r"(?:(\d+):)?(\d\d):(\d\d)[,.](\d{1,3})\s*-->\s*(?:(\d+):)?(\d\d):(\d\d)[,.](\d{1,3})")
_VOICE = re.compile(r"^<v(?:\.[^ >]*)? ([^>]+)>")
_NAMED = re.compile(r"^([^\W\d_][^:\n]{0,39}): +(?=\S)")
_TAG = re.compile(r"</?[a-zA-Z][^>]*>")


def load_transcript(path: Path) -> tuple[Line, ...]:
    """Read SubRip (or WebVTT), or JSON lines as a recording has them.

    A JSON line has `text`, perhaps `user_name` and `language` (a name or a number), and its times: `start` and `end` in
    seconds, or `t`, `timestamp`, `start_time` and `end_time` in milliseconds as `transcript.jsonl` has them.

    :raises Problem: with the line that is wrong.
    """
    try:
        text = path.read_text("utf-8-sig")
    except OSError as error:
        raise Problem(f"Cannot read {path}: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise Problem(f"{path} is no UTF-8 text.", "Give a transcript as .srt, .vtt or .jsonl.") from None
    lines = _json_lines(path, text) if text.lstrip().startswith("{") else _subtitles(text)
    if not lines:
        raise Problem(f"{path} has no lines of a transcript.", "Give a transcript as .srt, .vtt or .jsonl.")
    return tuple(sorted(lines, key=lambda line: line.end_ms))


def _subtitles(text: str) -> Sequence[Line]:
    lines = []
    for block in re.split(r"\n\s*\n", text.replace("\r\n", "\n")):
        if (times := _TIME.search(block)) is None:
            continue
        start_ms, end_ms = _clock_ms(times.groups()[:4]), _clock_ms(times.groups()[4:])
        said = block[times.end() :].partition("\n")[2].strip()
        speaker = _VOICE.match(said) or _NAMED.match(said)
        said = said[speaker.end() :] if speaker else said
        said = " ".join(_TAG.sub("", said).split())
        if said:
            lines.append(Line(start_ms, max(start_ms, end_ms), speaker.group(1).strip() if speaker else "", said))
    return lines


def _clock_ms(parts: Sequence[str | None]) -> int:
    hours, minutes, seconds, fraction = parts
    whole_s = int(hours or 0) * 3600 + int(minutes or 0) * 60 + int(seconds or 0)
    return whole_s * 1000 + int((fraction or "0").ljust(3, "0"))


def _json_lines(path: Path, text: str) -> Sequence[Line]:
    lines = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            given = json.loads(line)
        except ValueError:
            raise Problem(f"{path}:{number} is no JSON.", _JSON_EXAMPLE) from None
        if not isinstance(given, Mapping) or not isinstance(given.get("text"), str):
            raise Problem(f"{path}:{number} has no text.", _JSON_EXAMPLE)
        span = _json_times(given)
        if span is None:
            raise Problem(f"{path}:{number} has no times.", _JSON_EXAMPLE)
        language = read_language(given.get("language", "English"))
        if language is None:
            raise Problem(f"{path}:{number}: language {given['language']!r} is not one that Zoom knows.", _JSON_EXAMPLE)
        name = given.get("user_name") or given.get("speaker") or ""
        lines.append(Line(span[0], max(span), str(name), given["text"], language))
    return lines


_JSON_EXAMPLE = 'A line is like {"start": 1.5, "end": 3.0, "user_name": "Zoë", "text": "Hello", "language": "English"}.'


_MOST_S = 1e7
"""What a transcript's times can be: a hundred days."""


def _ms(seconds: object) -> int | None:
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not abs(seconds) < _MOST_S:
        return None
    return round(seconds * 1000)


def _json_times(given: Mapping[str, object]) -> Span | None:
    start, end = _ms(given.get("start")), _ms(given.get("end"))
    if start is not None:
        return start, start if end is None else end
    t, timestamp = whole(given.get("t")), whole(given.get("timestamp"))
    if t is None:
        return None
    offset = (timestamp or t) - t
    times = [whole(given.get(name)) for name in ("start_time", "end_time")]
    start_ms, end_ms = (t if time is None else time - offset for time in times)
    return max(0, start_ms), max(0, end_ms)


def read_language(given: object) -> int | None:
    """A transcript language by its number or its name: 14, "14", "German", "LANGUAGE_ID_GERMAN"."""
    number = whole(given)
    for language in Language:
        names = (language.gist.lower(), language.name.lower(), language.name.removeprefix("LANGUAGE_ID_").lower())
        if number == language or (isinstance(given, str) and given.strip().lower() in names):
            return int(language)
    return None
