"""What the simulator sends, decoded by FFmpeg: every form of PROTOCOL §5 is what was asked for, in the right place."""

import struct
from collections.abc import Sequence
from itertools import pairwise

import av
import numpy as np
import numpy.typing as npt
import pytest
from simulator.test_zoom import IDS, Server

from rtms_cli.protocol.media import DEFAULT_PARAMS, AudioParams, MediaParams, ShareParams, VideoParams
from rtms_cli.protocol.messages import Audio, Media
from rtms_cli.protocol.numbers import MediaType
from rtms_cli.simulator import media
from rtms_cli.simulator.codecs import SIZES, delay_of
from rtms_cli.simulator.cues import Cue, make_cues
from rtms_cli.simulator.scenario import PEOPLE, Scenario
from rtms_cli.simulator.schedule import TURN_MS, Event, EventKind
from rtms_cli.simulator.synthesis import SHARE_SHADE, shade_of

HZ = (8_000, 16_000, 32_000, 48_000)
ROWS = [
    *((content, 4, 3, channel, 20) for content in (1, 2) for channel in (1, 2)),
    *((content, 2, 0, 1, 20) for content in (1, 2)),
    *((content, 3, 1, 1, 20) for content in (1, 2)),
    *((2, 1, rate, channel, 20) for rate in range(4) for channel in (1, 2)),
    *((2, 1, 1, 1, send_rate) for send_rate in (40, 100, 500, 980, 1000)),
]
"""content_type, codec, sample_rate, channel, send_rate: every row of the matrix."""

Samples = npt.NDArray[np.float64]


def cues(scenario: Scenario, params: MediaParams, kind: MediaType) -> list[Cue]:
    return [
        cue for cue in make_cues(scenario, params.or_else(DEFAULT_PARAMS), 1_000_000, kind) if cue.message is not None
    ]


def payloads(shown: Sequence[Cue]) -> list[bytes]:
    found = []
    for cue in shown:
        assert isinstance(cue.message, Media)
        payload = cue.message.payload()
        assert payload is not None
        assert len(payload) == cue.message.length
        found.append(payload)
    return found


def decode(codec: int, rate: int, channels: int, packets: Sequence[bytes]) -> Samples:
    """Samples (count, channels) by FFmpeg's decoders, between -1 and 1."""
    if codec == 1:
        return np.frombuffer(b"".join(packets), "<i2").reshape(-1, channels) / 32_768
    decoder = av.CodecContext.create({2: "pcm_alaw", 3: "g722", 4: "libopus"}[codec], "r")
    assert isinstance(decoder, av.AudioCodecContext)
    decoder.sample_rate, decoder.layout = rate, "stereo" if channels == 2 else "mono"
    pieces = []
    for packet in packets:
        for frame in decoder.decode(av.Packet(packet)):
            assert frame.sample_rate == rate
            values = frame.to_ndarray().reshape(-1, channels)
            pieces.append(values / 32_768 if values.dtype == np.int16 else values)
    return np.concatenate(pieces)


def lag(heard: Samples, meant: Samples) -> int:
    """By how many samples one comes after the other, where they are most alike."""
    size = 1 << (len(meant) * 2).bit_length()
    likeness = np.fft.irfft(np.fft.rfft(heard, size) * np.conj(np.fft.rfft(meant, size)), size)
    peak = int(np.argmax(likeness))
    return peak if peak < size // 2 else peak - size


@pytest.mark.parametrize(("content", "codec", "rate", "channel", "send_rate"), ROWS)
@pytest.mark.parametrize("separate", [False, True], ids=["mixed", "separate"])
def test_every_row_decodes_to_the_sound_that_was_made(
    content: int, codec: int, rate: int, channel: int, send_rate: int, separate: bool
) -> None:
    params = AudioParams(content, rate, channel, codec, 2 if separate else 1, send_rate)
    shown = cues(Scenario(3, PEOPLE[:2]), MediaParams(audio=params), MediaType.AUDIO)
    assert [cue.at_ms for cue in shown] == list(range(0, 3000, send_rate))
    assert {cue.message.user_id for cue in shown if isinstance(cue.message, Audio)} == {
        PEOPLE[0].user_id if separate else 0
    }
    packets = payloads(shown)
    if content == 1:
        headers = [struct.unpack(">BBHII", packet[:12]) for packet in packets]
        packets = [packet[12:] for packet in packets]
        clock = {2: 160, 3: 160, 4: 960}[codec]
        source = PEOPLE[0].user_id if separate else 0
        number = {2: 8, 3: 9, 4: 111}[codec]
        assert headers == [(0x80, number | (0x80 if n == 0 else 0), n, n * clock, source) for n in range(len(packets))]
    hz = HZ[rate]
    heard = decode(codec, hz, channel, packets)
    meant = media.speech(0, 2, 0, 3 * hz, hz) / 32_768
    assert heard.shape == (len(packets) * send_rate * hz // 1000, channel)
    for side in heard.T:
        common = side[: len(meant)]
        if codec == 1:
            assert np.array_equal(common, meant[: len(common)])
        assert lag(common, meant[: len(common)]) == delay_of(codec)
        level = 20 * np.log10(np.sqrt(np.mean(common**2)) / np.sqrt(np.mean(meant[: len(common)] ** 2)))
        assert abs(level) < 1.5


def test_rtp_marks_where_somebody_speaks_again() -> None:
    params = MediaParams(audio=AudioParams(1, 0, 1, 2, 2, 20))
    shown = cues(Scenario(14), params, MediaType.AUDIO)
    mine = [cue for cue in shown if isinstance(cue.message, Audio) and cue.message.user_id == PEOPLE[0].user_id]
    headers = [struct.unpack(">BBHII", packet[:12]) for packet in payloads(mine)]
    assert [header[2] for header in headers] == list(range(300))
    assert [cue.at_ms for cue, header in zip(mine, headers, strict=True) if header[1] & 0x80] == [0, 12_000]
    assert [header[3] for header in headers] == [cue.at_ms * 8 for cue in mine]


def read_number(grey: npt.NDArray[np.uint8], shade: int) -> int:
    """Which number a picture shows: the one that is nearest."""
    height, width = grey.shape
    seen = grey.reshape(height // 8, 8, width // 8, 8).mean(axis=(1, 3))
    distances = [np.abs(media.blocks(number, width, height, shade) - seen).mean() for number in range(100)]
    best = int(np.argmin(distances))
    assert distances[best] < 4
    return best


def see(codec: int, packets: Sequence[bytes]) -> list[npt.NDArray[np.uint8]]:
    """The pictures' brightness, by FFmpeg; one picture a payload."""
    decoder = av.CodecContext.create({5: "mjpeg", 6: "png", 7: "h264"}[codec], "r")
    assert isinstance(decoder, av.VideoCodecContext)
    decoder.thread_count = 1
    frames = []
    for data in packets:
        packet = av.Packet(data)
        packet.is_keyframe = codec != 7  # FFmpeg adds a PNG that is not valid to the one before it
        frames += decoder.decode(packet)
    frames += decoder.decode(None)
    planes = [frame.to_ndarray(format="yuv420p" if codec == 7 else "gray") for frame in frames]
    return [plane.astype(np.uint8)[: frame.height] for plane, frame in zip(planes, frames, strict=True)]


@pytest.mark.parametrize(
    ("codec", "fps", "resolution"), [(7, 30, 1), (7, 10, 2), (7, 6, 3), (5, 5, 1), (5, 2, 3), (6, 5, 2), (6, 1, 3)]
)
def test_pictures_show_their_numbers(codec: int, fps: int, resolution: int) -> None:
    params = MediaParams(video=VideoParams(3, codec, resolution, 3, fps), share=ShareParams(3, codec, resolution, fps))
    scenario = Scenario(5)
    shown = cues(scenario, params, MediaType.VIDEO)
    width, height = SIZES[resolution]
    assert len(shown) == 5 * fps
    pictures = see(codec, payloads(shown))
    assert {picture.shape for picture in pictures} == {(height, width)}
    shades = [shade_of(0 if cue.at_ms < TURN_MS else 1) for cue in shown]
    numbers = [read_number(picture, shade) for picture, shade in zip(pictures, shades, strict=True)]
    assert numbers == [number % 100 for number in range(5 * fps)]
    shared = cues(scenario, params, MediaType.SHARE)
    pictures = see(codec, payloads(shared))
    assert [read_number(picture, SHARE_SHADE) for picture in pictures] == list(range(len(shared)))
    assert len(shared) == (3333 - 1666) * fps // 1000


def units(payload: bytes) -> list[int]:
    return [unit[0] & 31 for unit in payload.replace(b"\0\0\0\1", b"\0\0\1").split(b"\0\0\1")[1:]]


def test_h264_has_a_key_frame_every_two_seconds_and_where_another_camera_comes_into_view() -> None:
    events = (
        Event(6_500, EventKind.CAMERA, 1, camera=2),
        Event(9_000, EventKind.PAUSE, for_ms=500),
        Event(10_000, EventKind.CAMERA, 2, camera=0),
    )
    params = MediaParams(video=VideoParams(3, 7, 1, 3, 10))
    shown = cues(Scenario(12, events=events), params, MediaType.VIDEO)
    packets = payloads(shown)
    kinds = {cue.at_ms: units(packet) for cue, packet in zip(shown, packets, strict=True)}
    keys = [at_ms for at_ms, kind in kinds.items() if 5 in kind]
    assert keys == [0, 2000, 4000, 6000, 6500, 8000, 9500]
    for at_ms, kind in kinds.items():
        assert [unit for unit in kind if unit != 6] == ([9, 7, 8, 5] if at_ms in keys else [9, 1])
    slices = [packet.split(b"\0\0\1\x65")[1] for packet in packets if b"\0\0\1\x65" in packet]
    ids = [int.from_bytes(each[:2], "big") >> 2 & 1 for each in slices]  # the first bit of idr_pic_id: 1 is 0, 010 is 1
    assert all(one != other for one, other in pairwise(ids))
    assert max(kinds) == 9900
    assert not any(9000 <= at_ms < 9500 for at_ms in kinds)
    sizes = [picture.shape for picture in see(7, packets)]
    changes = [index for index, (one, other) in enumerate(pairwise(sizes), 1) if one != other]
    assert [shown[index].at_ms for index in changes] == [6500, 8000]


def test_one_chosen_participants_video() -> None:
    server = Server(seconds=9)
    (granted,) = server.join(2, video={"content_type": 1, "codec": 7, "resolution": 1, "data_opt": 4, "fps": 10})
    assert granted["media_params"] == {
        "video": {"content_type": 3, "codec": 7, "resolution": 1, "data_opt": 4, "fps": 10}
    }
    server.say("signaling", 7, rtms_stream_id=IDS["rtms_stream_id"])

    def seen(seconds: float) -> list[object]:
        contents = [message["content"] for message in server.wait(seconds) if message["msg_type"] == 15]
        return [content["user_id"] for content in contents if isinstance(content, dict)]

    def subscribe(user_id: int, wanted: bool) -> object:
        (answer,) = server.say("signaling", 28, user_id=user_id, subscribe=wanted)
        assert (answer["msg_type"], answer["user_id"]) == (29, user_id)
        return answer["status_code"]

    one, other = PEOPLE[2].user_id, PEOPLE[1].user_id
    assert seen(1) == []
    assert [subscribe(one, True), subscribe(one, True), subscribe(99, True)] == [0, 44, 4]
    assert set(seen(2)) == {one}
    assert subscribe(other, True) == 0
    seen(0.2)
    assert set(seen(2)) == {other}
    assert subscribe(other, False) == 0
    seen(0.2)
    assert seen(1) == []
    assert len(server.findings()) == 2
