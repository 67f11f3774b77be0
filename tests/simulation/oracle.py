"""Knows what Zoom sent and what could be received, and holds what was recorded against it.

Nothing of `rtms_cli` judges here: messages are read, samples are placed and endings are decided by plainer rules.
"""

import json
import os
import re
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import msgspec
from simulation.contents import Contents, Packets, Stats, check_content, check_losses
from simulation.disk import MemoryFiles
from simulation.endings import check_endings, statuses_after_death
from simulation.listening import check_heard
from simulation.network import ON_CONNECT, Trouble
from simulation.plan import Hit, KillHit, LateHit, NetworkHit, Plan, StallHit, WebhookHit, ZoomHit
from simulation.reading import Said, read
from simulation.server import SECRET, TOKEN
from simulation.world import Entry, Recording, World

from rtms_cli.capture import read_line
from rtms_cli.errors import Problem
from rtms_cli.machine import ChannelState, Direction, Frame, State
from rtms_cli.protocol import messages
from rtms_cli.protocol.messages import KeepAliveRequest, SignalingHandshakeResponse
from rtms_cli.protocol.numbers import MediaType, StatusCode
from rtms_cli.recording.manifest import CAPTURE, MANIFEST, Manifest
from rtms_cli.recording.ownership import LOCK
from rtms_cli.recording.recorder import Recorder
from rtms_cli.recording.repair import repair
from rtms_cli.simulator.deviations import Deviation
from rtms_cli.simulator.faults import Fault

BATCH = 256
LONG_WAIT_S = 20
"""A wait between two tries that may outlast the calm stretch at the end of a plan."""
RENEWED_S = 25
"""A manifest is renewed at least this often while frames come."""
SHARED_MEMORY = Path("/dev/shm")


def check(world: World) -> Stats:
    """Look at everything; what is wrong goes to the world's violations."""
    stats = Stats(len(world.recordings), len(world.plan.hits))
    wrong = world.violations
    if not world.is_over:
        return stats
    wrong += _deliveries(world)
    wrong += _findings(world)
    for number, recording in enumerate(world.recordings):
        if recording.was_killed and not recording.files.contents:
            continue  # before the disk took anything
        try:
            found = list(_recording(world, recording, stats))
        except Exception as error:
            found = [f"the oracle stumbled: {error!r}"]
            if world.plan.seed < 0:
                raise
        wrong += [f"recording {number}: {line}" for line in found]
    wrong += _last_words(world)
    return stats


# What came in, and what the server says of us.


def _with_secrets_hidden(raw: bytes) -> bytes:
    """A message with URLs is put without the secrets in them, written again."""
    if b"://" not in raw:
        return raw
    plain = json.dumps(json.loads(raw), separators=(",", ":"))
    return re.sub(r'(passphrase=)[^&"]*|(passphrase":)"[^"]*"', r"\1\2", plain).encode()


def _accepts(raw: bytes) -> bool:
    """Whether a message is the answer to a signaling handshake that the server accepts."""
    message = messages.read(raw)
    return isinstance(message, SignalingHandshakeResponse) and message.status_code == StatusCode.STATUS_OK


def _deliveries(world: World) -> Iterator[str]:
    """Every message that arrived was put, or dropped and counted."""
    for process in world.processes:
        if process.is_dead or not (process.recordings or any(map(_accepts, process.delivered))):
            continue  # a recording begins when a handshake is accepted
        put: Counter[bytes] = Counter()
        dropped = 0
        for recording in process.recordings:
            for entry in recording.entries:
                frame = entry.frame
                if frame.direction is Direction.IN and frame.channel != "webhook":
                    put[_with_secrets_hidden(frame.raw)] += 1
                elif isinstance(frame.message, ChannelState) and frame.message.state is State.DROPPED:
                    dropped += frame.message.count
        arrived = Counter(map(_with_secrets_hidden, process.delivered))
        if (made_up := put - arrived).total():
            yield f"{made_up.total()} messages were put that never arrived"
        if (missing := (arrived - put).total()) != dropped:
            yield f"{missing} messages arrived and were not kept, {dropped} are told of"


_EXPLAINED = (
    "the client closed the connection before the end",
    "no client connected or reconnected in time",
    "keep-alives were not answered",
    "another signaling connection is open",
    "connections for all media types already exist",
    "this media type already has a connection",
    "7 CLIENT_READY_ACK before every",
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
            if "no signaling connection is open" in finding.what and plan.hits:
                continue  # it was lost, and we had not heard of that yet
            if "no client connected" in finding.what and not (_may_be_away(plan) or _ended_early(world)):
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
    """Whether our side has ended by itself, by its own will or for someone's word.

    Closed sockets after a `9` STOPPED are the end (PROTOCOL §9), also where another session would have begun.
    """
    return any(process.is_stopping for process in world.processes) or any(
        finish.status == "failed" or finish.said_by.startswith("9 SESSION_STATE_UPDATE")
        for recording in world.recordings
        for finish in recording.finishes
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
    last_ms = stream.epoch_ms + stream.cues.last_words_ms
    if stream.ended_ms < last_ms:
        return  # the server ended it: all sessions had stopped, and a connection was lost
    if any(_gave_up_media(recording) for recording in process.recordings):
        return  # its socket could not be opened for as long as the server waits for one (PROTOCOL §9)
    if any(_backs_off(recording) for recording in process.recordings):
        return  # several tries in a row came to nothing: the next one was due after the calm stretch
    if any(finish.said_by.startswith("9 ") for recording in process.recordings for finish in recording.finishes):
        return  # no session of the stream was left, and its sockets closed: that is its end (PROTOCOL §9)
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


def _gave_up_media(recording: Recording) -> bool:
    """Whether a media channel was given up; who hears nothing is not there at the end."""
    return any(
        isinstance(state := entry.frame.message, ChannelState)
        and entry.frame.channel.startswith("media")
        and state.state is State.WARNING
        and state.reason.startswith("given up: ")
        for entry in recording.entries
    )


def _backs_off(recording: Recording) -> bool:
    """Whether it waited long for its next try to connect."""
    warnings = (entry.frame.message for entry in recording.entries if isinstance(entry.frame.message, ChannelState))
    waits = (re.search(r"next try in (\d+)", state.reason) for state in warnings if state.state is State.WARNING)
    return any(int(wait[1]) >= LONG_WAIT_S for wait in waits if wait is not None)


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
        if contents or not recording.files.refused:
            yield "there is no manifest"  # the disk took something
        return
    manifest = msgspec.json.decode(contents[MANIFEST], type=Manifest)
    if recording.files.refused and manifest.status == "recording":
        return  # no room for the last word
    yield from check_endings(plan, entries, manifest)
    yield from _keep_alives(entries)
    if manifest.status == "revoked":
        if left := sorted(set(contents) - {MANIFEST}):
            yield f"revoked, and still there: {', '.join(left)}"
        return
    packets = Packets(plan, entries)
    if recording.files.refused:
        if not manifest.losses:
            yield f"{recording.files.refused} writes failed, and there are no losses"
        yield from check_content(plan, packets, contents, manifest, stats, is_whole=False)
        return
    yield from _capture(entries, contents)
    yield from check_heard(recording.ears, contents)
    for guest in recording.guests:
        yield from guest.check()
    yield from check_content(plan, packets, contents, manifest, stats, is_whole=True)
    yield from check_losses(packets, entries, manifest)
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
        if b"hush-hush" in content:
            yield f"the passphrase of another protocol is in {name}"
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
    with tempfile.TemporaryDirectory(dir=SHARED_MEMORY if os.access(SHARED_MEMORY, os.W_OK) else None) as place:
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
    statuses = statuses_after_death(plan, entries)
    if manifest.status not in statuses and not recording.files.refused:
        yield f"repaired: status {manifest.status}, not {' or '.join(sorted(statuses))}"
    if manifest.status == "revoked":
        if left := sorted(set(repaired) - {MANIFEST}):
            yield f"repaired: revoked, and still there: {', '.join(left)}"
        return
    yield from _secrets(repaired)
    if not recording.files.refused:
        for line in check_content(plan, Packets(plan, entries), repaired, manifest, stats, is_whole=True):
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
