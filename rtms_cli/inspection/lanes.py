"""When there was what: sockets, speakers, media of each participant, text and events, as spans of time."""

from collections.abc import Iterable

from msgspec import Struct

from rtms_cli.inspection.measure import Origin, Pace
from rtms_cli.inspection.reading import Piece
from rtms_cli.inspection.runs import Run
from rtms_cli.inspection.summary import step_of
from rtms_cli.machine import ChannelState, Direction, Frame, State
from rtms_cli.protocol.media import MEDIA_NAMES, MediaParams
from rtms_cli.protocol.messages import (
    Chat,
    EventUpdate,
    Media,
    MediaHandshakeResponse,
    Transcript,
    UserId,
)
from rtms_cli.protocol.parties import is_speaker_change, label, party_of
from rtms_cli.recording.people import People

BINS = 4096
"""How finely a lane remembers time; a bin doubles its length when the capture outgrows them."""
MOST_LANES = 200
TEXT_LANES = frozenset(("transcript", "chat", "events"))
_SLACK = 1.5
"""How many packets' lengths after one packet the next must come, or there is a gap."""


class Lane(Struct, frozen=True):
    """One row. `spans` are seconds on the capture's clock, in order, `resolution` apart at least."""

    kind: str
    """`socket`, `audio`, `video`, `share`, `speaker`, `transcript`, `chat`, `events`, `gap` (lost sound) or
    `reconnect` (a channel that broke, until it was back)."""
    name: str
    spans: list[tuple[float, float]]


class Timeline(Struct, frozen=True):
    """All lanes; `resolution` is the shortest span in seconds."""

    seconds: float
    resolution: float
    lanes: list[Lane]
    unlisted: int


def lanes(lines: Iterable[Piece], product: str) -> Timeline:
    """Read a capture once and say when there was what."""
    collector = LaneCollector(product)
    for _, frame in lines:
        if not isinstance(frame, str):
            collector.take(frame)
    return collector.timeline()


class Bins:
    """Which parts of the time something fills, in bounded memory.

    :param most: how many bytes it may take, a power of two: its bins are 1 ms long until they would be more.
    """

    def __init__(self, most: int = BINS) -> None:
        self._bits = bytearray(min(most, BINS))
        self._most = most
        self.unit_us = 1000

    def fill(self, start_us: int, end_us: int) -> None:
        """Take note of a span."""
        while end_us >= self.unit_us * len(self._bits):
            if len(self._bits) < self._most:
                self._bits += bytes(len(self._bits))
            else:
                self.coarsen()
        first, last = start_us // self.unit_us, max(start_us, end_us - 1) // self.unit_us
        self._bits[first : last + 1] = b"\x01" * (last + 1 - first)

    def coarsen(self) -> None:
        """Double the length of a bin."""
        size = len(self._bits) // 2
        one, other = (int.from_bytes(self._bits[start::2], "big") for start in (0, 1))
        self._bits = bytearray((one | other).to_bytes(size, "big")) + bytearray(size)
        self.unit_us *= 2

    def coarsen_to(self, most_spans: int) -> None:
        """Coarsen it until it has no more spans than that, at least 1."""
        while self._bits[0] + self._bits.count(b"\0\1") > most_spans:
            self.coarsen()

    def spans(self, until_us: int) -> list[tuple[float, float]]:
        """What was filled, in seconds, cut at the capture's end."""
        found: list[tuple[float, float]] = []
        start = self._bits.find(1)
        while start >= 0:
            end = self._bits.find(0, start)
            end = len(self._bits) if end < 0 else end
            found.append((start * self.unit_us / 1e6, min(end * self.unit_us, until_us) / 1e6))
            start = self._bits.find(1, end)
        return [(start, max(start, end)) for start, end in found]


_ORDER = ("socket", "reconnect", "speaker", "audio", "gap", "video", "share", "transcript", "chat", "events")


class LaneCollector:
    """Takes a capture frame by frame.

    :param text: whether what was said and the events have lanes.
    :param bins: how finely a lane remembers time, as `BINS`.
    :param spans: the most spans of all lanes together; beyond, lanes become coarser.
    """

    def __init__(self, product: str, *, text: bool = True, bins: int = BINS, spans: int | None = None) -> None:
        self._product = product
        self._most_bins, self._most_spans = bins, spans
        self._text = text
        self._bins: dict[tuple[str, UserId], Bins] = {}
        self._people = People(product, lambda _: None)
        self._opened: dict[str, int] = {}
        self._broken: dict[str, int] = {}
        self._paces: dict[UserId, Pace] = {}
        self._origin = Origin()
        self._speaker: tuple[UserId, int] | None = None
        self._granted = MediaParams()
        self._at_us = 0
        self._unlisted: set[tuple[str, UserId]] = set()

    def take(self, frame: Frame | Run) -> None:
        """Take the next frame, or packets."""
        if isinstance(frame, Run):
            frame.take(self._take_run, self.take)
            return
        at_us = self._at_us = max(self._at_us, frame.at_us)
        match frame.message:
            case Media() as media if frame.direction is Direction.IN:
                kind, whose = MEDIA_NAMES[media.media_type], party_of(media, self._product)
                self._people.hear(media, at_us)
                self._measure(kind, whose, media, frame.at_us)
                self._fill(kind, whose, at_us, at_us + round(_SLACK * 1000 * step_of(kind, self._granted)))
            case Transcript() | Chat() as text:
                self._people.hear(text, at_us)
                whose = self._people.parties.party_of(text) if isinstance(text, Transcript) else None
                self._fill(MEDIA_NAMES[text.media_type], whose, at_us, at_us + 1)
            case ChannelState(state=State.MARK):
                self._fill("events", None, at_us, at_us + 1)
            case EventUpdate() as event:
                self._fill("events", None, at_us, at_us + 1)
                self._people.take(event, at_us)
                if is_speaker_change(event, self._product):
                    self._speak()
                    self._speaker = (self._people.speaker, at_us)
            case MediaHandshakeResponse(params=params):
                self._granted = params.or_else(self._granted)
                for pace in self._paces.values():
                    pace.step_ms = step_of("audio", self._granted)
            case ChannelState(state=State.OPEN):
                self._opened[frame.channel] = at_us
                if (since_us := self._broken.pop(frame.channel, None)) is not None:
                    self._fill("reconnect", frame.channel, since_us, at_us)
            case ChannelState(state=State.CLOSED):
                if frame.channel in self._opened:
                    self._broken[frame.channel] = at_us
                self._close(frame.channel)
            case _:
                pass

    def _take_run(self, run: Run) -> bool:
        paces = [self._paces.get(sender.whose) for sender in run.senders if sender.kind == "audio"]
        if None in paces or run.at_us[0] < self._at_us:
            return False
        self._at_us = run.at_us[-1]
        for message, at_us in run.heard():
            self._people.hear(message, at_us)
        for sender in run.senders:
            self._origin.take_run(sender)
            if sender.kind == "audio":
                self._paces[sender.whose].add_run(sender)
            length_us = round(_SLACK * 1000 * step_of(sender.kind, self._granted))
            start_us, end_us = sender.at_us[0], sender.at_us[0] + length_us
            for at_us in sender.at_us:
                if at_us > end_us:
                    self._fill(sender.kind, sender.whose, start_us, end_us)
                    start_us = at_us
                end_us = at_us + length_us
            self._fill(sender.kind, sender.whose, start_us, end_us)
        return True

    def timeline(self) -> Timeline:
        """Every lane."""
        self._speak()
        for channel in list(self._opened):
            self._close(channel)
        for whose, pace in self._paces.items():
            self._fill_holes(whose, pace)
        if self._most_spans is not None:
            for bins in self._bins.values():
                bins.coarsen_to(max(1, self._most_spans // len(self._bins)))
        ordered = sorted(self._bins.items(), key=lambda item: (_ORDER.index(item[0][0]), str(item[0][1])))
        return Timeline(
            self._at_us / 1e6,
            max((bins.unit_us for _, bins in ordered), default=0) / 1e6,
            [Lane(kind, self._label(kind, whose), bins.spans(self._at_us)) for (kind, whose), bins in ordered],
            len(self._unlisted),
        )

    def _label(self, kind: str, whose: UserId) -> str:
        if kind in ("audio", "gap") and whose is None:
            return "everyone"
        if kind in ("socket", "reconnect"):
            return str(whose)
        return label(self._product, whose, self._people.name(whose))

    def _fill(self, kind: str, whose: UserId, start_us: int, end_us: int) -> None:
        if kind in TEXT_LANES and not self._text:
            return
        bins = self._bins.get((kind, whose))
        if bins is None:
            if len(self._bins) >= MOST_LANES:
                if len(self._unlisted) < MOST_LANES:
                    self._unlisted.add((kind, whose))
                return
            bins = self._bins[kind, whose] = Bins(self._most_bins)
        bins.fill(start_us, end_us)

    def _close(self, channel: str) -> None:
        opened = self._opened.pop(channel, None)
        if opened is not None:
            self._fill("socket", channel, opened, self._at_us)

    def _measure(self, kind: str, whose: UserId, message: Media, at_us: int) -> None:
        self._origin.take(message.timestamp, at_us)
        if kind != "audio":
            return
        pace = self._paces.get(whose)
        if pace is None:
            if len(self._paces) >= MOST_LANES:
                return
            pace = self._paces[whose] = Pace(step_of(kind, self._granted), never_pauses=whose is None)
        pace.add(message.timestamp, at_us, 0)

    def _fill_holes(self, whose: UserId, pace: Pace) -> None:
        zero_ms, zero_us = self._origin.ms, self._origin.at_us
        if zero_ms is None or zero_us is None:
            return
        for start, end in pace.holes():
            start_us, end_us = (max(0, zero_us + (timestamp - zero_ms) * 1000) for timestamp in (start, end))
            if start_us < end_us <= self._at_us:
                self._fill("gap", whose, start_us, end_us)

    def _speak(self) -> None:
        if self._speaker is not None:
            whose, since_us = self._speaker
            if whose is not None:
                self._fill("speaker", whose, since_us, self._at_us)
            self._speaker = None
