"""A base class for observers of a station that handle only some events."""

from collections.abc import Mapping
from pathlib import Path

from rtms_cli.machine import Finish, Frame
from rtms_cli.protocol.webhooks import Stream
from rtms_cli.recording.manifest import Manifest
from rtms_cli.recording.recorder import RecorderSnapshot


class DeafObserver:
    """Ignores all events of a station; see `station.observing.Observer`."""

    def on_started(self, stream: Stream, folder: Path | None) -> None:
        """Ignore."""

    def on_frame(self, stream_id: str, frame: Frame) -> None:
        """Ignore."""

    def on_progress(self, snapshots: Mapping[str, RecorderSnapshot]) -> None:
        """Ignore."""

    def on_finished(self, stream: Stream, folder: Path | None, finish: Finish, manifest: Manifest | None) -> None:
        """Ignore."""

    def on_notice(self, text: str) -> None:
        """Ignore."""

    def on_event(self, name: str, fields: Mapping[str, object], text: str) -> None:
        """Ignore."""
