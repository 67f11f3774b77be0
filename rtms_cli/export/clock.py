"""Where a recording's clock has jumped: the stretches between stand one after the other in what is exported.

A recording keeps the offsets as they came. A file of sound that begins 400 days after the first one is not a film of
400 days, and one that begins an hour before it is not silent.
"""

from collections.abc import Callable, Iterable, Iterator

from msgspec import Struct

from rtms_cli.errors import Problem
from rtms_cli.protocol.times import clock_time
from rtms_cli.recording.manifest import Manifest, TrackEntry

NEAR_S = 3600.0
"""A gap up to this long is not a jump."""
_MOST_S = 14 * 86_400.0


class Stretch(Struct):
    """A part of the recording without a jump, in seconds from its zero."""

    start: float
    end: float
    shift: float = 0.0
    """What makes a time in it a time in what is exported."""
    is_sound: bool = True

    def away(self, at: float) -> float:
        """How far a time is outside."""
        return max(self.start - at, at - self.end, 0.0)


class Clock(Struct, frozen=True):
    """The stretches, in the order in which they came; there is one where the clock has never jumped."""

    stretches: tuple[Stretch, ...]

    @property
    def seconds(self) -> float:
        """How long what is exported is."""
        return max((one.end + one.shift for one in self.stretches), default=0.0)

    @property
    def notes(self) -> list[str]:
        """The jumps, for people."""
        return [
            f"the clock jumped by {_span(after.start - before.end)} at {clock_time(round(after.start + after.shift))};"
            " what came after it stands right behind what came before"
            for before, after in zip(self.stretches, self.stretches[1:], strict=False)
            if after.shift != before.shift
        ]

    def place(self, at: float) -> float:
        """A time of the recording in what is exported."""
        return at + self._nearest(at).shift

    def track(self, track: TrackEntry) -> float:
        """Where a file of sound begins."""
        offset = track.offset or 0.0
        if track.first_timestamp is None:
            return self.place(offset)
        found = next((one for one in self.stretches if one.is_sound and one.start == offset), None)
        return self.place(offset) if found is None else offset + found.shift

    def follower(self) -> Callable[[float], float]:
        """Places times that come in their order: after a jump, rather in another stretch than in the same one."""
        current, last = self._nearest(0.0), 0.0

        def place(at: float) -> float:
            nonlocal current, last
            if _has_jumped(at, last) or current.away(at) > NEAR_S:
                before = current
                current = min(self.stretches, key=lambda one: (one.away(at), one is before), default=current)
            last = at
            return at + current.shift

        return place

    def _nearest(self, at: float) -> Stretch:
        return min(self.stretches, key=lambda one: one.away(at), default=Stretch(0.0, 0.0))


def check_length(seconds: float) -> None:
    """Refuse what nobody could play.

    :raises Problem: if that is so.
    """
    if seconds > _MOST_S:
        days, most = f"{seconds / 86_400:,.0f}", f"{_MOST_S / 86_400:.0f}"
        raise Problem(
            f"It would be {days} days long; the limit is {most}.",
            "`rtms inspect` shows which track is that long.",
        )


def clock_of(manifest: Manifest, times: Callable[[TrackEntry], Iterable[float]]) -> Clock:
    """The clock of a recording.

    :param times: when the pictures of a track are to be seen, in the order in which they came.
    """
    stretches: list[Stretch] = []
    for track in manifest.tracks:
        if track.kind == "audio" and track.first_timestamp is not None:
            start, end = track.offset or 0.0, (track.offset or 0.0) + (track.duration or 0.0)
            known = next((one for one in stretches if one.start == start), None)
            if known is None:
                stretches.append(Stretch(start, end))
            else:
                known.end = max(known.end, end)
    stretches = stretches or [Stretch(0.0, 0.0, is_sound=False)]
    for track in manifest.tracks:
        if track.kind in ("video", "share"):
            for start, end in _runs(track, manifest.origin_ms or 0, times):
                near = min(stretches, key=lambda one: max(one.start - end, start - one.end))
                if max(near.start - end, start - near.end) > NEAR_S:
                    stretches.append(Stretch(start, end, is_sound=False))
                else:
                    near.end = max(near.end, end)
                    near.start = near.start if near.is_sound or near is stretches[0] else min(near.start, start)
    _shift(stretches)
    return Clock(tuple(stretches))


def _shift(stretches: list[Stretch]) -> None:
    cursor, shift = stretches[0].end, 0.0
    for one in stretches[1:]:
        if not 0 <= one.start + shift - cursor <= NEAR_S:
            shift = cursor - one.start
        one.shift = shift
        cursor = max(cursor, one.end + shift)


def _runs(
    track: TrackEntry, origin_ms: int, times: Callable[[TrackEntry], Iterable[float]]
) -> Iterator[tuple[float, float]]:
    """The stretches of a track of pictures."""
    if track.first_timestamp is None or track.last_timestamp is None:
        return
    start, end = (track.first_timestamp - origin_ms) / 1000, (track.last_timestamp - origin_ms) / 1000
    if end - start <= NEAR_S:
        yield start, end
        return
    run: list[float] = []
    for at in times(track):
        if run and _has_jumped(at, run[1]):
            yield run[0], run[1]
            run = []
        run = [min(run[0], at), max(run[1], at)] if run else [at, at]
    if run:
        yield run[0], run[1]


def _has_jumped(at: float, before: float) -> bool:
    return abs(at - before) > NEAR_S


def _span(seconds: float) -> str:
    unit, per = next(((unit, per) for unit, per in (("days", 86_400), ("h", 3600)) if abs(seconds) >= per), ("s", 1))
    return f"{seconds / per:+,.1f} {unit}"
