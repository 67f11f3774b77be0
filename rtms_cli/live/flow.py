"""Turns positioned samples into continuous audio, in time for the listener (Sans-I/O).

Theory of operation. Positions count samples on the clock of Zoom's timestamps. Samples that directly follow the output
are forwarded at once. Samples further ahead wait for the missing ones, at most `hold`. Then silence fills the gap. If
nothing arrives at all, silence continues by the clock, `hold` behind it. Samples that arrive after their position was
filled are late: they are counted and dropped.

The clock is our own, adjusted by the packets: it uses the shortest delay of a packet within the last seconds. The
shortest, so that a backlog does not set it back. Of the last seconds, because clocks drift, and a network may become
permanently slower.
"""

from bisect import insort
from collections.abc import Hashable, Iterator

import numpy as np
import numpy.typing as npt

WINDOW_S = 2
"""Length in seconds of the window for the shortest delay."""
LONGEST_SILENCE_S = 60
"""Longest silence that may stand for missing packets, beyond the elapsed time. Zoom may have kept this much audio from
before the connection (PROTOCOL §4), with gaps in it. Timestamps further ahead have jumped."""
_CHUNK_S = 1
IDLE_S = 10
"""A voice that has been silent for this long leaves the mix until it speaks again."""


class Flow:
    """One sender's audio in one format.

    :param rate_hz: samples per second and channel.
    :param block: bytes per sample of all channels.
    :param hold_ms: how long to wait for missing samples.
    :param first: start position, if not that of the first packet. Silence fills the time before the first packet.
    """

    def __init__(self, rate_hz: int, block: int, hold_ms: int, first: int | None = None) -> None:
        self.rate_hz = rate_hz
        self.block = block
        self.next: int | None = None
        """The next output position; `None` before the first packet."""
        self.late = 0
        """Samples that arrived too late."""
        self.silent = 0
        """Samples of silence that replace missing audio."""
        self.active_at = 0
        """When audio was last forwarded, on the clock, in samples."""
        self._hold = hold_ms * rate_hz // 1000
        self._first = first
        self._waiting: list[tuple[int, int, bytes]] = []
        self._lag: int | None = None
        self._lag_before: int | None = None
        self._lag_since = 0

    def place(self, position: int, pcm: bytes, at_us: int) -> None:
        """Accept samples at a position.

        :param at_us: when they arrived.
        """
        at = at_us * self.rate_hz // 1_000_000
        waiting = self._waiting
        if waiting and position < waiting[-1][0]:
            insort(waiting, (position, at, pcm))
        else:
            waiting.append((position, at, pcm))

    @property
    def is_waiting(self) -> bool:
        """Return whether samples are waiting for earlier ones."""
        return bool(self._waiting)

    def limit(self, now_us: int) -> int | None:
        """Return the position before which missing samples are given up; `None` before the clock is set."""
        if self._lag is None:
            return None
        lag = self._lag if self._lag_before is None else min(self._lag, self._lag_before)
        return now_us * self.rate_hz // 1_000_000 - lag - self._hold

    def take(
        self, now_us: int, *, fills: bool = True, final: bool = False, waits: bool = False
    ) -> Iterator[tuple[int, bytes]]:
        """Yield the audio to forward now, in order and without gaps, as position and PCM.

        :param fills: whether to continue with silence if nothing arrives.
        :param final: whether this is the end, so that nothing waits.
        :param waits: whether to hold back silence, because the process was suspended and packets may be unread.
        """
        now = now_us * self.rate_hz // 1_000_000
        waiting = self._waiting
        done = 0
        for position, at, pcm in waiting:
            if self.next is None:
                self._begin(position)
            assert self.next is not None
            ahead = position - self.next
            if ahead > 0 and self._lag is not None and not final and (waits or not self._is_due(position, at, now)):
                break
            done += 1
            if ahead > LONGEST_SILENCE_S * self.rate_hz + max(0, now - self.active_at):
                self.next = position  # the clock of the timestamps has jumped
            elif ahead > 0:
                yield from self._silence(position)
            elif ahead < 0:
                late = min(-ahead, len(pcm) // self.block)
                self.late += late
                pcm, position = pcm[late * self.block :], position + late
            self._set_clock(now, position + len(pcm) // self.block)
            if pcm:
                self.next = position + len(pcm) // self.block
                self.active_at = now
                yield position, pcm
        if done:
            del waiting[:done]
        limit = self.limit(now_us)
        if fills and not final and not waits and limit is not None and self.next is not None and limit > self.next:
            yield from self._silence(min(limit, waiting[0][0]) if waiting else limit)

    def _begin(self, position: int) -> None:
        first = self._first
        is_near = first is not None and 0 <= position - first <= LONGEST_SILENCE_S * self.rate_hz
        self.next = first if is_near else position

    def _is_due(self, position: int, at: int, now: int) -> bool:
        """Return whether missing samples before a position are given up."""
        limit = self.limit(now * 1_000_000 // self.rate_hz)
        if limit is not None and limit >= position:
            return True
        return now - at >= self._hold and now - self.active_at >= self._hold

    def _silence(self, until: int) -> Iterator[tuple[int, bytes]]:
        assert self.next is not None
        while self.next < until:
            count = min(until - self.next, _CHUNK_S * self.rate_hz)
            start, self.next = self.next, self.next + count
            self.silent += count
            yield start, bytes(count * self.block)

    def _set_clock(self, now: int, end: int) -> None:
        """Adjust the clock to the delay of a packet with this end."""
        lag = now - end
        if self._lag is None or now - self._lag_since > WINDOW_S * self.rate_hz:
            self._lag_before, self._lag, self._lag_since = self._lag, lag, now
        elif lag < self._lag:
            self._lag = lag


class Mix:
    """Mixes the audio of several voices, or forwards that of a single one. Positions and PCM as in `Flow`.

    A key identifies each voice. All voices have the same format. A single voice is forwarded unchanged. With several,
    audio that has arrived from all speakers is forwarded at once, and missing audio is waited for as in `Flow`.

    :param first: see `Flow`. It applies to the first voice.
    """

    def __init__(self, rate_hz: int, channels: int, hold_ms: int, first: int | None = None) -> None:
        self.rate_hz = rate_hz
        self.channels = channels
        self._hold_ms = hold_ms
        self._hold = hold_ms * rate_hz // 1000
        self._first = first
        self._voices: dict[Hashable, Flow] = {}
        self._sum: npt.NDArray[np.int32] = np.zeros(0, np.int32)
        self._base: int | None = None
        """The position of the first sample in the sum. Everything before it was forwarded."""
        self._late = self._silent = 0

    @property
    def late_seconds(self) -> float:
        """Return the seconds of late audio of all voices."""
        return (self._late + sum(voice.late for voice in self._voices.values())) / self.rate_hz

    @property
    def silence_seconds(self) -> float:
        """Return the seconds of silence that replace missing audio. In a mix, this includes times when nobody spoke."""
        return (self._silent + sum(voice.silent for voice in self._voices.values())) / self.rate_hz

    def place(self, key: Hashable, position: int, pcm: bytes, at_us: int) -> None:
        """Accept a voice's samples at a position."""
        voice = self._voices.get(key)
        if voice is None:
            voice = Flow(self.rate_hz, 2 * self.channels, self._hold_ms, None if self._voices else self._first)
            if len(self._voices) == 1 and self._base is None:
                (only,) = self._voices.values()
                self._base = only.next
            self._voices[key] = voice
        voice.place(position, pcm, at_us)

    def take(self, now_us: int, *, final: bool = False, waits: bool = False) -> Iterator[tuple[int, bytes]]:
        """See `Flow.take`."""
        if len(self._voices) == 1 and self._base is None:
            (only,) = self._voices.values()
            return only.take(now_us, final=final, waits=waits)
        return self._mixed(now_us, final=final, waits=waits)

    def _mixed(self, now_us: int, *, final: bool, waits: bool) -> Iterator[tuple[int, bytes]]:
        now = now_us * self.rate_hz // 1_000_000
        said = [
            one for voice in self._voices.values() for one in voice.take(now_us, fills=False, final=final, waits=waits)
        ]
        if self._base is None and said:
            self._base = min(position for position, _ in said)
        for position, pcm in said:
            assert self._base is not None
            if position - self._base > LONGEST_SILENCE_S * self.rate_hz:  # the clock of the timestamps has jumped
                yield from self._hand_on(self._base + len(self._sum) // self.channels)
                self._base = position
            self._add(position, pcm)
        if self._base is not None:
            until = self._until(now_us, now, final=final, waits=waits)
            if until - self._base > LONGEST_SILENCE_S * self.rate_hz:
                yield from self._hand_on(self._base + len(self._sum) // self.channels)
                self._base = until
            yield from self._hand_on(until)
        self._forget_silent(now)

    def _hand_on(self, until: int) -> Iterator[tuple[int, bytes]]:
        """Yield the audio before a position."""
        assert self._base is not None
        if until <= self._base:
            return
        start, count = self._base, (until - self._base) * self.channels
        mixed, self._sum, self._base = self._sum[:count], self._sum[count:], until
        self._silent += (count - len(mixed)) // self.channels
        yield start, np.clip(mixed, -32768, 32767).astype("<i2").tobytes().ljust(count * 2, b"\0")

    def _until(self, now_us: int, now: int, *, final: bool, waits: bool) -> int:
        """Return the position up to which missing samples are given up."""
        ends = [voice.next for voice in self._voices.values() if voice.next is not None]
        if final:
            return max(ends, default=0)
        speaking = [
            voice.next
            for voice in self._voices.values()
            if voice.next is not None and (voice.is_waiting or now - voice.active_at < self._hold)
        ]
        if waits:
            return min(speaking, default=0)
        limits = [limit for voice in self._voices.values() if (limit := voice.limit(now_us)) is not None]
        return max(min(speaking, default=0), max(limits, default=0))

    def _add(self, position: int, pcm: bytes) -> None:
        assert self._base is not None
        samples = np.frombuffer(pcm, "<i2")
        start = (position - self._base) * self.channels
        if start < 0:
            late = min(-start, len(samples))
            if samples[:late].any():
                self._late += late // self.channels
            samples, start = samples[late:], start + late
        end = start + len(samples)
        if end > len(self._sum):
            self._sum = np.concatenate((self._sum, np.zeros(end - len(self._sum), np.int32)))
        self._sum[start:end] += samples

    def _forget_silent(self, now: int) -> None:
        for key, voice in list(self._voices.items()):
            if not voice.is_waiting and now - voice.active_at > IDLE_S * self.rate_hz and len(self._voices) > 1:
                self._late += voice.late
                self._silent += voice.silent
                del self._voices[key]
        if len(self._voices) == 1 and not len(self._sum):
            (only,) = self._voices.values()
            if only.next == self._base:
                self._base = None
