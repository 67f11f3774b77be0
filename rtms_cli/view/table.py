"""The table that ends a recording."""

from pathlib import Path

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from rtms_cli.protocol.numbers import StopReason
from rtms_cli.protocol.times import clock_time
from rtms_cli.recording.manifest import Manifest
from rtms_cli.view.text import escape, size_of

_STATUS_STYLES = {"complete": "bold green", "interrupted": "bold yellow", "failed": "bold red", "revoked": "bold red"}


def summary_table(folder: Path, manifest: Manifest) -> RenderableType:
    """What was written and where, how it ended, and what a person should know."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("file", no_wrap=True)
    table.add_column("who")
    table.add_column("length", justify="right")
    table.add_column("pieces", justify="right")
    table.add_column("size", justify="right")
    table.add_column("gaps", justify="right")
    for track in manifest.tracks:
        table.add_row(
            Text(track.path, style="cyan"),
            Text(escape(track.user_name or "")),
            "" if track.duration is None else clock_time(round(track.duration)),
            f"{track.packets:,}",
            size_of(track.bytes),
            str(track.gap_count or ""),
        )
    head = Text.assemble((manifest.status, _STATUS_STYLES.get(manifest.status, "bold")))
    if manifest.stop is not None:
        reason = manifest.stop.name or None if manifest.stop.reason is None else manifest.stop.reason
        head.append(f"  {escape(StopReason.explain(reason))}", style="dim")
    lines: list[RenderableType] = [head, Text(str(folder)), Text(), table]
    lines += [Text(f"warning: {escape(warned.text)}", style="yellow") for warned in manifest.warnings]
    lines += [
        Text(f"LOSS: {escape(loss.what)} in {escape(loss.where)} ({loss.count})", style="bold red")
        for loss in manifest.losses
    ]
    return Group(*lines)
