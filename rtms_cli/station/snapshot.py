"""What every view is made of: one stream as it stands, copied, so that looking never disturbs the data."""

from pathlib import Path

from msgspec import Struct

from rtms_cli.recording.recorder import RecorderSnapshot
from rtms_cli.session.session import SessionSnapshot


class StreamView(Struct, frozen=True):
    """One stream as it stands."""

    folder: Path
    at_us: int
    """The session's clock."""
    session: SessionSnapshot
    recording: RecorderSnapshot
