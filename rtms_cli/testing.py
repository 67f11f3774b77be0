"""The pytest fixture `rtms_zoom`: a stand-in for Zoom, for tests of anybody's client (docs/library.md)."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from rtms_cli.library.standin import ZoomStandIn


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    line = "rtms_zoom(scenario='', seconds=3, product='meeting', scopes='all', speed=1): what the fixture plays"
    config.addinivalue_line("markers", line)


@pytest.fixture
def rtms_zoom(request: pytest.FixtureRequest) -> "Iterator[ZoomStandIn]":
    """A stand-in for Zoom that has announced a stream: its `payload` is what a client joins."""
    from rtms_cli.library.standin import ZoomStandIn

    marker = request.node.get_closest_marker("rtms_zoom")
    settings = {} if marker is None else dict(marker.kwargs)
    if marker is not None and marker.args:
        settings["scenario"] = marker.args[0]
    settings |= getattr(request, "param", {})
    with ZoomStandIn(**settings) as zoom:
        yield zoom
