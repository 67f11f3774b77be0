"""Every case of the matrix; and, one by one, what the simulation has found."""

import pytest
from simulation.matrix import CASES, Case, play


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_case(case: Case) -> None:
    assert play(case).wrong == ()
