"""Which tests count for the coverage: the others compute for long, or start processes that are not measured anyway."""

from pathlib import Path

import pytest

MEASURED = (
    "inspection",
    "protocol",
    "recording",
    "session",
    "simulator/test_zoom.py",
    "station",
    "view",
    "wire",
    "test_capture.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if not any(item.path.is_relative_to(here / each) for each in MEASURED):
            item.add_marker(pytest.mark.no_cover)
