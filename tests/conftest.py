"""Tests in which time runs up to fifty times as fast: they are marked, and their failures have to be the program's.

Nothing can be told of a client in a machine that did nothing for what are seconds of the session's time. So a test
that fails while the machine stood still is run again; the summary counts it as rerun.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from standstill import Standstill

COMPRESSED = ("faults", "sdk", "simulator", "inspection/test_lint.py", "view/test_terminal.py")
STOOD_STILL_S = 0.1
MOST_RERUNS = 2

_last = Standstill()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if any(item.path.is_relative_to(here / one) for one in COMPRESSED):
            item.add_marker(pytest.mark.compressed)
            item.add_marker(pytest.mark.flaky(reruns=MOST_RERUNS, condition=_stood_still))


@pytest.fixture(autouse=True)
def _watched(request: pytest.FixtureRequest) -> Iterator[None]:
    global _last
    if request.node.get_closest_marker("compressed") is None:
        yield
        return
    with Standstill() as _last:
        yield


def _stood_still() -> bool:
    return _last.longest_s >= STOOD_STILL_S
