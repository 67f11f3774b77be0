"""Recorder: a fold over frames. Live, replay and demo feed the same frames and get the same files.

Theory of operation. `fold` takes a batch: its capture lines are appended first, then every frame goes to its track,
which keeps it in memory, then each track that has something to write is flushed. What ends up in the files depends on
the frames and their order only, never on how they were cut into batches.

A write that fails costs what was to be written, to that file, and is counted in `losses`; everything else goes on, and
so does that file at the next flush. `fold` raises nothing for any frame and any disk.

A recorder belongs to one thread at a time: `Writer` runs those of live streams. Only `snapshot` may be called from
another.
"""

import logging
from collections import deque
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path

from msgspec import Struct

from rtms_cli.capture import Header, capture_lines, kept_raw
from rtms_cli.errors import Problem
from rtms_cli.machine import ChannelState, Direction, Frame, State
from rtms_cli.protocol.endings import Outlook, Status
from rtms_cli.protocol.media import MediaParams
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
    SessionStateResponse,
    SessionStateUpdate,
    Share,
    StreamCloseRequest,
    StreamStateUpdate,
    Transcript,
    Unknown,
    Unreadable,
    UserId,
    Video,
)
from rtms_cli.protocol.numbers import (
    Attribute,
    MeetingEvent,
    MessageType,
    Product,
    StatusCode,
    StopReason,
    event_name,
)
from rtms_cli.protocol.webhooks import StreamStart, StreamStop, UnreadableWebhook
from rtms_cli.recording.audio import AudioForm, AudioTrack, audio_form, is_decoded
from rtms_cli.recording.encoded import EXTENSIONS as ENCODED_EXTENSIONS
from rtms_cli.recording.encoded import encoded_track
from rtms_cli.recording.files import Files
from rtms_cli.recording.manifest import (
    MANIFEST,
    MOST_GAPS,
    Connection,
    KeepAlive,
    Loss,
    Manifest,
    MessageCount,
    Participant,
    Stop,
    Warned,
)
from rtms_cli.recording.names import Names, participant_stem
from rtms_cli.recording.ownership import FolderLock, NoLocksError
from rtms_cli.recording.pictures import sniff_codec
from rtms_cli.recording.timeline import SANE_MS, Segment, SessionTime
from rtms_cli.recording.track import Track
from rtms_cli.recording.tracks import EXTENSIONS, PictureTrack, TextTrack

log = logging.getLogger(__name__)

CAPTURE = "capture.jsonl"
MOST_TRACKS = 5_000
"""Media files of a recording: it bounds what a server can do that makes up participants."""
MOST_CONNECTIONS = 1_000
MOST_PARTICIPANTS = 10_000
MOST_REMARKS = 500
"""Different warnings, different losses and undocumented message types; further ones of a sort are counted together."""
_STATUSES = frozenset(status.value for status in Status) - {Status.RECORDING}
"""What a session's last word can be."""

_CHANGES: dict[int | None, str] = {int(change): change.name for change in (Attribute.UPDATE, Attribute.DELETE)}
"""What a transcript line may do to earlier ones (PROTOCOL §5)."""

_MEDIA = ("MEDIA_DATA_VIDEO", "MEDIA_DATA_SHARE", "MEDIA_DATA_TRANSCRIPT", "MEDIA_DATA_CHAT")
_NOT_WRITTEN = "could not be written"


class ClosedRecorderError(RuntimeError):
    """Frames came to a recorder that is closed: a defect of ours."""


class TrackSnapshot(Struct, frozen=True):
    """One file, as a view shows it."""

    path: str
    kind: str
    user_id: UserId
    user_name: str | None
    seconds: float
    packets: int
    level: float = 0.0
    """About the peak of the last audio that was written, 0 to 1."""
    gaps: int = 0
    gap_seconds: float = 0.0
    """Silence that nobody sent: a muted participant's too."""


class RecorderSnapshot(Struct, frozen=True):
    """Copied counters of a recorder, as of its last batch."""

    folder: Path
    status: str
    at_us: int = 0
    counts: dict[str, int] = {}
    """Messages that came in, by the type's name."""
    nbytes: dict[str, int] = {}
    """Their bytes on the wire."""
    tracks: tuple[TrackSnapshot, ...] = ()
    transcript: tuple[tuple[str, str], ...] = ()
    """The last lines: name, text."""
    chat: tuple[tuple[str, str], ...] = ()
    keep_alive: dict[str, tuple[int, int, float | None]] = {}
    """By channel: received, answered, slowest answer in ms."""
    losses: int = 0
    warnings: tuple[str, ...] = ()
    backlog_nbytes: int = 0
    """What waits to be folded."""
    written_nbytes: int = 0


class _Tally:
    """Messages of one type in one direction."""

    __slots__ = ("count", "msg_type", "nbytes")

    def __init__(self, msg_type: int | str | None) -> None:
        self.msg_type = msg_type
        self.count = 0
        self.nbytes = 0


class _Channel:
    """What is known of one media socket."""

    __slots__ = ("asked", "audio", "granted", "has_granted", "is_decoded", "tracks", "warned")

    def __init__(self) -> None:
        self.asked = MediaParams()
        self.granted = MediaParams()
        self.has_granted = False
        self.warned = False
        self.settle()

    def settle(self) -> None:
        """Work out the audio's form anew: granted, else asked, else Zoom's default."""
        self.audio: AudioForm = audio_form(self.granted.or_else(self.asked).audio)
        self.is_decoded = is_decoded(self.audio)
        self.tracks: dict[tuple[UserId, UserId, Segment | None], AudioTrack] = {}


class Recorder:
    """Writes one recording.

    :param folder: exists and is empty; see `names.new_folder`.
    :param header: the capture's first line; the recording's ids and its start come from it.
    :param max_gap_ms: a timestamp further off than this has jumped.
    :param files: where to write, if not straight into the folder.
    :param keep_revoked: keep what Zoom wants deleted (stop reason 8, PROTOCOL §8).
    :param keep_encoded: store audio packets that are not PCM as they came, too.
    :param process: who records, for the manifest of a recording that is not finished; see `ownership.this_process`.
    :param lock: the folder's lock; it is held while the recorder is open.
    :param origin_ms: the recording's zero, where it is known from before.
    :raises Problem: where another process has that lock.
    """

    def __init__(
        self,
        folder: Path,
        header: Header,
        *,
        max_gap_ms: int = 3_600_000,
        files: Files | None = None,
        keep_revoked: bool = False,
        keep_encoded: bool = False,
        process: str | None = None,
        lock: FolderLock | None = None,
        origin_ms: int | None = None,
    ) -> None:
        self.folder = folder
        self._lock = lock
        self._take_lock()
        self._header = header
        self._files = files or Files(folder)
        self._keep_revoked = keep_revoked
        self._keep_encoded = keep_encoded
        self._process = process
        self._product = Product(header.product) if header.product in tuple(Product) else Product.MEETING
        self._by_channel_id = self._product in (Product.CONTACT_CENTER, Product.PHONE)
        self._time = SessionTime(max_gap_ms, origin_ms)
        self._names = Names()
        self._audio: dict[tuple[UserId, AudioForm, Segment | None], AudioTrack] = {}
        self._pictures: dict[tuple[type[Media], UserId, int | None], PictureTrack] = {}
        self._texts: dict[str, TextTrack] = {}
        self._tracks: list[Track] = []
        self._channels: dict[str, _Channel] = {}
        self._moves = 0
        self.is_open = True
        self._has_ended = False
        """Whether the last frame was a session's last word."""
        self._files_left: tuple[tuple[int, int, int] | None, ...] = ()
        self._at_us = 0
        self._status = "recording"
        self._said_status: str | None = None
        self._said_stop: Stop | None = None
        self._outlook = Outlook(trusted=header.verified)
        self._asked = self._ready = False
        self._earlier_media = 0
        self._received: dict[str, _Tally] = {}
        self._sent: dict[str, _Tally] = {}
        self._received_audio = _Tally(int(MessageType.MEDIA_DATA_AUDIO))
        self._keep_alive: dict[str, KeepAlive] = {}
        self._unanswered: dict[str, deque[int]] = {}
        self._connections: deque[Connection] = deque(maxlen=MOST_CONNECTIONS)
        self._connection_count = 0
        self._open: dict[str, Connection] = {}
        self._participants: dict[UserId, Participant] = {}
        self._warnings: dict[str, Warned] = {}
        self._losses: dict[tuple[str, str], Loss] = {}
        self._webhook_ts: int | None = None
        self._first_audio_ts: int | None = None
        self._last_words: deque[tuple[str, str]] = deque(maxlen=5)
        self._last_chat: deque[tuple[str, str]] = deque(maxlen=5)
        self._has_header = False
        self._has_manifest = False
        self._written = 0
        self._handlers: dict[type, Callable[[Frame], None]] = {
            Video: self._on_picture,
            Share: self._on_picture,
            Transcript: self._on_transcript,
            Chat: self._on_chat,
            EventUpdate: self._on_event,
            KeepAliveRequest: self._on_keep_alive_request,
            KeepAliveResponse: self._on_keep_alive_response,
            MediaHandshakeRequest: self._on_media_handshake_request,
            MediaHandshakeResponse: self._on_media_handshake_response,
            ClientReadyAck: self._on_sent,
            StreamCloseRequest: self._on_sent,
            StreamStateUpdate: self._on_outlook,
            SessionStateUpdate: self._on_outlook,
            SessionStateResponse: self._on_outlook,
            Unreadable: self._on_unreadable,
            UnreadableWebhook: self._on_unreadable,
            StreamStart: self._on_start_webhook,
            StreamStop: self._on_outlook,
            ChannelState: self._on_state,
        }
        self._snapshot = RecorderSnapshot(folder, self._status)

    # What its owner calls.

    def fold(self, frames: Sequence[Frame]) -> None:
        """Take a batch of frames, in order, and write what they bring.

        :raises ClosedRecorderError: where the recorder is closed.
        """
        if not self.is_open:
            raise ClosedRecorderError(f"{self.folder} is closed, and {len(frames)} frames came")
        if frames:
            self._at_us = frames[-1].at_us
            self._capture(frames)
            handlers = self._handlers
            for frame in frames:
                self._at_us = frame.at_us
                if self._has_ended:
                    self._resume()
                message = frame.message
                if type(message) is Audio and frame.direction is Direction.IN:
                    tally = self._received_audio
                    tally.count += 1
                    tally.nbytes += len(frame.raw)
                    self._on_audio(frame, message)
                else:
                    if isinstance(message, Message):
                        self._count(frame, message)
                    handler = handlers.get(type(message))
                    if handler is not None:
                        handler(frame)
            self._flush()
        if not self._has_manifest:
            self._has_manifest = True
            self.checkpoint()
        self._publish()

    def checkpoint(self) -> int:
        """Renew manifest.json; its owner says when, for it has a clock.

        :returns: the size of it, by which the owner can judge how often is often enough.
        """
        content = self.manifest().encode()
        try:
            self._files.replace(MANIFEST, content)
        except OSError as error:
            self._lose(_NOT_WRITTEN, MANIFEST, len(content), error)
        return len(content)

    def close(self) -> None:
        """Write what is left and the final manifest. A second call does nothing."""
        if not self.is_open:
            return
        self.is_open = False
        try:
            self._finish()
        finally:
            self._files_left = self._stat_files()
            if self._lock is not None:
                self._lock.release()

    def _finish(self) -> None:
        if not self._has_header:
            self._capture(())
        self._close_tracks()
        self._flush()
        begun = self._ready or self._media_count() > self._earlier_media
        self._status = self._said_status or self._outlook.judge(asked=self._asked, begun=begun).value
        if self._status == "revoked" and not self._keep_revoked:
            self._delete()
        self.checkpoint()
        self._publish()

    def reopen(self) -> None:
        """Go on with a recording that was closed after its session's last word; the tracks reopen with the next frame.

        :raises Problem: where that cannot be done: its stream needs a recording of its own.
        """
        if self.is_open:
            return
        if not self._has_ended:
            raise Problem(f"{self.folder} cannot go on: its session ended without a last word.", "A new one is begun.")
        self._take_lock()
        if None in self._files_left or self._stat_files() != self._files_left:
            if self._lock is not None:
                self._lock.release()
            raise Problem(f"{self.folder} cannot go on: its files have changed.", "A new one is begun.")
        self.is_open = True
        self._status = "recording"
        self.checkpoint()
        self._publish()

    def warn(self, text: str) -> None:
        """Put a line into the manifest for a person; the same one again is counted."""
        if text not in self._warnings and len(self._warnings) >= MOST_REMARKS:
            text = "further warnings"
        warned = self._warnings.get(text)
        if warned is None:
            self._warnings[text] = Warned(text, 1, self._at_us / 1_000_000)
        else:
            warned.count += 1

    def note_defect(self, text: str) -> None:
        """Put into `losses` that a defect of ours cost something."""
        self._lose("a defect in rtms", CAPTURE, 0, text)

    def write_failures(self) -> int:
        """How many writes have failed so far."""
        return sum(loss.count for (what, _), loss in self._losses.items() if what == _NOT_WRITTEN)

    @property
    def has_last_word(self) -> bool:
        """Whether the last frame was a session's last word, with a status that is known."""
        return self._has_ended and self._said_status is not None

    def snapshot(self) -> RecorderSnapshot:
        """The counters as of the last batch; may be called from any thread."""
        return self._snapshot

    def manifest(self) -> Manifest:
        """What manifest.json says at this moment."""
        header, origin_ms = self._header, self._time.origin_ms
        asked, granted = MediaParams(), MediaParams()
        for channel in self._channels.values():
            asked, granted = asked.or_else(channel.asked), granted.or_else(channel.granted)
        buffered = None
        if self._first_audio_ts is not None and self._webhook_ts is not None:
            buffered = self._first_audio_ts - self._webhook_ts
        return Manifest(
            schema=1,
            status=self._status,
            product=header.product,
            id=header.id,
            rtms_stream_id=header.rtms_stream_id,
            generator=header.generator,
            process=self._process if self._status == "recording" else None,
            started_at=header.created,
            ended_at=None if self._status == "recording" else _later(header.created, self._at_us),
            origin_ms=origin_ms,
            buffered_ms=buffered,
            media={"asked": asked.to_json(), "granted": granted.to_json()},
            tracks=[track.entry(origin_ms, MOST_GAPS) for track in self._tracks],
            messages={
                "received": _counts(self._received | self._audio_tally()),
                "sent": _counts(self._sent),
            },
            keep_alive=self._keep_alive,
            connections=list(self._connections),
            connection_count=self._connection_count,
            participants=list(self._participants.values()),
            stop=self._stop(),
            warnings=list(self._warnings.values()),
            losses=list(self._losses.values()),
        )

    # The life of a recording. The capture shows where sessions ended and began, so that a replay makes the same files.

    def _take_lock(self) -> None:
        if self._lock is None:
            return
        try:
            self._lock.acquire()
        except NoLocksError as error:
            log.debug("%s: %s", self.folder, error)  # `repair` asks for --force there
        except BlockingIOError:
            raise Problem(f"{self.folder} is being recorded or repaired.", "A new one is begun.") from None
        except OSError as error:
            raise Problem(f"{self.folder} cannot be recorded to: {error.strerror}.", "A new one is begun.") from error

    def _stat_files(self) -> tuple[tuple[int, int, int] | None, ...]:
        """What tells whether anybody has touched the recording in between."""
        found: list[tuple[int, int, int] | None] = []
        for name in (CAPTURE, MANIFEST):
            try:
                stat = (self.folder / name).stat()
            except OSError:
                found.append(None)
            else:
                found.append((stat.st_ino, stat.st_size, stat.st_mtime_ns))
        return tuple(found)

    def _close_tracks(self) -> None:
        for track in self._tracks:
            track.close()

    def _resume(self) -> None:
        """Take note that the stream goes on in the same recording, after a session's last word."""
        self._has_ended = False
        self._said_status = self._said_stop = None
        self._outlook = Outlook(trusted=self._header.verified)
        self._asked = self._ready = False
        self._earlier_media = self._media_count()
        for track in self._tracks:
            if track.can_reopen:
                track.reopen()
        for channel in self._channels.values():
            channel.tracks.clear()  # a track may need another file for its encoded packets

    # Writing.

    def _delete(self) -> None:
        """Take away everything that was recorded, and all that tells of it by name; the manifest remains.

        The manifest says so first: then `repair` can finish a deletion that was not.
        """
        paths = [track.path for track in self._tracks]
        paths += [f"{track.path}.index.jsonl" for track in self._tracks if isinstance(track, PictureTrack)]
        self._tracks, self._participants, self._warnings, self._losses = [], {}, {}, {}
        self._last_words.clear()
        self._last_chat.clear()
        self.checkpoint()
        for path in [*paths, CAPTURE]:
            try:
                self._files.remove(path)
            except OSError as error:
                self._lose("could not be deleted", path, 0, error)
        self.warn(f"the stream was revoked: all {len(paths) + 1} files of its recording were deleted")

    def _capture(self, frames: Sequence[Frame]) -> None:
        lines = capture_lines(frames)
        if not self._has_header:
            lines = self._header.line() + lines
        if self._write(CAPTURE, lambda files: files.append(CAPTURE, lines), len(lines), max(1, len(frames))):
            self._has_header = True

    def _flush(self) -> None:
        moves = self._time.moves
        if moves != self._moves or any(text.origin_ms != self._time.origin_ms for text in self._texts.values()):
            self._moves = moves
            for text in self._texts.values():
                text.origin_ms = self._time.origin_ms
            for track in self._tracks:
                track.catch_up()
        for track in self._tracks:
            if track.dirty:
                nbytes = track.waiting
                self._write(track.path, track.flush, nbytes)

    def _write(self, path: str, work: Callable[[Files], None], nbytes: int, count: int = 1) -> bool:
        try:
            work(self._files)
        except OSError as error:
            self._lose(_NOT_WRITTEN, path, nbytes, error, count)
            return False
        self._written += nbytes
        return True

    def _lose(self, what: str, where: str, nbytes: int = 0, error: OSError | str = "", count: int = 1) -> None:
        key = (what, where)
        if key not in self._losses and len(self._losses) >= MOST_REMARKS:
            key = (what, "elsewhere")
        at = self._at_us / 1_000_000
        text = (error.strerror or str(error)) if isinstance(error, OSError) else error
        loss = self._losses.get(key)
        if loss is None:
            loss = self._losses[key] = Loss(*key, first_at=at, first_error=text)
        loss.count += count
        loss.bytes += nbytes
        loss.last_at = at
        loss.last_error = text

    # Media.

    def _on_audio(self, frame: Frame, message: Audio) -> None:
        channel = self._channels.get(frame.channel)
        if channel is None or not channel.has_granted:
            channel = self._media_channel(frame.channel)
        payload = message.payload()
        if payload is None:
            self._lose("payload is not base64", frame.channel, len(message.data))
            return
        nbytes = len(payload)
        if message.length != nbytes and message.length is not None:
            self.warn(f"{frame.channel}: audio payloads whose length differs from what the message says")
        timestamp = message.timestamp
        if timestamp is not None and 0 < timestamp < SANE_MS:
            segment = self._time.find(timestamp, frame.at_us)
            if segment is None:
                self._lose("the clock has jumped too often", frame.channel, nbytes)
                return
            if self._first_audio_ts is None:
                self._first_audio_ts = timestamp
        else:
            segment = None
            self.warn(f"{frame.channel}: audio without a usable timestamp; it is in a file of its own, in order")
        if not channel.is_decoded:
            self._lose(f"{channel.audio.codec_name} audio is not decoded; it is in the capture", frame.channel, nbytes)
            return
        track = channel.tracks.get((message.user_id, message.channel_id, segment))
        if track is None:
            track = self._audio_track(message, channel.audio, segment)
            if track is None:
                self._lose("too many tracks", frame.channel, nbytes)
                return
            channel.tracks[message.user_id, message.channel_id, segment] = track
        fault = track.add(timestamp, payload)
        if fault is not None:
            self._lose(fault[0], track.path, fault[1])

    def _audio_track(self, message: Audio, form: AudioForm, segment: Segment | None) -> AudioTrack | None:
        who = self._who(message)
        track = self._audio.get((who, form, segment))
        if track is not None and track.encoded is not None and not track.encoded.is_open:
            stem = "mixed" if who is None else participant_stem(who, track.user_name)
            track.encoded = self._encoded_track(stem, track.user_id, track.user_name, form)
        if track is not None or len(self._tracks) >= MOST_TRACKS:
            return track
        name = None if who is None else self._name_of(message.user_id, message.user_name)
        stem = "mixed" if who is None else participant_stem(who, name)
        path = self._names.give("audio", stem, "wav")
        whose = 0 if who is None else who
        encoded = self._encoded_track(stem, whose, name, form)
        track = self._audio[who, form, segment] = AudioTrack(path, whose, name, form, segment, encoded)
        self._tracks.append(track)
        if segment is not None and segment is not self._time.segments[0]:
            offset = (segment.zero_ms - self._time.segments[0].zero_ms) / 1000
            self.warn(f"the media clock has jumped by {offset:+.0f} s; {path} starts there")
        return track

    def _encoded_track(self, stem: str, user_id: UserId, name: str | None, form: AudioForm) -> Track | None:
        """What keeps the packets of a participant as they come, where that is wanted and possible."""
        if not self._keep_encoded or form.codec not in ENCODED_EXTENSIONS or len(self._tracks) >= MOST_TRACKS:
            return None
        path = self._names.give("audio", stem, ENCODED_EXTENSIONS[form.codec])
        track = encoded_track(path, user_id, name, form.codec, form.audio_channels)
        self._tracks.append(track)
        return track

    def _who(self, message: Audio) -> UserId:
        """Whose audio a packet is; `None` for everybody's (RECORDING, "The folder")."""
        if message.channel_id is not None and (self._by_channel_id or not message.user_id):
            return message.channel_id
        return message.user_id or None

    def _on_picture(self, frame: Frame) -> None:
        message = frame.message
        assert isinstance(message, Video | Share)
        if frame.direction is not Direction.IN:
            return
        kind = "video" if isinstance(message, Video) else "share"
        channel = self._media_channel(frame.channel)
        payload = message.payload()
        if payload is None:
            self._lose("payload is not base64", frame.channel, len(message.data))
            return
        if message.length is not None and message.length != len(payload):
            self.warn(f"{frame.channel}: {kind} payloads whose length differs from what the message says")
        self._note_time(message.timestamp, frame.at_us)
        if not payload:
            return
        granted = channel.granted.video if kind == "video" else channel.granted.share
        codec = granted.codec if granted is not None and granted.codec is not None else sniff_codec(payload)
        key = (type(message), message.user_id, codec)
        track = self._pictures.get(key)
        if track is None:
            if len(self._tracks) >= MOST_TRACKS:
                self._lose("too many tracks", frame.channel, len(payload))
                return
            name = self._name_of(message.user_id, message.user_name)
            stem = participant_stem(message.user_id, name) if message.user_id else "mixed"
            path = self._names.give(kind, stem, EXTENSIONS.get(codec, "bin"))
            track = self._pictures[key] = PictureTrack(kind, path, message.user_id, name, codec)
            self._tracks.append(track)
        track.add(message.timestamp, payload)

    def _on_transcript(self, frame: Frame) -> None:
        message = frame.message
        assert isinstance(message, Transcript)
        if frame.direction is not Direction.IN:
            return
        self._media_channel(frame.channel)
        self._note_time(message.timestamp, frame.at_us)
        change = _CHANGES.get(message.attribute)
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
        if change is not None:
            fields["attribute"] = change
        if message.channel_id is not None:
            fields["channel_id"] = message.channel_id
        if message.extra:
            fields["extra"] = message.extra
        self._text("transcript").add(message.timestamp, fields)
        if not message.text:
            return
        self._last_words.append((self._name_of(message.user_id, message.user_name) or "", message.text))

    def _on_chat(self, frame: Frame) -> None:
        message = frame.message
        assert isinstance(message, Chat)
        if frame.direction is not Direction.IN:
            return
        self._media_channel(frame.channel)
        self._note_time(message.timestamp, frame.at_us)
        fields: dict[str, object] = {
            "user_id": message.user_id,
            "user_name": message.user_name,
            "text": message.text,
        }
        if message.extra:
            fields["extra"] = message.extra
        self._text("chat").add(message.timestamp, fields)
        self._last_chat.append((self._name_of(message.user_id, message.user_name) or "", message.text or ""))

    def _note_time(self, timestamp: int | None, at_us: int) -> None:
        """Let a message that needs no place of its own set the origin or move it."""
        if timestamp is not None and 0 < timestamp < SANE_MS:
            self._time.find(timestamp, at_us, may_open=False)

    def _media_channel(self, name: str) -> _Channel:
        channel = self._channels.get(name)
        if channel is None:
            channel = self._channels[name] = _Channel()
        if not channel.has_granted and not channel.warned:
            channel.warned = True
            form = "what was asked for" if channel.asked.audio else "Zoom's defaults (L16, 16 kHz, mono)"
            self.warn(f"{name}: media without an accepted handshake (4); read as {form}")
        return channel

    def _text(self, kind: str) -> TextTrack:
        track = self._texts.get(kind)
        if track is None:
            track = self._texts[kind] = TextTrack(kind)
            self._tracks.append(track)
        return track

    def _name_of(self, user_id: UserId, user_name: str | None) -> str | None:
        """The name as it was sent, or as an event told it."""
        if user_name:
            return user_name
        known = self._participants.get(user_id)
        return known.user_name if known is not None else None

    # What else is said.

    def _on_event(self, frame: Frame) -> None:
        message = frame.message
        assert isinstance(message, EventUpdate)
        fields: dict[str, object] = {"event": event_name(self._product, message.event_type)}
        fields |= {name: value for name, value in message.fields.items() if name not in ("t", "timestamp", "event")}
        self._text("events").add(message.timestamp, fields)
        at = frame.at_us / 1_000_000
        for user_id, user_name in message.participants():
            person = self._participants.get(user_id)
            if person is None:
                if len(self._participants) >= MOST_PARTICIPANTS:
                    continue
                person = self._participants[user_id] = Participant(user_id)
            person.user_name = user_name or person.user_name
            if message.event_type == MeetingEvent.PARTICIPANT_JOIN:
                person.joined, person.left = person.joined if person.joined is not None else at, None
            elif message.event_type == MeetingEvent.PARTICIPANT_LEAVE:
                person.left = at

    def _on_keep_alive_request(self, frame: Frame) -> None:
        if frame.direction is Direction.IN:
            self._keep_alive.setdefault(frame.channel, KeepAlive()).received += 1
            self._unanswered.setdefault(frame.channel, deque(maxlen=100)).append(frame.at_us)

    def _on_keep_alive_response(self, frame: Frame) -> None:
        waiting = self._unanswered.get(frame.channel)
        if frame.direction is Direction.OUT and waiting:
            keep_alive = self._keep_alive[frame.channel]
            keep_alive.answered += 1
            took_ms = (frame.at_us - waiting.popleft()) / 1000
            keep_alive.slowest_ms = max(took_ms, keep_alive.slowest_ms or 0.0)

    def _on_media_handshake_request(self, frame: Frame) -> None:
        message = frame.message
        assert isinstance(message, MediaHandshakeRequest)
        channel = self._channels.setdefault(frame.channel, _Channel())
        channel.asked = message.params
        channel.settle()

    def _on_media_handshake_response(self, frame: Frame) -> None:
        message = frame.message
        assert isinstance(message, MediaHandshakeResponse)
        if message.status_code != StatusCode.STATUS_OK:
            return
        channel = self._channels.setdefault(frame.channel, _Channel())
        channel.granted = message.params
        channel.has_granted = True
        channel.settle()

    def _on_sent(self, frame: Frame) -> None:
        if frame.direction is Direction.OUT:
            self._asked |= isinstance(frame.message, StreamCloseRequest)
            self._ready |= isinstance(frame.message, ClientReadyAck)

    def _on_outlook(self, frame: Frame) -> None:
        message = frame.message
        assert not isinstance(message, ChannelState)
        if frame.direction is Direction.IN:
            self._outlook.take(message, frame.channel)

    def _on_start_webhook(self, frame: Frame) -> None:
        message = frame.message
        assert isinstance(message, StreamStart)
        if self._webhook_ts is None:
            self._webhook_ts = message.stream.event_ts
        self._on_outlook(frame)

    def _stop(self) -> Stop | None:
        """Why the stream ended, as the session's last word has it, or as far as Zoom has told."""
        said = self._outlook
        return self._said_stop or (_stop(said.reason, said.how) if said.is_over else None)

    def _on_unreadable(self, frame: Frame) -> None:
        message = frame.message
        assert isinstance(message, Unreadable | UnreadableWebhook)
        self._lose("frame could not be read; it is in the capture", frame.channel, len(frame.raw), message.problem)

    def _on_state(self, frame: Frame) -> None:
        message = frame.message
        assert isinstance(message, ChannelState)
        at = frame.at_us / 1_000_000
        match message.state:
            case State.OPENING:
                connection = Connection(frame.channel, message.url.partition("?")[0])
                self._open[frame.channel] = connection
                self._connections.append(connection)
                self._connection_count += 1
            case State.OPEN:
                connection = self._connection(frame.channel)
                connection.opened = at
                if (channel := self._channels.get(frame.channel)) is not None:
                    # Whatever was granted before holds until the server says otherwise.
                    channel.has_granted = channel.warned = False
            case State.REFUSED | State.CLOSED:
                connection = self._connection(frame.channel)
                del self._open[frame.channel]
                connection.closed, connection.code = at, message.code
                connection.reason, connection.ours = message.reason, message.ours
            case State.DROPPED:
                self._lose("read and not kept", frame.channel, 0, message.reason, message.count)
            case State.WARNING:
                self.warn(message.reason)
            case State.FINISHED:
                self._has_ended = True
                self._close_tracks()
                self._said_status = message.status if message.status in _STATUSES else None
                if message.code is not None or message.reason:
                    self._said_stop = _stop(message.code, message.reason)
            case State.MARK:
                self._text("events").add(self._time.at(frame.at_us), {"event": "MARK", "text": message.reason})
            case State.STOPPING:
                pass  # FINISHED will say who asked

    def _connection(self, channel: str) -> Connection:
        """The channel's open connection; a capture may lack its beginning."""
        connection = self._open.get(channel)
        if connection is None:
            connection = self._open[channel] = Connection(channel)
            self._connections.append(connection)
            self._connection_count += 1
        return connection

    # Counting and showing.

    def _media_count(self) -> int:
        """How many media messages came in."""
        counts = (self._received[name].count for name in _MEDIA if name in self._received)
        return self._received_audio.count + sum(counts)

    def _count(self, frame: Frame, message: Message) -> None:
        tallies = self._sent if frame.direction is Direction.OUT else self._received
        name, msg_type = _type_of(message)
        tally = tallies.get(name)
        if tally is None:
            if len(tallies) >= MOST_REMARKS:
                name, msg_type = "further types", None
            tally = tallies.setdefault(name, _Tally(msg_type))
        tally.count += 1
        tally.nbytes += len(frame.raw if isinstance(message, Unreadable) else kept_raw(frame))

    def _audio_tally(self) -> dict[str, _Tally]:
        return {MessageType.MEDIA_DATA_AUDIO.name: self._received_audio} if self._received_audio.count else {}

    def _publish(self) -> None:
        received = self._received | self._audio_tally()
        self._snapshot = RecorderSnapshot(
            folder=self.folder,
            status=self._status,
            at_us=self._at_us,
            counts={name: tally.count for name, tally in received.items()},
            nbytes={name: tally.nbytes for name, tally in received.items()},
            tracks=tuple(
                TrackSnapshot(
                    track.path,
                    track.kind,
                    track.user_id,
                    track.user_name,
                    track.seconds,
                    track.packets,
                    track.level,
                    *track.gaps,
                )
                for track in self._tracks
            ),
            transcript=tuple(self._last_words),
            chat=tuple(self._last_chat),
            keep_alive={
                name: (one.received, one.answered, one.slowest_ms) for name, one in list(self._keep_alive.items())
            },
            losses=sum(loss.count for loss in self._losses.values()),
            warnings=tuple(self._warnings),
            written_nbytes=self._written,
        )


def _stop(reason: int | None, said_by: str) -> Stop:
    return Stop(reason, StopReason.label(reason).partition(" ")[2], said_by)


def _type_of(message: Message) -> tuple[str, int | str | None]:
    if isinstance(message, Unknown):
        known = MessageType.member(message.type) if isinstance(message.type, int) else message.type
        return (known.name if isinstance(known, MessageType) else f"UNKNOWN {message.type}"), message.type
    if isinstance(message, Unreadable):
        return "UNREADABLE", None
    return MessageType.label(message.msg_type).partition(" ")[2], int(message.msg_type)


def _counts(tallies: dict[str, _Tally]) -> dict[str, MessageCount]:
    return {name: MessageCount(tally.msg_type, tally.count, tally.nbytes) for name, tally in tallies.items()}


def _later(created: str, at_us: int) -> str | None:
    """An ISO time some microseconds after another; `None` where that is no time."""
    try:
        ended = datetime.fromisoformat(created) + timedelta(microseconds=at_us)
    except (ValueError, OverflowError):
        return None
    return ended.isoformat(timespec="milliseconds").replace("+00:00", "Z")
