"""The first seeds. A failure says how to repeat it, with the fewest faults that show it; `.ci/run` plays more."""

import pytest
from fleet_simulation.running import CHUNK, prepare, run_chunk

SEEDS = 100


@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_seeds(first: int) -> None:
    prepare()
    stats, failures = run_chunk(range(first, first + CHUNK))
    assert not failures, "\n".join(f"{failure.command}  # {failure.violations}" for failure in failures)
    assert stats.handshakes > 0
