"""Reads a transcript from a file: SubRip, WebVTT, or JSON lines as in a recording. Tolerates real-world files."""

import html
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from rtms_cli.errors import Problem, reason_of
from rtms_cli.protocol.numbers import Attribute, Language, as_int
from rtms_cli.protocol.saved import decode_text
from rtms_cli.protocol.times import milliseconds
from rtms_cli.simulator.schedule import Span


class Line(Struct, frozen=True):
    """One line of a transcript."""

    start_ms: int
    end_ms: int
    speaker: str
    """Empty if the file does not name the speaker."""
    text: str
    language: int = Language.LANGUAGE_ID_ENGLISH


_MOST_BYTES = 64 << 20
_MOST_MS = 10**10
"""Latest valid time in a transcript: a hundred days."""
_CLOCK = re.compile(r"(?:(\d{1,4}):)?(\d{1,3}):(\d{1,2})(?:[,.](\d{1,9}))?", re.ASCII)
_VOICE = re.compile(r"<v(?:\.[^ <>]*)? ([^<>]+)>")
_NAMED = re.compile(r"([^\W\d_][^:\n]{0,39}): +(?=\S)")
_TAG = re.compile(r"</?[a-zA-Z][^<>]*>|\{\\[^{}]*\}")
_FORMS = "Use a transcript in .srt, .vtt or .jsonl format."
_JSON_EXAMPLE = 'Example: {"start": 1.5, "end": 3.0, "user_name": "Zoë", "text": "Hello", "language": "English"}.'


def load_transcript(path: Path) -> tuple[Line, ...]:
    """Read SubRip, WebVTT, or JSON lines as in a recording.

    A JSON line has `text`, optionally `user_name` and `language` (a name or a number), and its times: `start` and `end`
    in
    seconds, or `t` (seconds), `timestamp`, `start_time` and `end_time` as `transcript.jsonl` has them.

    :raises Problem: with the invalid line.
    """
    try:
        with path.open("rb") as source:
            raw = source.read(_MOST_BYTES + 1)
    except OSError as error:
        raise Problem(f"Cannot read {path}: {reason_of(error)}.") from None
    if len(raw) > _MOST_BYTES:
        raise Problem(f"{path} is too large for a transcript: the limit is {_MOST_BYTES >> 20} MiB.", _FORMS)
    try:
        text, _ = decode_text(raw)
    except ValueError as error:
        raise Problem(f"{path} cannot be read as text: {error}.", _FORMS) from None
    lines = _json_lines(path, text) if text.lstrip().startswith("{") else _subtitles(path, text)
    if not lines:
        raise Problem(f"{path} contains no transcript lines.", _FORMS)
    return tuple(sorted(lines, key=lambda line: line.end_ms))


def _subtitles(path: Path, text: str) -> Sequence[Line]:
    is_vtt = text.startswith("WEBVTT")
    lines: list[Line] = []
    span: Span | None = None
    said: list[str] = []

    def finish() -> None:
        if span is not None and (line := _cue(span, "\n".join(said), is_vtt=is_vtt)).text:
            lines.append(line)

    for number, written in enumerate([*re.split(r"\r\n|\r|\n", text), ""], 1):
        times = _span(written)
        if times is not None:
            if said and said[-1].strip().isdecimal():
                said.pop()  # the next cue's number, without a blank line before it
            finish()
            span, said = times, []
            if times[0] > _MOST_MS or times[1] > _MOST_MS:
                raise Problem(f"{path}:{number}: the time is too large.", _FORMS)
        elif not written.strip():
            finish()
            span = None
        elif span is not None:
            said.append(written)
        elif "-->" in written:
            raise Problem(f"{path}:{number} has invalid times.", "They are like 00:01:02,500 --> 00:01:04,000.")
    return lines


def _cue(span: Span, said: str, *, is_vtt: bool) -> Line:
    said = said.strip()
    speaker = _VOICE.match(said) or _NAMED.match(said)
    said = " ".join(_TAG.sub("", said[speaker.end() :] if speaker else said).split())
    name = speaker[1].strip() if speaker else ""
    if is_vtt:
        name, said = html.unescape(name), html.unescape(said)
    return Line(span[0], max(span), name, said)


def _span(line: str) -> Span | None:
    before, arrow, after = line[:200].partition("-->")
    words = after.split(maxsplit=1)
    start, end = _clock_ms(before.strip()), _clock_ms(words[0] if words else "")
    return None if not arrow or start is None or end is None else (start, end)


def _clock_ms(text: str) -> int | None:
    found = _CLOCK.fullmatch(text)
    if found is None:
        return None
    hours, minutes, seconds, fraction = found.groups()
    whole_s = int(hours or 0) * 3600 + int(minutes) * 60 + int(seconds)
    return whole_s * 1000 + int((fraction or "0").ljust(3, "0")[:3])


def _json_lines(path: Path, text: str) -> Sequence[Line]:
    found: dict[object, Line] = {}
    offset_ms: int | None = None
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            given = json.loads(line)
        except (ValueError, RecursionError):
            raise Problem(f"{path}:{number} is not valid JSON.", _JSON_EXAMPLE) from None
        change = Attribute.find(given.get("attribute")) if isinstance(given, Mapping) else None
        if not isinstance(given, Mapping) or not (isinstance(given.get("text"), str) or change == Attribute.DELETE):
            raise Problem(f"{path}:{number} has no text.", _JSON_EXAMPLE)
        offset_ms = _offset_ms(given) if offset_ms is None else offset_ms
        span = _json_times(given, offset_ms)
        if span is None:
            raise Problem(f"{path}:{number} has no times.", _JSON_EXAMPLE)
        language = read_language("English" if given.get("language") is None else given["language"])
        if language is None:
            raise Problem(f"{path}:{number}: language {given['language']!r} is not a Zoom language.", _JSON_EXAMPLE)
        name = next((given[key] for key in ("user_name", "speaker", "user_id", "channel_id") if given.get(key)), "")
        # A line that corrects or deletes an earlier line identifies it by speaker and start.
        key: object = (str(name), given.get("start_time")) if given.get("start_time") else number
        key = str(key) if change in (Attribute.UPDATE, Attribute.DELETE) or str(key) not in found else number
        if change == Attribute.DELETE:
            found.pop(key, None)
        elif given["text"]:
            found[key] = Line(span[0], max(span), str(name), given["text"], language)
    return list(found.values())


def _offset_ms(given: Mapping[str, object]) -> int | None:
    """Zoom's clock, in Unix ms, when the recording began."""
    t, timestamp = _ms(given.get("t")), milliseconds(given.get("timestamp"))
    return None if t is None or timestamp is None or given.get("t_from") else timestamp - t


def _json_times(given: Mapping[str, object], offset_ms: int | None) -> Span | None:
    start, end = _ms(given.get("start")), _ms(given.get("end"))
    if start is not None:
        return max(0, start), max(0, start if end is None else end)
    t = _ms(given.get("t"))
    times = [milliseconds(given.get(name)) for name in ("start_time", "end_time")]
    placed = [None if not time or offset_ms is None else time - offset_ms for time in times]
    spans = [time for time in placed if time is not None and abs(time) <= _MOST_MS]
    if t is None and not spans:
        return None
    start = spans[0] if spans else t or 0
    return max(0, start), max(0, spans[-1] if len(spans) > 1 else t if t is not None else start)


def _ms(seconds: object) -> int | None:
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not abs(seconds) * 1000 < _MOST_MS:
        return None
    return round(seconds * 1000)


def read_language(given: object) -> int | None:
    """Read a transcript language, given by number or name: 14, "14", "German", "LANGUAGE_ID_GERMAN"."""
    number = as_int(given)
    for language in Language:
        names = (language.gist.lower(), language.name.lower(), language.name.removeprefix("LANGUAGE_ID_").lower())
        if number == language or (isinstance(given, str) and given.strip().lower() in names):
            return int(language)
    return None
