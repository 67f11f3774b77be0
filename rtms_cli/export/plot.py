"""A recording as one picture: waveforms, gaps, who spoke, pictures, sentences."""

import warnings
from pathlib import Path
from typing import Any

from rtms_cli.errors import Problem
from rtms_cli.export.audio import opened_sound
from rtms_cli.export.indexes import indexed
from rtms_cli.export.source import Recorded

_POINTS = 2_000
_COLOURS = {"audio": "#2563eb", "video": "#9333ea", "share": "#d97706", "transcript": "#0d9488", "chat": "#db2777"}


def write_plot(recorded: Recorded, target: Path) -> list[str]:
    """Draw it as PNG (or what else the extension says that matplotlib knows).

    :returns: what the user should know.
    :raises Problem: where matplotlib is missing, or cannot draw what a recording says.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise Problem("--plot needs matplotlib.", "pip install 'rtms-cli[export]'") from None
    lanes: list[tuple[str, Any]] = [
        (f"{recorded.label(recorded.party(track))}\n{kind}", (kind, track))
        for kind in ("audio", "video", "share")
        for track in recorded.tracks(kind)
    ]
    if any(True for _ in recorded.lines("transcript")):
        lanes.append(("transcript", ("transcript", None)))
    speakers = recorded.speakers()
    if speakers:
        lanes.append(("speaker", ("speaker", None)))
    if not lanes:
        raise Problem(f"{recorded.folder} has nothing to draw.", "`rtms inspect` shows what it has.")
    figure = Figure(figsize=(14, 1.2 + 0.75 * len(lanes)), layout="constrained")
    FigureCanvasAgg(figure)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)  # of numbers that no axis can hold
            _paint(figure, recorded, lanes, speakers, target)
    except (RuntimeError, RuntimeWarning, ValueError, OverflowError) as error:
        raise Problem(f"The plot cannot be drawn: {error}.", "`rtms inspect` shows what the recording has.") from None
    return []


def _paint(
    figure: Any,
    recorded: Recorded,
    lanes: list[tuple[str, Any]],
    speakers: list[tuple[float, Any, str]],
    target: Path,
) -> None:
    axes = figure.subplots(len(lanes), 1, sharex=True, squeeze=False)[:, 0]
    for axis, (label, (kind, track)) in zip(axes, lanes, strict=True):
        _draw(axis, recorded, kind, track, speakers)
        axis.set_ylabel(_short(label), rotation=0, ha="right", va="center", fontsize=9, parse_math=False)
        axis.set_yticks([])
        axis.spines[["top", "right", "left"]].set_visible(False)
    axes[-1].set_xlim(0, max(recorded.seconds, 0.001))
    axes[-1].set_xlabel("seconds")
    manifest = recorded.manifest
    title = f"{manifest.product} {manifest.id}  {manifest.started_at}  {manifest.status}"
    figure.suptitle(_short(title, 160), fontsize=11, parse_math=False)
    figure.savefig(target, dpi=110, format=target.suffix.lstrip(".") or "png")


def _draw(axis: Any, recorded: Recorded, kind: str, track: Any, speakers: list[tuple[float, Any, str]]) -> None:
    match kind:
        case "audio":
            offset = recorded.clock.track(track)
            times, low, high = _envelope(recorded.folder / track.path, offset)
            axis.fill_between(times, low, high, color=_COLOURS["audio"], linewidth=0)
            axis.set_ylim(-1, 1)
            for start, end in track.gaps:
                axis.axvspan(start + offset, end + offset, color="#dc2626", alpha=0.18, lw=0)
        case "video" | "share":
            origin = recorded.manifest.origin_ms or 0
            place = recorded.clock.follower()
            timed = [(one.time_ms(origin), one.key) for one in indexed(recorded.folder / track.path)]
            placed = [(place((at - origin) / 1000), is_key) for at, is_key in timed if at is not None]
            stamps = [at for at, _ in placed]
            keys = [at for at, is_key in placed if is_key]
            axis.eventplot(stamps, colors=_COLOURS[kind], lineoffsets=0, linelengths=0.6, linewidths=0.5)
            if track.codec == "H264":
                axis.eventplot(keys, colors="black", lineoffsets=0, linelengths=1.0, linewidths=0.8)
        case "transcript":
            for sentence in recorded.sentences():
                axis.axvspan(sentence.start, sentence.end, color=_COLOURS["transcript"], alpha=0.5, lw=0)
        case _:
            for number, (start, _, name) in enumerate(speakers):
                end = speakers[number + 1][0] if number + 1 < len(speakers) else recorded.seconds
                axis.axvspan(start, end, color=_shade(name), alpha=0.4, lw=0)
                axis.text(start, 0.5, f" {_short(name)}", fontsize=8, va="center", clip_on=True, parse_math=False)


def _short(text: str, room: int = 60) -> str:
    """A text from outside as a picture can hold it."""
    shown = "".join(char if char.isprintable() or char == "\n" else "�" for char in text[: room + 1])
    return shown if len(shown) <= room else f"{shown[: room - 1]}…"


def _shade(name: str) -> str:
    return f"C{sum(map(ord, name)) % 10}"


def _envelope(path: Path, offset: float) -> tuple[Any, Any, Any]:
    """Lowest and highest sample of each of `_POINTS` stretches; read in blocks."""
    import numpy as np

    with opened_sound(path.parent, path.name) as source:
        step = max(1, source.frames // _POINTS)
        low, high = [], []
        for block in source.blocks(step, dtype="float32", always_2d=True):
            low.append(float(block.min()))
            high.append(float(block.max()))
        times = offset + np.arange(len(low)) * step / source.samplerate
    return times, np.array(low), np.array(high)
