"""What a capture holds, as one object; `rtms inspect --json` prints it under these names.

Times `at`, `opened`, `closed`, `joined`, `left` are seconds on the capture's clock. `gaps` are seconds since
`origin_ms`, the first timestamp of a media message. `late` and `early` count packets that came more than one step off
their due time, which follows the packets' mean delay; `jitter_ms` is how far two packets' distance on arrival differs
from that of their timestamps (RFC 3550, 6.4.1). Percentiles are objects: `count`, `p50`, `p95`, `p99`, `max`.
"""

from collections.abc import Iterable
from itertools import islice

from msgspec import Struct, to_builtins

from rtms_cli.capture import Header
from rtms_cli.inspection.measure import Origin, Pace
from rtms_cli.inspection.reading import Piece
from rtms_cli.inspection.runs import Run
from rtms_cli.inspection.sound import Recorded
from rtms_cli.machine import ChannelState, Direction, Frame, State
from rtms_cli.protocol.media import DEFAULT_PARAMS, MEDIA_NAMES, MediaParams, media_names
from rtms_cli.protocol.messages import (
    Chat,
    EventUpdate,
    Media,
    MediaHandshakeRequest,
    MediaHandshakeResponse,
    Transcript,
    Unknown,
    Unreadable,
    UserId,
    payload_nbytes,
)
from rtms_cli.protocol.numbers import (
    MediaType,
    MessageType,
    StatusCode,
    StopReason,
)
from rtms_cli.protocol.parties import is_by_channel, is_speaker_change, party_of
from rtms_cli.protocol.webhooks import UnreadableWebhook
from rtms_cli.recording.ledger import Ledger, Socket, Step
from rtms_cli.recording.manifest import Participant, Stop
from rtms_cli.recording.quantiles import Spread

MOST = 1000
"""Tracks, participants, connections and message types that are listed each; `unlisted` counts the rest."""
MOST_WARNINGS = 100


class Stopped(Struct, frozen=True):
    """Why the stream ended, and who said so."""

    reason: int | None
    name: str
    gist: str
    said_by: str


class Track(Struct, frozen=True):
    """What one participant sent of one kind; `user_id` 0 without a `channel_id` is everyone's mixed audio."""

    kind: str
    user_id: UserId
    user_name: str | None
    packets: int
    bytes: int
    first_at: float
    last_at: float
    channel_id: UserId = None
    """The channel, where that tells whose it is."""
    first_timestamp: int | None = None
    last_timestamp: int | None = None
    duration: float | None = None
    step_ms: int | None = None
    gap_count: int = 0
    gap_seconds: float = 0.0
    gaps: list[tuple[float, float]] = []
    lost: int | None = None
    duplicates: int = 0
    out_of_order: int = 0
    late: int = 0
    early: int = 0
    jumps: int = 0
    untimed: int = 0
    jitter_ms: Spread | None = None


class Person(Struct, frozen=True):
    """A participant. `speaking_from` is `audio` (seconds of packets), `active_speaker` (events) or `null`."""

    user_id: UserId
    user_name: str | None
    joined: float | None
    left: float | None
    speaking: float | None
    speaking_from: str | None


class Count(Struct, frozen=True):
    """How often a message came or went; of a webhook `msg_type` is `null`, and `name` its event."""

    msg_type: int | str | None
    name: str
    direction: str
    count: int
    bytes: int


class KeepAliveFacts(Struct, frozen=True):
    """Keep-alives of one channel; `unanswered` includes what a closing socket left open."""

    channel: str
    asked: int
    answered: int
    wrong: int
    unanswered: int
    interval_ms: Spread | None
    answer_ms: Spread | None


class Warned(Struct, frozen=True):
    """Something that the recorder warned of."""

    at: float
    channel: str
    text: str


class Summary(Struct, frozen=True):
    """Everything; `status` is `unfinished` where the capture has no end."""

    capture: str
    created: str
    generator: str
    product: str
    id: str
    rtms_stream_id: str
    seconds: float
    lines: int
    status: str
    stop: Stopped | None
    steps: list[Step]
    kinds_asked: list[str]
    asked: dict[str, object]
    granted: dict[str, object]
    origin_ms: int | None
    origin_at: float | None
    """Where `origin_ms` lies on the capture's clock."""
    tracks: list[Track]
    participants: list[Person]
    messages: list[Count]
    keep_alive: list[KeepAliveFacts]
    connections: list[Socket]
    unreadable: int
    """Frames that are no message, and lines that are no capture line."""
    unknown: int
    dropped: int
    warnings: list[Warned]
    unlisted: int
    announced_by: str | None = None
    """By which way the started webhook came; see `machine.Via`."""
    recorded: Recorded | None = None
    """What the recording's files say, where a recording is looked at."""


def summarize(name: str, header: Header, lines: Iterable[Piece]) -> Summary:
    """Read a capture once and say what is in it."""
    summarizer = Summarizer(header)
    for _, frame in lines:
        summarizer.take(frame)
    return summarizer.summary(name)


def step_of(kind: str, params: MediaParams) -> int:
    """How long a packet of a kind lasts, in ms, by what was granted."""
    full = params.or_else(DEFAULT_PARAMS)
    assert full.audio is not None
    assert full.video is not None
    assert full.share is not None
    if kind == "audio":
        return max(1, full.audio.send_rate or 20)
    fps = full.video.fps if kind == "video" else full.share.fps
    return 1000 // min(1000, max(1, fps or 1))


class _Gathered:
    """A track while it is read."""

    def __init__(self, at_us: int, pace: Pace | None, channel: UserId) -> None:
        self.channel = channel
        self.packets = self.nbytes = 0
        self.first_us = self.last_us = at_us
        self.pace = pace


class Summarizer:
    """Takes a capture line by line."""

    def __init__(self, header: Header) -> None:
        self._header = header
        self._ledger = Ledger(header.product, trusted=header.verified)
        self._at_us = 0
        self._lines = 1
        self._kinds: set[str] = set()
        self._asked, self._granted = MediaParams(), MediaParams()
        self._origin = Origin()
        self._tracks: dict[tuple[str, UserId], _Gathered] = {}
        self._spoke_us: dict[UserId, int] = {}
        self._speaker: tuple[UserId, int] | None = None
        self._unreadable = self._unknown = self._dropped = self._unlisted = 0
        self._warnings: list[Warned] = []

    def take(self, frame: Frame | str | Run) -> None:
        """Take the next line, or lines."""
        if isinstance(frame, Run):
            frame.take(self._take_run, self.take)
            return
        self._lines += 1
        if isinstance(frame, str):
            self._unreadable += 1
            return
        self._at_us = max(self._at_us, frame.at_us)
        self._ledger.take(frame)
        message = frame.message
        if isinstance(message, ChannelState):
            self._on_state(frame, message)
        elif isinstance(message, Media | Transcript | Chat):
            if frame.direction is Direction.IN:
                self._on_media(frame, message)
        elif isinstance(message, Unreadable | UnreadableWebhook):
            self._unreadable += 1
        elif isinstance(message, Unknown):
            self._unknown += MessageType.find(message.type) not in tuple(MessageType)
        else:
            self._on_control(frame)

    def _take_run(self, run: Run) -> bool:
        ledger, at_us = self._ledger, run.at_us[-1]
        tracks = [self._tracks.get((sender.kind, sender.whose)) for sender in run.senders]
        tallies = [ledger.media_tally(sender.media) for sender in run.senders]
        if None in tracks or None in tallies or not all(ledger.flows_on(sender.channel) for sender in run.senders):
            return False
        self._lines += len(run)
        self._at_us = max(self._at_us, at_us)
        for message, heard_us in run.heard():
            ledger.people.hear(message, heard_us)
        for sender, track, tally in zip(run.senders, tracks, tallies, strict=True):
            assert track is not None
            assert track.pace is not None
            assert tally is not None
            tally.count += len(sender.contents)
            tally.nbytes += sender.nbytes
            track.packets += len(sender.contents)
            track.last_us = sender.at_us[-1]
            track.nbytes += sender.payload_nbytes
            track.pace.add_run(sender)
            self._origin.take_run(sender)
        ledger.at_us = at_us
        return True

    def _on_control(self, frame: Frame) -> None:
        match frame.message:
            case MediaHandshakeRequest(media_type=kinds, params=params):
                self._asked = params.or_else(self._asked)
                if kinds is not None and 0 < kinds < 64:
                    self._kinds.update(media_names(MediaType(kinds)))
            case MediaHandshakeResponse(status_code=StatusCode.STATUS_OK, params=params):
                self._grant(params)
            case EventUpdate() as event:
                self._on_event(frame, event)
            case _:
                pass

    def _on_state(self, frame: Frame, change: ChannelState) -> None:
        if change.state is State.DROPPED:
            self._dropped += change.count
        elif change.state is State.WARNING:
            if len(self._warnings) < MOST_WARNINGS:
                self._warnings.append(Warned(frame.at_us / 1_000_000, frame.channel, change.reason))
            else:
                self._unlisted += 1

    def _on_media(self, frame: Frame, message: Media | Transcript | Chat) -> None:
        kind = MEDIA_NAMES[message.media_type]
        product, parties = self._header.product, self._ledger.people.parties
        whose = party_of(message, product) if isinstance(message, Media) else parties.party_of(message)
        track = self._tracks.get((kind, whose))
        if track is None:
            if len(self._tracks) >= MOST:
                self._unlisted += 1
                return
            channel = None if isinstance(message, Chat) else message.channel_id
            by_channel = whose != message.user_id or is_by_channel(product, message.user_id, channel)
            track = self._tracks[kind, whose] = _Gathered(
                frame.at_us, self._new_pace(kind, whose), whose if by_channel else None
            )
        track.packets += 1
        track.last_us = frame.at_us
        self._origin.take(message.timestamp, frame.at_us)
        if isinstance(message, Media):
            letters = message.letters()
            track.nbytes += payload_nbytes(letters)
            if track.pace is not None:
                track.pace.add(message.timestamp, frame.at_us, hash(letters))
        else:
            track.nbytes += len((message.text or "").encode("utf-8", "surrogatepass"))

    def _new_pace(self, kind: str, whose: UserId) -> Pace | None:
        if kind in ("transcript", "chat"):
            return None
        return Pace(
            step_of(kind, self._granted), pictures=kind != "audio", never_pauses=kind == "audio" and whose is None
        )

    def _grant(self, params: MediaParams) -> None:
        self._granted = params.or_else(self._granted)
        for (kind, _), track in self._tracks.items():
            if track.pace is not None:
                track.pace.step_ms = step_of(kind, self._granted)

    def _on_event(self, frame: Frame, event: EventUpdate) -> None:
        if is_speaker_change(event, self._header.product):
            self._speak(frame.at_us)
            self._speaker = (self._ledger.people.speaker, frame.at_us)

    def _speak(self, until_us: int) -> None:
        if self._speaker is None:
            return
        whose, since_us = self._speaker
        if whose in self._spoke_us or (whose is not None and len(self._spoke_us) < MOST):
            self._spoke_us[whose] = self._spoke_us.get(whose, 0) + until_us - since_us
        self._speaker = None

    def summary(self, name: str) -> Summary:
        """Everything that was taken."""
        header, ledger, seconds = self._header, self._ledger, self._at_us / 1_000_000
        self._speak(self._at_us)
        stop, last = ledger.stop, ledger.last_word
        everybody = self._everybody()
        unlisted = ledger.connection_count - len(ledger.connections) + max(0, len(ledger.people.participants) - MOST)
        return Summary(
            capture=name,
            created=header.created,
            generator=header.generator,
            product=header.product,
            id=header.id,
            rtms_stream_id=header.rtms_stream_id,
            seconds=seconds,
            lines=self._lines,
            announced_by=ledger.announced_by or None,
            status="unfinished" if last is None else last.status,
            stop=None if stop is None else _stopped(stop),
            steps=sorted(ledger.steps, key=lambda step: step.at),
            kinds_asked=[kind for kind in MEDIA_NAMES.values() if kind in self._kinds],
            asked=to_builtins(self._asked.to_json()),
            granted=to_builtins(self._granted.to_json()),
            origin_ms=self._origin.ms,
            origin_at=None if self._origin.at_us is None else self._origin.at_us / 1_000_000,
            tracks=[self._track(kind, whose, track) for (kind, whose), track in self._tracks.items()],
            participants=[self._participant(whose, person) for whose, person in everybody.items()],
            messages=self._messages(),
            keep_alive=[
                KeepAliveFacts(
                    channel,
                    tally.asked,
                    tally.answered,
                    tally.wrong,
                    ledger.unanswered(channel),
                    tally.intervals.spread(),
                    tally.answers.spread(),
                )
                for channel, tally in ledger.keep_alives.items()
            ],
            connections=list(ledger.connections),
            unreadable=self._unreadable,
            unknown=self._unknown,
            dropped=self._dropped,
            warnings=self._warnings,
            unlisted=self._unlisted + unlisted,
        )

    def _track(self, kind: str, whose: UserId, track: _Gathered) -> Track:
        name = self._ledger.people.name(whose)
        channel = track.channel
        user: UserId = 0 if whose is None and kind not in ("transcript", "chat") else whose
        first_at, last_at = track.first_us / 1_000_000, track.last_us / 1_000_000
        pace = track.pace
        if pace is None:
            return Track(kind, user, name, track.packets, track.nbytes, first_at, last_at, channel_id=channel)
        count, total_ms, listed = pace.gaps()
        origin = self._origin.ms or 0
        return Track(
            kind,
            user,
            name,
            track.packets,
            track.nbytes,
            first_at,
            last_at,
            channel_id=channel,
            first_timestamp=pace.first_ms,
            last_timestamp=pace.last_ms,
            duration=None if pace.duration_ms is None else pace.duration_ms / 1000,
            step_ms=pace.step_ms,
            gap_count=count,
            gap_seconds=total_ms / 1000,
            gaps=[((start - origin) / 1000, (end - origin) / 1000) for start, end in listed],
            lost=pace.lost,
            duplicates=pace.duplicates,
            out_of_order=pace.out_of_order,
            late=pace.late,
            early=pace.early,
            jumps=pace.jumps,
            untimed=pace.untimed,
            jitter_ms=pace.jitter_us.spread(),
        )

    def _messages(self) -> list[Count]:
        """The ledger's counts, with the names that views show."""
        ledger = self._ledger
        counts: dict[tuple[int | str | None, str, str], list[int]] = {}
        tallies = [
            *((name, way, tally) for way, named in ledger.tallies.items() for name, tally in named.items()),
            *((event, way, tally) for (event, way), tally in ledger.webhooks.items()),
        ]
        for name, way, tally in tallies:
            shown = "(unknown)" if name.startswith("UNKNOWN ") else "(unreadable)" if name == "UNREADABLE" else name
            count = counts.setdefault((tally.msg_type, shown, way.value), [0, 0])
            count[0] += tally.count
            count[1] += tally.nbytes
        return sorted((Count(*key, *count) for key, count in counts.items()), key=_order)

    def _everybody(self) -> dict[UserId, Participant]:
        """Those that events spoke of, and those who sent something."""
        everybody = dict(islice(self._ledger.people.participants.items(), MOST))
        for whose in (*self._spoke_us, *(whose for _, whose in self._tracks)):
            if whose is not None:
                everybody.setdefault(whose, Participant(whose))
        return everybody

    def _participant(self, whose: UserId, person: Participant) -> Person:
        speaking, source = None, None
        track = self._tracks.get(("audio", whose))
        if track is not None and track.pace is not None:
            source = "audio"
            speaking = (track.packets - track.pace.duplicates) * track.pace.step_ms / 1000
        elif whose in self._spoke_us:
            speaking, source = self._spoke_us[whose] / 1_000_000, "active_speaker"
        return Person(whose, self._ledger.people.name(whose), person.joined, person.left, speaking, source)


def _stopped(stop: Stop) -> Stopped:
    if stop.reason is None:
        return Stopped(None, stop.name, "", stop.said_by)
    known = StopReason.member(stop.reason)
    name, gist = (known.name, known.gist) if isinstance(known, StopReason) else ("", "")
    return Stopped(int(stop.reason), name, gist, stop.said_by)


def _order(count: Count) -> tuple[int, str, str]:
    return (count.msg_type if isinstance(count.msg_type, int) else -1), count.name, count.direction
