"""Folders full of recordings, as somebody has them after a year, for the pages that list and find them."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from catalog.shelf import put
from frames import ZERO_MS, audio, granted, media, said, state

from rtms_cli.capture import Header
from rtms_cli.machine import State
from rtms_cli.recording.manifest import Loss, Manifest, Participant, TrackEntry
from rtms_cli.recording.recorder import Recorder

TRAPS = [
    "<script>alert(1)</script>",
    "</script><img src=x onerror=alert(2)>",
    "<!--<script>",
    "\u2028\u202e\x00\x1b[2J",
    "\ud800",
    '"><svg onload=alert(3)>',
    "javascript:alert(4)//https://evil.example/x",
    "' onfocus=alert(5) autofocus x='",
    "<base href=//evil.example><style>@import '//evil.example/x'</style>",
    "<iframe srcdoc='<script>parent.alert(6)</script>'>",
]
"""Texts of strangers that run, load or hide something where they are taken for markup."""
TITLES = ("Weekly sync", "Budget", "Interview with a candidate", "Retrospective", "All hands", "Support", "")
PEOPLE = ("Ann Example", "Zoë Müller", "山田 太郎", "Kim", "Olu Adé", "محمد علي")
PRODUCTS = ("meeting", "meeting", "webinar", "session", "phone", "contact_center")
STATUSES = ("complete", "complete", "complete", "complete", "interrupted", "failed")
NEWEST = datetime(2026, 11, 27, 17, tzinfo=UTC)


def fill(place: Path, count: int) -> None:
    """Put recordings into a folder, the newest first, one every two hours."""
    for number in range(count):
        began, seconds = NEWEST - timedelta(hours=2 * number), 300 + number * 733 % 6600
        status, title = STATUSES[number * 5 % 6], TITLES[number % 7]
        put(
            place,
            f"{began:%Y%m%dT%H%M%SZ}_{PRODUCTS[number % 6]}_{number:05}",
            status=status,
            product=PRODUCTS[number % 6],
            id=f"{number * 7919 % 10**9:09}==",
            rtms_stream_id=f"stream-{number}",
            title=f"{title} {number}" if title else None,
            started_at=f"{began:%Y-%m-%dT%H:%M:%SZ}",
            ended_at=f"{began + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%SZ}",
            tracks=[
                TrackEntry("audio", "audio/mixed.wav", 0, packets=50 * seconds, bytes=640 * 50 * seconds,
                           duration=seconds, offset=0.0),
                TrackEntry("transcript", "transcript.jsonl", packets=seconds // 5),
            ],
            participants=[Participant(n, PEOPLE[(number + n) % len(PEOPLE)]) for n in range(1 + number % 4)],
            losses=[Loss("packets", "media", 3)] if status == "interrupted" else [],
        )  # fmt: skip


def trap(folder: Path) -> None:
    """A recording in which every text that a stranger may choose is one of `TRAPS`."""
    frames = [state(State.OPEN, 0, "signaling"), state(State.OPEN, 0), granted(at_us=1_000_000)]
    frames += [audio(bytes(640), ZERO_MS + 20 * n, at_us=1_000_000 + 20_000 * n) for n in range(100)]
    for number, text in enumerate(TRAPS, 1):
        at_us, timestamp = 1_000_000 + 100_000 * number, ZERO_MS + 100 * number
        joined = {"event_type": 3, "participants": [{"user_id": number, "user_name": text}]}
        frames += [
            said({"msg_type": 6, "event": joined}, at_us, "signaling"),
            media(17, f"trap {text}", timestamp, user_id=number, user_name=text, at_us=at_us),
            media(18, f"trap {text}", timestamp, user_id=number, user_name=text, at_us=at_us),
            said({"msg_type": text, text: text}, at_us),
            state(State.WARNING, at_us, reason=text.encode("utf-8", "replace").decode()),
        ]
    at_us = 4_000_000
    frames.append(said({"msg_type": 8, "state": 4, "reason": 6, "timestamp": ZERO_MS + 3000}, at_us, "signaling"))
    frames.append(state(State.FINISHED, at_us, "signaling", code=6, reason=TRAPS[0], status="complete"))
    frames.sort(key=lambda frame: frame.at_us)
    folder.mkdir(parents=True)
    recorder = Recorder(folder, Header(1, "2026-11-28T09:00:00.000Z", TRAPS[0], "meeting", TRAPS[0], TRAPS[1]))
    recorder.begin()
    recorder.fold(frames)
    recorder.close()
    made = Manifest.read(folder)
    made.title = TRAPS[1]
    (folder / "manifest.json").write_bytes(made.encode())
