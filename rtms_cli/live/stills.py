"""One JPEG every few seconds, of what may be H.264, PNG or JPG."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from fractions import Fraction
from typing import Any

from msgspec import Struct

from rtms_cli.protocol.numbers import Codec
from rtms_cli.recording.pictures import read_picture
from rtms_cli.recording.tracks import PictureTrack

MOST_UNITS, MOST_NBYTES = 1_000, 16 << 20
"""Of H.264 since the last picture at which a decoder can start."""
MOST_PIXELS = 1 << 26
"""Of a picture that is decoded; what claims to be larger is hostile."""
_NAMES = {Codec.H264: "h264", Codec.PNG: "png", Codec.JPG: "mjpeg"}
_FORMAT = "yuvj420p"

_workers = ThreadPoolExecutor(1, "rtms-stills")
"""Of the whole process: what falls behind is left out, and never waits."""


class _Camera(Struct):
    """One sender's pictures in one codec."""

    next_ms: int = 0
    units: list[bytes] = []
    nbytes: int = 0
    sets: bytes = b""
    """The last parameter sets that came on their own."""
    job: Future[bytes | None] | None = None


class Stills:
    """Takes pictures as they are kept, and gives a JPEG of each sender every so often.

    :param give: takes the JPEG and its picture's timestamp; on another thread.
    """

    def __init__(self, every_s: float, give: Callable[[PictureTrack, int, bytes], None]) -> None:
        self._every_ms = round(every_s * 1000)
        self._give = give
        self._cameras: dict[str, _Camera] = {}
        self.failed = 0
        """Pictures that could not be decoded."""

    def add(self, track: PictureTrack, timestamp: int, payload: bytes) -> None:
        """Take a picture or an access unit; it is decoded only where a JPEG is due."""
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
        """What is being decoded."""
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
            camera.units, camera.nbytes = [], 0  # until the next one at which a decoder can start

    def _make(self, track: PictureTrack, timestamp: int, units: list[bytes]) -> bytes | None:
        jpeg = units[0] if track.codec == Codec.JPG else as_jpeg(track.codec, units)
        if jpeg is None:
            self.failed += 1
        else:
            self._give(track, timestamp, jpeg)
        return jpeg


def as_jpeg(codec: int | None, units: list[bytes]) -> bytes | None:
    """The last picture of some that a decoder can begin with; `None` where they are none."""
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
            continue  # a damaged one: those that follow may do
    if frame is None:
        return None
    encoder: Any = av.CodecContext.create("mjpeg", "w")
    encoder.width, encoder.height, encoder.pix_fmt = frame.width, frame.height, _FORMAT
    encoder.time_base, encoder.qmin, encoder.qmax = Fraction(1), 2, 4
    picture = frame.reformat(format=_FORMAT)
    picture.pts = 0
    return b"".join(bytes(packet) for packet in [*encoder.encode(picture), *encoder.encode(None)])
