"""Summary of a finished recording's manifest, for hooks and notifications."""

from itertools import islice

from msgspec import Struct, structs

from rtms_cli.recording.manifest import Loss, Manifest, Participant, TapEntry, TrackEntry, Warned

MOST = 1_000
"""Entries per list. The manifest has all of them."""


class Summary(Struct, frozen=True):
    """The most important parts of the manifest, with the same names; see `docs/recording.md`."""

    started_at: str
    ended_at: str | None
    tracks: list[TrackEntry]
    """Without the lists of gaps and sizes."""
    participants: list[Participant]
    """Without former names."""
    warnings: list[Warned]
    losses: list[Loss]
    taps: list[TapEntry]
    left_out: int
    """Number of entries that are only in the manifest."""


def summary_of(manifest: Manifest) -> Summary:
    """Summarize a manifest. The summary does not change with it."""
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
