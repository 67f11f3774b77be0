"""Arithmetic on timestamps and arrival times, in memory that does not grow with the capture."""

from bisect import bisect_right

from rtms_cli.inspection.runs import Sender
from rtms_cli.recording.quantiles import Quantiles

SANE_MS = 10**13
"""Timestamps are Unix milliseconds: positive, and below this (the year 2286)."""
JUMP_MS = 3_600_000
"""A timestamp further than this from where it is due has jumped."""
PAUSE_MS = 1000
"""Silence longer than this need not be a loss: the participant may be muted, or the camera off."""
MOST_GAPS = 1000
"""Gaps that a track lists: the last ones."""
_SMOOTHING = 16


def is_sane(timestamp: int | None) -> bool:
    """Whether a number can be a timestamp at all."""
    return timestamp is not None and 0 < timestamp < SANE_MS


class Origin:
    """Where the first media timestamp, which is a recording's zero, lies on the capture's clock."""

    __slots__ = ("_first_us", "_least_us", "ms")

    def __init__(self) -> None:
        self.ms: int | None = None
        self._first_us = self._least_us = 0

    def take(self, timestamp: int | None, at_us: int) -> None:
        """Take a media message. Of all the least delayed one counts: sound that was buffered comes late."""
        if timestamp is None or not is_sane(timestamp):
            return
        if self.ms is None:
            self.ms = timestamp
            self._first_us = self._least_us = at_us
        zero_us = at_us - (timestamp - self.ms) * 1000
        if zero_us < self._least_us and self._first_us - zero_us < JUMP_MS * 1000:
            self._least_us = zero_us

    def take_run(self, run: Sender) -> None:
        """Take media messages in order, all of whose timestamps are sane."""
        if self.ms is None:
            self.take(run.timestamps[0], run.at_us[0])
        zero_us = min(run.delays_us) + (self.ms or 0) * 1000
        if zero_us >= self._least_us:
            return
        if self._first_us - zero_us < JUMP_MS * 1000:
            self._least_us = zero_us
            return
        for timestamp, at_us in zip(run.timestamps, run.at_us, strict=True):
            self.take(timestamp, at_us)

    @property
    def at_us(self) -> int | None:
        """Microseconds on the capture's clock; negative where media began before the capture."""
        return None if self.ms is None else self._least_us


class Clock:
    """The latest timestamp of a track, and whether the next one is possible."""

    __slots__ = ("at_us", "latest_ms")

    def __init__(self, timestamp: int, at_us: int) -> None:
        self.latest_ms = timestamp
        self.at_us = at_us

    def lead_ms(self, timestamp: int, at_us: int) -> int:
        """How far a timestamp runs ahead of the time that has passed; negative behind the latest one."""
        passed = max(0, at_us - self.at_us) // 1000
        return max(0, timestamp - self.latest_ms - passed) + min(0, timestamp - self.latest_ms)

    def has_jumped(self, timestamp: int, at_us: int) -> bool:
        """Whether it is more than an hour away from where it can be."""
        return abs(self.lead_ms(timestamp, at_us)) > JUMP_MS


class Pace:
    """The timing of one track: what is missing, late, early, doubled, and how much it jitters.

    :param step_ms: what one packet lasts, as granted.
    :param pictures: gaps are pauses only, since frames may be left out, and several may share a timestamp.
    :param never_pauses: every missing step is a loss: mixed audio.
    """

    def __init__(self, step_ms: int, *, pictures: bool = False, never_pauses: bool = False) -> None:
        self.step_ms = step_ms
        self._pictures = pictures
        self._never_pauses = never_pauses
        self.clock: Clock | None = None
        self._due_us = 0
        self._delay_us: int | None = None
        self._last_data = 0
        self._starts: list[int] = []
        self._ends: list[int] = []
        self._forgotten = [0, 0, 0]
        self._done_ms = 0
        self._begin_ms = 0
        self.first_ms: int | None = None
        self.last_ms: int | None = None
        self.jitter_us = Quantiles()
        self.late = self.early = self.duplicates = self.out_of_order = self.jumps = self.untimed = 0

    def add(self, timestamp: int | None, at_us: int, data: int) -> None:
        """Take a packet.

        :param data: a hash of its payload, which distinguishes a repeated picture from a second one of the same moment.
        """
        if timestamp is None or not is_sane(timestamp):
            self.untimed += 1
            return
        clock = self.clock
        if clock is None or clock.has_jumped(timestamp, at_us):
            self.jumps += clock is not None
            self._close()
            self._begin(timestamp, at_us)
        elif timestamp > clock.latest_ms:
            self._on_time(clock.latest_ms, timestamp, at_us)
            clock.latest_ms, clock.at_us = timestamp, at_us
        elif timestamp < self._begin_ms:
            self.out_of_order += 1
            self._begin_earlier(timestamp)
        elif self._pictures:
            self.duplicates += timestamp == clock.latest_ms and data == self._last_data
            self.out_of_order += timestamp < clock.latest_ms
        elif self._fill(timestamp):
            self.out_of_order += 1
        else:
            self.duplicates += 1
        self._last_data = data
        self.first_ms = timestamp if self.first_ms is None else min(self.first_ms, timestamp)
        self.last_ms = timestamp if self.last_ms is None else max(self.last_ms, timestamp)

    def comes_in_order(self, run: Sender) -> bool:
        """Whether packets would be neither doubled nor out of order, and no time would have jumped."""
        if self.clock is None:
            return False
        latest_ms = self.clock.latest_ms
        for place, timestamp in enumerate(run.timestamps):
            if not 0 < timestamp - latest_ms <= JUMP_MS:
                if not self._pictures or timestamp != latest_ms:
                    return False
                before = run.data_hash(place - 1) if place else self._last_data
                if run.data_hash(place) == before:
                    return False
            latest_ms = timestamp
        return True

    def add_run(self, run: Sender) -> None:
        """Take packets in order, all of whose timestamps are sane."""
        start, end = 0, len(run.timestamps)
        while start < end:
            start = self._add_on_time(run, start)
            if start < end:
                self.add(run.timestamps[start], run.at_us[start], run.data_hash(start))
                start += 1

    def _add_on_time(self, run: Sender, start: int) -> int:
        """Take packets for as long as each is later than those before it, or another picture of the same time.

        :returns: the place of the first one that is not.
        """
        timestamps, at_us, delays_us, contents = run.timestamps, run.at_us, run.delays_us, run.contents
        clock = self.clock
        if clock is None:
            return start
        step_ms, step_us = self.step_ms, self.step_ms * 1000
        most_ms, latest_ms = step_ms + self._longest_wait_ms, clock.latest_ms
        delay_us, due_us, latest_us = self._delay_us or 0, self._due_us, clock.at_us
        jitters_us: list[int] = []
        place = start
        for place in range(start, len(timestamps)):
            timestamp = timestamps[place]
            if not 0 < timestamp - latest_ms <= JUMP_MS:
                if not self._pictures or timestamp != latest_ms or place == start:
                    break
                self.duplicates += contents[place].data == contents[place - 1].data
                continue
            jitters_us.append(abs(delays_us[place] - delay_us))
            delay_us = delays_us[place]
            behind_us = delay_us - due_us
            if not -step_us <= behind_us <= step_us:
                self.late += behind_us > 0
                self.early += behind_us < 0
            due_us += behind_us // _SMOOTHING
            if timestamp - latest_ms > most_ms:
                self._add_gap(len(self._starts), latest_ms + step_ms, timestamp)
            latest_ms, latest_us = timestamp, at_us[place]
        else:
            place += 1
        if place > start:
            clock.latest_ms, clock.at_us = latest_ms, latest_us
            self._delay_us, self._due_us = delay_us, due_us
            self.jitter_us.add_all(jitters_us)
            self._last_data = run.data_hash(place - 1) if self._pictures else 0
            self.first_ms = timestamps[start] if self.first_ms is None else min(self.first_ms, timestamps[start])
            self.last_ms = latest_ms if self.last_ms is None else max(self.last_ms, latest_ms)
        return place

    @property
    def _longest_wait_ms(self) -> int:
        """How long after the end of a packet the next one may come without a gap."""
        return max(PAUSE_MS, 2 * self.step_ms) if self._pictures else self.step_ms // 2

    @property
    def duration_ms(self) -> int | None:
        """From the first packet to the end of the last, gaps included; jumps are left out."""
        if self.clock is None:
            return None
        return self._done_ms + self.clock.latest_ms - self._begin_ms + (0 if self._pictures else self.step_ms)

    @property
    def lost(self) -> int | None:
        """Packets that are missing by their timestamps, in gaps that are no pause; `None` for pictures."""
        if self._pictures:
            return None
        return self._forgotten[2] + sum(map(self._lost_in, self._starts, self._ends))

    def gaps(self) -> tuple[int, int, list[tuple[int, int]]]:
        """How many, how long in all (ms), and the last ones as timestamps (from, to)."""
        listed = list(zip(self._starts, self._ends, strict=True))
        return self._forgotten[0] + len(listed), self._forgotten[1] + sum(end - start for start, end in listed), listed

    def holes(self) -> list[tuple[int, int]]:
        """Those of the listed gaps that are no pause, as timestamps (from, to)."""
        return [(start, end) for start, end in zip(self._starts, self._ends, strict=True) if self._lost_in(start, end)]

    def _begin(self, timestamp: int, at_us: int) -> None:
        self.clock = Clock(timestamp, at_us)
        self._begin_ms = timestamp
        self._delay_us = self._due_us = at_us - timestamp * 1000

    def _begin_earlier(self, timestamp: int) -> None:
        """Put a packet before the one that came first."""
        self._add_gap(0, timestamp + self.step_ms, self._begin_ms)
        self._begin_ms = timestamp

    def _close(self) -> None:
        if self.clock is not None:
            self._done_ms = self.duration_ms or 0
            self._forget(len(self._starts))

    def _on_time(self, latest_ms: int, timestamp: int, at_us: int) -> None:
        delay_us = at_us - timestamp * 1000
        if self._delay_us is not None:
            self.jitter_us.add(abs(delay_us - self._delay_us))
        self._delay_us = delay_us
        behind_us = delay_us - self._due_us
        self.late += behind_us > self.step_ms * 1000
        self.early += behind_us < -self.step_ms * 1000
        self._due_us += behind_us // _SMOOTHING
        self._add_gap(len(self._starts), latest_ms + self.step_ms, timestamp)

    def _add_gap(self, place: int, start: int, end: int) -> None:
        if end - start > self._longest_wait_ms:
            self._starts.insert(place, start)
            self._ends.insert(place, end)
            if len(self._starts) > MOST_GAPS:
                self._forget(1)

    def _fill(self, timestamp: int) -> bool:
        """Put a packet that comes after later ones into the gap it left, if it left one."""
        half = self.step_ms // 2
        index = bisect_right(self._starts, timestamp + half) - 1
        if index < 0 or timestamp + half >= self._ends[index]:
            return False
        start, end = self._starts[index], self._ends[index]
        pieces = [(start, timestamp), (timestamp + self.step_ms, end)]
        kept = [(low, high) for low, high in pieces if high - low > half]
        self._starts[index : index + 1] = [low for low, _ in kept]
        self._ends[index : index + 1] = [high for _, high in kept]
        return True

    def _forget(self, count: int) -> None:
        for start, end in zip(self._starts[:count], self._ends[:count], strict=True):
            self._forgotten[0] += 1
            self._forgotten[1] += end - start
            self._forgotten[2] += self._lost_in(start, end)
        del self._starts[:count], self._ends[:count]

    def _lost_in(self, start: int, end: int) -> int:
        return round((end - start) / self.step_ms) if self._never_pauses or end - start <= PAUSE_MS else 0
