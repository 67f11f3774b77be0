"""H.264 as far as it must be read to be stored and cut: NAL units, parameter sets, slice headers (ITU-T H.264).

Nothing is decoded. Whoever sends it may be hostile: every loop has a bound, and what cannot be read is `None`.
"""

from msgspec import Struct

START_CODE = b"\0\0\0\1"
IDR, SPS, PPS = 5, 7, 8
"""NAL unit types; 1 to 5 are slices (table 7-1)."""
MOST_UNITS = 4096
"""NAL units of one message that are distinguished; an access unit of level 6.2 has fewer slices."""
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

    `None` if the lengths do not fit exactly. What comes out is as long as what went in.
    """
    starts: list[int] = []
    position = 0
    while position + 4 < len(payload) and len(starts) < MOST_UNITS:
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
        """An unsigned number of this many bits.

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


class Sps(Struct, frozen=True):
    """What a sequence parameter set says that matters here (7.3.2.1.1)."""

    id: int
    size: Size | None
    """The size of the pictures, cropped; `None` if it cannot be."""
    has_planes: bool
    """Whether a slice is of one colour plane."""
    frame_num_bits: int
    order_type: int
    order_bits: int
    has_deltas: bool
    """Whether slices say how their picture's place differs from the expected one (order type 1)."""
    frames_only: bool


class Pps(Struct, frozen=True):
    """What a picture parameter set says that matters here (7.3.2.2)."""

    id: int
    sps_id: int
    has_bottom_order: bool


def sps_size(sps: bytes) -> Size | None:
    """The size of the pictures that an SPS is for; `None` if it cannot be read.

    :param sps: the NAL unit behind its first byte.
    """
    read = read_sps(sps)
    return None if read is None else read.size


def read_sps(sps: bytes) -> Sps | None:
    """Read a sequence parameter set, behind its first byte."""
    try:
        return _read_sps(Bits(sps))
    except ValueError:
        return None


def read_pps(pps: bytes) -> Pps | None:
    """Read a picture parameter set, behind its first byte."""
    bits = Bits(pps)
    try:
        number, sps_id = bits.ue(), bits.ue()
        bits.take(1)
        return Pps(number, sps_id, bool(bits.take(1)))
    except ValueError:
        return None


def _read_sps(bits: Bits) -> Sps:
    profile = bits.take(8)
    bits.take(16)
    number = bits.ue()
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
    frame_num_bits = 4 + bits.ue()
    order = bits.ue()
    order_bits, has_deltas = 0, False
    if order == 0:
        order_bits = 4 + bits.ue()
    elif order == 1:
        has_deltas = not bits.take(1)
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
    size = (width, height) if 0 < width <= 65_536 and 0 < height <= 65_536 else None
    return Sps(number, size, bool(separate), frame_num_bits, order, order_bits, has_deltas, bool(frames_only))


class Slice(Struct, frozen=True):
    """What a slice's header says of the picture that it belongs to."""

    first_block: int
    """Its first macroblock."""
    is_intra: bool
    picture: tuple[int, ...]
    """Differs between two pictures that follow each other (7.4.1.2.4); empty if it cannot be read."""


SLICE_HEADER = 64
"""Bytes that hold what is read of a slice."""


def read_slice(unit: bytes, sets: "ParameterSets") -> Slice | None:
    """Read a slice's header, as far as its parameter sets are known (7.3.3).

    :param unit: the NAL unit from its first byte on; its beginning will do.
    """
    kind, rank = unit[0] & 0x1F, unit[0] & 0x60
    bits = Bits(unit[1:SLICE_HEADER])
    try:
        first, slice_type, pps_id = bits.ue(), bits.ue() % 5, bits.ue()
    except ValueError:
        return None
    is_intra = slice_type in (2, 4)
    try:
        return Slice(first, is_intra, (pps_id, rank == 0, kind == IDR, *_read_place(bits, kind, pps_id, sets)))
    except (KeyError, ValueError):
        return Slice(first, is_intra, ())


def _read_place(bits: Bits, kind: int, pps_id: int, sets: "ParameterSets") -> tuple[int, ...]:
    pps = sets.pps[pps_id]
    sps = sets.sps[pps.sps_id]
    if sps.has_planes:
        bits.take(2)
    place = [bits.take(sps.frame_num_bits)]
    is_field = 0
    if not sps.frames_only:
        is_field = bits.take(1)
        place += [is_field, bits.take(1) if is_field else 0]
    if kind == IDR:
        place.append(bits.ue())
    if sps.order_type == 0:
        place.append(bits.take(sps.order_bits))
        if pps.has_bottom_order and not is_field:
            place.append(bits.se())
    elif sps.has_deltas:
        place.append(bits.se())
        if pps.has_bottom_order and not is_field:
            place.append(bits.se())
    return tuple(place)


class ParameterSets:
    """The parameter sets of a stream that are in force."""

    def __init__(self) -> None:
        self.sps: dict[int, Sps] = {}
        self.pps: dict[int, Pps] = {}
        self._units: dict[tuple[int, int], bytes] = {}

    def take(self, unit: bytes) -> None:
        """Take a NAL unit that is one."""
        kind = unit[0] & 0x1F
        read = read_sps(unit[1:]) if kind == SPS else read_pps(unit[1:])
        if isinstance(read, Sps) and read.id < 32:
            self.sps[read.id] = read
        elif isinstance(read, Pps) and read.id < 256:
            self.pps[read.id] = read
        else:
            return
        self._units[kind, read.id] = unit

    def written(self) -> bytes:
        """All of them with start codes."""
        return b"".join(START_CODE + unit for _, unit in sorted(self._units.items()))


def _skip_scaling_lists(bits: Bits, count: int) -> None:
    for index in range(count):
        if not bits.take(1):
            continue
        last = following = 8
        for _ in range(16 if index < 6 else 64):
            if following:
                following = (last + bits.se()) % 256
            last = following or last
