"""What a person wants to know first of a recording, on one line."""

from collections import Counter

from rtms_cli.catalog.entries import length, lost_packets
from rtms_cli.protocol.endings import Status
from rtms_cli.protocol.numbers import StopReason
from rtms_cli.protocol.times import spoken_length
from rtms_cli.recording.manifest import Manifest

_LEAST_SILENT = 0.01
"""Below this share of silence nothing is said of it."""


def verdict(manifest: Manifest, silent: float | None = None) -> str:
    """How long, how many people, what is missing, what went wrong.

    For example `20 s, 3 people, nothing lost, 1 reconnection; audio 11 % silent`. How it ended comes first where that
    was not as it should be.

    :param silent: the share of the sound that is silent, where that was measured; else it is what the manifest says.
    """
    people = len(manifest.participants)
    parts = [spoken_length(length(manifest))]
    if people:
        parts.append("1 person" if people == 1 else f"{people:,} people")
    parts.append(missing(manifest) or "nothing lost")
    if again := reconnections(manifest):
        parts.append(_counted(again, "reconnection"))
    if manifest.warnings:
        parts.append(_counted(len(manifest.warnings), "warning"))
    text = ", ".join(parts)
    if (share := silence(manifest) if silent is None else silent) >= _LEAST_SILENT:
        text += f"; audio {share:.0%} silent".replace("%", " %")
    return f"{ending(manifest)}: {text}" if manifest.status != Status.COMPLETE else text


def ending(manifest: Manifest) -> str:
    """How the recording ended, with the documented reason; `complete` alone where Zoom has given none."""
    stop = manifest.stop
    if stop is None or (stop.reason is None and not stop.name):
        return manifest.status
    why = StopReason.explain(stop.name or None if stop.reason is None else stop.reason)
    return f"{manifest.status} ({why})"


def missing(manifest: Manifest) -> str:
    """What was lost, for people; empty if nothing was."""
    told = []
    if packets := lost_packets(manifest.tracks):
        told.append(_counted(packets, "packet") + " lost")
    if manifest.losses:
        told.append(_counted(len(manifest.losses), "loss", "losses"))
    return ", ".join(told)


def reconnections(manifest: Manifest) -> int:
    """How often a connection was made again."""
    sockets = Counter(connection.channel for connection in manifest.connections)
    return max((count - 1 for count in sockets.values()), default=0)


def silence(manifest: Manifest) -> float:
    """The share of the audio files in which nothing came, from 0 to 1."""
    tracks = [track for track in manifest.tracks if track.kind == "audio" and track.duration]
    whole = sum(track.duration or 0.0 for track in tracks)
    gaps = sum(max(0.0, end - start) for track in tracks for start, end in track.gaps)
    return min(1.0, gaps / whole) if whole > 0 else 0.0


def _counted(count: int, one: str, several: str = "") -> str:
    return f"{count:,} {one if count == 1 else several or one + 's'}"
