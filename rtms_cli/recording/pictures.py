"""What a picture says of itself: its codec, whether a player can start there, its size.

Only headers are read; nothing is decoded, for whoever sends pictures may be hostile.
"""

import binascii

from msgspec import Struct

from rtms_cli.protocol.numbers import Codec
from rtms_cli.recording.h264 import (
    IDR,
    PPS,
    SPS,
    START_CODE,
    Size,
    begins_with_start_code,
    from_configuration,
    from_lengths,
    sps_size,
)

_IMAGES = (Codec.JPG, Codec.PNG)
_MOST_UNITS = 32
"""How far into an access unit to look for its first slice: parameter sets and SEI come before it."""
_MOST_ZEROS = 16
_LONGEST_SPS = 512
_MOST_HEADER = 65_536
"""How far into a JPEG to look for its frame header; thumbnails and profiles come before it."""


class Picture(Struct, frozen=True):
    """What one payload is."""

    is_key: bool
    """Whether a player can start here: every image, and an H.264 access unit with an IDR slice or an SPS."""
    has_parameter_sets: bool = False
    """Whether an SPS or PPS is in it (H.264)."""
    size: Size | None = None
    """`None` if it does not say: an H.264 access unit without an SPS, or a damaged header."""


_PLAIN = Picture(False)


def sniff_codec(payload: bytes) -> int | None:
    """Tell a picture's codec from its first bytes; `None` if it is not one that RTMS has."""
    if payload.startswith(b"\xff\xd8\xff"):
        return Codec.JPG
    if payload.startswith(b"\x89PNG"):
        return Codec.PNG
    if begins_with_start_code(payload) or from_lengths(payload) or from_configuration(payload):
        return Codec.H264
    return None


def foreign_form(payload: bytes) -> str:
    """What a payload is by its first bytes where RTMS has no such form; nothing where it has, or that is not known."""
    if payload.startswith(b"GIF8"):
        return "GIF"
    if payload.startswith(b"RIFF") and payload[8:12] == b"WEBP":
        return "WebP"
    if payload[4:8] == b"ftyp":
        return "HEIF or AVIF"
    # The first NAL unit of HEVC is a parameter set or a delimiter, whose headers no NAL unit of H.264 can have.
    return "HEVC" if payload[:_MOST_ZEROS].lstrip(b"\0").startswith((b"\1\x40\1", b"\1\x46\1")) else ""


class PictureForm:
    """What one sender's pictures of one kind are: what was granted, unless a payload's first bytes say otherwise.

    What begins like nothing that is known belongs to what came before: it may be the rest of it.
    """

    __slots__ = ("codec", "foreign", "has_bare_units", "has_start_codes", "is_known")

    def __init__(self) -> None:
        self.codec: int | None = None
        self.has_start_codes = False
        self.has_bare_units = False
        self.is_known = True
        """Whether the last payload began like what RTMS has."""
        self.foreign = ""
        """What the last payload was instead, where it was stored as it came; see `foreign_form`."""

    def read(self, granted: int | None, payload: bytes) -> tuple[int | None, bytes, str]:
        """Tell a payload's codec.

        :returns: the codec, the payload as it is to be stored, and what was changed about it, if anything.
        """
        if self.has_start_codes and self.codec == Codec.H264 and _begins_with_slice(payload):
            self.is_known, self.foreign = True, ""
            return self.codec, payload, ""
        codec, payload, changed_how = self._read(granted, payload)
        self.foreign = "" if changed_how else foreign_form(payload)
        return codec, payload, changed_how

    def _read(self, granted: int | None, payload: bytes) -> tuple[int | None, bytes, str]:
        codec, changed_how = sniff_codec(payload), ""
        if codec is None:
            codec, payload, changed_how = _uncovered(payload)
        self.is_known = codec is not None
        if codec is None:
            codec = granted if self.codec is None else self.codec
        self.codec = codec
        if codec != Codec.H264 or foreign_form(payload):
            return codec, payload, changed_how
        # A length from 256 to 511 looks like a short start code, so lengths that fit to the last byte come first.
        starts = begins_with_start_code(payload)
        changed = None if starts and self.has_start_codes else from_lengths(payload) or from_configuration(payload)
        if changed is not None:
            return codec, changed, "" if changed == payload else "lengths (AVCC) before its NAL units"
        if starts:
            self.has_start_codes = True
            return codec, payload, ""
        if not self.has_start_codes and (self.has_bare_units or payload[0] & 0x9F == SPS):
            self.has_bare_units = True
            return codec, START_CODE + payload, "nothing before its NAL units"
        return codec, payload, ""


def _begins_with_slice(payload: bytes) -> bool:
    """Whether an access unit is as most are: no parameter sets, and not an IDR picture."""
    return payload[4:5] in _SLICE_HEADERS and payload.startswith(START_CODE)


_SLICE_HEADERS = (b"\x01", b"\x21", b"\x41", b"\x61")


def _uncovered(payload: bytes) -> tuple[int | None, bytes, str]:
    """An image with white space in front, or in base64 twice; its codec is `None` if it is neither."""
    bare = payload.lstrip(b" \t\r\n")
    if (codec := sniff_codec(bare)) in _IMAGES:
        return codec, bare, "white space before its pictures"
    if bare.startswith((b"/9j/", b"iVBORw0K")):
        try:
            image = binascii.a2b_base64(bare.rstrip(), strict_mode=True)
        except binascii.Error:
            return None, payload, ""
        if (codec := sniff_codec(image)) in _IMAGES:
            return codec, image, "base64 within base64"
    return None, payload, ""


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
    if _begins_with_slice(payload):
        return _PLAIN
    position, size, kinds = 0, None, set[int]()
    for _ in range(_MOST_UNITS):
        position = payload.find(b"\0\0\1", position) + 3
        if position == 2 or position >= len(payload):
            break
        kind = payload[position] & 0x1F
        kinds.add(kind)
        if kind == SPS:
            size = sps_size(payload[position + 1 : position + 1 + _LONGEST_SPS]) or size
        if 1 <= kind <= IDR:
            break
    return Picture(bool(kinds & {IDR, SPS}), bool(kinds & {SPS, PPS}), size)
