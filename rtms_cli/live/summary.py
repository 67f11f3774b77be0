"""What a finished recording's manifest says, in short: for hooks and notifications."""

from itertools import islice

from msgspec import Struct, structs

from rtms_cli.recording.manifest import Loss, Manifest, Participant, TapEntry, TrackEntry, Warned

MOST = 1_000
"""Entries of each list; the manifest has them all."""


class Summary(Struct, frozen=True):
    """The manifest's most important parts, under its own names; `docs/recording.md` explains them."""

    started_at: str
    ended_at: str | None
    tracks: list[TrackEntry]
    """Without their lists of gaps and of sizes."""
    participants: list[Participant]
    """Without their former names."""
    warnings: list[Warned]
    losses: list[Loss]
    taps: list[TapEntry]
    left_out: int
    """Entries that are in the manifest only."""


def summary_of(manifest: Manifest) -> Summary:
    """Summarize a manifest; the summary does not change with it."""
    lists = (manifest.tracks, manifest.participants, manifest.warnings, manifest.losses, manifest.taps)
    return Summary(
        manifest.started_at,
        manifest.ended_at,
        [structs.replace(track, gaps=[], sizes=[]) for track in islice(manifest.tracks, MOST)],
        [structs.replace(participant, names=[]) for participant in islice(manifest.participants, MOST)],
        manifest.warnings[:MOST],
        manifest.losses[:MOST],
        manifest.taps[:MOST],
        sum(max(0, len(entries) - MOST) for entries in lists),
    )
