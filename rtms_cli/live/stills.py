"""Creates a JPEG every few seconds from H.264, PNG or JPG."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from fractions import Fraction
from typing import Any

from msgspec import Struct

from rtms_cli.protocol.numbers import Codec
from rtms_cli.recording.pictures import read_picture
from rtms_cli.recording.tracks import PictureTrack

MOST_UNITS, MOST_NBYTES = 1_000, 16 << 20
"""Size limit of H.264 data since the last picture where a decoder can start."""
MOST_PIXELS = 1 << 26
"""Size limit of a decoded picture. Anything larger is hostile."""
_NAMES = {Codec.H264: "h264", Codec.PNG: "png", Codec.JPG: "mjpeg"}
_FORMAT = "yuvj420p"

_workers = ThreadPoolExecutor(1, "rtms-stills")
"""Concurrent jobs of the whole process. Pictures beyond that are skipped and never wait."""


class _Camera(Struct):
    """One sender's pictures in one codec."""

    next_ms: int = 0
    units: list[bytes] = []
    nbytes: int = 0
    sets: bytes = b""
    """The last parameter sets that arrived separately."""
    job: Future[bytes | None] | None = None


class Stills:
    """Accepts recorded pictures, and creates a JPEG of each sender at an interval.

    :param give: called on another thread with the JPEG and its picture's timestamp.
    """

    def __init__(self, every_s: float, give: Callable[[PictureTrack, int, bytes], None]) -> None:
        self._every_ms = round(every_s * 1000)
        self._give = give
        self._cameras: dict[str, _Camera] = {}
        self.failed = 0
        """Number of pictures that could not be decoded."""

    def add(self, track: PictureTrack, timestamp: int, payload: bytes) -> None:
        """Accept a picture or an access unit. It is only decoded when a JPEG is due."""
        camera = self._cameras.setdefault(track.path, _Camera())
        is_h264 = track.codec == Codec.H264
        if is_h264:
            self._keep(camera, payload)
        is_due = timestamp >= camera.next_ms or timestamp < camera.next_ms - 2 * self._every_ms
        if not is_due or (is_h264 and not camera.units) or (camera.job is not None and not camera.job.done()):
            return
        camera.next_ms = timestamp + self._every_ms
        units = list(camera.units) if is_h264 else [payload]
        camera.job = _workers.submit(self._make, track, timestamp, units)

    def jobs(self) -> list[Future[bytes | None]]:
        """Return the jobs in progress."""
        return [camera.job for camera in self._cameras.values() if camera.job is not None]

    def _keep(self, camera: _Camera, payload: bytes) -> None:
        picture = read_picture(Codec.H264, payload)
        if picture.is_key:
            camera.units, camera.nbytes = [camera.sets] if camera.sets else [], 0
        if picture.has_parameter_sets and len(payload) < 1 << 12:
            camera.sets = payload
        if picture.is_key or camera.units:
            camera.units.append(payload)
            camera.nbytes += len(payload)
        if camera.nbytes > MOST_NBYTES or len(camera.units) > MOST_UNITS:
            camera.units, camera.nbytes = [], 0  # until the next picture where a decoder can start

    def _make(self, track: PictureTrack, timestamp: int, units: list[bytes]) -> bytes | None:
        jpeg = units[0] if track.codec == Codec.JPG else as_jpeg(track.codec, units)
        if jpeg is None:
            self.failed += 1
        else:
            self._give(track, timestamp, jpeg)
        return jpeg


def as_jpeg(codec: int | None, units: list[bytes]) -> bytes | None:
    """Return the last of some pictures as a JPEG, or `None` if they cannot be decoded."""
    import av

    name = _NAMES.get(codec or 0)  # type: ignore[call-overload]
    if name is None:
        return None
    decoder: Any = av.CodecContext.create(name, "r")
    frame: Any = None
    if any(size[0] * size[1] > MOST_PIXELS for unit in units if (size := read_picture(codec, unit).size) is not None):
        return None
    for unit in (*units, None):
        try:
            frame = [frame, *decoder.decode(None if unit is None else av.Packet(unit))][-1]
        except av.error.FFmpegError:
            continue  # damaged; later ones may work
    if frame is None:
        return None
    encoder: Any = av.CodecContext.create("mjpeg", "w")
    encoder.width, encoder.height, encoder.pix_fmt = frame.width, frame.height, _FORMAT
    encoder.time_base, encoder.qmin, encoder.qmax = Fraction(1), 2, 4
    picture = frame.reformat(format=_FORMAT)
    picture.pts = 0
    return b"".join(bytes(packet) for packet in [*encoder.encode(picture), *encoder.encode(None)])
