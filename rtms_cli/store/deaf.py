"""An observer of a station that is deaf, but for what it overrides."""

from collections.abc import Mapping
from pathlib import Path

from rtms_cli.machine import Finish, Frame
from rtms_cli.protocol.webhooks import Stream
from rtms_cli.recording.manifest import Manifest
from rtms_cli.recording.recorder import RecorderSnapshot


class DeafObserver:
    """Makes nothing of what a station tells; see `station.observing.Observer`."""

    def on_started(self, stream: Stream, folder: Path | None) -> None:
        """Nothing is made of it."""

    def on_frame(self, stream_id: str, frame: Frame) -> None:
        """Nothing is made of it."""

    def on_progress(self, snapshots: Mapping[str, RecorderSnapshot]) -> None:
        """Nothing is made of it."""

    def on_finished(self, stream: Stream, folder: Path | None, finish: Finish, manifest: Manifest | None) -> None:
        """Nothing is made of it."""

    def on_notice(self, text: str) -> None:
        """Nothing is made of it."""

    def on_event(self, name: str, fields: Mapping[str, object], text: str) -> None:
        """Nothing is made of it."""
