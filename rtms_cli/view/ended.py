"""The report that ends a recording: ten lines for one, one line each for many."""

from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path

from msgspec import Struct
from rich.console import Console
from rich.table import Table
from rich.text import Text

from rtms_cli.catalog.entries import described
from rtms_cli.catalog.verdict import verdict
from rtms_cli.machine import Finish
from rtms_cli.protocol.endings import how_it_ended
from rtms_cli.protocol.times import clock_time, spoken_length
from rtms_cli.recording.manifest import Manifest, TapEntry, TrackEntry
from rtms_cli.view.catalog import STYLES, ending_of, labelled, recording_lines
from rtms_cli.view.text import escape, size_of

NARROW = 70
"""Below this many columns a table leaves out what matters less."""


class Ended(Struct, frozen=True):
    """A session that has ended."""

    folder: Path | None
    """`None` if nothing is kept."""
    finish: Finish
    manifest: Manifest | None
    """`None` if no recording had begun."""

    @property
    def how(self) -> str:
        """How it ended, and who ended it."""
        if self.manifest is not None:
            return ending_of(self.manifest)
        return how_it_ended(self.finish.status, self.finish.stop_reason, self.finish.said_by)

    @property
    def summary(self) -> str:
        """The verdict and where it is, on one line."""
        told = "" if self.manifest is None else verdict(self.manifest).removeprefix(f"{self.manifest.status}: ")
        return f"{told}  {self.where}".strip()

    @property
    def where(self) -> str:
        """Where the recording is."""
        return "nothing is kept" if self.folder is None else str(self.folder)


Suggest = Callable[[Sequence[Ended]], Sequence[tuple[str, str]]]
"""Returns the commands that make sense when sessions have ended so; see `next_steps`."""


def facts(ended: Ended, known: Collection[str] = ()) -> Iterator[tuple[str, str]]:
    """What there is to say of a recording behind how it ended: a label and a text each, the verdict first.

    :param known: warnings that were told already.
    """
    manifest = ended.manifest
    if manifest is None:
        return
    nbytes = sum(track.bytes for track in manifest.tracks)
    entry = described("", "", manifest.status, manifest, nbytes)
    for label, text in recording_lines(manifest, entry, verdict(manifest)):
        if label == "recording":
            yield label, ended.where
        elif label == "warning":
            told = [warned.text for warned in manifest.warnings if warned.text not in known]
            told = [text for text in told if manifest.stop is None or text != manifest.stop.said_by]
            more = f", and {len(told) - 1} more" if len(told) > 1 else ""
            yield from [(label, f"{told[0]}{more}")] if told else []
        elif label != "ended":
            yield label, text
    yield from (("tap", tap_facts(tap)) for tap in manifest.taps)


def print_ended(console: Console, ended: Sequence[Ended], *, with_details: bool = False) -> None:
    """Print a report on a terminal.

    :param with_details: whether each of several gets one of its own, with a line for each file.
    """
    if len(ended) == 1 or with_details:
        for one in ended:
            _print_one(console, one, with_details=with_details)
        return
    for one in ended:
        style = STYLES.get(one.finish.status, "")
        console.print(Text.assemble((f"{one.finish.status:11} ", style), escape(one.summary, 1_000)), soft_wrap=True)


def _print_one(console: Console, ended: Ended, *, with_details: bool) -> None:
    status, _, rest = ended.how.partition(" ")
    style = STYLES.get(ended.finish.status, "")
    console.print(Text.assemble((escape(status), f"bold {style}"), f" {escape(rest, 1_000)}" if rest else ""))
    for line in labelled(facts(ended)):
        console.print(line, soft_wrap=line.plain.startswith("recording"))
    if with_details and ended.manifest is not None:
        console.print()
        console.print(_files(ended.manifest, console.width))


def _files(manifest: Manifest, width: int) -> Table:
    """A row a file; in a narrow terminal without how many pieces and gaps it has."""
    is_narrow = width < NARROW
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("file", overflow="fold")
    table.add_column("who")
    for name in ("length", "size") if is_narrow else ("length", "size", "pieces", "gaps"):
        table.add_column(name, justify="right")
    for track in manifest.tracks:
        table.add_row(
            Text(escape(track.path), style="cyan"),
            Text(escape(track.user_name or "")),
            "" if track.duration is None else clock_time(round(track.duration)),
            size_of(track.bytes),
            *(() if is_narrow else (f"{track.packets:,}", str(track.gap_count or ""))),
        )
    return table


def ended_lines(ended: Ended, known: Collection[str] = (), *, with_details: bool = False) -> Iterator[str]:
    """The same for a pipe, behind the line that says how it ended.

    :param known: warnings that were told already.
    :param with_details: whether each file has a line.
    """
    least = ("", "recording", "lost", "warning", "tap")
    for label, text in facts(ended, known):
        if with_details or label in least:
            yield f"  {label}: {escape(text, 1_000)}" if label else f"  {escape(text)}"
    if with_details and ended.manifest is not None:
        for track in ended.manifest.tracks:
            yield f"  {escape(track.path)}  {'  '.join(_track_facts(track))}"


def tap_facts(tap: TapEntry) -> str:
    """A tap's facts for people: what, where to, how much, and what it did not get."""
    whose = tap.user_name or ("" if tap.user_id is None else str(tap.user_id))
    told = [f"{tap.what}{f' of {whose}' if whose else ''} → {tap.target}", size_of(tap.bytes)]
    if tap.drops:
        told.append(f"{tap.drops} DROPPED" + (f" ({tap.dropped_seconds:.1f} s)" if tap.dropped_seconds else ""))
    if tap.late_seconds:
        told.append(f"{tap.late_seconds:.1f} s late")
    if tap.restarts:
        told.append(f"{tap.restarts} restarts")
    if tap.exit_code is not None:
        told.append(f"exit code {tap.exit_code}")
    return "  ".join(told)


def _track_facts(track: TrackEntry) -> list[str]:
    """A file's facts for people: duration, how much, who."""
    unit = {"audio": "packets", "video": "frames", "share": "frames"}.get(track.kind, "lines")
    told = [] if track.duration is None else [clock_time(round(track.duration))]
    told += [f"{track.packets} {unit if track.packets != 1 else unit[:-1]}", size_of(track.bytes)]
    if track.user_name:
        told.append(escape(track.user_name))
    if track.gap_count:
        missing = sum(end - start for start, end in track.gaps)
        told.append(f"{track.gap_count} gaps of {spoken_length(missing)} in all")
    return told
