"""Zoom's timestamps → sample positions. Integers only; no file, no message, no clock of ours.

Theory of operation. A *segment* is a stretch of the session's clock without a jump that can't be true; all tracks share
it, so that whoever unmutes after two hours of others talking has made no jump. A *timeline* is one track in one
segment: which of its samples have a place already. What is free before its end are its *holes*, and those are the gaps
of the manifest: nothing was sent there, or nothing yet.

A packet goes where its timestamp says, with a tolerance of half a packet, so that jitter does not become clicks:

- within half a packet of the end it is put at the end;
- further ahead it leaves a hole;
- behind the end but later than all before it (the sender's clock drifts), it loses what lies before the end;
- otherwise it is late: it goes into the hole where its timestamp says, or, where its place is taken, it is a duplicate.
"""

from bisect import bisect_right

SANE_MS = 10**13
"""Timestamps are Unix milliseconds: positive, and below this (the year 2286)."""

MAX_SEGMENTS = 20
MAX_ORIGIN_MOVES = 16
JITTER_MS = 1000
"""How far a timestamp may run ahead of the time that has passed before the silence counts as unexplained."""
UNEXPLAINED_GAPS = 6
"""How many times the largest gap a recording may hold in silence that no time has passed for: it bounds its files
against a sender that creeps ahead in many small jumps."""
LONG_GAPS = 24
"""The same for silence that is longer than a minute, whether time has passed for it or not."""
_LONG_MS = 60_000
_BUFFERED_MS = 60_000
"""How long before the session Zoom may have kept something (PROTOCOL §4). A text that is older is history."""


def is_sane(timestamp: int | None) -> bool:
    """Whether a number can be a timestamp at all."""
    return timestamp is not None and 0 < timestamp < SANE_MS


class Segment:
    """One stretch of the session's clock. `zero_ms` may move earlier while packets come."""

    __slots__ = ("began_at_ms", "began_ms", "has_media", "latest_at_us", "latest_ms", "moves", "zero_ms")
    is_ours = False
    """Whether it is of our clock, and not of Zoom's."""

    def __init__(self, timestamp: int, at_us: int) -> None:
        self.began_ms = timestamp
        self.began_at_ms = at_us // 1000
        self.zero_ms = timestamp
        self.latest_ms = timestamp
        self.latest_at_us = at_us
        self.moves = 0
        self.has_media = False
        """Whether more than texts were seen here."""

    def offset_s(self, origin_ms: int | None) -> float | None:
        """Where its zero lies, in seconds from the recording's."""
        return None if origin_ms is None else (self.zero_ms - origin_ms) / 1000

    def begin(self, timestamp: int, at_us: int, max_gap_ms: int, *, is_text: bool) -> None:
        """Let texts that are not of the session's time not be its beginning: that was when the first one came.

        :param timestamp: of something that came when nothing but texts had come.
        """
        passed_ms = max(0, at_us // 1000 - self.began_at_ms)
        began_ms = timestamp - passed_ms
        most_ms = max_gap_ms if is_text and passed_ms > _BUFFERED_MS else SANE_MS
        is_later = not is_text and self.zero_ms - began_ms > max_gap_ms
        if is_later or _BUFFERED_MS < began_ms - self.zero_ms <= most_ms:
            self.zero_ms = self.began_ms = began_ms
            self.latest_ms, self.latest_at_us = timestamp, at_us
            self.moves += 1

    def admits(self, timestamp: int, at_us: int, silence: "Silence", *, is_text: bool = False) -> bool:
        """Whether a timestamp belongs here; if so, take note of it."""
        max_gap_ms = silence.max_gap_ms
        if timestamp >= self.latest_ms:
            gap_ms = timestamp - self.latest_ms
            if not silence.admits(gap_ms, gap_ms - max(0, at_us - self.latest_at_us) // 1000):
                return False
            self.latest_ms = timestamp
            self.latest_at_us = at_us
            return True
        if self.latest_ms - timestamp > max_gap_ms:
            return False
        if timestamp < self.zero_ms:
            if is_text and self.zero_ms - timestamp > _BUFFERED_MS:
                return True
            if self.moves == MAX_ORIGIN_MOVES:
                return False
            self.moves += 1
            self.zero_ms = timestamp
        return True


class Silence:
    """How much silence a recording may hold, over all its segments."""

    __slots__ = ("_long_ms", "_unexplained_ms", "max_gap_ms")

    def __init__(self, max_gap_ms: int) -> None:
        self.max_gap_ms = max_gap_ms
        self._unexplained_ms = UNEXPLAINED_GAPS * max_gap_ms
        self._long_ms = LONG_GAPS * max_gap_ms

    def admits(self, gap_ms: int, lead_ms: int) -> bool:
        """Whether a gap can be; if so, take note of it.

        :param lead_ms: by how much it is longer than the time that has passed.
        """
        if lead_ms > self.max_gap_ms:
            return False
        unexplained_ms = lead_ms if lead_ms > JITTER_MS else 0
        long_ms = gap_ms if gap_ms > _LONG_MS else 0
        if unexplained_ms > self._unexplained_ms or long_ms > self._long_ms:
            return False
        self._unexplained_ms -= unexplained_ms
        self._long_ms -= long_ms
        return True


class Arrivals(Segment):
    """What comes without a usable timestamp while there is no clock of Zoom's to go by: our clock, in ms."""

    __slots__ = ("_time",)
    is_ours = True

    def __init__(self, at_us: int, time: "SessionTime") -> None:
        super().__init__(at_us // 1000, at_us)
        self._time = time

    def offset_s(self, origin_ms: int | None) -> float | None:
        """See `Segment.offset_s`; the recording's zero is the beginning of our clock while nothing else is known."""
        return (self.zero_ms - self._time.zero_at_ms) / 1000


class SessionTime:
    """All segments of a session. The first one's zero is the recording's origin.

    :param max_gap_ms: a timestamp further than this from where it is expected has jumped.
    :param origin_ms: the zero, where it is known from before; the first timestamp may be later.
    """

    def __init__(self, max_gap_ms: int, origin_ms: int | None = None) -> None:
        self._silence = Silence(max_gap_ms)
        self._known_origin_ms = origin_ms
        self.segments: list[Segment] = []
        self._current: Segment | None = None
        self._arrivals: Arrivals | None = None

    @property
    def origin_ms(self) -> int | None:
        """The recording's zero, or `None` before the first media message."""
        return self.segments[0].zero_ms if self.segments else None

    @property
    def zero_at_ms(self) -> int:
        """Where the recording's zero lies on our clock: at its beginning while there is no media."""
        if not self.segments:
            return 0
        first = self.segments[0]
        return first.began_at_ms - (first.began_ms - first.zero_ms)

    @property
    def moves(self) -> int:
        """How often a zero has moved."""
        return sum(segment.moves for segment in self.segments)

    def at(self, at_us: int) -> int | None:
        """About what Zoom's clock says at a moment of ours; `None` before the first media."""
        current = self._current
        return None if current is None else current.latest_ms + (at_us - current.latest_at_us) // 1000

    def go_back(self) -> None:
        """Move the zero to where it is known to have been, at the end: then each packet has the place that it had."""
        first, known_ms = self.segments[0] if self.segments else None, self._known_origin_ms
        if first is not None and known_ms is not None and 0 < first.zero_ms - known_ms <= self._silence.max_gap_ms:
            first.zero_ms = known_ms
            first.moves += 1

    def arrival(self, at_us: int) -> tuple[Segment, int]:
        """Where to put what has no usable timestamp: where Zoom's clock should be now, if that is known, else ours."""
        segment = self._arrivals or self._current
        if segment is None:
            segment = self._arrivals = Arrivals(at_us, self)
        segment.has_media = True
        passed_ms = max(0, at_us - segment.latest_at_us) // 1000
        if passed_ms > _LONG_MS and not self._silence.admits(passed_ms, 0):
            segment.latest_at_us = at_us  # there has been enough silence: what comes stands behind what came
            return segment, segment.latest_ms
        if passed_ms > _LONG_MS or segment.is_ours:
            segment.latest_ms += passed_ms
            segment.latest_at_us += passed_ms * 1000
            return segment, segment.latest_ms
        return segment, segment.latest_ms + passed_ms

    @property
    def flowing(self) -> Segment | None:
        """The segment of the media that come now; `None` before the first ones."""
        current = self._current
        return current if current is not None and current.has_media else None

    @property
    def max_gap_ms(self) -> int:
        """A timestamp that is further off has jumped."""
        return self._silence.max_gap_ms

    def find(self, timestamp: int, at_us: int, *, may_open: bool = True, is_text: bool = False) -> Segment | None:
        """The segment that a sane timestamp belongs to, a new one where it has jumped and `may_open`, or `None`.

        :param is_text: whether it is of something that may be older than the session.
        """
        current = self._current
        if current is not None and not current.has_media:
            current.begin(timestamp, at_us, self._silence.max_gap_ms, is_text=is_text)
            current.has_media = not is_text
        if current is not None and 0 <= timestamp - current.latest_ms <= JITTER_MS:
            current.latest_ms = timestamp  # nearly every packet: `admits` would say the same
            current.latest_at_us = at_us
            return current
        if current is not None and current.admits(timestamp, at_us, self._silence, is_text=is_text):
            return current
        for segment in self.segments:
            if segment is not current and segment.admits(timestamp, at_us, self._silence, is_text=is_text):
                self._current = segment
                return segment
        if len(self.segments) >= MAX_SEGMENTS or not (may_open or current is None):
            return None
        self._current = Segment(timestamp, at_us)
        self._current.has_media = not is_text
        self.segments.append(self._current)
        return self._current


class Timeline:
    """The samples of one track in one segment that have their place.

    :param rate_hz: a multiple of 1000, as every rate of PROTOCOL §5 is; so milliseconds are whole samples.
    """

    __slots__ = ("_filled", "_hole_ends", "_hole_starts", "_latest_ms", "_per_ms", "duplicates", "end", "overlap")

    def __init__(self, rate_hz: int) -> None:
        self._per_ms = rate_hz // 1000
        self._latest_ms = -1
        self._filled = 0
        self._hole_starts: list[int] = []
        self._hole_ends: list[int] = []
        self.end = 0
        """One past the last sample that has its place."""
        self.duplicates = 0
        """Packets whose place was taken."""
        self.overlap = 0
        """Samples without a place of packets that were kept for the rest."""

    def place(self, offset_ms: int, count: int) -> tuple[int, int, int]:
        """Find a packet's place, and take it.

        :param offset_ms: its timestamp from the segment's zero, not negative.
        :param count: its samples (of one channel).
        :returns: position of the first sample to write, how many samples of the packet to skip, how many to write;
            the last is 0 for a duplicate.
        """
        ideal = offset_ms * self._per_ms
        end = self.end
        lead = ideal - end
        half = count // 2
        if offset_ms > self._latest_ms:
            self._latest_ms = offset_ms
            if -half < lead <= half:
                self.end = end + count
                self._filled += count
                return end, 0, count
            if lead > 0:
                self._hole_starts.append(end)
                self._hole_ends.append(ideal)
                self.end = ideal + count
                self._filled += count
                return ideal, 0, count
            fits = max(0, lead + count)
            if fits == 0:
                self.duplicates += 1
                return end, count, 0
            self.end = end + fits
            self._filled += fits
            self.overlap += count - fits
            return end, count - fits, fits
        return self._place_late(ideal, count)

    def place_run(self, offset_ms: int, step_ms: int, count: int, packets: int) -> int | None:
        """Find the places of packets that follow each other to the millisecond, and take them, in one step.

        :param offset_ms: the first one's timestamp from the segment's zero.
        :param step_ms: what each of them lasts, so that `count`, its samples, are exactly as long.
        :returns: the position of the first sample; `None` if each of them must be placed on its own. Then nothing
            was taken.
        """
        lead = offset_ms * self._per_ms - self.end
        half = count // 2
        if offset_ms <= self._latest_ms or not -half < lead <= half:
            return None
        start = self.end
        self._latest_ms = offset_ms + step_ms * (packets - 1)
        self.end = start + count * packets
        self._filled += count * packets
        return start

    def append(self, count: int, offset_ms: int = -1) -> tuple[int, int, int]:
        """Put a packet at the end, whatever its timestamp says; the same result as `place`."""
        self._latest_ms = max(self._latest_ms, offset_ms)
        start = self.end
        self.end = start + count
        self._filled += count
        return start, 0, count

    def shift(self, milliseconds: int) -> int:
        """Move the zero earlier.

        :returns: by how many samples everything has moved.
        """
        samples = milliseconds * self._per_ms
        if self.end == 0:
            return samples
        self._latest_ms += milliseconds
        starts = [start + samples for start in self._hole_starts]
        ends = [end + samples for end in self._hole_ends]
        if starts and starts[0] == samples:
            starts[0] = 0
        else:
            starts.insert(0, 0)
            ends.insert(0, samples)
        self._hole_starts, self._hole_ends = starts, ends
        self.end += samples
        return samples

    def holes(self) -> list[tuple[int, int]]:
        """What is free before the end, in order: (first sample, one past the last)."""
        return list(zip(self._hole_starts, self._hole_ends, strict=True))

    @property
    def free(self) -> tuple[int, int]:
        """How many holes there are, and how many samples they have in all."""
        return len(self._hole_starts), self.end - self._filled

    def _place_late(self, ideal: int, count: int) -> tuple[int, int, int]:
        """Put a packet into the hole that more than half of it lies in; jitter moves none by more than that."""
        half = count // 2
        starts, ends = self._hole_starts, self._hole_ends
        # The middle of the packet is in the hole that holds most of it, if any does; rounding goes both ways.
        index = bisect_right(starts, ideal + half) - 1
        if index < 0 or min(ideal + count, ends[index]) - max(ideal, starts[index]) <= half:
            self.duplicates += 1
            return ideal, count, 0
        low, high = starts[index], ends[index]
        start = low if ideal < low or (ideal - low <= half and ideal + count != high) else ideal
        stop = start + count
        if 0 < stop - high <= half and high - count >= low:
            start, stop = high - count, high
        stop = min(stop, high)
        kept = stop - start
        self.overlap += count - kept
        self._filled += kept
        before, after = start > low, stop < high
        if before and after:
            ends[index] = start
            starts.insert(index + 1, stop)
            ends.insert(index + 1, high)
        elif before:
            ends[index] = start
        elif after:
            starts[index] = stop
        else:
            del starts[index], ends[index]
        return start, 0, kept
