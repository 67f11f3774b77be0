"""Recordings on a disk, made of a manifest and a capture's header, for tests that list and find them."""

import json
from pathlib import Path
from typing import Any

from rtms_cli.recording.manifest import (
    Connection,
    Manifest,
    Participant,
    TrackEntry,
)


def manifest(**changes: Any) -> Manifest:
    """The manifest of a meeting of 20 s with three people."""
    fields: dict[str, Any] = {
        "schema": 1,
        "status": "complete",
        "product": "meeting",
        "id": "uuid==",
        "rtms_stream_id": "stream-1",
        "generator": "test",
        "process": None,
        "started_at": "2026-11-28T09:00:00Z",
        "ended_at": "2026-11-28T09:00:20Z",
        "origin_ms": 1_795_856_400_000,
        "buffered_ms": 0,
        "media": {},
        "tracks": [
            TrackEntry("audio", "audio/mixed.wav", 0, packets=1000, bytes=640_000, duration=20.0, offset=0.0),
            TrackEntry("transcript", "transcript.jsonl", packets=2),
        ],
        "messages": {},
        "keep_alive": {},
        "connections": [Connection("signaling"), Connection("media")],
        "connection_count": 2,
        "participants": [Participant(1, "Ada"), Participant(2, "Grace"), Participant(3)],
        "stop": None,
    }
    return Manifest(**fields | changes)


def put(place: Path, name: str, **changes: Any) -> Path:
    """A recording's folder with a manifest and a capture."""
    folder = place / name
    folder.mkdir(parents=True)
    made = manifest(**changes)
    (folder / "manifest.json").write_bytes(made.encode())
    header = {"rtms_capture": 1, "created": made.started_at, "generator": "test", "product": made.product}
    header |= {"id": made.id, "rtms_stream_id": made.rtms_stream_id, "verified": True}
    (folder / "capture.jsonl").write_text(json.dumps(header) + "\n")
    return folder
