"""Single plans: what seeds have found, and what they meet too seldom."""

import pytest
from fleet_simulation.plan import Hit, Plan, Show, plan_of
from fleet_simulation.running import play
from msgspec import structs


def show(number: int, at: float = 0.0, lasts_s: float = 200.0) -> Show:
    return Show(f"s{number}", at, lasts_s, None, 6, None)


def plan(*hits: Hit, shows: int = 10, slots: tuple[int, ...] = (10, 10, 10), loses: float = 0.0) -> Plan:
    streams = tuple(show(number) for number in range(shows))
    return Plan(1, slots, streams, hits, "events", 0.0, 0.0, loses=loses, tells_due=True)


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
    assert play(structs.replace(plan_of(seed).with_hits(faults), loses=0)).violations == []


def test_a_queue_without_its_data_offers_to_a_worker_what_it_records_already() -> None:
    failovers = [Hit(100.6, "failover", number) for number in range(10)]
    world = play(plan(Hit(100.0, "lose queue", 0, 0.5), *failovers, slots=(10,)))
    assert world.violations == []
    assert all(stream.losses == [] for stream in world.zoom.all())


def test_a_claim_whose_owner_never_heard_of_it_goes_to_the_only_worker_again() -> None:
    shows = tuple(show(number, 5.0 * number) for number in range(20))
    world = play(structs.replace(plan(slots=(20,), loses=0.3), shows=shows))
    assert world.violations == []


def test_a_start_that_a_worker_hears_of_while_it_tells_of_the_end_is_recorded() -> None:
    shows = tuple(Show(f"s{number}", number * 0.3, 30 - number * 0.3, None, 6, 1.0) for number in range(6))
    world = play(structs.replace(plan(Hit(22, "cut queue", 0, 8.3), slots=(10, 10)), shows=shows))
    assert world.violations == []
