"""Which tests count for the coverage: those that compute for long would take twice as long while they are measured."""

from pathlib import Path

import pytest

NOT_MEASURED = ("export/test_sync.py", "faults", "hostile", "simulation", "simulator/test_scenarios.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if any(item.path.is_relative_to(here / each) for each in NOT_MEASURED):
            item.add_marker(pytest.mark.no_cover)
