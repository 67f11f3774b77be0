"""Single plans: what seeds have found, and what they meet too seldom."""

import pytest
from fleet_simulation.plan import Hit, Plan, Show, plan_of
from fleet_simulation.running import play


def show(number: int, at: float = 0.0, lasts_s: float = 200.0, refuses_with: int | None = None) -> Show:
    return Show(f"s{number}", at, lasts_s, refuses_with, 6, None)


def plan(*hits: Hit, shows: int = 10, slots: tuple[int, ...] = (10, 10, 10), refuses_with: int | None = None) -> Plan:
    streams = tuple(show(number, refuses_with=refuses_with) for number in range(shows))
    return Plan(1, slots, streams, hits, "events", 0.0, 0.0, tells_due=True)


@pytest.mark.parametrize(
    ("seed", "faults"),
    [
        pytest.param(
            0, (0, 1, 2), id="a former owner that is cut off from the queue outlives its successors' patience"
        ),
        pytest.param(589, (0, 1, 2, 4, 5), id="a worker takes a stream again before it knows that it has finished it"),
    ],
)
def test_what_seeds_have_found(seed: int, faults: tuple[int, ...]) -> None:
    assert play(plan_of(seed).with_hits(faults)).violations == []


def test_a_queue_without_its_data_offers_to_a_worker_what_it_records_already() -> None:
    failovers = [Hit(100.6, "failover", number) for number in range(10)]
    world = play(plan(Hit(100.0, "lose queue", 0, 0.5), *failovers, slots=(10,)))
    assert world.violations == []
    assert all(stream.losses == [] for stream in world.zoom.all())
