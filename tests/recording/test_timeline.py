"""Timestamps → positions: exact where timestamps are exact, near where they are not, and every sample once."""

from itertools import pairwise

from hypothesis import example, given
from hypothesis import strategies as st

from rtms_cli.recording.timeline import MAX_ORIGIN_MOVES, MAX_SEGMENTS, SessionTime, Timeline

HOUR_MS = 3_600_000
RATES = st.sampled_from((8_000, 16_000, 32_000, 48_000))


@given(
    slots=st.lists(st.integers(0, 60), min_size=1, max_size=120),
    rate=RATES,
    packet_ms=st.sampled_from((20, 40, 100, 1000)),
    base_ms=st.integers(0, 100_000),
)
@example(slots=[0, 0], rate=8000, packet_ms=20, base_ms=0)
@example(slots=[5, 1, 3, 2, 4, 0, 3], rate=48000, packet_ms=20, base_ms=7)
def test_exact_timestamps_in_any_order_with_gaps_and_duplicates(
    slots: list[int], rate: int, packet_ms: int, base_ms: int
) -> None:
    base_ms = base_ms if base_ms > packet_ms // 2 else 0  # less than half a packet from zero is jitter
    timeline, count = Timeline(rate), packet_ms * rate // 1000
    placed: dict[int, int] = {}
    for slot in slots:
        start, skip, kept = timeline.place(base_ms + slot * packet_ms, count)
        if slot in placed:
            assert kept == 0
        else:
            assert (start, skip, kept) == ((base_ms + slot * packet_ms) * rate // 1000, 0, count)
            placed[slot] = start
    assert timeline.duplicates == len(slots) - len(placed)
    assert timeline.overlap == 0
    assert timeline.end == max(placed.values()) + count
    free = timeline.end - len(placed) * count
    assert sum(end - start for start, end in timeline.holes()) == free
    assert timeline.free == (len(timeline.holes()), free)
    assert all(start < end for start, end in timeline.holes())


@given(
    packets=st.lists(st.tuples(st.integers(0, 3000), st.integers(1, 2000)), max_size=80),
    shifts=st.lists(st.integers(1, 500), max_size=5),
    rate=RATES,
)
def test_no_sample_is_ever_written_twice(packets: list[tuple[int, int]], shifts: list[int], rate: int) -> None:
    """Whatever the timestamps and lengths: writes never overlap, and holes are exactly what was not written."""
    timeline, spans, zero = Timeline(rate), list[tuple[int, int]](), 0
    pending = list(shifts)
    for number, (offset, count) in enumerate(packets):
        if pending and number % 7 == 6:
            milliseconds = pending.pop()
            moved = timeline.shift(milliseconds)
            assert moved == milliseconds * rate // 1000
            spans = [(start + moved, stop + moved) for start, stop in spans]
            zero += milliseconds
        start, skip, kept = timeline.place(offset + zero, count)
        assert 0 <= skip <= count
        assert 0 <= kept <= count - skip
        if kept:
            ideal = (offset + zero) * rate // 1000 + skip
            assert abs(start - ideal) <= count  # within one packet of its timestamp
            spans.append((start, start + kept))
    covered = sorted(spans + timeline.holes())
    assert all(stop <= following for (_, stop), (following, _) in pairwise(covered))
    assert sum(stop - start for start, stop in covered) == timeline.end


@given(jitter=st.lists(st.integers(-9, 9), min_size=2, max_size=200))
def test_jitter_makes_no_clicks(jitter: list[int]) -> None:
    timeline = Timeline(16_000)
    for number, early in enumerate(jitter):
        start, skip, kept = timeline.place(1000 + number * 20 + (early if number else 0), 320)
        assert (start, skip, kept) == (16_000 + number * 320, 0, 320)
    assert timeline.holes() == [(0, 16_000)]


@given(drift=st.integers(-8, 8), minutes=st.integers(1, 5))
def test_drift_does_not_add_up(drift: int, minutes: int) -> None:
    """A sender whose packets hold a little more or less than their timestamps say."""
    timeline, count = Timeline(16_000), 320 + drift
    for number in range(minutes * 3000):
        start, skip, _ = timeline.place(number * 20, count)
        assert abs(start - skip - number * 320) <= count


def test_a_late_packet_with_jitter_is_fitted_into_its_hole() -> None:
    timeline = Timeline(16_000)
    timeline.place(0, 320)
    timeline.place(40, 320)
    assert timeline.holes() == [(320, 640)]
    assert timeline.place(23, 320) == (320, 0, 320)
    assert timeline.place(23, 320)[2] == 0
    assert timeline.holes() == []
    assert timeline.duplicates == 1


def test_a_duplicate_with_jitter_does_not_leak_into_the_next_hole() -> None:
    timeline = Timeline(16_000)
    timeline.place(0, 320)
    timeline.place(23, 320)  # snapped to 20
    timeline.place(100, 320)
    assert timeline.place(23, 320)[2] == 0
    assert timeline.holes() == [(640, 1600)]


def test_a_packet_that_lies_mostly_on_taken_places_is_a_duplicate() -> None:
    timeline = Timeline(16_000)
    timeline.place(0, 320)
    timeline.place(40, 320)
    assert timeline.place(20, 250) == (320, 0, 250)
    assert timeline.holes() == [(570, 640)]
    assert timeline.place(29, 320)[2] == 0  # its middle lies in the hole, most of it does not
    assert timeline.holes() == [(570, 640)]


def test_who_unmutes_after_hours_of_others_talking_has_not_jumped() -> None:
    time = SessionTime(HOUR_MS)
    first = time.find(1_000_000, 0)
    for number in range(200):
        assert time.find(1_000_000 + number * 60_000, number * 60_000_000) is first
    assert len(time.segments) == 1


def test_silence_of_everybody_is_no_jump_where_the_time_has_passed() -> None:
    time = SessionTime(HOUR_MS)
    first = time.find(1_000_000, 0)
    assert time.find(1_000_000 + 5 * HOUR_MS, 5 * HOUR_MS * 1000) is first


def test_jumps_open_segments_and_find_back() -> None:
    time = SessionTime(HOUR_MS)
    first = time.find(10 * HOUR_MS, 0)
    second = time.find(20 * HOUR_MS, 0)
    third = time.find(5 * HOUR_MS, 0)
    assert first is not None
    assert second is not None
    assert third is not None
    assert time.segments == [first, second, third]
    assert time.find(10 * HOUR_MS + 20, 20_000) is first
    assert time.find(20 * HOUR_MS + 20, 20_000) is second
    assert time.origin_ms == 10 * HOUR_MS


def test_a_clock_that_went_back_stays_in_its_segment_when_it_meets_the_old_one() -> None:
    time = SessionTime(HOUR_MS)
    time.find(1, 0)
    time.find(HOUR_MS, 0)
    time.find(2 * HOUR_MS, HOUR_MS * 1000)
    back = time.find(HOUR_MS // 2, HOUR_MS * 1000)
    assert back is time.segments[1]
    for minute in range(180):
        at_us = (HOUR_MS + minute * 60_000) * 1000
        assert time.find(HOUR_MS // 2 + minute * 60_000, at_us) is back


def test_segments_are_limited() -> None:
    time = SessionTime(HOUR_MS)
    for number in range(MAX_SEGMENTS):
        assert time.find(1 + number * 3 * HOUR_MS, 0) is not None
    assert time.find(1 + 500 * HOUR_MS, 0) is None
    assert time.find(2, 0) is time.segments[0]


def test_creeping_ahead_is_bounded() -> None:
    time = SessionTime(HOUR_MS)
    timestamp = 1
    for _ in range(2000):
        timestamp += HOUR_MS - 1
        time.find(timestamp, 0)
    assert len(time.segments) == MAX_SEGMENTS
    assert all(segment.latest_ms - segment.zero_ms <= 24 * HOUR_MS for segment in time.segments)


def test_the_origin_moves_earlier_but_not_for_ever() -> None:
    time = SessionTime(HOUR_MS)
    first = time.find(HOUR_MS, 0)
    for number in range(1, MAX_ORIGIN_MOVES + 1):
        assert time.find(HOUR_MS - number, 0) is first
        assert time.origin_ms == HOUR_MS - number
    assert time.find(1000, 0) is not first
    assert time.origin_ms == HOUR_MS - MAX_ORIGIN_MOVES
