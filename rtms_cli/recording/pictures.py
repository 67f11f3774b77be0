"""What a picture says of itself: its codec, whether a player can start there, its size.

Only headers are read; nothing is decoded, for whoever sends pictures may be hostile.
"""

from msgspec import Struct

from rtms_cli.protocol.numbers import Codec

_MOST_UNITS = 32
"""How far into an access unit to look for its first slice: parameter sets and SEI come before it."""
_IDR, _SPS, _PPS = 5, 7, 8
"""NAL unit types; 1 to 5 are slices (ITU-T H.264, table 7-1)."""
_LONGEST_SPS = 512
_MOST_HEADER = 65_536
"""How far into a JPEG to look for its frame header; thumbnails and profiles come before it."""
_HIGH_PROFILES = frozenset((100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135))

Size = tuple[int, int]
"""Width and height in pixels."""


class Picture(Struct, frozen=True):
    """What one payload is."""

    is_key: bool
    """Whether a player can start here: every image, and an H.264 access unit with an IDR slice or an SPS."""
    has_parameter_sets: bool = False
    """Whether an SPS or PPS is in it (H.264)."""
    size: Size | None = None
    """`None` where it does not say: an H.264 access unit without an SPS, or a damaged header."""


_PLAIN = Picture(False)


def sniff_codec(payload: bytes) -> int | None:
    """Tell a picture's codec from its first bytes, where no server said what it granted."""
    if payload.startswith(b"\xff\xd8\xff"):
        return Codec.JPG
    if payload.startswith(b"\x89PNG"):
        return Codec.PNG
    if payload.startswith((b"\0\0\1", b"\0\0\0\1")):
        return Codec.H264
    return None


def read_picture(codec: int | None, payload: bytes) -> Picture:
    """Read a payload's headers."""
    if codec == Codec.H264:
        return _read_h264(payload)
    if codec == Codec.JPG:
        return Picture(True, size=_jpeg_size(payload))
    if codec == Codec.PNG:
        return Picture(True, size=_png_size(payload))
    return _PLAIN


def _png_size(payload: bytes) -> Size | None:
    if len(payload) < 24 or payload[12:16] != b"IHDR":
        return None
    return int.from_bytes(payload[16:20], "big"), int.from_bytes(payload[20:24], "big")


def _jpeg_size(payload: bytes) -> Size | None:
    """Walk the markers up to the frame header (ITU-T T.81, B.2.2)."""
    position = 2
    while position + 9 <= min(len(payload), _MOST_HEADER):
        if payload[position] != 0xFF:
            return None
        marker = payload[position + 1]
        if marker == 0xFF:  # fill bytes may precede a marker
            position += 1
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = payload[position + 5 : position + 7], payload[position + 7 : position + 9]
            return int.from_bytes(width, "big"), int.from_bytes(height, "big")
        else:
            position += 2 + int.from_bytes(payload[position + 2 : position + 4], "big")
    return None


def _read_h264(payload: bytes) -> Picture:
    """Look at the NAL units before the first slice, and at its kind."""
    position, size, kinds = 0, None, set[int]()
    for _ in range(_MOST_UNITS):
        position = payload.find(b"\0\0\1", position) + 3
        if position == 2 or position >= len(payload):
            break
        kind = payload[position] & 0x1F
        kinds.add(kind)
        if kind == _SPS:
            size = sps_size(payload[position + 1 : position + 1 + _LONGEST_SPS]) or size
        if 1 <= kind <= _IDR:
            break
    return Picture(bool(kinds & {_IDR, _SPS}), bool(kinds & {_SPS, _PPS}), size)


class _Bits:
    """Bits of a NAL unit, from the most significant one on, without emulation prevention (ITU-T H.264, 7.2)."""

    def __init__(self, data: bytes) -> None:
        clean = data.replace(b"\0\0\3", b"\0\0")
        self._value = int.from_bytes(clean, "big")
        self._left = 8 * len(clean)

    def take(self, count: int) -> int:
        """An unsigned number of so many bits.

        :raises ValueError: behind the end.
        """
        self._left -= count
        if self._left < 0:
            raise ValueError("the parameter set ends early")
        return self._value >> self._left & ((1 << count) - 1)

    def ue(self) -> int:
        """An Exp-Golomb number (9.1)."""
        zeros = 0
        while not self.take(1):
            zeros += 1
            if zeros > 32:
                raise ValueError("no Exp-Golomb number")
        return (1 << zeros) - 1 + self.take(zeros)

    def se(self) -> int:
        """A signed one (9.1.1)."""
        number = self.ue()
        return (number + 1) // 2 if number & 1 else -(number // 2)


def sps_size(sps: bytes) -> Size | None:
    """The size of the pictures that an SPS is for, cropped; `None` where it cannot be read.

    :param sps: the NAL unit behind its first byte (ITU-T H.264, 7.3.2.1.1).
    """
    try:
        return _sps_size(_Bits(sps))
    except ValueError:
        return None


def _sps_size(bits: _Bits) -> Size | None:
    profile = bits.take(8)
    bits.take(16)
    bits.ue()
    chroma = 1
    separate = 0
    if profile in _HIGH_PROFILES:
        chroma = bits.ue()
        separate = bits.take(1) if chroma == 3 else 0
        bits.ue()
        bits.ue()
        bits.take(1)
        if bits.take(1):
            _skip_scaling_lists(bits, 12 if chroma == 3 else 8)
    bits.ue()
    order = bits.ue()
    if order == 0:
        bits.ue()
    elif order == 1:
        bits.take(1)
        bits.se()
        bits.se()
        for _ in range(min(255, bits.ue())):
            bits.se()
    bits.ue()
    bits.take(1)
    width, units = 16 * (bits.ue() + 1), bits.ue() + 1
    frames_only = bits.take(1)
    if not frames_only:
        bits.take(1)
    height = 16 * units * (2 - frames_only)
    bits.take(1)
    if bits.take(1):
        left, right, top, bottom = (bits.ue() for _ in range(4))
        across = 2 if chroma in (1, 2) and not separate else 1
        down = (2 if chroma == 1 and not separate else 1) * (2 - frames_only)
        width, height = width - across * (left + right), height - down * (top + bottom)
    return (width, height) if 0 < width <= 65_536 and 0 < height <= 65_536 else None


def _skip_scaling_lists(bits: _Bits, count: int) -> None:
    for index in range(count):
        if not bits.take(1):
            continue
        last = following = 8
        for _ in range(16 if index < 6 else 64):
            if following:
                following = (last + bits.se()) % 256
            last = following or last
