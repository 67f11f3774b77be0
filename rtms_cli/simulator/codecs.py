"""Audio and picture encoders in the granted formats: one payload in, one payload out, without delay.

L16 only needs NumPy. The others use FFmpeg's encoders through PyAV, which is imported when an encoder is created.
"""

import struct
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from rtms_cli.protocol.media import AudioParams
from rtms_cli.protocol.numbers import AudioChannel, Codec, ContentType, Resolution, SampleRate

Pcm = npt.NDArray[np.int16]
Picture = npt.NDArray[np.uint8]
"""A planar YUV 4:2:0 picture: `height × 3 / 2` rows of `width`."""

KEY_EVERY_S = 2
"""Seconds between the key frames of an H.264 stream."""

SIZES: dict[int | None, tuple[int, int]] = {
    Resolution.SD: (640, 360),
    Resolution.HD: (1280, 720),
    Resolution.FHD: (1920, 1080),
    Resolution.QHD: (2560, 1440),
}
"""Width and height of each `resolution` (PROTOCOL §5)."""

_DELAYS = {Codec.OPUS: 312, Codec.G722: 22}


def delay_of(codec: int | None) -> int:
    """Return the codec's delay in samples between encoder input and decoder output."""
    return next((delay for known, delay in _DELAYS.items() if known == codec), 0)


class AudioForm:
    """How audio is cut into packets and encoded.

    :param audio: a complete, valid set of parameters (PROTOCOL §5).
    """

    def __init__(self, audio: AudioParams) -> None:
        self.rate = SampleRate(audio.sample_rate or 0).hz  # type: ignore[call-arg]  # the one-argument call looks it up
        self.channels = 2 if audio.channel == AudioChannel.STEREO else 1
        self.step_ms = audio.send_rate or 20
        self.codec = audio.codec
        self.is_rtp = audio.content_type == ContentType.RTP

    @property
    def samples(self) -> int:
        """Samples per channel in a packet."""
        return self.rate * self.step_ms // 1000

    def encoder(self, source: int) -> "Callable[[Pcm, int], bytes]":
        """Return an encoder for one source. It takes samples (count, channels) and their time in ms.

        :param source: the participant, or 0 for mixed audio. It is the SSRC of RTP packets.
        """
        encode = _encode_l16 if self.codec == Codec.L16 else _Ffmpeg(self.codec, self.rate, self.channels)
        return _Rtp(encode, self, source) if self.is_rtp else lambda pcm, _: encode(pcm)


def _encode_l16(pcm: Pcm) -> bytes:
    return pcm.astype("<i2").tobytes()


_ENCODERS: dict[int | None, tuple[str, dict[str, str]]] = {
    Codec.G711: ("pcm_alaw", {}),
    Codec.G722: ("g722", {}),
    Codec.OPUS: ("libopus", {"application": "audio", "frame_duration": "20", "compression_level": "5"}),
}


class _Ffmpeg:
    """An encoder that returns exactly one packet for each input."""

    def __init__(self, codec: int | None, rate: int, channels: int) -> None:
        import av

        name, options = _ENCODERS[codec]
        self._layout = "stereo" if channels == 2 else "mono"
        context = av.CodecContext.create(name, "w")
        assert isinstance(context, av.AudioCodecContext)
        context.sample_rate = rate
        context.layout = self._layout
        context.format = "s16"
        context.options = options
        self._codec = context
        self._frame = av.AudioFrame
        self._rate = rate
        self._pts = 0

    def __call__(self, pcm: Pcm) -> bytes:
        frame = self._frame.from_ndarray(np.ascontiguousarray(pcm).reshape(1, -1), "s16", self._layout)
        frame.sample_rate = self._rate
        frame.pts = self._pts
        self._pts += len(pcm)
        return b"".join(bytes(packet) for packet in self._codec.encode(frame))


_RTP_TYPES: dict[int | None, tuple[int, int]] = {
    Codec.G711: (8, 8_000),
    Codec.G722: (9, 8_000),  # RFC 3551 uses an 8 kHz clock for G.722, although it is sampled at 16 kHz
    Codec.OPUS: (111, 48_000),
}


class _Rtp:
    """Prepends a 12-byte RTP header to each payload (RFC 3550). The marker bit is set after a pause."""

    def __init__(self, encode: "Callable[[Pcm], bytes]", form: AudioForm, source: int) -> None:
        self._encode = encode
        self._type, self._clock = _RTP_TYPES[form.codec]
        self._step_ms = form.step_ms
        self._source = source
        self._sequence = 0
        self._next_ms: int | None = None

    def __call__(self, pcm: Pcm, at_ms: int) -> bytes:
        marker = 0x80 if at_ms != self._next_ms else 0
        self._next_ms = at_ms + self._step_ms
        stamp = at_ms * self._clock // 1000 & 0xFFFFFFFF
        header = struct.pack(
            ">BBHII", 0x80, marker | self._type, self._sequence & 0xFFFF, stamp, self._source & 0xFFFFFFFF
        )
        self._sequence += 1
        return header + self._encode(pcm)


class H264Encoder:
    """Baseline H.264 in Annex B format: one access unit per picture, parameter sets before each key frame.

    A picture of a different size starts a new sequence.
    """

    def __init__(self, fps: int) -> None:
        self._fps = fps
        self._size: tuple[int, int] | None = None
        self._count = 0

    def encode(self, picture: Picture, *, key: bool) -> bytes:
        """Return the access unit of the next picture.

        :param key: whether it must be a key frame, because another participant comes into view.
        """
        import av

        rows, width = picture.shape
        if self._size != (width, rows):
            self._begin(width, rows * 2 // 3)
            self._size = (width, rows)
        frame = av.VideoFrame.from_ndarray(picture, format="yuv420p")
        frame.pts = self._count
        self._count += 1
        if key:
            frame.pict_type = av.video.frame.PictureType.I
        return b"".join(bytes(packet) for packet in self._codec.encode(frame))

    def _begin(self, width: int, height: int) -> None:
        import av

        interval = KEY_EVERY_S * self._fps
        codec = av.CodecContext.create("libx264", "w")
        assert isinstance(codec, av.VideoCodecContext)
        codec.width, codec.height, codec.pix_fmt = width, height, "yuv420p"
        codec.time_base, codec.framerate = Fraction(1, self._fps), Fraction(self._fps)
        codec.thread_count = 1  # more threads would split pictures into slices and take CPU from the client
        codec.options = {
            "preset": "ultrafast",
            "tune": "zerolatency",
            "profile": "baseline",
            "forced-idr": "1",
            "x264-params": f"keyint={interval}:min-keyint={interval}:scenecut=0:aud=1:repeat-headers=1",
        }
        self._codec = codec


class GroupOfPictures:
    """A key frame and the pictures that depend on it, encoded on demand. Streams may share it.

    :param picture: returns the picture with a given number.
    :param first: the key frame's number.
    :param is_odd: must differ between consecutive groups, so that their key frames have different `idr_pic_id`s and a
        decoder can distinguish them.
    """

    def __init__(self, fps: int, picture: Callable[[int], Picture], first: int, *, is_odd: bool) -> None:
        self._encoder = H264Encoder(fps)
        self._picture = picture
        self._first = first
        self._units: list[bytes] = []
        if is_odd:
            self._encoder.encode(picture(first), key=True)

    def unit(self, index: int) -> bytes:
        """Return the access unit at an offset from the key frame."""
        while len(self._units) <= index:
            at = len(self._units)
            self._units.append(self._encoder.encode(self._picture(self._first + at), key=at == 0))
        return self._units[index]


class ImageEncoder:
    """Encodes the user's pictures as JPEG or PNG."""

    def __init__(self, codec: int | None) -> None:
        self._name, self._format = ("png", "rgb24") if codec == Codec.PNG else ("mjpeg", "yuvj420p")

    def encode(self, picture: Picture) -> bytes:
        """Return the picture as a JPEG or PNG file."""
        import av

        rows, width = picture.shape
        codec = av.CodecContext.create(self._name, "w")
        assert isinstance(codec, av.VideoCodecContext)
        codec.width, codec.height, codec.pix_fmt = width, rows * 2 // 3, self._format
        codec.time_base = Fraction(1, 1)
        codec.thread_count = 1
        frame = av.VideoFrame.from_ndarray(picture, format="yuv420p").reformat(format=self._format)
        frame.pts = 0
        return b"".join(bytes(packet) for packet in [*codec.encode(frame), *codec.encode(None)])
