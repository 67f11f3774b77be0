"""Lines of a transcript → what was said, in order, as it stood in the end.

The lines may be anyone's: what has no text, or no time, is counted, and the rest is kept. A line that changes or takes
back an earlier one names it by its speaker and its start. Two new lines with one start are two sentences.
"""

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from rtms_cli.protocol.fields import UserId, name_or_none, user_id, words_or_none
from rtms_cli.protocol.messages import Transcript
from rtms_cli.protocol.numbers import Attribute, Language
from rtms_cli.protocol.parties import Parties, label, shown_name
from rtms_cli.protocol.times import milliseconds

_GISTS: dict[int | None, str] = {Attribute.UPDATE: "(corrected)", Attribute.DELETE: "(taken back)"}
CHANGES: dict[int | None, str] = {int(change): change.name for change in (Attribute.UPDATE, Attribute.DELETE)}
"""What a line may do to an earlier one."""
_SENTENCE_S = 4.0
"""How long a sentence is taken to be where nothing says when it ends."""
_FURTHEST_S = 3600.0
"""A start that is further than this from the line's own time is on another clock."""

_MOST_S = 1e10
_MOST_AT_ONCE = 200
"""Sentences with one start that a later line may be about: the newest ones."""


class Sentence(Struct, frozen=True):
    """What someone said."""

    start: float
    end: float
    user_id: UserId
    """Whose it is: the `channel_id` in Contact Center and Phone."""
    name: str
    language: str
    text: str


class _Said(Struct):
    """A sentence, while lines may still change it."""

    start: float
    end: float
    whose: UserId
    name: str
    language: str
    text: str
    start_time: int | None
    end_time: int | None
    stamp: int | None
    """When it was last changed, on Zoom's clock."""
    is_new: bool = True
    """Whether it came by itself, and not only as a change."""
    is_gone: bool = False


def transcript_gist(message: Transcript) -> str:
    """What a message says, with what it does to an earlier one; nothing for an interim result (PROTOCOL §5)."""
    text = message.text or ""
    return f"{_GISTS[message.attribute]} {text}".rstrip() if message.attribute in _GISTS else text


class SentenceReader:
    """Takes the lines of one transcript.

    :param parties: has seen the stream's events.
    :param origin_ms: the recording's zero.
    :param speakers: who began to speak when, for lines that do not say whose they are.
    :param place: a time of the recording in what is exported, as those of the speakers are.
    """

    def __init__(
        self,
        parties: Parties,
        origin_ms: int | None,
        names: Mapping[UserId, str],
        speakers: Sequence[tuple[float, UserId, str]] = (),
        place: Callable[[float], float] = lambda at: at,
    ) -> None:
        self._place = place
        self._parties = parties
        self._product = parties.product
        self._origin_ms = origin_ms
        self._names = names
        self._speakers = speakers
        self._starts = [start for start, _, _ in speakers]
        self._said: list[_Said] = []
        self._by_start: dict[int, deque[_Said]] = {}
        self.without_time = 0
        self.without_text = 0
        """Lines that are left out."""

    def read(self, lines: Iterable[Mapping[str, Any]]) -> list[Sentence]:
        """Every sentence."""
        for line in lines:
            self._take(line)
        found = [
            Sentence(one.start, one.end, one.whose, one.name, one.language, one.text)
            for one in self._said
            if one.text and not one.is_gone
        ]
        return sorted(found, key=lambda sentence: sentence.start)

    def _take(self, line: Mapping[str, Any]) -> None:
        change = Attribute.find(line.get("attribute"))
        said = self._sentence(line)
        says_whose = line.get("user_id") is not None or line.get("channel_id") is not None
        if said is None:
            self.without_time += 1
            return
        at_start: deque[_Said] = deque(maxlen=_MOST_AT_ONCE)
        if said.start_time:
            at_start = self._by_start.setdefault(said.start_time, at_start)
        earlier = [one for one in at_start if one.whose == said.whose]
        if change in (Attribute.UPDATE, Attribute.DELETE):
            # A line that does not say whose it is may be about anyone's.
            about = earlier or [one for one in at_start if one.whose is None or not says_whose]
            same_end = [one for one in about if one.end_time == said.end_time]
            one = next(reversed(same_end or about), None)
            if one is not None:
                _change(one, said, is_gone=change == Attribute.DELETE)
                return
            said.is_new, said.is_gone = False, change == Attribute.DELETE
        elif not said.text:
            self.without_text += line.get("text") is None
            return
        elif any(_is_the_same(one, said) for one in earlier):
            return
        self._said.append(said)
        at_start.append(said)

    def _sentence(self, line: Mapping[str, Any]) -> _Said | None:
        names = ("timestamp", "start_time", "end_time")
        stamp, start_time, end_time = (milliseconds(line.get(name)) for name in names)
        t = line.get("t")
        t = float(t) if isinstance(t, int | float) and abs(t) <= _MOST_S else self._seconds(stamp, None)
        start = self._seconds(start_time, t)
        start = t if start is None else start
        if start is None:
            return None
        end = self._seconds(end_time, t)
        shift = self._place(start) - start
        end = None if end is None else end + shift
        start = max(0.0, start + shift)  # a sentence may have begun before the first packet that we got
        whose = self._parties.party(user_id(line.get("user_id")), user_id(line.get("channel_id")))
        name = shown_name(self._product, name_or_none(line.get("user_name")))
        if whose is None and not name and (at := bisect_right(self._starts, start) - 1) >= 0:
            _, whose, name = self._speakers[at]
        name = name or self._parties.name_at(whose, start_time or stamp)
        texts = (words_or_none(line.get(field)) for field in ("text", "data"))
        return _Said(
            start,
            end if end is not None and end > start else start + _SENTENCE_S,
            whose,
            label(self._product, whose, name or self._names.get(whose)),
            language_of(line.get("language")),
            next(filter(None, texts), ""),
            start_time,
            end_time,
            stamp,
        )

    def _seconds(self, time_ms: int | None, near_s: float | None) -> float | None:
        """A time of Zoom's clock on the recording's, where it can be one."""
        if time_ms is None or self._origin_ms is None or time_ms <= 0:
            return None
        seconds = (time_ms - self._origin_ms) / 1000
        return seconds if abs(seconds - (near_s or 0.0)) <= (_FURTHEST_S if near_s is not None else _MOST_S) else None


def language_of(value: object) -> str:
    """A transcript's language for people: Zoom sends a number, or a text."""
    known = Language.find(value)
    if isinstance(known, Language):
        return known.gist
    return "" if value is None else str(value)


def _change(one: _Said, said: _Said, *, is_gone: bool) -> None:
    if one.stamp is not None and said.stamp is not None and said.stamp < one.stamp:
        return  # news from before
    one.stamp = said.stamp
    if is_gone:
        one.is_gone = True
    else:
        one.text, one.language = said.text or one.text, said.language or one.language
        one.end = max(one.end, said.end) if said.end_time is not None else one.end


def _is_the_same(one: _Said, said: _Said) -> bool:
    """Whether a new line says nothing new: it was sent again, or overtaken by what changed it."""
    if not one.is_new and one.stamp is not None and said.stamp is not None and said.stamp <= one.stamp:
        one.is_new = True
        return True
    return (one.text, one.end_time) == (said.text, said.end_time) and one.is_new and not one.is_gone
