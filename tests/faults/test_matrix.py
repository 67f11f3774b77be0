"""Every case over real sockets, as a test."""

from pathlib import Path

import pytest
from faults.matrix import CASES, Case, play


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
async def test_fault(case: Case, tmp_path: Path) -> None:
    assert (await play(case, tmp_path)).wrong == ()
