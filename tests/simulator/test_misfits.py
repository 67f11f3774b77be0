"""Media that is not as granted, from the simulator into a recording: every sample and every picture is there."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from frames import HEADER
from simulator.test_zoom import Server

from rtms_cli.machine import Direction, Frame, Send, frame_of
from rtms_cli.protocol.messages import Media, encode, read
from rtms_cli.protocol.numbers import Codec, MediaType
from rtms_cli.recording.manifest import Manifest
from rtms_cli.recording.recorder import Recorder
from rtms_cli.simulator.deviations import Deviation
from rtms_cli.simulator.media import mixed
from rtms_cli.simulator.scenario import Scenario

AUDIO = {"content_type": 2, "sample_rate": 1, "channel": 1, "codec": 1, "data_opt": 1, "send_rate": 20}
VIDEO = {"content_type": 3, "codec": 7, "resolution": 1, "data_opt": 3, "fps": 10}
SECONDS = 8
PEOPLE = len(Scenario(SECONDS).people)


def sent(deviation: Deviation, media_type: MediaType, **params: object) -> list[Frame]:
    """Everything that a server with a deviation sends on the media socket."""
    server = Server(scenario=Scenario(SECONDS, deviations=frozenset({deviation})))
    server.join(int(media_type), **params)
    answer = list(server.commands)
    frames = [frame_of(0, "media", Direction.IN, encode(one.message)) for one in answer if isinstance(one, Send)]
    server.say("signaling", 7, rtms_stream_id="stream1")
    while True:
        for one in server.commands:
            if isinstance(one, Send) and isinstance(one.message, Media):
                frames.append(frame_of(server.at_us, "media", Direction.IN, encode(one.message)))
        due_us = server.zoom.deadline_us
        if due_us is None or due_us > SECONDS * 1_000_000:
            return frames
        server.at_us = max(server.at_us, due_us)
        server.commands = server.zoom.tick(server.at_us)


def recorded(folder: Path, frames: list[Frame]) -> Manifest:
    recorder = Recorder(folder, HEADER)
    recorder.fold(frames)
    recorder.close()
    return Manifest.read(folder)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("deviation", [Deviation.OTHER_CHANNELS, Deviation.TWIN_TIMES])
def test_every_sample_is_there(deviation: Deviation, channels: int, tmp_path: Path) -> None:
    manifest = recorded(tmp_path, sent(deviation, MediaType.AUDIO, audio=AUDIO | {"channel": channels}))
    [track] = manifest.tracks
    assert track.assumed
    assert manifest.losses == []
    samples, rate = soundfile.read(tmp_path / track.path, dtype="int16", always_2d=True)
    for start, end in reversed(track.gaps):
        # The first packet alone has its timestamp, which is rounded down: a gap of one packet may follow it.
        assert (start, end) == (0.02, 0.04)
        samples = np.delete(samples, slice(round(start * rate), round(end * rate)), axis=0)
    expected = mixed(PEOPLE, 0, len(samples), 16_000)
    came = channels if deviation is Deviation.TWIN_TIMES else 3 - channels
    assert (rate, samples.shape[1]) == (16_000, came)
    assert len(samples) >= (SECONDS - 1) * 16_000
    for side in range(came):
        assert np.array_equal(samples[:, side], expected)


def payloads(frames: list[Frame]) -> list[bytes]:
    messages = (frame.message for frame in frames)
    return [message.payload() or b"" for message in messages if isinstance(message, Media)]


@pytest.mark.parametrize("codec", [Codec.H264, Codec.JPG])
@pytest.mark.parametrize("deviation", [Deviation.NAL_UNITS, Deviation.OTHER_CODEC])
def test_every_picture_is_there(deviation: Deviation, codec: Codec, tmp_path: Path) -> None:
    fps = 10 if codec == Codec.H264 else 5
    frames = sent(deviation, MediaType.VIDEO, video=VIDEO | {"codec": codec, "fps": fps})
    plain = sent(Deviation.STATUS, MediaType.VIDEO, video=VIDEO | {"codec": codec, "fps": fps})
    manifest = recorded(tmp_path, frames)
    content = b"".join((tmp_path / track.path).read_bytes() for track in manifest.tracks)
    by_codec = sorted(payloads(frames), key=lambda payload: payload.startswith(b"\0\0") is not (codec == Codec.H264))
    assert manifest.losses == []
    if deviation is Deviation.NAL_UNITS:
        assert content.replace(b"\0\0\0\1", b"\0\0\1") == b"".join(payloads(plain)).replace(b"\0\0\0\1", b"\0\0\1")
        assert len(frames) > len(plain) or codec == Codec.JPG
    else:
        assert len(content) == sum(map(len, by_codec))
        assert {track.codec for track in manifest.tracks} == {"H264", "JPG"}
        assert any("was granted" in warned.text for warned in manifest.warnings)


def test_what_is_sent_reads_as_what_it_is() -> None:
    for frame in sent(Deviation.OTHER_CHANNELS, MediaType.AUDIO, audio=AUDIO)[1:5]:
        message = read(frame.raw)
        assert isinstance(message, Media)
        assert message.length == len(message.payload() or b"") == 1280
