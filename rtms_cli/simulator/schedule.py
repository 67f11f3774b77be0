"""What participants do in a session, and what follows from it: who is present, who speaks, who shares, and when.

Spans are pairs of milliseconds since the session began, with the end excluded.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum

from msgspec import Struct

from rtms_cli.protocol.numbers import Language

Span = tuple[int, int]

TURN_MS = 4_000
"""How long each participant speaks in turn, if no event sets the speaker."""


class EventKind(StrEnum):
    """An action of a participant."""

    JOIN = "join"
    LEAVE = "leave"
    SPEAK = "speak"
    MUTE = "mute"
    UNMUTE = "unmute"
    SHARE = "share"
    CAMERA = "camera"
    CHAT = "chat"
    TRANSCRIPT = "transcript"
    PAUSE = "pause"
    """The host pauses the stream. Nothing is sent during the pause."""


class Event(Struct, frozen=True):
    """An event: its time, its participant and its details."""

    at_ms: int
    kind: EventKind
    who: int = 0
    """The participant's index, from 0."""
    for_ms: int = 0
    """Duration of the speech, share, spoken line or pause."""
    text: str = ""
    language: int = Language.LANGUAGE_ID_ENGLISH
    camera: int | None = None
    """The camera's resolution from now on; 0 means off, `None` means as granted."""

    @property
    def span(self) -> Span:
        """Return its start and end."""
        return self.at_ms, self.at_ms + self.for_ms


class Schedule:
    """Everything that follows from the events. By default, participants speak in turn with their cameras on.

    :param voices: number of participants.
    :param sounds: participants with the user's own audio: its length, and when it is not silent.
    :param filmed: participants with a camera; `None` means all.
    """

    def __init__(
        self,
        events: Sequence[Event],
        voices: int,
        end_ms: int,
        sounds: Mapping[int, tuple[int, Sequence[Span]]] | None = None,
        filmed: frozenset[int] | None = None,
    ) -> None:
        sounds = sounds or {}
        self._filmed = filmed
        self._events = sorted(events, key=lambda event: event.at_ms)
        self._voices = voices
        self._end_ms = end_ms
        everything = (0, end_ms)
        self.paused = merged(clip(event.span, everything) for event in self._of(EventKind.PAUSE))
        flowing = without([everything], self.paused)
        self.present = [self._while(who, EventKind.JOIN, EventKind.LEAVE) for who in range(voices)]
        self.in_turns = not self._of(EventKind.SPEAK) and not sounds
        self.talking: list[list[Span]] = []
        """When each participant's packets are sent, if participants have separate streams."""
        for who in range(voices):
            allowed = both(both(self.present[who], self._while(who, EventKind.UNMUTE, EventKind.MUTE)), flowing)
            if who in sounds:
                talk = [(0, min(sounds[who][0], end_ms))]
            elif self.in_turns:
                turn, round_ms = TURN_MS, TURN_MS * voices
                talk = [(start, start + turn) for start in range(who * turn, end_ms, round_ms)]
            else:
                talk = [event.span for event in self._of(EventKind.SPEAK) if event.who == who]
            self.talking.append(merged(both(talk, allowed)))
        if self._of(EventKind.SHARE):
            shares = [(event.span, event.who) for event in self._of(EventKind.SHARE)]
        else:
            shares = [((end_ms // 3, end_ms * 2 // 3), 0)]
        self.shares = [(span, who) for whole, who in shares for span in both([whole], self.present[who])]
        self.speakers = sorted(
            (start, who)
            for who in range(voices)
            for start, _ in (both(sounds[who][1], self.talking[who]) if who in sounds else self.talking[who])
        )
        """Times at which each participant begins to speak."""

    def is_paused(self, at_ms: int) -> bool:
        """Return whether the stream is paused."""
        return within(at_ms, self.paused)

    def speaker(self, at_ms: int) -> int | None:
        """Return the last speaker among those present."""
        for _, who in reversed(self.speakers[: bisect_right(self.speakers, (at_ms, self._voices))]):
            if within(at_ms, self.present[who]):
                return who
        return next((who for who in range(self._voices) if within(at_ms, self.present[who])), None)

    def camera(self, who: int, at_ms: int) -> int | None:
        """Return a camera's resolution: `None` means as granted, 0 means off."""
        if not within(at_ms, self.present[who]) or (self._filmed is not None and who not in self._filmed):
            return 0
        last: int | None = None
        for event in self._of(EventKind.CAMERA):
            if event.who == who and event.at_ms <= at_ms:
                last = event.camera
        return last

    def cameras(self) -> list[tuple[int, int, bool]]:
        """Return when each camera is turned on or off after the session began."""
        found, states = [], {who: self.camera(who, 0) != 0 for who in range(self._voices)}
        for event in self._of(EventKind.CAMERA):
            is_on = event.camera != 0
            if states[event.who] != is_on and event.at_ms > 0 and (self._filmed is None or event.who in self._filmed):
                found.append((event.at_ms, event.who, is_on))
            states[event.who] = is_on
        return found

    def events(self, kind: EventKind) -> Sequence[Event]:
        """Return the events of one kind, in order."""
        return self._of(kind)

    def _of(self, kind: EventKind) -> list[Event]:
        return [event for event in self._events if event.kind is kind]

    def _while(self, who: int, begin: EventKind, end: EventKind) -> list[Span]:
        """Return the spans between two kinds of events. The first span starts at 0 if `end` comes first or neither
        occurs."""
        events = [event for event in self._events if event.who == who and event.kind in (begin, end)]
        since: int | None = None if events and events[0].kind is begin else 0
        spans: list[Span] = []
        for event in events:
            if event.kind is begin and since is None:
                since = event.at_ms
            elif event.kind is end and since is not None:
                spans.append((since, event.at_ms))
                since = None
        if since is not None:
            spans.append((since, self._end_ms))
        return [span for span in spans if span[0] < span[1]]


def clip(span: Span, to: Span) -> Span:
    """Return the part of a span within another."""
    return max(span[0], to[0]), min(span[1], to[1])


def both(one: Iterable[Span], other: Sequence[Span]) -> list[Span]:
    """Return the intersection."""
    return [span for mine in one for theirs in other if (span := clip(mine, theirs)) and span[0] < span[1]]


def without(spans: Sequence[Span], taken: Iterable[Span]) -> list[Span]:
    """Return spans minus the taken ones."""
    left = list(spans)
    for start, end in taken:
        left = [span for a, b in left for span in ((a, min(b, start)), (max(a, end), b)) if span[0] < span[1]]
    return left


def merged(spans: Iterable[Span]) -> list[Span]:
    """Return the spans sorted, with overlapping ones merged."""
    found: list[Span] = []
    for start, end in sorted(spans):
        if found and start < found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((start, end))
    return found


def overlapping(spans: Sequence[Span], start_ms: int, end_ms: int) -> Sequence[Span]:
    """Return the merged spans that overlap an interval."""
    first = bisect_right(spans, start_ms, key=lambda span: span[1])
    last = bisect_left(spans, end_ms, key=lambda span: span[0])
    return spans[first:last]


def within(at_ms: int, spans: Sequence[Span]) -> bool:
    """Return whether a time lies within one of the merged spans."""
    return bool(overlapping(spans, at_ms, at_ms + 1))
