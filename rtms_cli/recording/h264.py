"""H.264 as far as it must be read to be stored and cut: NAL units, parameter sets, slice headers (ITU-T H.264).

Nothing is decoded. Whoever sends it may be hostile: every loop has a bound, and what cannot be read is `None`.
"""

START_CODE = b"\0\0\0\1"
IDR, SPS, PPS = 5, 7, 8
"""NAL unit types; 1 to 5 are slices (table 7-1)."""
_MOST_UNITS = 4096
"""NAL units of one message; an access unit of level 6.2 has fewer slices."""
_MOST_ZEROS = 16
_HIGH_PROFILES = frozenset((100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135))

Size = tuple[int, int]
"""Width and height in pixels."""


def begins_with_start_code(payload: bytes) -> bool:
    """Whether a payload is in the byte stream format (annex B), which may begin with some zeros."""
    start = payload[:_MOST_ZEROS].lstrip(b"\0")
    return start.startswith(b"\1") and payload.startswith(b"\0\0")


def from_lengths(payload: bytes) -> bytes | None:
    """The same NAL units with start codes, where each has its length before it in four bytes (ISO/IEC 14496-15).

    `None` where the lengths do not fit exactly. What comes out is as long as what went in.
    """
    starts: list[int] = []
    position = 0
    while position + 4 < len(payload) and len(starts) < _MOST_UNITS:
        header = payload[position + 4]
        if header & 0x80 or not 1 <= header & 0x1F <= 23:
            return None
        starts.append(position)
        position += 4 + int.from_bytes(payload[position : position + 4], "big")
    if position != len(payload) or not starts:
        return None
    changed = bytearray(payload)
    for start in starts:
        changed[start : start + 4] = START_CODE
    return bytes(changed)


def from_configuration(payload: bytes) -> bytes | None:
    """The parameter sets of a decoder configuration record (ISO/IEC 14496-15, 5.3.3.1), with start codes."""
    if len(payload) < 8 or payload[0] != 1 or payload[4] & 0xFC != 0xFC or payload[5] & 0xE0 != 0xE0:
        return None
    position, sets = 5, []
    for kind, mask in ((SPS, 0x1F), (PPS, 0xFF)):
        count, position = payload[position] & mask if position < len(payload) else 0, position + 1
        for _ in range(count):
            start = position + 2
            position = start + int.from_bytes(payload[position:start], "big")
            unit = payload[start:position]
            if position > len(payload) or not unit or unit[0] & 0x1F != kind:
                return None
            sets.append(START_CODE + unit)
    return b"".join(sets) or None


class Bits:
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
        return _sps_size(Bits(sps))
    except ValueError:
        return None


def _sps_size(bits: Bits) -> Size | None:
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


def _skip_scaling_lists(bits: Bits, count: int) -> None:
    for index in range(count):
        if not bits.take(1):
            continue
        last = following = 8
        for _ in range(16 if index < 6 else 64):
            if following:
                following = (last + bits.se()) % 256
            last = following or last
