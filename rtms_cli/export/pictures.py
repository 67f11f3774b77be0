"""Pictures of a recording: decoded, as PNG files, as slides."""

from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from rtms_cli.errors import Problem
from rtms_cli.export.checking import check_pages, check_picture
from rtms_cli.export.files import atomic_file
from rtms_cli.export.source import Recorded
from rtms_cli.export.video import Shot, shots
from rtms_cli.protocol.messages import UserId
from rtms_cli.recording.names import participant_stem

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_CODECS = {"H264": "h264", "JPG": "mjpeg", "PNG": "png"}
_GRID = (64, 36)
SLIDE_MEAN, SLIDE_CELL, SLIDE_SHARE = 4.0, 24, 0.02
"""Another slide differs by this much of 255 on average, or by this much in this many of 64×36 cells; a mouse does
not."""


class Decoders:
    """A decoder for each track: what has no key frame yet gives no picture."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._contexts: dict[str, Any] = {}
        self.failed = 0
        """Pictures that could not be decoded."""

    def decode(self, shot: Shot) -> Any:
        """The picture (an `av.VideoFrame`), or `None` if there is none."""
        import av

        codec = _CODECS.get(shot.track.codec or "")
        context = self._contexts.get(shot.track.path)
        if context is None:
            if codec is None or not shot.is_key:
                self.failed += 1
                return None
            context = cast("Any", av.CodecContext.create(codec, "r"))
            self._contexts[shot.track.path] = context
            if codec == "h264":
                context.options = {"flags": "low_delay"}
                context.thread_count = 1  # frames must come out when they go in
        try:
            frames = context.decode(av.Packet(shot.read(self._folder)))
        except av.error.FFmpegError:
            self.failed += 1
            return None
        if not frames and codec != "h264":
            self.failed += 1
        return frames[-1] if frames else None

    def tell(self, recorded: Recorded) -> None:
        """Add to the recording's problems what could not be decoded."""
        if self.failed:
            recorded.problems.append(f"{self.failed} picture{'' if self.failed == 1 else 's'} could not be decoded")


def as_png(frame: Any) -> bytes:
    """One picture as a PNG file's bytes."""
    import av

    context: Any = av.CodecContext.create("png", "w")
    context.width, context.height, context.pix_fmt = frame.width, frame.height, "rgb24"
    context.time_base = Fraction(1, 1000)
    picture = frame.reformat(format="rgb24")
    picture.pts = 0
    return b"".join(bytes(packet) for packet in [*context.encode(picture), *context.encode(None)])


def timestamp_name(seconds: float) -> str:
    """`0h01m02.500s`."""
    total = max(0, round(seconds * 1000))
    return f"{total // 3_600_000}h{total // 60_000 % 60:02}m{total // 1000 % 60:02}.{total % 1000:03}s"


def write_frames(
    recorded: Recorded,
    out: Path,
    every: float | None,
    kind: str = "video",
    user: UserId = None,
    progress: Callable[[float], None] = lambda _: None,
) -> Iterator[Path]:
    """Write key frames, or one picture every N seconds, as PNG; yields each file when it is complete."""
    decoders, length = Decoders(recorded.folder), recorded.seconds or 1.0
    due: dict[str, float] = {}
    for shot in shots(recorded, kind, user):
        progress(min(1.0, shot.at / length))
        if every is None and not shot.is_key:
            continue
        frame = decoders.decode(shot)
        if frame is None or (every is not None and shot.at < due.get(shot.track.path, 0.0)):
            continue
        due[shot.track.path] = (shot.at // every + 1) * every if every is not None else 0.0
        whose = recorded.party(shot.track)
        who = "mixed" if whose is None else participant_stem(whose, shot.track.user_name)
        path = out / f"{kind}-{timestamp_name(shot.at)}-{who}.png"
        _save(path, frame)
        yield path
    decoders.tell(recorded)


def write_slides(recorded: Recorded, out: Path, progress: Callable[[float], None] = lambda _: None) -> Iterator[Path]:
    """Write the share's pictures that differ as PNG, and all of them as one PDF, which comes last.

    :raises Problem: if nobody shared, or Pillow is missing.
    """
    try:
        from PIL import Image
    except ImportError:
        raise Problem("slides need Pillow for their PDF.", "pip install 'rtms-cli[export]'") from None
    decoders, length = Decoders(recorded.folder), recorded.seconds or 1.0
    last: npt.NDArray[np.uint8] | None = None
    written: list[Path] = []
    for shot in shots(recorded, "share"):
        progress(min(1.0, shot.at / length))
        frame = decoders.decode(shot)
        if frame is None:
            continue
        grid = thumbnail(frame)
        if last is not None and not is_another(last, grid):
            continue
        last = grid
        path = out / f"slide-{len(written) + 1:03}-{timestamp_name(shot.at)}.png"
        _save(path, frame)
        written.append(path)
        yield path
    decoders.tell(recorded)
    if not written:
        raise Problem(f"{recorded.folder} has no shared screen.", "`rtms inspect` shows what it has.")
    document = out / "slides.pdf"
    first, *others = (Image.open(path) for path in written)
    with atomic_file(document, force=True) as temporary:
        first.save(temporary, save_all=True, append_images=others, resolution=96)
        check_pages(temporary, len(written))
    yield document


def _save(path: Path, frame: Any) -> None:
    with atomic_file(path, force=True) as temporary:
        temporary.write_bytes(as_png(frame))
        check_picture(temporary, (frame.width, frame.height))


def thumbnail(frame: Any) -> "npt.NDArray[np.uint8]":
    """A picture in 64×36 grey cells."""
    grid: npt.NDArray[np.uint8] = frame.reformat(*_GRID, format="gray", interpolation="AREA").to_ndarray()
    return grid


def is_another(one: "npt.NDArray[np.uint8]", other: "npt.NDArray[np.uint8]") -> bool:
    """Whether two thumbnails show different slides."""
    import numpy as np

    difference = np.abs(one.astype(np.int16) - other)
    return bool(difference.mean() > SLIDE_MEAN or (difference > SLIDE_CELL).mean() > SLIDE_SHARE)
