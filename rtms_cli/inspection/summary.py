"""What a capture holds, as one object; `rtms inspect --json` prints it under these names.

Times `at`, `opened`, `closed`, `joined`, `left` are seconds on the capture's clock. `gaps` are seconds since
`origin_ms`, the first timestamp of a media message. `late` and `early` count packets that came more than one step off
their due time, which follows the packets' mean delay; `jitter_ms` is how far two packets' distance on arrival differs
from that of their timestamps (RFC 3550, 6.4.1). Percentiles are objects: `count`, `p50`, `p95`, `p99`, `max`.
"""

from collections.abc import Iterable

from msgspec import Struct, to_builtins

from rtms_cli.capture import Header
from rtms_cli.inspection.keepalives import Asked, KeepAlives
from rtms_cli.inspection.measure import Origin, Pace, Quantiles, Spread
from rtms_cli.inspection.reading import Line
from rtms_cli.inspection.sound import Recorded
from rtms_cli.machine import WEBHOOK, ChannelState, Direction, Frame, State
from rtms_cli.protocol.media import DEFAULT_PARAMS, MEDIA_NAMES, MediaParams, media_names
from rtms_cli.protocol.messages import (
    Audio,
    Chat,
    ClientReadyAck,
    EventUpdate,
    KeepAliveRequest,
    KeepAliveResponse,
    Media,
    MediaHandshakeRequest,
    MediaHandshakeResponse,
    Message,
    SessionStateUpdate,
    SignalingHandshakeResponse,
    StreamStateUpdate,
    Transcript,
    Unknown,
    Unreadable,
    UserId,
    loads,
    payload_nbytes,
    user_id,
)
from rtms_cli.protocol.numbers import (
    MediaType,
    MeetingEvent,
    MessageType,
    Product,
    SessionState,
    StatusCode,
    StopReason,
    StreamState,
)
from rtms_cli.protocol.webhooks import StreamStart, StreamStop, UnreadableWebhook

MOST = 1000
"""Tracks, participants, connections and message types that are listed each; `unlisted` counts the rest."""
MOST_WARNINGS = 100


class Step(Struct, frozen=True):
    """When the stream reached a point of its life for the first time, on a channel."""

    step: str
    """`webhook`, `signaling_open`, `signaling_handshake`, `media_open`, `media_handshake`, `ready`, `first_media`,
    `stop` or `finished`."""
    at: float
    channel: str


class Stopped(Struct, frozen=True):
    """Why the stream ended, and who said so."""

    reason: int | None
    name: str
    gist: str
    said_by: str


class Track(Struct, frozen=True):
    """What one participant sent of one kind; `user_id` 0 is everybody's mixed audio."""

    kind: str
    user_id: UserId
    user_name: str | None
    packets: int
    bytes: int
    first_at: float
    last_at: float
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


class Socket(Struct):
    """One connection, or one try."""

    channel: str
    url: str = ""
    opened: float | None = None
    closed: float | None = None
    code: int | None = None
    reason: str = ""
    ours: bool = False
    refused: bool = False


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
    recorded: Recorded | None = None
    """What the recording's files say, where a recording is looked at."""


def summarize(name: str, header: Header, lines: Iterable[Line]) -> Summary:
    """Read a capture once and say what is in it."""
    summarizer = Summarizer(header)
    for _, frame in lines:
        summarizer.take(frame)
    return summarizer.summary(name)


def who(message: Media, product: str) -> UserId:
    """Whose media a packet is: Contact Center and Phone tell by `channel_id`. 0 is everybody."""
    by_channel = product in (Product.CONTACT_CENTER, Product.PHONE)
    if isinstance(message, Audio) and message.channel_id is not None and (by_channel or not message.user_id):
        return message.channel_id
    return 0 if message.user_id is None and isinstance(message, Audio) else message.user_id


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

    def __init__(self, at_us: int, pace: Pace | None) -> None:
        self.packets = self.nbytes = 0
        self.first_us = self.last_us = at_us
        self.name: str | None = None
        self.pace = pace


class _Somebody:
    """A participant while events are read."""

    def __init__(self) -> None:
        self.joined: float | None = None
        self.left: float | None = None
        self.spoke_us: int | None = None


class _Answers:
    """Keep-alives of a channel while they are read."""

    def __init__(self) -> None:
        self.asked = self.answered = self.wrong = self.unanswered = 0
        self.last_us: int | None = None
        self.intervals, self.answers = Quantiles(), Quantiles()


class Summarizer:
    """Takes a capture line by line."""

    def __init__(self, header: Header) -> None:
        self._header = header
        self._at_us = 0
        self._lines = 1
        self._status = "unfinished"
        self._stop: Stopped | None = None
        self._steps: dict[tuple[str, str], Step] = {}
        self._kinds: set[str] = set()
        self._asked, self._granted = MediaParams(), MediaParams()
        self._origin = Origin()
        self._tracks: dict[tuple[str, UserId], _Gathered] = {}
        self._names: dict[UserId, str] = {}
        self._people: dict[UserId, _Somebody] = {}
        self._speaker: tuple[UserId, int] | None = None
        self._counts: dict[tuple[int | str | None, str, Direction], list[int]] = {}
        self._keep_alives = KeepAlives()
        self._answers: dict[str, _Answers] = {}
        self._sockets: list[Socket] = []
        self._current: dict[str, Socket] = {}
        self._unreadable = self._unknown = self._dropped = self._unlisted = 0
        self._warnings: list[Warned] = []

    def take(self, frame: Frame | str) -> None:
        """Take the next line."""
        self._lines += 1
        if isinstance(frame, str):
            self._unreadable += 1
            return
        self._at_us = max(self._at_us, frame.at_us)
        message = frame.message
        if isinstance(message, ChannelState):
            self._on_state(frame, message)
            return
        self._count(frame)
        if isinstance(message, Media | Transcript | Chat):
            if frame.direction is Direction.IN:
                self._on_media(frame, message)
        elif isinstance(message, Unreadable | UnreadableWebhook):
            self._unreadable += 1
        elif isinstance(message, Unknown):
            self._unknown += MessageType.find(message.type) not in tuple(MessageType)
        elif isinstance(message, KeepAliveRequest | KeepAliveResponse):
            self._on_keep_alive(frame, message)
        else:
            self._on_control(frame)

    def _on_control(self, frame: Frame) -> None:
        match frame.message:
            case StreamStart():
                self._step("webhook", frame)
            case StreamStop(reason=reason):
                self._end(frame, reason, "the webhook")
            case SignalingHandshakeResponse(status_code=StatusCode.STATUS_OK):
                self._step("signaling_handshake", frame)
            case MediaHandshakeRequest(media_type=kinds, params=params):
                self._asked = params.or_else(self._asked)
                if kinds is not None and 0 < kinds < 64:
                    self._kinds.update(media_names(MediaType(kinds)))
            case MediaHandshakeResponse(status_code=StatusCode.STATUS_OK, params=params):
                self._step("media_handshake", frame)
                self._grant(params)
            case ClientReadyAck():
                self._step("ready", frame)
            case StreamStateUpdate(state=StreamState.TERMINATED, reason=reason):
                self._end(frame, reason, f"{MessageType.label(8)} on {frame.channel}")
            case SessionStateUpdate(state=SessionState.STOPPED, stop_reason=reason):
                self._end(frame, reason, f"{MessageType.label(9)} on {frame.channel}")
            case StreamStateUpdate(state=StreamState.ACTIVE) | SessionStateUpdate(state=SessionState.STARTED):
                self._stop = None
            case EventUpdate() as event:
                self._on_event(frame, event)
            case _:
                pass

    def _on_state(self, frame: Frame, change: ChannelState) -> None:
        at, socket = frame.at_us / 1_000_000, self._current.get(frame.channel)
        match change.state:
            case State.OPENING:
                self._connect(Socket(frame.channel, change.url))
            case State.OPEN:
                if socket is None or socket.opened is not None:
                    socket = self._connect(Socket(frame.channel))
                socket.opened = at
                kind = "signaling_open" if frame.channel == "signaling" else "media_open"
                self._step(kind, frame)
            case State.REFUSED | State.CLOSED:
                socket = socket or self._connect(Socket(frame.channel))
                socket.closed, socket.code, socket.reason, socket.ours = at, change.code, change.reason, change.ours
                socket.refused = change.state is State.REFUSED
                self._current.pop(frame.channel, None)
                self._leave_unanswered(frame.channel, self._keep_alives.close(frame.channel))
                if frame.channel in self._answers:
                    self._answers[frame.channel].last_us = None  # no interval spans two connections
            case State.DROPPED:
                self._dropped += change.count
            case State.WARNING:
                if len(self._warnings) < MOST_WARNINGS:
                    self._warnings.append(Warned(at, frame.channel, change.reason))
                else:
                    self._unlisted += 1
            case State.FINISHED:
                self._step("finished", frame)
                self._status = change.status
                self._stop = _stopped(change.code, change.reason)
            case State.STOPPING:
                pass

    def _connect(self, socket: Socket) -> Socket:
        self._current[socket.channel] = socket
        if len(self._sockets) < MOST:
            self._sockets.append(socket)
        else:
            self._unlisted += 1
        return socket

    def _on_media(self, frame: Frame, message: Media | Transcript | Chat) -> None:
        self._step("first_media", frame)
        kind = MEDIA_NAMES[message.media_type]
        whose = who(message, self._header.product) if isinstance(message, Media) else message.user_id
        track = self._tracks.get((kind, whose))
        if track is None:
            if len(self._tracks) >= MOST:
                self._unlisted += 1
                return
            track = self._tracks[kind, whose] = _Gathered(frame.at_us, self._new_pace(kind, whose))
        track.packets += 1
        track.last_us = frame.at_us
        if message.user_name:
            track.name = message.user_name
            self._name(message.user_id, message.user_name)
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
        return Pace(step_of(kind, self._granted), pictures=kind != "audio", never_pauses=kind == "audio" and not whose)

    def _grant(self, params: MediaParams) -> None:
        self._granted = params.or_else(self._granted)
        for (kind, _), track in self._tracks.items():
            if track.pace is not None:
                track.pace.step_ms = step_of(kind, self._granted)

    def _on_event(self, frame: Frame, event: EventUpdate) -> None:
        at = frame.at_us / 1_000_000
        for whose, name in event.participants():
            if name:
                self._name(whose, name)
            person = self._person(whose)
            if person is None:
                continue
            if event.event_type == MeetingEvent.PARTICIPANT_JOIN and person.joined is None:
                person.joined = at
            elif event.event_type == MeetingEvent.PARTICIPANT_LEAVE:
                person.left = at
        if event.event_type == MeetingEvent.ACTIVE_SPEAKER_CHANGE:
            self._speak(frame.at_us)
            self._speaker = (user_id(event.fields.get("user_id")), frame.at_us)

    def _speak(self, until_us: int) -> None:
        if self._speaker is None:
            return
        whose, since_us = self._speaker
        if (person := self._person(whose)) is not None:
            person.spoke_us = (person.spoke_us or 0) + until_us - since_us
        self._speaker = None

    def _person(self, whose: UserId) -> _Somebody | None:
        if whose is None:
            return None
        if whose not in self._people and len(self._people) >= MOST:
            self._unlisted += 1
            return None
        return self._people.setdefault(whose, _Somebody())

    def _name(self, whose: UserId, name: str) -> None:
        if whose in self._names or len(self._names) < MOST:
            self._names[whose] = name

    def _on_keep_alive(self, frame: Frame, message: KeepAliveRequest | KeepAliveResponse) -> None:
        channel = frame.channel
        facts = self._answers.get(channel)
        if facts is None:
            if len(self._answers) >= MOST:
                self._unlisted += 1
                return
            facts = self._answers[channel] = _Answers()
        if isinstance(message, KeepAliveRequest):
            given_up = self._keep_alives.ask(channel, Asked(self._lines, frame.at_us, message))
            self._leave_unanswered(channel, [given_up] if given_up else [])
            facts.asked += 1
            if facts.last_us is not None:
                facts.intervals.add(max(0, frame.at_us - facts.last_us))
            facts.last_us = frame.at_us
            return
        asked, right = self._keep_alives.answer(channel, message)
        facts.wrong += not right
        if asked is not None and right:
            facts.answered += 1
            facts.answers.add(max(0, frame.at_us - asked.at_us))

    def _leave_unanswered(self, channel: str, asked: list[Asked]) -> None:
        if (facts := self._answers.get(channel)) is not None:
            facts.unanswered += len(asked)

    def _count(self, frame: Frame) -> None:
        message = frame.message
        if isinstance(message, Unknown):
            number = MessageType.member(message.type) if isinstance(message.type, int) else message.type
            name = number.name if isinstance(number, MessageType) else "(unknown)"
        elif isinstance(message, Unreadable | UnreadableWebhook):
            number, name = None, "(unreadable)"
        elif isinstance(message, Message):
            number = message.msg_type
            name = MessageType.label(number).partition(" ")[2]
        else:
            number, name = None, _event_of(frame)
        key = (number, name, frame.direction)
        count = self._counts.get(key)
        if count is None:
            if len(self._counts) >= MOST:
                self._unlisted += 1
                return
            count = self._counts[key] = [0, 0]
        count[0] += 1
        count[1] += len(frame.raw)

    def _step(self, step: str, frame: Frame) -> None:
        key = (step, frame.channel)
        if step == "first_media":
            key = (step, "")
        if key not in self._steps and len(self._steps) < MOST:
            self._steps[key] = Step(step, frame.at_us / 1_000_000, frame.channel)

    def _end(self, frame: Frame, reason: int | None, said_by: str) -> None:
        self._step("stop", frame)
        if self._stop is None or self._stop.reason is None:
            self._stop = _stopped(reason, said_by)

    def summary(self, name: str) -> Summary:
        """Everything that was taken."""
        header, seconds = self._header, self._at_us / 1_000_000
        self._speak(self._at_us)
        for channel, asked in self._keep_alives.close_all():
            self._leave_unanswered(channel, [asked])
        return Summary(
            capture=name,
            created=header.created,
            generator=header.generator,
            product=header.product,
            id=header.id,
            rtms_stream_id=header.rtms_stream_id,
            seconds=seconds,
            lines=self._lines,
            status=self._status,
            stop=self._stop,
            steps=sorted(self._steps.values(), key=lambda step: step.at),
            kinds_asked=[kind for kind in MEDIA_NAMES.values() if kind in self._kinds],
            asked=to_builtins(self._asked.to_json()),
            granted=to_builtins(self._granted.to_json()),
            origin_ms=self._origin.ms,
            origin_at=None if self._origin.at_us is None else self._origin.at_us / 1_000_000,
            tracks=[self._track(kind, whose, track) for (kind, whose), track in self._tracks.items()],
            participants=[self._participant(whose, person) for whose, person in self._everybody().items()],
            messages=[
                Count(number, name, direction.value, count, nbytes)
                for (number, name, direction), (count, nbytes) in sorted(self._counts.items(), key=_order)
            ],
            keep_alive=[
                KeepAliveFacts(
                    channel,
                    facts.asked,
                    facts.answered,
                    facts.wrong,
                    facts.unanswered,
                    facts.intervals.spread(),
                    facts.answers.spread(),
                )
                for channel, facts in self._answers.items()
            ],
            connections=self._sockets,
            unreadable=self._unreadable,
            unknown=self._unknown,
            dropped=self._dropped,
            warnings=self._warnings,
            unlisted=self._unlisted,
        )

    def _track(self, kind: str, whose: UserId, track: _Gathered) -> Track:
        name = track.name or self._names.get(whose)
        first_at, last_at = track.first_us / 1_000_000, track.last_us / 1_000_000
        pace = track.pace
        if pace is None:
            return Track(kind, whose, name, track.packets, track.nbytes, first_at, last_at)
        count, total_ms, listed = pace.gaps()
        origin = self._origin.ms or 0
        return Track(
            kind,
            whose,
            name,
            track.packets,
            track.nbytes,
            first_at,
            last_at,
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

    def _everybody(self) -> dict[UserId, _Somebody]:
        everybody = dict(self._people)
        for _, whose in self._tracks:
            if whose:
                everybody.setdefault(whose, _Somebody())
        return everybody

    def _participant(self, whose: UserId, person: _Somebody) -> Person:
        speaking, source = None, None
        track = self._tracks.get(("audio", whose))
        if track is not None and track.pace is not None:
            source = "audio"
            speaking = (track.packets - track.pace.duplicates) * track.pace.step_ms / 1000
        elif person.spoke_us is not None:
            speaking, source = person.spoke_us / 1_000_000, "active_speaker"
        return Person(whose, self._names.get(whose), person.joined, person.left, speaking, source)


def _stopped(reason: int | None, said_by: str) -> Stopped:
    known = StopReason.member(reason) if reason is not None else None
    name, gist = (known.name, known.gist) if isinstance(known, StopReason) else ("", "")
    return Stopped(None if reason is None else int(reason), name, gist, said_by)


def _event_of(frame: Frame) -> str:
    try:
        posted = loads(frame.raw)
    except ValueError:
        return WEBHOOK
    event = posted.get("event") if isinstance(posted, dict) else None
    return event if isinstance(event, str) else WEBHOOK


def _order(item: tuple[tuple[int | str | None, str, Direction], list[int]]) -> tuple[int, str, str]:
    (number, name, direction), _ = item
    return (number if isinstance(number, int) else -1, name, direction)
