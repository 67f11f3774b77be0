"""Tones and their packets, by real encoders."""

import struct
from collections.abc import Sequence

import av
import numpy as np
from frames import granted

from rtms_cli.machine import Frame

RATES = {"l16": 16_000, "g711": 8_000, "g722": 16_000, "opus": 48_000}
NUMBERS = {"l16": 1, "g711": 2, "g722": 3, "opus": 4}
ENCODERS = {"g711": "pcm_alaw", "g722": "g722", "opus": "libopus"}
_SAMPLE_RATES = {8_000: 0, 16_000: 1, 32_000: 2, 48_000: 3}


def sine(rate: int, seconds: float, channels: int = 1) -> np.ndarray:
    """440 Hz on the left, 880 Hz on the right, a third of full scale; int16, one row a sample."""
    time = np.arange(int(rate * seconds)) / rate
    tones = [np.sin(2 * np.pi * 440 * (channel + 1) * time) for channel in range(channels)]
    return (np.stack(tones, axis=1) * 11_000).astype("<i2")


def encoded(codec: str, pcm: np.ndarray) -> list[bytes]:
    """Packets of 20 ms each."""
    rate, channels = RATES[codec], pcm.shape[1]
    each = rate // 50
    if codec == "l16":
        return [pcm[start : start + each].tobytes() for start in range(0, len(pcm), each)]
    encoder = av.CodecContext.create(ENCODERS[codec], "w")
    assert isinstance(encoder, av.AudioCodecContext)
    encoder.sample_rate, encoder.layout, encoder.format = rate, "stereo" if channels == 2 else "mono", "s16"
    packets = []
    for start in range(0, len(pcm), each):
        frame = av.AudioFrame.from_ndarray(
            pcm[start : start + each].reshape(1, -1), format="s16", layout="stereo" if channels == 2 else "mono"
        )
        frame.sample_rate, frame.pts = rate, start
        packets += [bytes(packet) for packet in encoder.encode(frame)]
    return packets


def grant(codec: str, channels: int = 1, content_type: int = 2) -> Frame:
    """A `4` for such audio."""
    params = {
        "content_type": content_type, "sample_rate": _SAMPLE_RATES[RATES[codec]], "channel": channels,
        "codec": NUMBERS[codec], "data_opt": 1, "send_rate": 20,
    }  # fmt: skip
    return granted(audio=params)


def rtp(packets: Sequence[bytes], first: int = 65_530) -> list[bytes]:
    """The packets with RTP headers; every second one has an extension and padding, and one contributing source."""
    return [
        struct.pack(">BBHII", 0x80, 111, (first + index) & 0xFFFF, index * 960, 7) + packet
        if index % 2
        else struct.pack(">BBHIIIHHI", 0xB1, 111, (first + index) & 0xFFFF, index * 960, 7, 9, 0xBEDE, 1, 5)
        + packet
        + b"\0\0\3"
        for index, packet in enumerate(packets)
    ]
