"""Which file each message goes to: it makes the tracks of a recording, and hands them what came.

The participant of a packet, the format of its payload and which stretch of the session's clock it lies in decide the
file (RECORDING). What could not be kept, and what a person should know, goes to the ledger.
"""

from collections import deque
from collections.abc import Callable, Iterable
from typing import NamedTuple

from rtms_cli.capture import Header
from rtms_cli.machine import ChannelState, Direction, Frame, State
from rtms_cli.protocol import parties
from rtms_cli.protocol.conversation import chat_gist, chat_line
from rtms_cli.protocol.media import MEDIA_NAMES
from rtms_cli.protocol.messages import (
    Audio,
    Chat,
    EventUpdate,
    Media,
    MediaHandshakeRequest,
    MediaHandshakeResponse,
    Share,
    Transcript,
    UserId,
    Video,
)
from rtms_cli.protocol.numbers import Attribute, Codec, Product, StatusCode
from rtms_cli.protocol.sentences import CHANGES, transcript_gist
from rtms_cli.protocol.texts import cut
from rtms_cli.recording.audio import AudioForm, AudioTrack
from rtms_cli.recording.channels import Channel, Channels
from rtms_cli.recording.codecs import codec_name
from rtms_cli.recording.encoded import EXTENSIONS as ENCODED_EXTENSIONS
from rtms_cli.recording.encoded import encoded_track
from rtms_cli.recording.hearing import Listener
from rtms_cli.recording.intake import Held, Intake, Owner
from rtms_cli.recording.ledger import Ledger
from rtms_cli.recording.names import Names, participant_stem
from rtms_cli.recording.pictures import PictureForm
from rtms_cli.recording.timeline import SANE_MS, Segment, SessionTime, is_sane
from rtms_cli.recording.track import Track
from rtms_cli.recording.tracks import EXTENSIONS, Moment, PictureTrack, TextTrack

MOST_TRACKS = 5_000
"""Media files of a recording: it bounds what a server can do that makes up participants."""

_PLAIN_NAMES: dict[int | None, str] = {Codec.H264: "H.264", Codec.JPG: "JPG", Codec.PNG: "PNG"}

_OUR_FIELDS = ("t", "t_from", "timestamp", "event", "extra")
"""What lines of events.jsonl say themselves."""


class _Whose(NamedTuple):
    """Whose files something goes to: a channel's and a user's are two, also where the ids are the same."""

    party: UserId
    channel_id: UserId

    @property
    def user_id(self) -> UserId:
        """What the manifest has: 0 for everyone's."""
        return 0 if self.party is None else self.party

    def stem(self, name: str | None) -> str:
        """What its files are called."""
        return "mixed" if self.party is None else participant_stem(self.party, name)


_LAST_WORDS = 50
"""Lines of transcript and chat that a view may show."""


class Placer:
    """All tracks of one recording.

    :param ledger: takes every frame before it is handed over here.
    :param keep_encoded: store audio packets that are not PCM as they came, too.
    """

    def __init__(self, header: Header, time: SessionTime, ledger: Ledger, *, keep_encoded: bool = False) -> None:
        self._ledger = ledger
        self._listener: Listener | None = None
        self._keep_encoded = keep_encoded
        self._product = Product(header.product) if header.product in tuple(Product) else Product.MEETING
        self._time = time
        self._moves = 0
        self._names = Names()
        self._audio: dict[tuple[_Whose, AudioForm, Segment], AudioTrack] = {}
        self._intakes: dict[tuple[_Whose, AudioForm, Segment], Intake] = {}
        self._held = Held()
        self._pictures: dict[tuple[type[Media], _Whose, int | None], PictureTrack] = {}
        self._forms: dict[tuple[type[Media], _Whose], PictureForm] = {}
        self._known: dict[tuple[UserId, UserId], _Whose] = {}
        """Whose the media with some ids are."""
        self._texts: dict[str, TextTrack] = {}
        self.tracks: list[Track] = []
        self.channels = Channels(ledger.warn)
        self.first_audio_ms: int | None = None  # a usable one
        self.last_words: deque[tuple[str, str]] = deque(maxlen=_LAST_WORDS)
        """The last lines of the transcript: name, text."""
        self.last_chat: deque[tuple[str, str]] = deque(maxlen=_LAST_WORDS)
        self.handlers: dict[type, Callable[[Frame], None]] = {
            Video: self._on_picture,
            Share: self._on_picture,
            Transcript: self._on_transcript,
            Chat: self._on_chat,
            EventUpdate: self._on_event,
            MediaHandshakeRequest: self._on_media_handshake_request,
            MediaHandshakeResponse: self._on_media_handshake_response,
            ChannelState: self._on_state,
        }
        """What takes a frame, by its message's type; audio goes to `place_audio`."""

    def hear(self, listener: Listener | None) -> None:
        """Tell someone what the files get from now on."""
        self._listener = listener
        for track in self.tracks:
            track.listener = listener

    def close(self) -> None:
        """Complete all tracks."""
        self._held.settle()
        for track in self.tracks:
            track.close()

    def reopen(self) -> None:
        """Go on with all tracks that can go on; others get a new file with their next packet."""
        for track in self.tracks:
            if track.can_reopen:
                track.reopen()
        for channel in self.channels.known.values():
            channel.intakes.clear()

    def waiting(self) -> Iterable[Track]:
        """The tracks that have something to write, once they know of a zero that has moved."""
        time = self._time
        if time.moves != self._moves or any(text.origin_ms != time.origin_ms for text in self._texts.values()):
            self._moves = time.moves
            for text in self._texts.values():
                text.origin_ms, text.zero_at_ms = time.origin_ms, time.zero_at_ms
            for track in self.tracks:
                track.catch_up()
        return (track for track in self.tracks if track.dirty)

    def forget(self) -> list[str]:
        """Forget all tracks, and what was said; the stream was revoked.

        :returns: their files' names.
        """
        names = [track.path for track in self.tracks]
        names += [f"{track.path}.index.jsonl" for track in self.tracks if isinstance(track, PictureTrack)]
        self.tracks = []
        self._held = Held()
        self.last_words.clear()
        self.last_chat.clear()
        return names

    # Media.

    def place_audio(self, frame: Frame, message: Audio) -> None:
        """Hand an audio packet that came in to its track."""
        channel = self.channels.known.get(frame.channel)
        if channel is None or not channel.has_granted:
            channel = self.channels.find_for_media(frame.channel)
        if channel.aside and self.channels.leaves_aside(frame.channel, message):
            return
        payload = message.payload()
        if payload is None:
            self._ledger.lose("payload is not base64", frame.channel, len(message.data))
            return
        nbytes = len(payload)
        if message.length != nbytes and message.length is not None:
            payload = _of_told_length(self._ledger, frame.channel, message, "audio", payload)
            nbytes = len(payload)
            if 0 < message.length < nbytes and not payload[message.length :].strip(b"\0"):
                payload = payload[: message.length]  # the rest is padding
        timestamp, segment = message.timestamp, None
        if timestamp is not None and 0 < timestamp < SANE_MS:
            segment = self._time.find(timestamp, frame.at_us)
            if self.first_audio_ms is None:
                self.first_audio_ms = timestamp
        is_stamped = segment is not None
        if segment is None:
            segment, timestamp = self._place_by_arrival(frame, message)
        assert timestamp is not None
        if not channel.is_decoded:
            self._ledger.lose(
                f"{channel.audio.codec_name} audio is not decoded; it is in the capture", frame.channel, nbytes
            )
            return
        intake = channel.intakes.get((message.user_id, message.channel_id, segment))
        if intake is None:
            intake = self._intake(message, channel, segment)
            if intake is None:
                self._ledger.lose("too many tracks", frame.channel, nbytes)
                return
            if len(channel.intakes) >= MOST_TRACKS:
                channel.intakes.clear()  # one channel's packets may have any number of user ids
            channel.intakes[message.user_id, message.channel_id, segment] = intake
            self._ledger.people.hear(message, frame.at_us)
        if message.user_name != intake.heard_name and message.user_name:
            intake.heard_name = message.user_name
            self._ledger.people.hear(message, frame.at_us)
        if is_stamped:
            intake.add(timestamp, payload, frame.at_us)
        else:
            intake.add_arrived(timestamp, payload)

    def _place_by_arrival(self, frame: Frame, message: Audio) -> tuple[Segment, int]:
        """Where to put a packet whose timestamp does not tell."""
        if is_sane(message.timestamp):
            why = "whose clock has jumped too often"
        else:
            why = "without a usable timestamp"
        self._ledger.warn(f"{frame.channel}: audio {why}; it is placed by its arrival")
        return self._time.arrival(frame.at_us)

    def _intake(self, message: Audio, channel: Channel, segment: Segment) -> Intake | None:
        """What takes a sender's packets; `None` if there are too many tracks."""
        whose, form = self._whose(message), channel.audio
        name = None if whose.party is None else self._name_of(message)
        intake = self._intakes.get((whose, form, segment))
        track = self._audio_track(whose, name, form if intake is None else intake.track.form, segment)
        if intake is None and track is not None:
            owner = Owner(
                make=lambda other: self._audio_track(whose, name, other, segment),
                reform=lambda track, other: self._reform(whose, track, other),
                lose=self._ledger.lose,
                warn=self._ledger.warn,
            )
            intake = self._intakes[whose, form, segment] = Intake(track, channel.expected, owner, self._held)
        return intake

    def _reform(self, whose: _Whose, track: AudioTrack, form: AudioForm) -> None:
        """Begin a track again in another form."""
        self._audio.pop((whose, track.form, track.segment), None)
        track.begin_again(form)
        self._audio[whose, form, track.segment] = track

    def _audio_track(self, whose: _Whose, name: str | None, form: AudioForm, segment: Segment) -> AudioTrack | None:
        track = self._audio.get((whose, form, segment))
        if track is not None and track.encoded is not None and not track.encoded.is_open:
            track.encoded = self._encoded_track(whose, track.user_name, form)
        if track is not None or len(self.tracks) >= MOST_TRACKS:
            return track
        path = self._names.give("audio", whose.stem(name), "wav")
        encoded = self._encoded_track(whose, name, form)
        track = self._audio[whose, form, segment] = AudioTrack(path, whose.user_id, name, form, segment, encoded)
        track.channel_id = whose.channel_id
        track.listener = self._listener
        self.tracks.append(track)
        if not segment.is_ours and segment is not self._time.segments[0]:
            offset = (segment.zero_ms - self._time.segments[0].zero_ms) / 1000
            self._ledger.warn(f"the media clock has jumped by {offset:+.0f} s; {path} starts there")
        return track

    def _encoded_track(self, whose: _Whose, name: str | None, form: AudioForm) -> Track | None:
        """What keeps the packets of a participant as they come, where that is wanted and possible."""
        if not self._keep_encoded or form.codec not in ENCODED_EXTENSIONS or len(self.tracks) >= MOST_TRACKS:
            return None
        path = self._names.give("audio", whose.stem(name), ENCODED_EXTENSIONS[form.codec])
        track = encoded_track(path, whose.user_id, name, form.codec, form.audio_channels)
        track.channel_id = whose.channel_id
        self.tracks.append(track)
        return track

    def _whose(self, message: Media) -> _Whose:
        """Whose files a packet or a picture goes to (RECORDING, "The folder")."""
        ids = message.user_id, message.channel_id
        whose = self._known.get(ids)
        if whose is None:
            whose = self._who_has(message)
            if len(self._known) < MOST_TRACKS:
                self._known[ids] = whose
        return whose

    def _who_has(self, message: Media) -> _Whose:
        is_by_channel = parties.is_by_channel(self._product, message.user_id, message.channel_id)
        return _Whose(parties.party_of(message, self._product), message.channel_id if is_by_channel else None)

    def _on_picture(self, frame: Frame) -> None:
        message = frame.message
        assert isinstance(message, Video | Share)
        if frame.direction is Direction.IN and not self.channels.leaves_aside(frame.channel, message):
            payload = message.payload()
            channel = self.channels.find_for_media(frame.channel)
            if payload is None:
                self._ledger.lose("payload is not base64", frame.channel, len(message.data))
            else:
                self._note_time(message.timestamp, frame.at_us)
                self.place_picture(frame.channel, channel, message, payload, frame.at_us)

    def place_picture(self, where: str, channel: Channel, message: Media, payload: bytes, at_us: int) -> None:
        """Hand a picture that came in on a channel, and whose time was taken note of, to its track."""
        kind = MEDIA_NAMES[message.media_type]
        if message.length is not None and message.length != len(payload):
            payload = _of_told_length(self._ledger, where, message, kind, payload)
        if not payload:
            return
        granted = channel.granted.video if kind == "video" else channel.granted.share
        whose = self._whose(message)
        form = self._forms.get((type(message), whose))
        if form is None:
            if len(self._forms) >= MOST_TRACKS:
                self._ledger.lose("too many tracks", where, len(payload))
                return
            form = self._forms[type(message), whose] = PictureForm()
        wanted = None if granted is None else granted.codec
        codec, payload, changed = form.read(wanted, payload)
        track = self._pictures.get((type(message), whose, codec))
        if track is None:
            track = self._picture_track(kind, message, codec, wanted)
            if track is None:
                self._ledger.lose("too many tracks", where, len(payload))
                return
            if wanted not in (None, codec):
                self._ledger.warn(
                    f"{where}: {kind} is {codec_name(codec)}, though {codec_name(wanted)} was granted;"
                    f" it is in {track.path}"
                )
        if changed:
            wanted_by = "has start codes" if codec == Codec.H264 else "is without"
            self._ledger.warn(
                f"{where}: {_PLAIN_NAMES.get(codec)} with {changed}; {track.path} {wanted_by}, as players want"
            )
        elif form.foreign:
            self._ledger.warn(f"{where}: {kind} is {form.foreign}, which RTMS does not have; it is in {track.path}")
        elif not form.is_known and codec in (Codec.JPG, Codec.PNG):
            self._ledger.warn(f"{where}: {kind} payloads that begin like no picture; they are in {track.path}")
        if is_sane(message.timestamp):
            track.add(message.timestamp, payload)
        else:
            self._ledger.warn(f"{where}: {kind} without a usable timestamp; it is placed by its arrival")
            track.add(self._time.at(at_us), payload, at_us // 1000)

    def _picture_track(self, kind: str, message: Media, codec: int | None, wanted: int | None) -> PictureTrack | None:
        """A file for another sender, or for a known one's that turns to what was not granted (`…_2`).

        `None` if there are too many.
        """
        if len(self.tracks) >= MOST_TRACKS:
            return None
        whose, name = self._whose(message), self._name_of(message)
        stem = whose.stem(name)
        before = sum(key[:2] == (type(message), whose) for key in self._pictures)
        if before and wanted not in (None, codec):
            stem = f"{stem}_{before + 1}"
        path = self._names.give(kind, stem, EXTENSIONS.get(codec, "bin"))
        track = self._pictures[type(message), whose, codec] = PictureTrack(kind, path, whose.user_id, name, codec)
        track.channel_id = whose.channel_id
        track.listener = self._listener
        self.tracks.append(track)
        return track

    def _on_transcript(self, frame: Frame) -> None:
        message = frame.message
        assert isinstance(message, Transcript)
        if frame.direction is not Direction.IN or self.channels.leaves_aside(frame.channel, message):
            return
        self.channels.find_for_media(frame.channel)
        has_time = self._note_time(message.timestamp, frame.at_us, is_text=True)
        change = CHANGES.get(message.attribute)
        if not message.text and change is None:
            return  # an interim result; the capture has it
        fields: dict[str, object] = {
            "start_time": message.start_time,
            "end_time": message.end_time,
            "user_id": message.user_id,
            "user_name": message.user_name,
            "language": message.language,
            "text": message.text,
        }
        if change is not None or message.attribute not in (None, Attribute.NONE, Attribute.NEW):
            fields["attribute"] = change or message.attribute
        if message.channel_id is not None:
            fields["channel_id"] = message.channel_id
        if message.extra:
            fields["extra"] = message.extra
        self._add_line("transcript", message.timestamp, fields, frame.at_us, has_time=has_time)
        self.last_words.append((self._shown(message), cut(transcript_gist(message))))

    def _on_chat(self, frame: Frame) -> None:
        message = frame.message
        assert isinstance(message, Chat)
        if frame.direction is not Direction.IN or self.channels.leaves_aside(frame.channel, message):
            return
        self.channels.find_for_media(frame.channel)
        has_time = self._note_time(message.timestamp, frame.at_us, is_text=True)
        self._add_line("chat", message.timestamp, chat_line(message), frame.at_us, has_time=has_time)
        self.last_chat.append((self._shown(message), cut(chat_gist(message))))

    def _note_time(self, timestamp: int | None, at_us: int, *, is_text: bool = False) -> bool:
        """Let a message that needs no place of its own set the origin or move it.

        :returns: whether the timestamp is one of the session's clock.
        """
        if timestamp is None or not 0 < timestamp < SANE_MS:
            return False
        return self._time.find(timestamp, at_us, may_open=False, is_text=is_text) is not None

    def _add_line(
        self, kind: str, timestamp: int | None, fields: dict[str, object], at_us: int, *, has_time: bool
    ) -> None:
        """Keep a line, whose time is that of its arrival where it has none."""
        arrival = None
        if not has_time:
            zoom_ms = self._time.at(at_us)
            arrival = Moment(at_us // 1000, is_ours=True) if zoom_ms is None else Moment(zoom_ms, is_ours=False)
        text = self._text(kind)
        text.origin_ms, text.zero_at_ms = self._time.origin_ms, self._time.zero_at_ms  # its listener wants `t`
        text.add(timestamp, fields, arrival)

    def _text(self, kind: str) -> TextTrack:
        track = self._texts.get(kind)
        if track is None:
            track = self._texts[kind] = TextTrack(kind)
            track.listener = self._listener
            self.tracks.append(track)
        return track

    def _name_of(self, message: Media | Transcript | Chat) -> str | None:
        """The name as it was sent, or as known before."""
        told = self._ledger.people.name(parties.party_of(message, self._product))
        return parties.name_of(message, self._product) or told

    def _shown(self, message: Transcript | Chat) -> str:
        whose = parties.party_of(message, self._product)
        return parties.label(self._product, whose, self._name_of(message))

    # What else is said.

    def _on_event(self, frame: Frame) -> None:
        message = frame.message
        assert isinstance(message, EventUpdate)
        fields: dict[str, object] = {"event": parties.event_label(message, self._product)}
        fields |= {name: value for name, value in message.fields.items() if name not in _OUR_FIELDS}
        if odd := {name: value for name, value in message.fields.items() if name in _OUR_FIELDS}:
            fields["extra"] = odd
        has_time = is_sane(message.timestamp)
        self._add_line("events", message.timestamp, fields, frame.at_us, has_time=has_time)

    def _on_media_handshake_request(self, frame: Frame) -> None:
        message = frame.message
        assert isinstance(message, MediaHandshakeRequest)
        self.channels.find(frame.channel).ask(message)

    def _on_media_handshake_response(self, frame: Frame) -> None:
        message = frame.message
        assert isinstance(message, MediaHandshakeResponse)
        if message.status_code != StatusCode.STATUS_OK:
            return
        channel = self.channels.find(frame.channel)
        self._held.settle()
        channel.grant(message.params)

    def _on_state(self, frame: Frame) -> None:
        change = frame.message
        assert isinstance(change, ChannelState)
        if change.state is State.OPEN and (channel := self.channels.known.get(frame.channel)) is not None:
            channel.open()
        elif change.state is State.EPOCH:
            for text in self._texts.values():
                text.begin_epoch()
        elif change.state is State.MARK:
            timestamp, fields = self._time.at(frame.at_us), {"event": "MARK", "text": change.reason}
            self._add_line("events", timestamp, dict(fields), frame.at_us, has_time=timestamp is not None)


def _of_told_length(ledger: Ledger, where: str, message: Media, kind: str, payload: bytes) -> bytes:
    """A payload whose length is not what its message says: encoded twice, or as it is."""
    inner = message.inner_payload(payload)
    if inner is None:
        ledger.warn(f"{where}: {kind} payloads whose length differs from what the message says")
        return payload
    ledger.warn(f"{where}: {kind} payloads in hexadecimal or in base64 twice; they are decoded")
    return inner
