"""A recording on one line."""

from typing import Any

import pytest
from catalog.shelf import manifest

from rtms_cli.catalog.verdict import verdict
from rtms_cli.recording.manifest import Connection, Loss, Stop, TrackEntry, Warned

SOUND = TrackEntry("audio", "audio/mixed.wav", 0, duration=20.0, offset=0.0, gaps=[(1.0, 2.0), (4.0, 5.2)])


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({}, "20 s, 3 people, nothing lost"),
        (
            {"tracks": [SOUND], "connections": [Connection("signaling"), Connection("media"), Connection("media")]},
            "20 s, 3 people, nothing lost, 1 reconnection; audio 11 % silent",
        ),
        (
            {"losses": [Loss("was not written", "capture.jsonl")], "warnings": [Warned("w", 1, 0.0)] * 2},
            "20 s, 3 people, 1 loss, 2 warnings",
        ),
        ({"tracks": [TrackEntry("audio", "a.wav", lost=12)], "participants": []}, "20 s, 12 packets lost"),
        (
            {"status": "interrupted", "ended_at": "2026-11-28T10:02:03Z", "tracks": []},
            "interrupted: 1:02:03, 3 people, nothing lost",
        ),
        (
            {
                "status": "failed",
                "stop": Stop(6, "STOP_BC_MEETING_ENDED", "signaling"),
                "participants": [],
                "tracks": [],
            },
            "failed (6 STOP_BC_MEETING_ENDED: the meeting ended): 20 s, nothing lost",
        ),
    ],
)
def test_verdict(changes: dict[str, Any], wanted: str) -> None:
    assert verdict(manifest(**changes)) == wanted


def test_times_that_cannot_be_do_not_make_it_longer() -> None:
    strange = TrackEntry("audio", "a.wav", duration=1e9, offset=0.0)
    assert verdict(manifest(tracks=[strange], participants=[])).startswith("20 s")
