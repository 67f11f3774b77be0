"""Sound without holes: what is in order goes on at once, silence stands for what nobody sent, late sound is counted."""

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from rtms_cli.live.flow import LONGEST_SILENCE_S, Flow, Mix

RATE, MS = 16_000, 16
"""Samples in a second, and in a millisecond."""
ZERO = 1_700_000_000_000 * MS


def pcm(first: int, count: int) -> bytes:
    """Samples that tell their position, and are never silent."""
    return (np.arange(first, first + count) % 30_000 + 1).astype("<i2").tobytes()


def samples(out: list[tuple[int, bytes]]) -> bytes:
    for (start, data), (following, _) in pairwise(out):
        assert start + len(data) // 2 == following, "a hole, or what overlaps"
    return b"".join(data for _, data in out)


class Script:
    """Feeds a flow, each packet as of some ms, 20 ms long, and remembers what comes out."""

    def __init__(self, hold_ms: int = 200, first: int | None = None) -> None:
        self.flow = Flow(RATE, 2, hold_ms, first)
        self.out: list[tuple[int, bytes]] = []

    def come(self, at_ms: int, *offsets_ms: int) -> "Script":
        for offset in offsets_ms:
            self.flow.place(ZERO + offset * MS, pcm(offset * MS, 20 * MS), at_ms * 1000)
        return self.at(at_ms)

    def at(self, at_ms: int, *, final: bool = False) -> "Script":
        self.out += self.flow.take(at_ms * 1000, final=final)
        return self

    @property
    def end_ms(self) -> int:
        assert self.flow.next is not None
        return (self.flow.next - ZERO) // MS


def test_what_comes_in_order_goes_on_at_once() -> None:
    script = Script()
    for number in range(50):
        script.come(20 * number + 30, 20 * number)
        assert script.end_ms == 20 * number + 20
    assert samples(script.out) == pcm(0, 1000 * MS)
    assert script.flow.late == script.flow.silent == 0


def test_a_burst_from_before_the_connection_comes_first() -> None:
    script = Script().come(10, *range(0, 5000, 20)).come(30, 5000)
    assert samples(script.out) == pcm(0, 5020 * MS)


def test_what_lies_ahead_waits_for_what_comes_before_it() -> None:
    script = Script().come(20, 0).come(60, 40)
    assert script.end_ms == 20
    script.come(80, 20)
    assert samples(script.out) == pcm(0, 60 * MS)


def test_silence_stands_for_what_does_not_come_in_time() -> None:
    script = Script().come(20, 0).come(60, 40).at(239)
    assert script.end_ms < 40
    script.at(260)
    assert script.end_ms == 60
    assert samples(script.out) == pcm(0, 20 * MS) + bytes(40 * MS) + pcm(40 * MS, 20 * MS)
    script.come(270, 20)
    assert script.flow.late == 20 * MS


def test_silence_goes_on_by_the_clock() -> None:
    script = Script().come(20, 0)
    for at_ms in range(40, 3020, 20):
        script.at(at_ms)
    assert script.end_ms == 3000 - 200
    assert script.flow.silent == (2800 - 20) * MS
    script.come(3020, 3000).at(3220)
    assert samples(script.out)[-640:] == pcm(3000 * MS, 20 * MS)


def test_a_backlog_that_comes_late_is_counted_and_not_squeezed_in() -> None:
    script = Script().come(20, 0)
    for at_ms in range(40, 2000, 20):
        script.at(at_ms)
    end = script.end_ms
    script.come(2000, *range(20, 2000, 20)).come(2020, 2000)
    assert script.flow.late == (end - 20) * MS
    assert samples(script.out) == pcm(0, 20 * MS) + bytes((end - 20) * 2 * MS) + pcm(end * MS, (2020 - end) * MS)


def test_a_network_that_becomes_slower_for_good_is_followed() -> None:
    script = Script()
    for at_ms in range(20, 1000, 20):
        script.come(at_ms, at_ms - 20)
    for at_ms in range(1000, 12_000, 20):
        script.come(at_ms, at_ms - 1020)
    assert script.end_ms == 12_000 - 1020
    assert 0 < script.flow.late // MS < 6000


def test_clocks_that_drift_are_followed() -> None:
    """One part in a thousand: much more than clocks do."""
    script = Script()
    for number in range(20_000):
        script.come(20 * number + number * 20 // 1000, 20 * number)
    assert script.flow.late == script.flow.silent == 0


def test_timestamps_that_jump_bring_no_hours_of_silence() -> None:
    script = Script().come(20, 0).come(40, 1_800_000).at(400)
    assert sum(len(data) for _, data in script.out) < 20 * RATE
    script.come(420, 1_800_020)
    assert script.end_ms == 1_800_040


def test_one_packet_from_the_future_holds_nothing_up() -> None:
    script = Script()
    for number in range(100):
        script.come(20 * number + 20, 20 * number, *([30_000] if number == 50 else []))
        assert script.end_ms == 20 * number + 20


def test_silence_stands_before_the_first_packet_where_the_sound_began_earlier() -> None:
    script = Script(first=ZERO - 100 * MS).come(20, 0)
    assert script.out[0][0] == ZERO - 100 * MS
    assert samples(script.out) == bytes(200 * MS) + pcm(0, 20 * MS)
    far = Script(first=ZERO - (LONGEST_SILENCE_S * 1000 + 1) * MS).come(20, 0)
    assert samples(far.out) == pcm(0, 20 * MS)


def test_at_the_end_nothing_waits() -> None:
    script = Script().come(20, 0).come(60, 40).at(60, final=True)
    assert samples(script.out) == pcm(0, 20 * MS) + bytes(40 * MS) + pcm(40 * MS, 20 * MS)


@given(
    st.lists(st.tuples(st.integers(0, 300), st.integers(0, 3000), st.integers(0, 40)), max_size=60),
    st.integers(0, 500),
)
def test_whatever_comes_nothing_is_lost_without_being_counted(
    packets: list[tuple[int, int, int]], hold_ms: int
) -> None:
    """Each sample is passed on in its place, or counted as late; between them is silence, and no hole."""
    flow, out, at_ms, sent, placed = Flow(RATE, 2, hold_ms), list[tuple[int, bytes]](), 0, 0, set[int]()
    for wait_ms, offset_ms, length_ms in packets:
        at_ms += wait_ms
        place = set(range(offset_ms, offset_ms + length_ms))
        if not placed & place:
            placed |= place
            flow.place(ZERO + offset_ms * MS, pcm(offset_ms * MS, length_ms * MS), at_ms * 1000)
            sent += length_ms * MS
        out += flow.take(at_ms * 1000)
    out += flow.take(at_ms * 1000, final=True)
    data = np.frombuffer(samples(out), "<i2")
    assert int((data != 0).sum()) + flow.late == sent
    assert int((data == 0).sum()) == flow.silent
    if out:
        places = np.flatnonzero(data)
        assert (data[places] == (places + out[0][0] - ZERO) % 30_000 + 1).all()


# Mixes.


def tone(value: int, count: int) -> bytes:
    return np.full(count, value, "<i2").tobytes()


def test_one_voice_goes_through_as_it_is() -> None:
    mix = Mix(RATE, 1, 200)
    mix.place("a", ZERO, pcm(0, 320), 20_000)
    assert samples(list(mix.take(20_000))) == pcm(0, 320)


def test_voices_are_added_and_nobody_who_is_silent_is_waited_for_long() -> None:
    mix, out = Mix(RATE, 1, 200), list[tuple[int, bytes]]()
    for number in range(100):
        at_us = (20 * number + 20) * 1000
        mix.place("a", ZERO + number * 320, tone(100, 320), at_us)
        if 10 <= number < 50:
            mix.place("b", ZERO + number * 320, tone(20_000, 320), at_us)
        if 20 <= number < 50:
            mix.place("c", ZERO + number * 320, tone(20_000, 320), at_us)
        out += mix.take(at_us)
    out += mix.take(2_020_000, final=True)
    data = np.frombuffer(samples(out), "<i2")
    assert len(data) == 100 * 320
    assert set(data[: 10 * 320]) == {100}
    assert set(data[10 * 320 : 20 * 320]) == {20_100}
    assert set(data[20 * 320 : 50 * 320]) == {32_767}, "it is clipped, not wrapped"
    assert set(data[50 * 320 :]) == {100}
    assert mix.late_seconds == 0


def test_a_mix_does_not_wait_for_who_has_stopped() -> None:
    mix, end = Mix(RATE, 1, 200), 0
    for number in range(100):
        at_us = (20 * number + 20) * 1000
        for voice in ("a", "b") if number < 50 else ("a",):
            mix.place(voice, ZERO + number * 320, tone(1, 320), at_us)
        for position, data in mix.take(at_us):
            end = position + len(data) // 2 - ZERO
        if number < 50 or number > 61:
            assert end == (number + 1) * 320


def test_a_voice_that_jumps_costs_no_memory() -> None:
    mix = Mix(RATE, 1, 200)
    for number in range(200):
        at_us = (20 * number + 20) * 1000
        mix.place("a", ZERO + number * 320, tone(1, 320), at_us)
        mix.place("b", ZERO + (number * 320 if number < 50 else 3_000_000 * MS + number * 320), tone(1, 320), at_us)
        for _, data in mix.take(at_us):
            assert len(data) < 2 * 61 * RATE


@given(st.data())
def test_a_mix_is_the_sum_of_its_voices(data: st.DataObject) -> None:
    """Where nothing is late, whatever the order in which voices come in a turn."""
    length = data.draw(st.integers(1, 30))
    names = data.draw(st.sets(st.sampled_from("abc"), min_size=1))
    voices = {name: data.draw(st.integers(0, length - 1)) for name in sorted(names)}
    mix, out = Mix(RATE, 1, 200), list[tuple[int, bytes]]()
    expected = np.zeros(length * 320, np.int64)
    for number in range(length):
        at_us = (20 * number + 20) * 1000
        for name in data.draw(st.permutations(sorted(voices))):
            if number >= voices[name]:
                mix.place(name, ZERO + number * 320, tone(ord(name), 320), at_us)
                expected[number * 320 : (number + 1) * 320] += ord(name)
        out += mix.take(at_us)
    out += mix.take((20 * length + 20) * 1000, final=True)
    first = min(voices.values()) * 320
    assert (np.frombuffer(samples(out), "<i2") == expected[first:]).all()
