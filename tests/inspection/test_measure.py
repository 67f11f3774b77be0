"""Percentiles, and a track's timing, against arithmetic that may use all the memory it likes."""

from itertools import pairwise

import pytest
from frames import ZERO_MS
from hypothesis import given
from hypothesis import strategies as st

from rtms_cli.inspection.measure import JUMP_MS, MOST_GAPS, Clock, Origin, Pace, is_sane
from rtms_cli.inspection.runs import Sender
from rtms_cli.protocol.messages import Audio, PacketContent
from rtms_cli.recording.quantiles import Quantiles

STEP = 20


@given(st.lists(st.integers(0, 10**9), min_size=1))
def test_percentiles_are_nearest_ranks_within_two_parts_in_a_thousand(values: list[int]) -> None:
    quantiles = Quantiles()
    for value in values:
        quantiles.add(value)
    spread = quantiles.spread(1)
    assert spread is not None
    assert (spread.count, spread.max) == (len(values), max(values))
    for percent, found in ((50, spread.p50), (95, spread.p95), (99, spread.p99)):
        exact = sorted(values)[-(-len(values) * percent // 100) - 1]
        assert exact * (1 - 1 / 512) <= found <= exact
        assert exact >= 1024 or found == exact


def test_percentiles_of_nothing_and_their_unit() -> None:
    quantiles = Quantiles()
    assert quantiles.spread() is None
    quantiles.add(1500)
    spread = quantiles.spread()
    assert spread is not None
    assert (spread.p50, spread.max) == (1.5, 1.5)


@given(
    lost=st.sets(st.integers(1, 98)),
    doubled=st.sets(st.integers(0, 99)),
    swapped=st.sets(st.integers(0, 99).filter(lambda number: number % 3 == 0)),
)
def test_counts_what_was_lost_doubled_and_swapped(lost: set[int], doubled: set[int], swapped: set[int]) -> None:
    numbers = [number for number in range(100) if number not in lost]
    order = list(numbers)
    swaps = 0
    for number in swapped - lost:
        place = order.index(number)
        if place + 1 < len(order) and order[place + 1] == number + 1:
            order[place], order[place + 1] = order[place + 1], order[place]
            swaps += 1
    pace = Pace(STEP, never_pauses=True)
    for arrived, number in enumerate(order):
        for _ in range(2 if number in doubled else 1):
            pace.add(ZERO_MS + STEP * number, arrived * 20_000, 0)
    count, total_ms, gaps = pace.gaps()
    assert pace.lost == len(lost)
    assert total_ms == STEP * len(lost)
    assert gaps == holes(lost)
    assert count == len(gaps)
    assert pace.duplicates == len(doubled & set(numbers))
    assert pace.out_of_order == swaps
    assert (pace.jumps, pace.untimed) == (0, 0)
    assert (pace.first_ms, pace.last_ms) == (ZERO_MS, ZERO_MS + STEP * 99)


def holes(lost: set[int]) -> list[tuple[int, int]]:
    """Runs of lost packets as timestamps."""
    starts = sorted(number for number in lost if number - 1 not in lost)
    ends = sorted(number + 1 for number in lost if number + 1 not in lost)
    return [(ZERO_MS + STEP * start, ZERO_MS + STEP * end) for start, end in zip(starts, ends, strict=True)]


@given(st.lists(st.tuples(st.one_of(st.none(), st.integers(-5, 2 * 10**13)), st.integers(0, 10**12)), max_size=60))
def test_survives_whatever_comes(packets: list[tuple[int | None, int]]) -> None:
    for pace in (Pace(STEP), Pace(STEP, pictures=True), Pace(STEP, never_pauses=True)):
        for timestamp, at_us in packets:
            pace.add(timestamp, at_us, 0)
        count, total_ms, listed = pace.gaps()
        assert pace.untimed == sum(not is_sane(timestamp) for timestamp, _ in packets)
        assert 0 <= len(listed) <= min(count, MOST_GAPS)
        assert total_ms >= sum(end - start for start, end in listed)
        assert all(start < end for start, end in listed)
        assert pace.lost is None or pace.lost >= 0
        assert (pace.duration_ms is None) == all(not is_sane(timestamp) for timestamp, _ in packets)
        assert (pace.duration_ms or 0) >= 0


@pytest.mark.parametrize(
    ("arrivals_ms", "late", "early", "jitter"),
    [
        ([0, 20, 40, 60], 0, 0, (0, 0)),
        ([0, 20, 65, 60], 1, 0, (25, 25)),  # the third is 25 ms late, the fourth on time again
        ([0, 20, 15, 60], 0, 1, (25, 25)),
        ([0, 500, 500, 500], 3, 0, (20, 480)),  # a burst after a pause: everything in it is late
        ([500, 20, 40, 60], 0, 3, (0, 500)),
    ],
    ids=["on time", "late", "early", "burst", "the first was late"],
)
def test_late_early_and_jitter(arrivals_ms: list[int], late: int, early: int, jitter: tuple[float, float]) -> None:
    pace = Pace(STEP)
    for number, arrival in enumerate(arrivals_ms):
        pace.add(ZERO_MS + STEP * number, 1000 * arrival, 0)
    spread = pace.jitter_us.spread()
    assert spread is not None
    assert (pace.late, pace.early, spread.count) == (late, early, 3)
    assert (spread.p50, spread.max) == pytest.approx(jitter, rel=0.01)


def test_pauses_jumps_and_gaps_without_end() -> None:
    pace = Pace(STEP)
    for timestamp in (0, 20, 60, 1060 + 40):
        pace.add(ZERO_MS + timestamp, 1000 * timestamp, 0)
    assert pace.gaps() == (2, 1040, [(ZERO_MS + 40, ZERO_MS + 60), (ZERO_MS + 80, ZERO_MS + 1100)])
    assert pace.lost == 1  # who is silent for more than a second has paused
    assert pace.duration_ms == 1120
    pace.add(ZERO_MS + JUMP_MS + 10_000, 1_200_000, 0)
    pace.add(ZERO_MS + JUMP_MS + 10_020, 1_220_000, 0)
    assert (pace.jumps, pace.duration_ms, pace.gaps()[:2]) == (1, 1160, (2, 1040))

    pictures = Pace(1000, pictures=True)
    for timestamp in (0, 500, 2500, 4501, 4501):
        pictures.add(ZERO_MS + timestamp, 1000 * timestamp, timestamp)
    assert (pictures.gaps()[0], pictures.lost, pictures.duplicates) == (0, None, 1)
    pictures.add(ZERO_MS + 9000, 9_000_000, 1)
    assert pictures.gaps() == (1, 3499, [(ZERO_MS + 5501, ZERO_MS + 9000)])
    assert pictures.duration_ms == 9000

    leaky = Pace(STEP, never_pauses=True)
    for number in range(MOST_GAPS + 10):
        leaky.add(ZERO_MS + 2 * STEP * number, 40_000 * number, 0)
    count, total_ms, listed = leaky.gaps()
    assert (count, total_ms, len(listed), leaky.lost) == (MOST_GAPS + 9, STEP * (MOST_GAPS + 9), MOST_GAPS, count)


def test_where_the_first_timestamp_lies_is_told_by_the_least_delayed() -> None:
    origin = Origin()
    origin.take(None, 0)
    assert (origin.ms, origin.at_us) == (None, None)
    for timestamp, at_us in ((0, 10_000_000), (1000, 10_000_000), (9_500, 10_200_000), (10_000, 11_000_000)):
        origin.take(ZERO_MS + timestamp, at_us)  # nine seconds of sound were buffered
    assert (origin.ms, origin.at_us) == (ZERO_MS, 700_000)
    origin.take(ZERO_MS + 2 * JUMP_MS, 11_000_000)
    assert origin.at_us == 700_000


def test_a_clock_says_how_far_a_timestamp_runs_ahead() -> None:
    clock = Clock(ZERO_MS, 0)
    assert [clock.lead_ms(ZERO_MS + lead, 5_000_000) for lead in (-7, 0, 5000, 5001, 9000)] == [-7, 0, 0, 1, 4000]
    assert not clock.has_jumped(ZERO_MS + JUMP_MS + 5000, 5_000_000)
    assert clock.has_jumped(ZERO_MS + JUMP_MS + 5001, 5_000_000)
    assert [is_sane(one) for one in (None, 0, -1, 1, 10**13 - 1, 10**13)] == [False, False, False, True, True, False]


@given(
    packets=st.lists(
        st.tuples(
            st.sampled_from([20, 20, 20, 20, 20, 0, 0, 40, 15, -20, -40, 1_500, 2_000_000, 4_000_000]),
            st.integers(-30_000, 30_000),
            st.sampled_from("aab"),
        ),
        min_size=1,
    ),
    cuts=st.lists(st.integers(0, 20), max_size=4),
    pictures=st.booleans(),
)
def test_a_run_is_its_packets(packets: list[tuple[int, int, str]], cuts: list[int], pictures: bool) -> None:
    alone, in_runs, zero, origin = Pace(STEP, pictures=pictures), Pace(STEP, pictures=pictures), Origin(), Origin()
    contents, at_us, latest, in_order = list[PacketContent](), list[int](), 0, list[bool]()
    for step, late_us, data in packets:
        latest += step
        contents.append(PacketContent(data, ZERO_MS + latest))
        at_us.append(50_000_000 + 1000 * latest + late_us)
        before = alone.duplicates, alone.out_of_order, alone.jumps, alone.clock is None
        alone.add(ZERO_MS + latest, at_us[-1], hash(data.encode()))
        zero.take(ZERO_MS + latest, at_us[-1])
        in_order.append(before == (alone.duplicates, alone.out_of_order, alone.jumps, False))
    edges = sorted({0, len(packets), *(min(cut, len(packets)) for cut in cuts)})
    for start, end in pairwise(edges):
        run = Sender(
            "media", "audio", 7, Audio, has_channel=False, at_us=at_us[start:end], contents=contents[start:end]
        )
        run.timestamps = [content.timestamp for content in run.contents]
        run.delays_us = [at - 1000 * stamp for at, stamp in zip(run.at_us, run.timestamps, strict=True)]
        assert not in_runs.comes_in_order(run) or all(in_order[start:end])
        in_runs.add_run(run)
        origin.take_run(run)
    assert _facts(in_runs) == _facts(alone)
    assert (origin.ms, origin.at_us) == (zero.ms, zero.at_us)


@given(st.lists(st.integers(0, 10**9)), st.lists(st.integers(0, 10**9)))
def test_numbers_are_counted_together(first: list[int], second: list[int]) -> None:
    wanted, found = Quantiles(), Quantiles()
    for value in first + second:
        wanted.add(value)
    found.add_all(first)
    found.add_all(second)
    assert found.spread() == wanted.spread()


def _facts(pace: Pace) -> object:
    assert pace.clock is not None
    clock = pace.clock.latest_ms, pace.clock.at_us
    counts = pace.late, pace.early, pace.duplicates, pace.out_of_order, pace.jumps, pace.lost
    return (
        clock,
        counts,
        pace.gaps(),
        pace.holes(),
        pace.first_ms,
        pace.last_ms,
        pace.duration_ms,
        pace.jitter_us.spread(),
    )
