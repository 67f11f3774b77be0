"""Recorder: a fold over frames. Live, replay and demo feed the same frames and get the same files.

Theory of operation. `fold` takes a batch: its capture lines are appended first, then every frame goes to its track,
which keeps it in memory, then each track that has something to write is flushed. What ends up in the files depends on
the frames and their order only, never on how they were cut into batches.

A failed write loses its data, for that file, and is counted in `losses`; everything else goes on, and
so does that file at the next flush. `fold` raises nothing for any frame and any disk.

A recorder belongs to one thread at a time: `Writer` runs those of live streams. Only `snapshot` may be called from
another.
"""

import logging
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from itertools import count
from os.path import lexists
from pathlib import Path

from msgspec import Struct, structs

from rtms_cli.capture import Header, capture_lines, part_name
from rtms_cli.errors import Problem, reason_of
from rtms_cli.machine import ChannelState, Direction, Frame, Item, Packets, State
from rtms_cli.protocol import parties
from rtms_cli.protocol.endings import Status
from rtms_cli.protocol.messages import Audio, UserId
from rtms_cli.protocol.times import iso_time
from rtms_cli.recording.files import Files, Mark
from rtms_cli.recording.hearing import Audience, Listener, StreamListener
from rtms_cli.recording.ledger import Ledger, Socket, Tally
from rtms_cli.recording.manifest import (
    CAPTURE,
    HOOKS_LOG,
    MANIFEST,
    MOST_GAPS,
    SCHEMA,
    Connection,
    KeepAlive,
    Manifest,
    MessageCount,
    TapEntry,
    TrackEntry,
    Warned,
    joined_taps,
)
from rtms_cli.recording.ownership import FolderLock, NoLocksError
from rtms_cli.recording.placing import Placer
from rtms_cli.recording.runs import Run, Runs, in_runs
from rtms_cli.recording.timeline import SessionTime
from rtms_cli.recording.track import Track

log = logging.getLogger(__name__)

_NOT_WRITTEN = "could not be written"
_CHANGED = "was deleted, cut or replaced while it grew"


class ClosedRecorderError(RuntimeError):
    """Frames came to a recorder that is closed: a defect of ours."""


class TrackSnapshot(Struct, frozen=True):
    """One file, as a view shows it."""

    path: str
    kind: str
    user_id: UserId
    """Whose it is; `None` is everyone's."""
    user_name: str | None
    seconds: float
    packets: int
    level: float = 0.0
    """About the peak of the last audio that was written, 0 to 1."""
    gaps: int = 0
    gap_seconds: float = 0.0
    """Silence that nobody sent: a muted participant's too."""
    written_us: int | None = None
    """When anything was last written, by the capture's clock; `None` if that is not known."""


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
    participants: dict[UserId, str] = {}
    """The newest names, by party."""
    speaker: UserId = None
    losses: int = 0
    warnings: tuple[Warned, ...] = ()
    """In the order in which they first came."""
    taps: tuple[TapEntry, ...] = ()
    backlog_nbytes: int = 0
    """What waits to be folded."""
    written_nbytes: int = 0


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
    :raises Problem: if another process has that lock.
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
        self._process = process
        self._time = SessionTime(max_gap_ms, origin_ms)
        self._ledger = Ledger(header.product, trusted=header.verified, epoch=header.epoch, generator=header.generator)
        self._placer = Placer(header, self._time, self._ledger, keep_encoded=keep_encoded)
        self._runs = Runs(header.product, self._ledger, self._placer, self._time, self._take)
        self._audience = Audience()
        self._taps: list[TapEntry] = []
        """Of sessions that are over."""
        self.is_open = True
        self._status: str = Status.RECORDING.value
        self._files_left: tuple[Mark | None, ...] = ()
        self._has_header = False
        self._unwritten: list[Frame | Run] = []
        """What was taken, and is not in the capture yet."""
        self._part = 1
        """Of the capture; a new one begins where someone has deleted, cut or replaced the last one."""
        self._has_manifest = False
        self._written = 0
        self._snapshot = RecorderSnapshot(folder, self._status)
        self.manifest_error: OSError | None = None
        """Why the last manifest could not be written, so that the one on the disk does not tell how it stands."""

    # What its owner calls.

    def begin(self) -> None:
        """Write what is known before anything has come, so that nothing that dies early is a riddle."""
        self._capture()
        self.checkpoint()
        self._has_manifest = self.manifest_error is None

    @property
    def is_kept(self) -> bool:
        """Whether files are made."""
        return self._files.is_kept

    @property
    def is_heard(self) -> bool:
        """Whether someone listens."""
        return self._audience.heard is not None

    def listen(self, listener: StreamListener | None) -> None:
        """Tell someone what the files get from now on, in `fold`, `turn` and `close`; who listened before is done."""
        self._taps = self._tap_entries()
        self._placer.hear(self._audience.listen(listener))

    def invite(self, guest: Listener | None) -> None:
        """Tell one more, whom the manifest does not mention; `None` sees that one off. On the thread that folds."""
        self._placer.hear(self._audience.invite(guest))

    def turn(self, at_us: int) -> None:
        """Tell who listens that all that came until a moment has been folded."""
        if self._audience.heard is not None:
            self._audience.heard.on_turn(at_us)

    def fold(self, items: Sequence[Item], *, writes: bool = True) -> None:
        """Take a batch of frames and packets, in order, and write what they bring.

        :param writes: whether to write: a listener wants to hear at once what can be written with more of its kind.
        :raises ClosedRecorderError: if the recorder is closed.
        """
        if not self.is_open:
            raise ClosedRecorderError(f"{self.folder} is closed, and {len(items)} frames came")
        if items:
            units, runs = in_runs(items), self._runs
            last = items[-1]
            self._ledger.at_us = last.at_us[-1] if isinstance(last, Packets) else last.at_us
            self._unwritten += units
            if writes:
                self._capture()
            for unit in units:
                if isinstance(unit, Run):
                    runs.take(unit)
                else:
                    runs.settle()
                    self._take(unit)
            runs.settle()
        if writes:
            self._write_all()

    def _write_all(self) -> None:
        if self._unwritten:
            self._capture()
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
        self.manifest_error = None
        try:
            self._files.replace(MANIFEST, content)
        except OSError as error:
            self._ledger.lose(_NOT_WRITTEN, MANIFEST, len(content), error)
            self.manifest_error = error if self.is_open else self._say_last(error)
        else:
            if self._lock is not None:
                self._lock.keep(2 * len(content))
        return len(content)

    def _say_last(self, error: OSError) -> OSError | None:
        """Write the last manifest where it could not be written as the others were: its room was kept.

        :returns: why not, if that failed too.
        """
        if self._lock is None:
            return error
        try:
            self._lock.become(MANIFEST, self.manifest().encode())
        except OSError as another:
            log.debug("%s: %s", self.folder, another)
            return error
        return None

    def close(self) -> None:
        """Write what is left and the final manifest. A second call does nothing."""
        if not self.is_open:
            return
        self.is_open = False
        try:
            self._finish()
        finally:
            self._files_left = self._files.marks((part_name(self._part), MANIFEST))
            self._release_lock()

    def reopen(self) -> None:
        """Go on with a recording that was closed after its session's last word; the tracks reopen with the next frame.

        :raises Problem: if that cannot be done: its stream needs a recording of its own.
        """
        if self.is_open:
            return
        if self._ledger.last_word is None or self._status == Status.REVOKED:
            raise Problem(f"{self.folder} cannot go on: its session ended without a last word.")
        self._take_lock()
        if None in self._files_left or self._files.marks((part_name(self._part), MANIFEST)) != self._files_left:
            self._release_lock()
            raise Problem(f"{self.folder} cannot go on: its files have changed.")
        self.is_open = True
        self._status = Status.RECORDING.value
        self.checkpoint()
        self._has_manifest = self.manifest_error is None  # else the next frames try again
        self._publish()

    def release(self) -> None:
        """Let go of all but the last snapshot; nothing is asked of it any more, and it does not go on.

        Its parts refer to each other in circles, and the collector finds those late: an hour of a large meeting is
        megabytes of gaps.
        """
        for part in (self._placer, self._ledger, self._runs):
            vars(part).clear()

    def note_taps(self) -> None:
        """Renew the manifest of a recording that is closed: its listener has finished only now."""
        if not self._tap_entries():
            return
        self.checkpoint()
        self._files_left = self._files.marks((part_name(self._part), MANIFEST))

    def note_loss(self, what: str, why: str) -> None:
        """Put into `losses` what the capture lacks, and does not report itself."""
        self._ledger.lose(what, CAPTURE, 0, why)

    def write_failures(self) -> int:
        """How many writes have failed so far."""
        return sum(loss.count for (what, _), loss in self._ledger.losses.items() if what == _NOT_WRITTEN)

    @property
    def has_last_word(self) -> bool:
        """Whether the last frame was a session's last word, with a status that is known."""
        return self._ledger.ended_as is not None

    def snapshot(self) -> RecorderSnapshot:
        """The counters as of the last batch; may be called from any thread."""
        return self._snapshot

    def manifest(self) -> Manifest:
        """What manifest.json says at this moment."""
        header, ledger, placer, origin_ms = self._header, self._ledger, self._placer, self._time.origin_ms
        asked, granted = placer.channels.params()
        buffered = None
        if placer.first_audio_ms is not None and ledger.announced_ms is not None:
            buffered = placer.first_audio_ms - ledger.announced_ms
        is_over = self._status != Status.RECORDING
        return Manifest(
            schema=SCHEMA,
            status=self._status,
            product=header.product,
            id=header.id,
            rtms_stream_id=header.rtms_stream_id,
            generator=header.generator,
            process=None if is_over else self._process,
            started_at=header.created,
            ended_at=_later(header.created, ledger.at_us) if is_over else None,
            origin_ms=origin_ms,
            buffered_ms=buffered,
            media={"asked": asked.to_json(), "granted": granted.to_json()},
            tracks=[self._entry(track) for track in placer.tracks if track.has_content],
            messages={
                "received": _counts(ledger.received()),
                "sent": _counts(ledger.tallies[Direction.OUT]),
            },
            keep_alive={name: KeepAlive(*figures) for name, figures in self._keep_alives().items()},
            connections=[_connection(socket) for socket in ledger.connections],
            connection_count=ledger.connection_count,
            participants=ledger.people.listed(),
            announced_by=ledger.announced_by or None,
            stop=ledger.stop,
            warnings=list(ledger.warnings.values()),
            losses=list(ledger.losses.values()),
            taps=self._tap_entries(),
            epochs=ledger.epochs(is_over=is_over),
        )

    def _tap_entries(self) -> list[TapEntry]:
        entries = self._audience.entries()
        return joined_taps(self._taps, entries) if entries else self._taps

    def _entry(self, track: Track) -> TrackEntry:
        entry = track.entry(self._time.origin_ms, MOST_GAPS)
        if entry.user_name is None:
            entry.user_name = self._ledger.people.name(self._party(track))
        return entry

    def _party(self, track: Track) -> UserId:
        if track.channel_id is not None:
            return track.channel_id
        return parties.party(self._header.product, track.user_id)

    # The life of a recording. The capture shows where sessions ended and began, so that a replay makes the same files.

    def _take(self, frame: Frame) -> None:
        """Take a frame; a session's last word closes the tracks, and the next frame reopens them."""
        ledger, placer, message = self._ledger, self._placer, frame.message
        audio = message if isinstance(message, Audio) and frame.direction is Direction.IN else None
        if audio is not None and ledger.counts_audio:
            ledger.count_audio(1, len(frame.raw), frame.at_us)
        else:
            if ledger.goes_on_with(frame):
                placer.reopen()
            if isinstance(message, ChannelState) and message.state is State.EPOCH:
                placer.close()  # another owner's connections are new, as after an end
                placer.reopen()
            ledger.take(frame)
            if ledger.last_word is not None:
                placer.close()
        if audio is not None:
            placer.place_audio(frame, audio)
        elif (handler := placer.handlers.get(type(message))) is not None:
            handler(frame)

    def _finish(self) -> None:
        if self._unwritten or not self._has_header:
            self._capture()
        self._time.go_back()
        self._placer.close()
        self.turn(self._ledger.at_us)
        self._flush()
        self._status = self._ledger.status
        if self._status == Status.REVOKED and not self._keep_revoked:
            self._delete()
        self.checkpoint()
        self._publish()

    def _take_lock(self) -> None:
        if self._lock is None:
            return
        try:
            self._lock.acquire()
        except NoLocksError as error:
            log.debug("%s: %s", self.folder, error)  # `repair` asks for --force there
        except BlockingIOError:
            raise Problem(f"{self.folder} is being recorded or repaired.") from None
        except OSError as error:
            raise Problem(f"{self.folder} cannot be recorded to: {reason_of(error)}.") from error

    def _release_lock(self) -> None:
        if self._lock is not None:
            self._lock.release()

    # Writing.

    def _delete(self) -> None:
        """Take away everything that was recorded, and everything that names it; the manifest remains.

        The manifest says so first: then `repair` can finish a deletion that was not.
        """
        paths = [*self._placer.forget(), *(part_name(part) for part in range(1, self._part + 1))]
        self._ledger.forget_content()
        self.checkpoint()
        if (self.folder / HOOKS_LOG).is_file():
            paths.append(HOOKS_LOG)
        for path, error in self._files.remove_all(paths):
            self._ledger.lose("could not be deleted", path, 0, error)
        self._ledger.warn(f"the stream was revoked: all {len(paths)} files of its recording were deleted")

    def _capture(self) -> None:
        units, self._unwritten = self._unwritten, []
        lines = capture_lines(one if isinstance(one, Frame) else one.packets for one in units)
        count_of = sum(1 if isinstance(one, Frame) else len(one.packets.raws) for one in units)
        gone = self._files.missing_nbytes(part_name(self._part))
        if gone is not None:
            self._ledger.lose(_CHANGED, part_name(self._part), gone)
            self._part = next(part for part in count(self._part + 1) if not lexists(self.folder / part_name(part)))
            self._has_header = False
        if not self._has_header:
            lines = structs.replace(self._header, part=self._part).line() + lines
        name = part_name(self._part)
        if self._write(name, lambda files: files.append(name, lines), len(lines), max(1, count_of)):
            self._has_header = True

    def _flush(self) -> None:
        for track in self._placer.waiting():
            nbytes = track.waiting
            self._write(track.path, track.flush, nbytes)
            track.written_us = self._ledger.at_us
        if self._files.changed:
            for path, nbytes in self._files.changed.items():
                self._ledger.lose(_CHANGED, path, nbytes)
            self._files.changed.clear()

    def _write(self, path: str, work: Callable[[Files], object], nbytes: int, count: int = 1) -> bool:
        try:
            work(self._files)
        except OSError as error:
            self._ledger.lose(_NOT_WRITTEN, path, nbytes, error, count)
            return False
        self._written += nbytes
        return True

    # Showing.

    def _keep_alives(self) -> dict[str, tuple[int, int, float | None]]:
        """By channel: received, answered, slowest answer in ms."""
        return {
            name: (one.asked, one.answered, None if one.slowest_us is None else one.slowest_us / 1000)
            for name, one in self._ledger.keep_alives.items()
            if one.asked
        }

    def _publish(self) -> None:
        ledger, placer = self._ledger, self._placer
        received = ledger.received()
        self._snapshot = RecorderSnapshot(
            folder=self.folder,
            status=self._status,
            at_us=ledger.at_us,
            counts={name: tally.count for name, tally in received.items()},
            nbytes={name: tally.nbytes for name, tally in received.items()},
            tracks=tuple(_track_snapshot(track, self._party(track)) for track in placer.tracks),
            transcript=tuple(placer.last_words),
            chat=tuple(placer.last_chat),
            keep_alive=self._keep_alives(),
            participants=ledger.people.names(),
            speaker=ledger.people.speaker,
            losses=sum(loss.count for loss in ledger.losses.values()),
            taps=tuple(self._tap_entries()) if self._audience.has_taps else (),
            warnings=tuple(map(structs.replace, ledger.warnings.values())),
            written_nbytes=self._written,
        )


def _track_snapshot(track: Track, party: UserId) -> TrackSnapshot:
    facts = track.seconds, track.packets, track.level, *track.gaps, track.written_us
    return TrackSnapshot(track.path, track.kind, party, track.user_name, *facts)


def _counts(tallies: dict[str, Tally]) -> dict[str, MessageCount]:
    return {name: MessageCount(tally.msg_type, tally.count, tally.nbytes) for name, tally in tallies.items()}


def _connection(socket: Socket) -> Connection:
    return Connection(socket.channel, socket.url, socket.opened, socket.closed, socket.code, socket.reason, socket.ours)


def _later(created: str, at_us: int) -> str | None:
    """An ISO time some microseconds after another; `None` if that is not a time."""
    try:
        ended = datetime.fromisoformat(created) + timedelta(microseconds=at_us)
    except (ValueError, OverflowError):
        return None
    return iso_time(ended)
