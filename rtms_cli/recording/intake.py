"""One sender's audio packets on their way to a file: straight on where they are as granted, judged where they are not.

A packet that is unlike those before it (longer, shorter, at the same time as the last one, too soon after it) waits,
and so do those behind it, until `fitting` has judged them. At the beginning of a file they are written as granted
meanwhile, and once more if that was wrong. Ordinary streams never wait, and what waits changes nothing but the moment
of writing: the files are a function of the packets and their order.
"""

from collections.abc import Callable

from msgspec import Struct

from rtms_cli.protocol.media import AudioParams
from rtms_cli.recording.audio import AudioForm, AudioTrack, samples_in
from rtms_cli.recording.fitting import LOOSE_MS, Packet, fit, is_proven, size_in
from rtms_cli.recording.sniffing import is_smoother

MOST_HELD = 1 << 25
"""Bytes that all senders of a recording may have waiting."""
_MOST_USUAL = 8
_SEND_RATE_MS = 20
"""Zoom's default."""
_NEVER_MS = 1 << 62
_ADJACENT_MS = 1_000


class Held:
    """What all intakes of a recording hold back."""

    def __init__(self) -> None:
        self.nbytes = 0
        self.intakes: dict[Intake, None] = {}

    def settle(self) -> None:
        """Judge everything by what is there."""
        for intake in list(self.intakes):
            intake.settle()


class Owner(Struct, frozen=True):
    """What an intake asks for."""

    make: Callable[[AudioForm], AudioTrack | None]
    """The track of the same sender for another form; `None` if there can be none."""
    reform: Callable[[AudioTrack, AudioForm], None]
    """Begin a track again, all of whose packets are given to it once more."""
    lose: Callable[[str, str, int], None]
    """Take note of what could not be kept, where, and how many bytes of it."""
    warn: Callable[[str], None]


class Intake:
    """The packets of one sender in one stretch of the session's clock.

    :param expected: how long a packet is by the grant (see `size_in`); 0 where that is not known.
    """

    __slots__ = (
        "_expected", "_faults", "_granted", "_held", "_is_plain", "_is_proven", "_is_trial", "_last", "_last_at_us",
        "_last_ms", "_least_ms", "_loose_ms", "_next_ms", "_odd", "_odd_fault", "_odd_ms", "_odd_size", "_owner",
        "_usual", "_waiting", "heard_name", "track",
    )  # fmt: skip

    def __init__(self, track: AudioTrack, expected: int, owner: Owner, waiting: Held) -> None:
        self.track = track
        self.heard_name: str | None = None
        """What the last packet that had another name than the one before called its sender."""
        self._expected = expected
        self._granted = track.form
        self._is_proven = track.encoded is not None or is_proven(track.form)
        self._is_plain = track.form.is_plain
        self._owner = owner
        self._waiting = waiting
        self._usual = {expected} if expected else set()
        self._held: list[Packet] = []
        self._is_trial = False
        """Whether what is placed now may be placed once more, so that nothing is lost yet."""
        self._faults: list[tuple[str, int]] = []
        self._odd = b""
        """Bytes of the packet before that make no whole sample: the next one may begin with the rest."""
        self._odd_fault: tuple[str, int] | None = None
        self._odd_ms = 0
        self._odd_size = 0
        self._last = b""
        self._last_at_us = 0
        self._last_ms = -1
        self._least_ms = 0
        self._next_ms = _NEVER_MS
        self._loose_ms = 0

    def add(self, timestamp: int, payload: bytes, at_us: int) -> None:
        """Take a packet.

        :param at_us: when it came.
        """
        size = len(payload) if self._is_plain else size_in(self.track.form, payload)
        if timestamp >= self._next_ms and size in self._usual and not self._odd:
            self._last_ms = timestamp
            self._next_ms = timestamp + self._least_ms
            self._last = payload
            self._last_at_us = at_us
            fault = self.track.add(timestamp, payload)
            if fault is not None:
                self._tell(fault)
        else:
            self._take(timestamp, self._completed(timestamp, payload), at_us)

    def steady(self) -> tuple[int, int, int] | None:
        """What each next packet must be like for nothing but its place to be open; `None` if there is more to it.

        :returns: how long it is, from which time on it comes, and the least time between two of them, in ms.
        """
        nbytes, track = len(self._last), self.track
        if (
            not self._is_plain
            or self._next_ms == _NEVER_MS
            or self._odd
            or nbytes not in self._usual
            or nbytes % track.form.block
            or not track.is_open
        ):
            return None
        return nbytes, self._next_ms, self._least_ms

    def add_run(self, timestamps: list[int], payloads: list[bytes], at_us: int) -> None:
        """Take packets that are like `steady` says: what `add` does for each of them.

        :param at_us: when the last one came.
        """
        self._last_ms = timestamps[-1]
        self._next_ms = self._last_ms + self._least_ms
        self._last = payloads[-1]
        self._last_at_us = at_us
        self.track.add_run(timestamps, payloads)

    def add_arrived(self, arrived_ms: int, payload: bytes) -> None:
        """Take a packet whose timestamp tells nothing, and that came at about this time."""
        self.settle()
        self._put(arrived_ms, payload, LOOSE_MS, is_stamped=False)

    def settle(self) -> None:
        """Judge what waits by what is there."""
        if self._held:
            self._judge(final=True)
        self._give_up_odd()
        self._waiting.intakes.pop(self, None)

    def _completed(self, timestamp: int, payload: bytes) -> bytes:
        """A packet with the first bytes of its first sample, where the packet before it has them."""
        odd, block, nbytes = self._odd, self.track.form.block, len(payload)
        if odd and self._is_rest(timestamp, payload):
            payload, self._odd_fault = odd + payload, None
            self._owner.warn(f"{self.track.path}: packets end within a sample, and the next ones go on with it")
            if self._held:
                self._held[-1].payload = self._held[-1].payload.removesuffix(odd)
            self._last = self._last.removesuffix(odd)
        self._give_up_odd()
        rest = len(payload) % block if self._is_plain else 0
        if rest:
            self._odd_size = nbytes
            self._odd = payload[-rest:]
            self._odd_ms = timestamp
            self._waiting.intakes[self] = None
        return payload

    def _is_rest(self, timestamp: int, payload: bytes) -> bool:
        """Whether a packet goes on in the middle of a sample; where the sound does not tell, the two lengths do."""
        if not (self._is_plain and 0 <= timestamp - self._odd_ms <= _ADJACENT_MS):
            return False
        goes_on = is_smoother(self._odd + payload, payload, self.track.form.audio_channels)
        if goes_on is not None:
            return goes_on
        return len(payload) % self.track.form.block > 0 and self._odd_size + len(payload) in (
            2 * self._expected,
            self._expected,
        )

    def _give_up_odd(self) -> None:
        self._odd = b""
        if self._odd_fault is not None:
            fault, self._odd_fault = self._odd_fault, None
            self._tell(fault)

    def _tell(self, fault: tuple[str, int]) -> None:
        """Keep what could not be kept for the judgement, if there is to be one, or report it."""
        if self._is_trial:
            self._faults.append(fault)
        else:
            self._owner.lose(fault[0], self.track.path, fault[1])

    def _take(self, timestamp: int, payload: bytes, at_us: int) -> None:
        if self._held:
            self._hold(self._packet(timestamp, payload, at_us))
        elif not payload:
            self._put(timestamp, payload, 0)
        elif self._last_ms < 0:
            if self._is_usual(payload):
                self._go_on(timestamp, payload, at_us)
            else:
                self._hold(self._packet(timestamp, payload, at_us))
        elif timestamp < self._last_ms:
            self._put(timestamp, payload, 0)  # late, or twice
        elif self._is_usual(payload) and (self._loose_ms or timestamp >= self._next_ms):
            self._go_on(timestamp, payload, at_us)
        else:
            self._keep(self._packet(self._last_ms, self._last, self._last_at_us, is_placed=True))
            self._hold(self._packet(timestamp, payload, at_us))

    def _is_usual(self, payload: bytes) -> bool:
        size = size_in(self.track.form, payload)
        return self._is_proven and size in self._usual

    def _packet(self, timestamp: int, payload: bytes, at_us: int, *, is_placed: bool = False) -> Packet:
        return Packet(timestamp, payload, at_us, size_in(self.track.form, payload), is_placed)

    def _go_on(self, timestamp: int, payload: bytes, at_us: int) -> None:
        """Place a packet as those before it."""
        loose_ms = self._loose_ms if timestamp >= self._last_ms else 0
        self._note(timestamp, payload, at_us)
        self._put(timestamp, payload, loose_ms)

    def _note(self, timestamp: int, payload: bytes, at_us: int) -> None:
        """Take note of the latest packet that has its place."""
        if timestamp < self._last_ms:
            return
        if not self._least_ms:
            self._least_ms = max(1, self._duration_ms(payload) * 4 // 5)
        self._last, self._last_ms, self._last_at_us = payload, timestamp, at_us
        # Where times are rough, every packet takes the longer way.
        self._next_ms = _NEVER_MS if self._loose_ms else timestamp + self._least_ms

    def _hold(self, packet: Packet) -> None:
        if self._has_only_held():
            # Nothing is lost by writing it at once: all of it can be written again.
            self._is_trial = True
            self._put(packet.timestamp, packet.payload, 0)
            packet.is_placed = True
        self._keep(packet)
        self._judge(final=self._waiting.nbytes > MOST_HELD)

    def _has_only_held(self) -> bool:
        """Whether nothing is in the file but what is still here."""
        track = self.track
        return track.encoded is None and track.packets == sum(packet.is_placed for packet in self._held)

    def _keep(self, packet: Packet) -> None:
        self._next_ms = _NEVER_MS
        self._held.append(packet)
        self._waiting.nbytes += len(packet.payload)
        self._waiting.intakes[self] = None

    def _judge(self, *, final: bool) -> None:
        track = self.track
        verdict = fit(self._held, track.form, self._usual, granted=self._granted, proven=self._is_proven, final=final)
        if verdict is None:
            return
        is_other = verdict.form != self.track.form
        is_again = self._has_only_held() and (is_other or verdict.loose_ms > 0)
        held, self._held = self._held, []
        self._waiting.nbytes -= sum(len(packet.payload) for packet in held)
        if not self._odd:
            self._waiting.intakes.pop(self, None)
        self._is_trial = False
        faults, self._faults = self._faults, []
        if is_again:
            self._odd_fault = None
            self._owner.reform(self.track, verdict.form)
        else:
            for fault in faults:
                self._owner.lose(fault[0], track.path, fault[1])
            if is_other:
                self._change(verdict.form)
        is_back = is_other and self.track.form == self._granted
        if verdict.why and not is_back:
            self._owner.warn(f"{self.track.path}: {verdict.why}")
            self.track.assumed = verdict.why
        self._loose_ms = verdict.loose_ms
        self._least_ms = 0
        self._is_proven = True
        self._is_plain = self.track.form.is_plain
        fitting = held[1:] if is_other and not is_again else held  # the first one is of the form before
        sizes = list(dict.fromkeys(size_in(self.track.form, packet.payload) for packet in fitting))
        self._usual = set(sizes[-_MOST_USUAL:]) | ({self._expected} if self.track.form == self._granted else set())
        self._usual -= {0}
        for packet in held:
            if is_again or not packet.is_placed:
                self._go_on(packet.timestamp, packet.payload, packet.at_us)
            else:
                self._note(packet.timestamp, packet.payload, packet.at_us)

    def _change(self, form: AudioForm) -> None:
        """Go on in another form, in another file."""
        other = self._owner.make(form)
        if other is None:
            self._owner.warn(f"{self.track.path}: {form} packets are in it, for there are too many tracks")
        else:
            self.track = other

    def _put(self, timestamp: int, payload: bytes, loose_ms: int, *, is_stamped: bool = True) -> None:
        track = self.track
        if loose_ms and track.ahead_ms(timestamp) <= loose_ms:
            fault = track.append(timestamp if is_stamped else None, payload)
        else:
            fault = track.add(timestamp, payload, is_stamped=is_stamped)
        if self._odd_fault is not None:
            earlier, self._odd_fault = self._odd_fault, None
            self._tell(earlier)
        if fault is not None and self._odd:
            self._odd_fault = fault
        elif fault is not None:
            self._tell(fault)

    def _duration_ms(self, payload: bytes) -> int:
        return samples_in(self.track.form, payload) * 1000 // self.track.form.rate_hz


def expected_size(form: AudioForm, params: AudioParams | None) -> int:
    """How long a packet is by its parameters, as in `size_in`; 0 if they do not say."""
    send_rate_ms = (None if params is None else params.send_rate) or _SEND_RATE_MS
    if not 0 < send_rate_ms <= 10_000:
        return 0
    return form.rate_hz * send_rate_ms // 1000 * (form.block if form.is_plain else 1)
