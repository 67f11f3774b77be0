"""A recording as one picture: waveforms, gaps, who spoke, pictures, sentences."""

import logging
import warnings
from pathlib import Path
from typing import Any

from rtms_cli.errors import Problem
from rtms_cli.export.audio import opened_sound
from rtms_cli.export.fonts import Lettering, lettering
from rtms_cli.export.indexes import indexed
from rtms_cli.export.source import Recorded
from rtms_cli.protocol.times import clock_time

_POINTS = 2_000
_CLOCK_S = 120.0
_STEPS_S = (15, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14_400, 43_200, 86_400)
_MOST_MARKS = 12
_MOST_LISTED = 10
_COLOURS = {"audio": "#2563eb", "video": "#9333ea", "share": "#d97706", "transcript": "#0d9488", "chat": "#db2777"}


def write_plot(recorded: Recorded, target: Path) -> list[str]:
    """Draw it as PNG (or what else the extension says that matplotlib knows).

    :returns: what the user should know.
    :raises Problem: if matplotlib is missing, or cannot draw what a recording says.
    """
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it reports its caches, too
    try:
        import matplotlib as mpl
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
    title = _title(recorded)
    letters = lettering([title, *(label for label, _ in lanes), *(name for _, _, name in speakers)])
    try:
        with mpl.rc_context({"font.family": letters.families}), warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)  # of numbers that no axis can hold
            figure = Figure(figsize=(14, 1.2 + 0.75 * len(lanes)), layout="constrained")
            FigureCanvasAgg(figure)
            figure.suptitle(letters.shown(title, 160), fontsize=11, parse_math=False)
            _paint(figure, recorded, lanes, speakers, letters)
            figure.savefig(target, dpi=110, format=target.suffix.lstrip(".") or "png")
    except (RuntimeError, RuntimeWarning, ValueError, OverflowError) as error:
        raise Problem(f"The plot cannot be drawn: {error}.", "`rtms inspect` shows what the recording has.") from None
    if not letters.missing:
        return []
    listed = "".join(sorted(letters.missing)[:_MOST_LISTED])
    return [f"no font here has {listed}: the plot shows their names or numbers"]


def _title(recorded: Recorded) -> str:
    manifest = recorded.manifest
    told = f"{manifest.product} {manifest.id}  {manifest.started_at}  {manifest.status}"
    return f"{manifest.title}  {told}" if manifest.title else told


def _paint(
    figure: Any,
    recorded: Recorded,
    lanes: list[tuple[str, Any]],
    speakers: list[tuple[float, Any, str]],
    letters: Lettering,
) -> None:
    axes = figure.subplots(len(lanes), 1, sharex=True, squeeze=False)[:, 0]
    for axis, (label, (kind, track)) in zip(axes, lanes, strict=True):
        _draw(axis, recorded, kind, track, [(at, letters.shown(name)) for at, _, name in speakers])
        axis.set_ylabel(letters.shown(label), rotation=0, ha="right", va="center", fontsize=9, parse_math=False)
        axis.set_yticks([])
        axis.spines[["top", "right", "left"]].set_visible(False)
    axes[-1].set_xlim(0, max(recorded.seconds, 0.001))
    _mark_times(axes[-1], recorded.seconds)


def _mark_times(axis: Any, seconds: float) -> None:
    """Seconds where there are few; else `h:mm:ss` at times that are round for people."""
    if seconds < _CLOCK_S:
        axis.set_xlabel("seconds")
        return
    from matplotlib.ticker import MultipleLocator

    step = next((step for step in _STEPS_S if seconds / step <= _MOST_MARKS), seconds / _MOST_MARKS)
    axis.xaxis.set_major_locator(MultipleLocator(step))
    axis.xaxis.set_major_formatter(lambda at, _: clock_time(at))


def _draw(axis: Any, recorded: Recorded, kind: str, track: Any, speakers: list[tuple[float, str]]) -> None:
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
            length = recorded.seconds
            numbers = {name: number for number, name in enumerate(dict.fromkeys(name for _, name in speakers))}
            ends = [start for start, _ in speakers[1:]] + [length]
            for (start, name), end in zip(speakers, ends, strict=True):
                if not 0 <= start <= length:
                    continue  # far away from the picture, letters cannot be drawn
                axis.axvspan(start, min(end, length), color=f"C{numbers[name] % 10}", alpha=0.4, lw=0)
                axis.text(start, 0.5, f" {name}", fontsize=8, va="center", clip_on=True, parse_math=False)


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
