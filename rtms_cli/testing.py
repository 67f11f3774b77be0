"""The pytest fixture `rtms_zoom`: a Zoom simulator, for tests of anyone's client (docs/library.md).

pytest imports this file whenever it starts, so that it imports nothing itself.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from rtms_cli.library.standin import Zoom

__all__ = ["Zoom", "rtms_zoom"]


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    line = "rtms_zoom(scenario='', seconds=3, product='meeting', scopes='all', speed=1): what the fixture plays"
    config.addinivalue_line("markers", line)


@pytest.fixture
def rtms_zoom(request: pytest.FixtureRequest) -> "Iterator[Zoom]":
    """A Zoom simulator that has announced a stream: its `payload` is what a client joins."""
    from rtms_cli.library.standin import Zoom

    marker = request.node.get_closest_marker("rtms_zoom")
    settings = {} if marker is None else dict(marker.kwargs)
    if marker is not None and marker.args:
        settings["scenario"] = marker.args[0]
    with Zoom(**settings | getattr(request, "param", {})) as zoom:
        yield zoom


if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        """Import `Zoom` when it is first asked for."""
        if name != "Zoom":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from rtms_cli.library import standin

        return standin.Zoom
