"""What has to be in a recording's files: every sample in its place or in a gap that is listed, every line once."""

import io
import wave
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec
import numpy as np
from msgspec import Struct
from simulation.plan import Plan
from simulation.reading import Said, read
from simulation.show import picture, sound
from simulation.world import Entry

from rtms_cli.machine import ChannelState, Direction, State
from rtms_cli.protocol.numbers import AudioChannel, Product, SampleRate
from rtms_cli.recording.manifest import Manifest, TrackEntry

Contents = Mapping[str, bytes | bytearray]


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


class Packets:
    """What came in of one recording."""

    def __init__(self, plan: Plan, entries: Iterable[Entry]) -> None:
        self.audio: dict[object, list[int]] = defaultdict(list)
        """Timestamps by participant, as they came."""
        self.pictures: dict[tuple[str, object], list[tuple[int, bytes]]] = defaultdict(list)
        self.lines: dict[str, list[tuple[int | None, str]]] = defaultdict(list)
        self.names: dict[int, list[str]] = defaultdict(list)
        """Everything that someone was called."""
        self.origin: int | None = None
        self.spoilt = self.odd = self.unreadable = 0
        by_channel = plan.product in (Product.CONTACT_CENTER, Product.PHONE)
        params = plan.request.params
        wanted: dict[str, set[int]] = {}
        for frame in (entry.frame for entry in entries):
            if frame.direction is Direction.OUT and (asked := read(frame.raw)) is not None and asked.msg_type == 3:
                wanted[frame.channel] = _wanted(asked)
            if frame.direction is not Direction.IN or frame.channel == "webhook":
                continue
            said = read(frame.raw)
            if said is None:
                self.unreadable += 1
                continue
            is_spoilt = said.msg_type == 14 and str(said.fields["data"]).startswith("!")
            if said.msg_type in _KINDS and not by_channel and not is_spoilt:
                self._name(said, by_channel=False)
            if said.msg_type in _KINDS and said.msg_type not in wanted.get(frame.channel, _KINDS):
                continue  # everything was asked for, since the server takes nothing less
            timestamp = said.number("timestamp")
            who: object = said.number("user_id")
            match said.msg_type:
                case 14:
                    if is_spoilt:
                        self.spoilt += 1
                        continue
                    data = str(said.fields["data"])
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
                    self.lines["events"].append((timestamp or said.number("event_ts"), ""))
                    self._name(said, by_channel=by_channel)

    def _name(self, said: Said, *, by_channel: bool) -> None:
        """Someone is called so; in calls an event says that, elsewhere everything does, and always the same."""
        held = said.fields.get("participant_info") or said.fields.get("paticipant_info")
        told = Said(said.msg_type, held) if isinstance(held, dict) else said
        who = told.number("channel_id" if by_channel else "user_id")
        name = told.fields.get("display_name" if by_channel else "user_name")
        if who is not None and name and self.names[who][-1:] != [name]:
            self.names[who].append(str(name))

    def _time(self, timestamp: int | None) -> None:
        if timestamp is not None:
            self.origin = timestamp if self.origin is None else min(self.origin, timestamp)


_KINDS = {14: "audio", 15: "video", 16: "deskshare", 17: "transcript", 18: "chat"}


def _wanted(asked: Said) -> set[int]:
    """The types of messages that a `3` wants: of everything, those that it has parameters for."""
    params = asked.fields.get("media_params")
    is_everything = asked.number("media_type") == 32 and isinstance(params, dict)
    return {number for number, kind in _KINDS.items() if not is_everything or kind in params}  # type: ignore[operator]


def check_content(
    plan: Plan,
    packets: Packets,
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
        names = {one.user_id: [named.name for named in one.names] for one in manifest.participants if one.names}
        if names != packets.names:
            yield f"names {names}, not {dict(packets.names)}"
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
    packets: Packets,
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


def _lines(kind: str, packets: Packets, content: bytes | bytearray, stats: Stats, *, is_whole: bool) -> Iterator[str]:
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


def check_losses(packets: Packets, entries: Sequence[Entry], manifest: Manifest) -> Iterator[str]:
    """What is lost is counted, and nothing else."""
    dropped = sum(
        entry.frame.message.count
        for entry in entries
        if isinstance(entry.frame.message, ChannelState) and entry.frame.message.state is State.DROPPED
    )
    expected = packets.spoilt + packets.odd + packets.unreadable + dropped
    if (found := sum(loss.count for loss in manifest.losses)) != expected:
        yield f"{found} losses, not {expected}: {[(loss.what, loss.where, loss.count) for loss in manifest.losses]}"
