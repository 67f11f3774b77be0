"""Knows what Zoom sent and what could be received, and holds what was recorded against it.

Nothing of `rtms_cli` judges here: messages are read, samples are placed and endings are decided by plainer rules.
"""

import io
import json
import re
import tempfile
import wave
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import islice
from pathlib import Path

import msgspec
import numpy as np
from msgspec import Struct
from simulation.disk import MemoryFiles
from simulation.network import ON_CONNECT, Trouble
from simulation.plan import FAILURES, REVOKED, Hit, KillHit, LateHit, NetworkHit, Plan, StallHit, WebhookHit, ZoomHit
from simulation.server import SECRET, TOKEN
from simulation.show import picture, sound
from simulation.world import Entry, Recording, World

from rtms_cli.capture import read_line
from rtms_cli.errors import Problem
from rtms_cli.machine import ChannelState, Direction, Frame, State
from rtms_cli.protocol.messages import KeepAliveRequest
from rtms_cli.protocol.numbers import (
    AudioChannel,
    MediaType,
    MessageType,
    Product,
    SampleRate,
    SessionState,
    StreamState,
)
from rtms_cli.recording.manifest import CAPTURE, MANIFEST, Manifest, TrackEntry
from rtms_cli.recording.ownership import LOCK
from rtms_cli.recording.recorder import Recorder
from rtms_cli.recording.repair import repair
from rtms_cli.simulator.client import Finding
from rtms_cli.simulator.deviations import Deviation
from rtms_cli.simulator.faults import Fault

BATCH = 256
RENEWED_S = 25
"""A manifest is renewed at least so often while frames come."""
PATIENCE_S = 45
"""A session that has begun does not give up sooner after it has heard of the server (PROTOCOL §9: 60 s)."""
Contents = Mapping[str, bytes | bytearray]
SHARED_MEMORY = Path("/dev/shm")


class Stats(Struct):
    """What was looked at."""

    sessions: int = 0
    faults: int = 0
    samples: int = 0
    lines: int = 0
    seconds: float = 0.0

    def add(self, other: "Stats") -> None:
        """Count another world's too."""
        self.sessions += other.sessions
        self.faults += other.faults
        self.samples += other.samples
        self.lines += other.lines
        self.seconds += other.seconds


class Said(Struct, frozen=True):
    """A message, read our own way."""

    msg_type: int
    fields: dict[str, object]

    def number(self, name: str) -> int | None:
        """A field that is a number, whatever it looks like."""
        value = self.fields.get(name)
        return int(value) if isinstance(value, int) or (isinstance(value, str) and value.isdigit()) else None


_STATES: dict[str, int] = {}
for _table in (StreamState, SessionState):
    _STATES |= {member.name: member.value for member in _table}


@lru_cache(maxsize=8192)
def read(raw: bytes) -> Said | None:
    """Read a message; `None` where it is none."""
    try:
        body = msgspec.json.decode(raw)
        named = body["msg_type"]
    except (msgspec.MsgspecError, KeyError, UnicodeError):
        return None
    msg_type = named if isinstance(named, int) else int(named) if named.isdigit() else MessageType[named].value
    content = body.get("content", body.get("event"))
    if isinstance(content, dict):
        return Said(msg_type, content)
    return Said(msg_type, body if content is None else {**body, "data": content})


def check(world: World) -> Stats:
    """Look at everything; what is wrong goes to the world's violations."""
    stats = Stats(len(world.recordings), len(world.plan.hits))
    wrong = world.violations
    if not world.is_over:
        if any("7 CLIENT_READY_ACK before every" in finding.what for finding in _all_findings(world)):
            wrong.clear()  # the stand-in waits for a connection that is dead, and the client knows that it is
        return stats
    wrong += _deliveries(world)
    wrong += _findings(world)
    for number, recording in enumerate(world.recordings):
        try:
            found = list(_recording(world, recording, stats))
        except Exception as error:
            found = [f"the oracle stumbled: {error!r}"]
            if world.plan.seed < 0:
                raise
        wrong += [f"recording {number}: {line}" for line in found]
    wrong += _last_words(world)
    return stats


def _all_findings(world: World) -> Iterator[Finding]:
    for stream in world.zoom.streams:
        yield from stream.zoom.report().findings


# What came in, and what the server says of us.


def _deliveries(world: World) -> Iterator[str]:
    """Every message that arrived was put, or dropped and counted."""
    for process in world.processes:
        if process.is_dead:
            continue
        put: Counter[bytes] = Counter()
        dropped = 0
        for recording in process.recordings:
            for entry in recording.entries:
                frame = entry.frame
                if frame.direction is Direction.IN and frame.channel != "webhook":
                    put[frame.raw] += 1
                elif isinstance(frame.message, ChannelState) and frame.message.state is State.DROPPED:
                    dropped += frame.message.count
        arrived = Counter(process.delivered)
        if (made_up := put - arrived).total():
            yield f"{made_up.total()} messages were put that never arrived"
        if (missing := (arrived - put).total()) != dropped:
            yield f"{missing} messages arrived and were not kept, {dropped} are told of"


_EXPLAINED = (
    "the client closed the connection before the end",
    "no client came, or none came back in time",
    "keep-alives were not answered",
    "another signaling connection is open",
    "all media connections exist",
    "this media type has a connection",
)
"""What the server may find where connections were lost that one side believes in still."""


def _findings(world: World) -> Iterator[str]:
    """The server finds nothing wrong with us that nothing explains."""
    plan = world.plan
    lost = any(
        isinstance(hit, NetworkHit | KillHit | StallHit | WebhookHit | LateHit)
        or (isinstance(hit, ZoomHit) and hit.is_silent)
        or (isinstance(hit, ZoomHit) and hit.fault in _AMBIGUOUS)
        for hit in plan.hits
    )
    for stream in world.zoom.streams:
        for finding in stream.zoom.report().findings:
            explained = any(known in finding.what for known in _EXPLAINED)
            if Deviation.NO_MEDIA_ANSWER in plan.deviations and "closed the connection" in finding.what:
                continue  # nothing was said on it, and nobody answered its handshake
            if "there is no signaling" in finding.what and plan.hits:
                continue  # it was lost, and we had not heard of that yet
            if "none came back" in finding.what and not (_may_be_away(plan) or _ended_early(world)):
                yield "the server waited in vain for the client to come back"
            if not (explained and (lost or _ended_early(world))):
                yield f"the server found on {finding.channel!r}: {finding.what}"


_AMBIGUOUS = (Fault.EVENT_7, Fault.SAY_INTERRUPTED, Fault.WEBHOOK_INTERRUPTED, Fault.SPLIT_BRAIN, Fault.FAILOVER)


def _may_be_away(plan: Plan) -> bool:
    """Whether what goes wrong may keep a client away for as long as the server waits."""
    blocking = [
        hit
        for hit in plan.hits
        if isinstance(hit, KillHit | LateHit)
        or (isinstance(hit, NetworkHit) and hit.trouble in ON_CONNECT)
        or (isinstance(hit, ZoomHit) and hit.fault in (Fault.REFUSE_MEDIA, Fault.REFUSE_SIGNALING, Fault.HANG_UP))
        or (isinstance(hit, WebhookHit) and "forged" in hit.what)
        or _is_before_keep_alives(plan, hit)
    ]
    silent = [hit for hit in plan.hits if hit.is_silent]
    if silent and sum(isinstance(hit, ZoomHit | NetworkHit) for hit in plan.hits) > 1:
        return True  # each side counts from another loss
    return bool(blocking) or len(silent) > 1 or Deviation.NO_MEDIA_ANSWER in plan.deviations


def _is_before_keep_alives(plan: Plan, hit: Hit) -> bool:
    """Whether a media socket may die before it had a keep-alive: then it may be silent (PROTOCOL §9)."""
    if not isinstance(hit, NetworkHit) or hit.trouble not in (Trouble.DEAF, Trouble.DEAD):
        return False
    return hit.at_ms < 1000 * plan.webhook_after_s + (25_000 if plan.slow else 15_000)


def _ended_early(world: World) -> bool:
    """Whether our side has ended by itself, by its own will or for somebody's word."""
    return any(process.is_stopping for process in world.processes) or any(
        finish.status == "failed" for recording in world.recordings for finish in recording.finishes
    )


def _last_words(world: World) -> Iterator[str]:
    """A session that could live, lives: what is said at the very end of a calm stretch is there."""
    plan, process = world.plan, world.process
    stream = world.zoom.streams[-1]
    if process.is_dead or process.is_stopping or stream.running.result() != 6 or not stream.zoom.report().ready:
        return
    if any(isinstance(hit, WebhookHit) and "forged" in hit.what for hit in plan.hits) and not plan.trusted:
        return
    if any(isinstance(hit, ZoomHit) and hit.fault in (Fault.STOP, Fault.STOP_WEBHOOK_ONLY) for hit in plan.hits):
        return
    if not plan.request.types & plan.scopes & MediaType.AUDIO:
        return
    if Deviation.NO_MEDIA_ANSWER in plan.deviations:
        return  # a socket on which nobody speaks is one that nobody accepts
    if not any(_hears_alive(recording) for recording in process.recordings):
        return  # a media socket that never had a keep-alive may be silent (PROTOCOL §9): its death shows nowhere
    if any(isinstance(hit, LateHit) for hit in plan.hits):
        return
    if any(finish.said_by.startswith("9 ") for recording in process.recordings for finish in recording.finishes):
        return  # no session of the stream was left, and its sockets closed: that is its end (PROTOCOL §9)
    last_ms = stream.epoch_ms + stream.cues.last_words_ms
    if not any(last_ms <= timestamp for recording in process.recordings for timestamp in _heard_audio(recording)):
        yield "what was said at the end, after a calm stretch, was not heard"


def _hears_alive(recording: Recording) -> bool:
    """Whether there was a keep-alive on a media socket."""
    return any(
        entry.frame.channel.startswith("media")
        and entry.frame.direction is Direction.IN
        and isinstance(entry.frame.message, KeepAliveRequest)
        for entry in recording.entries
    )


def _heard_audio(recording: Recording) -> Iterator[int]:
    for entry in reversed(recording.entries):
        if entry.frame.direction is Direction.IN and entry.frame.channel.startswith("media"):
            said = read(entry.frame.raw)
            if said is not None and said.msg_type == 14:
                yield said.number("timestamp") or 0


# One recording.


def _recording(world: World, recording: Recording, stats: Stats) -> Iterator[str]:
    plan, entries = world.plan, recording.entries
    contents = recording.files.contents
    if recording.was_killed and not _is_finished(recording):
        yield from _killed(world, recording, stats)
        return
    if MANIFEST not in contents:
        yield "there is no manifest"
        return
    manifest = msgspec.json.decode(contents[MANIFEST], type=Manifest)
    if recording.files.refused and manifest.status == "recording":
        return  # no room for the last word
    yield from _endings(plan, entries, manifest)
    yield from _keep_alives(entries)
    if manifest.status == "revoked":
        if left := sorted(set(contents) - {MANIFEST}):
            yield f"revoked, and still there: {', '.join(left)}"
        return
    packets = _Packets(plan, entries)
    if recording.files.refused:
        if not manifest.losses:
            yield f"{recording.files.refused} writes failed, and there are no losses"
        yield from _content(plan, packets, contents, manifest, stats, is_whole=False)
        return
    yield from _capture(entries, contents)
    yield from _content(plan, packets, contents, manifest, stats, is_whole=True)
    yield from _losses(packets, entries, manifest)
    yield from _replay(recording, contents)


def _is_finished(recording: Recording) -> bool:
    last = recording.entries[-1].frame.message if recording.entries else None
    if not isinstance(last, ChannelState) or last.state is not State.FINISHED:
        return False
    manifest = msgspec.json.decode(bytes(recording.files.contents[MANIFEST]), type=Manifest)
    return manifest.status != "recording"


def _capture(entries: Sequence[Entry], contents: Contents) -> Iterator[str]:
    """The capture has every frame in order, is JSON line by line, and holds no secret."""
    lines = bytes(contents.get(CAPTURE, b"")).splitlines()
    if len(lines) - 1 != len(entries):
        yield f"the capture has {len(lines) - 1} lines, {len(entries)} frames were put"
    for line, entry in zip(lines[1:], entries, strict=False):
        try:
            parsed = msgspec.json.decode(line)
        except msgspec.MsgspecError:
            parsed = json.loads(line)
        frame = entry.frame
        if (parsed["ch"], parsed["dir"], round(parsed["at"] * 1_000_000)) != (
            frame.channel,
            frame.direction.value,
            frame.at_us,
        ):
            yield f"the capture's line {line[:80]!r} is not the frame at {frame.at_us} µs"
            return
    yield from _secrets(contents)


def _secrets(contents: Contents) -> Iterator[str]:
    for name, content in contents.items():
        if not name.endswith(".jsonl") and name != MANIFEST:
            continue
        if b"signature" in content and re.search(rb'"signature":\s*"(?!\[redacted\])', content):
            yield f"a signature is in {name}"
        if SECRET.encode() in content or TOKEN.encode() in content:
            yield f"a secret is in {name}"


def _keep_alives(entries: Sequence[Entry]) -> Iterator[str]:
    """Each keep-alive that was heard is answered at once, with its own timestamp and sequence."""
    waiting: dict[str, tuple[int, Said]] = {}
    for entry in entries:
        frame = entry.frame
        if frame.direction is Direction.STATE:
            state = frame.message
            if isinstance(state, ChannelState) and (state.ours or state.state is State.FINISHED):
                waiting.clear()
            continue
        if (asked := waiting.pop(frame.channel, None)) is not None:
            said = read(frame.raw)
            if frame.direction is not Direction.OUT or said is None or said.msg_type != 13:
                yield f"a keep-alive on {frame.channel} at {asked[0]} µs was not answered"
            elif frame.at_us != asked[0] or any(
                str(said.fields.get(name)) != str(asked[1].fields.get(name)) for name in ("timestamp", "sequence")
            ):
                yield f"a keep-alive on {frame.channel} at {asked[0]} µs was answered wrongly: {frame.raw!r}"
        if frame.direction is Direction.IN and frame.channel != "webhook" and entry.told:
            said = read(frame.raw)
            if said is not None and said.msg_type == 12:
                waiting[frame.channel] = frame.at_us, said


# How it ended.


class _Heard:
    """What one session heard of its end, and did itself."""

    def __init__(self, trusted: bool, begun: bool) -> None:
        self.trusted = trusted
        self.begun = begun
        self.is_up = False
        self.stopping = False
        self.asked = False
        self.maybe_asked = False
        """Whether the server was asked while a media connection was missing: what that would have brought is lost."""
        self.media: dict[str, bool] = {}
        """Whether each media channel is up."""
        self.sessions: dict[object, int | None] = {}
        self.over: tuple[int | None, bool] | None = None
        """Reason, and whether Zoom said it."""
        self.is_final = False
        self.newest: tuple[int, object] | None = None
        self.heard_us: dict[bool, int] = {}
        """When something was heard of the server last: on media sockets (true), on signaling."""

    def statuses(self) -> set[str]:
        """How it ended; more than one answer where that is a matter of taste."""
        if self.over is None and self.maybe_asked and not self.asked and self.begun:
            return {"complete", "interrupted"}
        return {self.status()}

    def status(self) -> str:
        """The table: how it ended."""
        if self.over is not None:
            reason, by_zoom = self.over
            if reason == REVOKED:
                return "revoked" if by_zoom else "complete"
            return "interrupted" if reason in FAILURES else "complete"
        if self.stopping:
            return "complete" if self.asked and self.begun else "interrupted"
        return "interrupted" if self.begun else "failed"

    def end(self, reason: int | None, *, by_zoom: bool, is_final: bool) -> None:
        """Somebody says that it is over; a stranger's word never takes back what Zoom said of the whole stream."""
        if self.over is not None and self.over[1] and not by_zoom and self.is_final:
            return
        if self.over is None or reason is not None:
            self.over = reason, by_zoom
        self.is_final |= is_final

    def hear(self, entry: Entry) -> None:
        """One more frame."""
        frame = entry.frame
        if frame.direction is Direction.IN and entry.told and frame.channel != "webhook":
            self.heard_us[frame.channel.startswith("media")] = frame.at_us
        if isinstance(frame.message, ChannelState):
            self._state(frame.channel, frame.message)
        elif frame.channel == "webhook":
            self._webhook(json.loads(frame.raw))
        elif frame.direction is Direction.OUT:
            said = read(frame.raw)
            self.begun |= said is not None and said.msg_type == 7
        elif entry.told and (said := read(frame.raw)) is not None:
            self._message(frame.channel, said)

    def _state(self, channel: str, state: ChannelState) -> None:
        if state.state is State.STOPPING:
            self.stopping = True
            self.asked |= self.is_up and all(self.media.values())
            self.maybe_asked |= self.is_up
        elif channel.startswith("media") and state.state is State.OPENING:
            self.media[channel] = False
        elif channel.startswith("media") and state.state in (State.CLOSED, State.REFUSED):
            self.media[channel] = False
        elif channel == "signaling" and state.state in (State.CLOSED, State.REFUSED, State.OPENING):
            self.is_up = False

    def _message(self, channel: str, said: Said) -> None:
        if said.msg_type == 2 and said.number("status_code") == 0:
            self.is_up = True
            self.media.clear()
        elif said.msg_type == 4 and said.number("status_code") == 0:
            self.media[channel] = True
        elif 14 <= said.msg_type <= 18:
            self.begun = self.media[channel] = True
        elif said.msg_type == 8 and _value(said, "state") == 4:
            self.end(_reason(said, "reason"), by_zoom=True, is_final=True)
        elif said.msg_type == 9:
            self.sessions[said.fields.get("rtms_session_id")] = _value(said, "state")
            if all(state == 5 for state in self.sessions.values()):
                self.end(_reason(said, "stop_reason"), by_zoom=True, is_final=False)
            elif not self.is_final:
                self.over = None

    def _webhook(self, body: dict[str, dict[str, object]]) -> None:
        event, payload = str(body["event"]), body["payload"]
        if event.endswith("rtms_started"):
            told = int(str(body["event_ts"])), payload.get("server_urls")
            if self.newest is None or (told != self.newest and told[0] > self.newest[0]):
                self.newest = told
                self.over, self.is_final = None, False
                self.sessions.clear()
        elif event.endswith("rtms_stopped"):
            reason = payload.get("stop_reason")
            self.end(reason if isinstance(reason, int) else None, by_zoom=self.trusted, is_final=True)


def _value(said: Said, name: str) -> int | None:
    value = said.fields.get(name)
    return _STATES.get(value) if isinstance(value, str) and value in _STATES else said.number(name)


def _reason(said: Said, name: str) -> int | None:
    from rtms_cli.protocol.numbers import StopReason

    value = said.fields.get(name)
    if isinstance(value, str) and not value.isdigit():
        return StopReason[value].value
    return said.number(name)


def _endings(plan: Plan, entries: Sequence[Entry], manifest: Manifest) -> Iterator[str]:
    """Every session's last word is what follows from what it heard."""
    heard, allowed, is_closed = _Heard(plan.trusted, False), set[str](), False
    status = None
    for entry in entries:
        state = entry.frame.message if isinstance(entry.frame.message, ChannelState) else None
        if state is not None and state.state is State.FINISHED:
            allowed = allowed if is_closed else allowed | heard.statuses()
            if heard.over is None and not heard.stopping and heard.begun and not state.status == "failed":
                waited_s = (entry.frame.at_us - min(heard.heard_us.values(), default=0)) / 1_000_000
                if waited_s < PATIENCE_S and not _is_final(plan, state.reason):
                    yield f"gave up {waited_s:.0f} s after it had heard of the server: {state.reason[:150]}"
            if state.status not in allowed:
                yield f"status {state.status} ({state.code}, {state.reason}), not {' or '.join(sorted(allowed))}"
            status = state.status
            heard, allowed, is_closed = _Heard(plan.trusted, heard.begun), set(), False
            continue
        if state is not None and state.state is State.CLOSED and state.ours and not state.reason and not is_closed:
            allowed, is_closed = heard.statuses(), True  # the session has finished, and its driver closes what is open
        if not is_closed and state is None and entry.frame.channel in ("webhook", "signaling"):
            allowed = heard.statuses() if heard.stopping and not heard.asked else allowed
        heard.hear(entry)
    if status is None:
        yield "there is no last word"
    elif manifest.status != status:
        yield f"the manifest says {manifest.status}, the session {status}"


def _is_final(plan: Plan, reason: str) -> bool:
    """Whether no other try would have ended otherwise."""
    return "a scenario's" in reason or (Deviation.NO_MEDIA_ANSWER in plan.deviations and "no answer" in reason)


# What is in the files.


class _Packets:
    """What came in of one recording."""

    def __init__(self, plan: Plan, entries: Iterable[Entry]) -> None:
        self.audio: dict[object, list[int]] = defaultdict(list)
        """Timestamps by participant, as they came."""
        self.pictures: dict[tuple[str, object], list[tuple[int, bytes]]] = defaultdict(list)
        self.lines: dict[str, list[tuple[int | None, str]]] = defaultdict(list)
        self.origin: int | None = None
        self.spoilt = self.odd = self.unreadable = 0
        by_channel = plan.product in (Product.CONTACT_CENTER, Product.PHONE)
        params = plan.request.params
        for frame in (entry.frame for entry in entries):
            if frame.direction is not Direction.IN or frame.channel == "webhook":
                continue
            said = read(frame.raw)
            if said is None:
                self.unreadable += 1
                continue
            timestamp = said.number("timestamp")
            who: object = said.number("user_id")
            match said.msg_type:
                case 14:
                    data = str(said.fields["data"])
                    if data.startswith("!"):
                        self.spoilt += 1
                        continue
                    self.odd += (len(data) * 3 // 4 - data.count("=", -2)) % 2
                    if by_channel and "channel_id" in said.fields:
                        who = said.number("channel_id")
                    self.audio[who].append(timestamp or 0)
                    self._time(timestamp)
                case 15 | 16:
                    kind = "video" if said.msg_type == 15 else "share"
                    form = params.video if kind == "video" else params.share
                    made = picture(form.codec if form else None, ((who or 0) - 16_778_240) // 1024, timestamp or 0)  # type: ignore[operator]
                    self.pictures[kind, who].append((timestamp or 0, made))
                    self._time(timestamp)
                case 17 | 18:
                    kind = "transcript" if said.msg_type == 17 else "chat"
                    self.lines[kind].append((timestamp, str(said.fields["data"])))
                    self._time(timestamp)
                case 6:
                    self.lines["events"].append((timestamp, ""))

    def _time(self, timestamp: int | None) -> None:
        if timestamp is not None:
            self.origin = timestamp if self.origin is None else min(self.origin, timestamp)


def _content(
    plan: Plan,
    packets: _Packets,
    contents: Contents,
    manifest: Manifest,
    stats: Stats,
    *,
    is_whole: bool,
) -> Iterator[str]:
    """Every sample is in its place or in a gap that is listed, every line and picture is there once.

    :param is_whole: whether the disk took everything; else what is there has to be right, and may lack something.
    """
    tracks: dict[tuple[str, object], list[TrackEntry]] = defaultdict(list)
    for track in manifest.tracks:
        tracks[track.kind, track.user_id].append(track)
        if track.path not in contents and is_whole:
            yield f"{track.path} is in the manifest and not on the disk"
    if is_whole:
        if manifest.origin_ms != packets.origin:
            yield f"origin_ms {manifest.origin_ms}, not {packets.origin}"
        wanted = {("audio", who) for who in packets.audio} | set(packets.pictures)
        wanted |= {(kind, None) for kind in packets.lines}
        if set(tracks) != wanted:
            yield f"tracks {sorted(map(str, tracks))}, not {sorted(map(str, wanted))}"
    for (kind, who), found in tracks.items():
        if len(found) != 1:
            yield f"{len(found)} files of {who}'s {kind}"
            continue
        (track,) = found
        content = contents.get(track.path)
        if content is None:
            continue
        if kind == "audio":
            yield from _audio(plan, who, packets, track, content, stats, is_whole=is_whole)
        elif kind in ("video", "share"):
            made = b"".join(payload for _, payload in packets.pictures[kind, who])
            if is_whole and content != made:
                yield f"{track.path} has {len(content)} bytes, not the {len(made)} that were sent"
        else:
            yield from _lines(kind, packets, content, stats, is_whole=is_whole)


def _audio(
    plan: Plan,
    who: object,
    packets: _Packets,
    track: TrackEntry,
    content: bytes | bytearray,
    stats: Stats,
    *,
    is_whole: bool,
) -> Iterator[str]:
    form = plan.request.params.audio
    assert form is not None
    assert packets.origin is not None
    rate = SampleRate(form.sample_rate or 0).hz  # type: ignore[call-arg]
    channels = 2 if form.channel == AudioChannel.STEREO else 1
    per_ms, step = rate // 1000 * channels, form.send_rate or 20
    voice = 0
    if isinstance(who, int) and who > 0:
        voice = (who - 16_778_240) // 1024 if who >= 16_778_240 else who
    unique = sorted(set(packets.audio[who]))
    origin = packets.origin
    end = (max(unique) + step - origin) * per_ms
    expected = np.zeros(end, np.int16)
    for timestamp in unique:
        start = (timestamp - origin) * per_ms
        expected[start : start + step * per_ms] = sound(voice, timestamp, step * per_ms, per_ms)
    with wave.open(io.BytesIO(memoryview(content)[:80])) as source:
        if (source.getframerate(), source.getnchannels(), source.getsampwidth()) != (rate, channels, 2):
            yield f"{track.path} is not {rate} Hz with {channels} channels"
            return
        frames = source.getnframes()
    found = np.frombuffer(content, "<i2", offset=80)
    if frames * channels != len(found):
        yield f"{track.path} says that it has {frames} frames; it has {len(found) / channels}"
    stats.samples += len(found)
    if not is_whole:
        length = min(len(found), len(expected))
        wrong = (found[:length] != expected[:length]) & (found[:length] != 0)
        if wrong.any() or len(found) > len(expected):
            yield f"{track.path}: {np.count_nonzero(wrong)} samples are wrong"
        return
    if len(found) != len(expected):
        yield f"{track.path} has {len(found)} samples, not {len(expected)}"
        return
    if not np.array_equal(found, expected):
        yield f"{track.path}: {np.count_nonzero(found != expected)} of {len(found)} samples are wrong"
    gaps = [(round(start * rate), round(end * rate)) for start, end in track.gaps]
    if gaps != (silent := _silences(unique, origin, step, rate)):
        yield f"{track.path}: gaps {gaps[:5]}…, not {silent[:5]}…"
    if (track.packets, track.duplicates) != (count := (len(packets.audio[who]), len(packets.audio[who]) - len(unique))):
        yield f"{track.path}: {track.packets} packets, {track.duplicates} twice, not {count}"


def _silences(timestamps: Sequence[int], origin: int, step: int, rate: int) -> list[tuple[int, int]]:
    """What lies between packets, in samples."""
    gaps, at_ms = [], origin
    for timestamp in timestamps:
        if timestamp > at_ms:
            gaps.append(((at_ms - origin) * rate // 1000, (timestamp - origin) * rate // 1000))
        at_ms = timestamp + step
    return gaps


def _lines(kind: str, packets: _Packets, content: bytes | bytearray, stats: Stats, *, is_whole: bool) -> Iterator[str]:
    lines = [msgspec.json.decode(line) for line in content.splitlines()]
    stats.lines += len(lines)
    found = [(line["timestamp"], line.get("text", "")) for line in lines]
    sent = packets.lines[kind]
    if is_whole and found != sent:
        yield f"{kind}.jsonl has {len(found)} lines, not the {len(sent)} that came"
    elif not set(found) <= set(sent):
        yield f"{kind}.jsonl has lines that never came"
    for line in lines:
        if packets.origin is not None and is_whole and line["timestamp"] is not None:
            if line["t"] is None or round(line["t"] * 1000) != line["timestamp"] - packets.origin:
                yield f"{kind}.jsonl: t {line['t']} at {line['timestamp']}, origin {packets.origin}"
                return


def _losses(packets: _Packets, entries: Sequence[Entry], manifest: Manifest) -> Iterator[str]:
    """What is lost is counted, and nothing else."""
    dropped = sum(
        entry.frame.message.count
        for entry in entries
        if isinstance(entry.frame.message, ChannelState) and entry.frame.message.state is State.DROPPED
    )
    expected = packets.spoilt + packets.odd + packets.unreadable + dropped
    if (found := sum(loss.count for loss in manifest.losses)) != expected:
        yield f"{found} losses, not {expected}: {[(loss.what, loss.where, loss.count) for loss in manifest.losses]}"


# Once more, from the capture.


def _frames(content: bytes | bytearray) -> list[Frame]:
    frames = [read_line(line) for line in bytes(content).splitlines(keepends=True)[1:] if line.endswith(b"\n")]
    return [frame for frame in frames if frame is not None]


def _replay(recording: Recording, contents: Contents) -> Iterator[str]:
    """A recorder that reads the capture makes the same files, byte for byte."""
    files = MemoryFiles(recording.files.folder)
    recorder = Recorder(files.folder, recording.header, files=files)
    frames = iter(_frames(contents[CAPTURE]))
    while batch := list(islice(frames, BATCH)):
        recorder.fold(batch)
    recorder.close()
    if sorted(files.contents) != sorted(contents):
        yield f"replayed there are {sorted(files.contents)}, not {sorted(contents)}"
    for name, content in contents.items():
        if files.contents.get(name) != content:
            yield f"replayed, {name} is another"


# A process that died.


def _killed(world: World, recording: Recording, stats: Stats) -> Iterator[str]:
    plan, contents = world.plan, recording.files.contents
    if CAPTURE not in contents or not contents[CAPTURE].startswith(b'{"rtms_capture"'):
        return  # it died before its first line was whole
    frames = _frames(bytes(contents[CAPTURE]))
    entries = recording.entries[: len(frames)]
    if not recording.files.refused:
        yield from _keep_alives(entries)
    with tempfile.TemporaryDirectory(dir=SHARED_MEMORY if SHARED_MEMORY.is_dir() else None) as place:
        folder = Path(place)
        recording.files.put_on_disk(folder)
        try:
            repair(folder)
        except Problem as problem:
            yield f"repair: {problem}"
            return
        repaired = {
            str(path.relative_to(folder)): path.read_bytes()
            for path in folder.rglob("*")
            if path.is_file() and path.name != LOCK
        }
        manifest = Manifest.read(folder)
        if again := repair(folder).changed:
            yield f"repaired twice, {', '.join(again)} changed"
    if MANIFEST in contents and not recording.files.refused:
        yield from _is_told_to_live(entries, bytes(contents[MANIFEST]))
    statuses = _statuses_after_death(plan, entries)
    if manifest.status not in statuses and not recording.files.refused:
        yield f"repaired: status {manifest.status}, not {' or '.join(sorted(statuses))}"
    if manifest.status == "revoked":
        if left := sorted(set(repaired) - {MANIFEST}):
            yield f"repaired: revoked, and still there: {', '.join(left)}"
        return
    yield from _secrets(repaired)
    if not recording.files.refused:
        for line in _content(plan, _Packets(plan, entries), repaired, manifest, stats, is_whole=True):
            yield f"repaired: {line}"


def _is_told_to_live(entries: Sequence[Entry], content: bytes) -> Iterator[str]:
    """A recording that is continued says that it is being recorded: else nobody finds it when its process has died."""
    ends = [number for number, entry in enumerate(entries) if _is_last_word(entry)]
    if not ends or ends[-1] + 1 >= len(entries):
        return
    lived_us = entries[-1].frame.at_us - entries[ends[-1] + 1].frame.at_us
    status = msgspec.json.decode(content, type=Manifest).status
    if lived_us > RENEWED_S * 1_000_000 and status != "recording":
        yield f"killed {lived_us / 1_000_000:.0f} s after it was continued, and the manifest says {status}"


def _is_last_word(entry: Entry) -> bool:
    return isinstance(entry.frame.message, ChannelState) and entry.frame.message.state is State.FINISHED


def _statuses_after_death(plan: Plan, entries: Sequence[Entry]) -> set[str]:
    """How a recording ended whose process died: as what it had heard says; else it was interrupted."""
    heard, last = _Heard(plan.trusted, False), None
    for entry in entries:
        state = entry.frame.message if isinstance(entry.frame.message, ChannelState) else None
        if state is not None and state.state is State.FINISHED:
            last = state.status
            heard = _Heard(plan.trusted, heard.begun)
        else:
            last = None
            heard.hear(entry)
    if last is not None:
        return {last}
    if heard.over is None:
        return {"interrupted"}
    return {heard.status()}
