"""A meeting of any length, recorded in seconds: `python tests/long_meeting.py FOLDER [SECONDS]`.

The frames go to a real recorder without a socket or a clock. Sound comes in packets of a second, as coarse as Zoom
allows, so that three hours are some 30,000 frames.
"""

import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pybase64
from frames import HEADER, ZERO_MS, granted, media, said, state

from rtms_cli.machine import Direction, Frame, State
from rtms_cli.recording.recorder import Recorder
from rtms_cli.simulator.media import talk

HOURS_3 = 3 * 3600
RATE = 8_000
ZERO_S = 1
"""Seconds from the start of the capture to the first sound."""
LINE_S = 1.5
"""Seconds from one line of the transcript to the next."""
TURN_S = 12
PEOPLE = {7: "Ann Example", 8: "Zoë Müller", 9: "山田 太郎"}
_WORDS = (
    "the numbers of last week look better than we thought so let us go through them one by one and see what is left "
    "before the release because somebody has to tell the customers about it and nobody wants to do that twice"
).split()
_CHUNKS = 23
_BATCH = 500


def text(number: int) -> str:
    """What line `number` of the transcript says: its number, and 4 to 31 words."""
    start, count = number * 7 % len(_WORDS), 4 + number * 11 % 28
    words = (_WORDS * 2)[start : start + count]
    return f"Line {number}: {' '.join(words)}."


def speaker(second: int) -> int:
    """Who speaks then."""
    return list(PEOPLE)[second // TURN_S * 5 % 7 % len(PEOPLE)]


def meeting(seconds: int = HOURS_3, alone: tuple[int, ...] = (7, 8)) -> Iterator[Frame]:
    """Everything that Zoom sends, in order.

    :param alone: who has a track of their own, beside the one of everyone.
    """
    sound = {
        user: [
            pybase64.b64encode((talk(voice, n * RATE, RATE, RATE) // (1 + n % 4)).tobytes()).decode()
            for n in range(_CHUNKS)
        ]
        for voice, user in enumerate(PEOPLE)
    }
    urls = {"media_server": {"server_urls": {"audio": "wss://zoom.example/media"}}}
    for channel in ("signaling", "media"):
        yield state(State.OPENING, 0, channel, url=f"wss://zoom.example/{channel}")
        yield state(State.OPEN, 0, channel)
        if channel == "signaling":
            yield said({"msg_type": 2, "status_code": 0, **urls}, 0, channel)
    packets = {"content_type": 2, "sample_rate": 0, "channel": 1, "codec": 1, "data_opt": 2, "send_rate": 1000}
    yield granted(at_us=0, audio=packets)
    joined = [{"user_id": user, "user_name": name} for user, name in PEOPLE.items()]
    yield said({"msg_type": 6, "event": {"event_type": 3, "participants": joined}}, 0, "signaling")
    yield said({"msg_type": 7, "rtms_stream_id": HEADER.rtms_stream_id}, 0, "signaling", Direction.OUT)
    lines = 0
    for second in range(seconds):
        at_us, timestamp, who = (ZERO_S + second) * 1_000_000, ZERO_MS + 1000 * second, speaker(second)
        if second % TURN_S == 0:
            event = {"event_type": 2, "user_id": who, "user_name": PEOPLE[who], "timestamp": timestamp}
            yield said({"msg_type": 6, "event": event}, at_us, "signaling")
        if second % 10 == 0:
            for channel in ("signaling", "media"):
                yield said({"msg_type": 12, "timestamp": timestamp}, at_us, channel)
                yield said({"msg_type": 13, "timestamp": timestamp}, at_us, channel, Direction.OUT)
        data = sound[who][second % _CHUNKS]
        yield media(14, data, timestamp, at_us=at_us)
        if who in alone:
            yield media(14, data, timestamp, user_id=who, user_name=PEOPLE[who], at_us=at_us)
        while lines * LINE_S <= second:
            start = ZERO_MS + round(1000 * LINE_S * lines)
            times = {"timestamp": start, "start_time": start, "end_time": start + 1400}
            yield media(17, text(lines), user_id=who, user_name=PEOPLE[who], at_us=at_us, **times)  # type: ignore[arg-type]
            lines += 1
        if second % 60 == 30:
            yield media(18, f"Message {second // 60}", timestamp, user_id=9, user_name=PEOPLE[9], at_us=at_us)
    at_us = (ZERO_S + seconds) * 1_000_000
    yield said({"msg_type": 8, "state": 4, "reason": 6, "timestamp": ZERO_MS + 1000 * seconds}, at_us, "signaling")
    yield state(State.FINISHED, at_us, "signaling", code=6, reason="Zoom", status="complete")


def record_meeting(folder: Path, seconds: int = HOURS_3, alone: tuple[int, ...] = (7, 8)) -> Path:
    """A recording of it; three hours take 4 s and 220 MB a track on the disk."""
    folder.mkdir(parents=True)
    recorder = Recorder(folder, HEADER)
    recorder.begin()
    frames = meeting(seconds, alone)
    while batch := list(islice(frames, _BATCH)):
        recorder.fold(batch)
    recorder.close()
    return folder


if __name__ == "__main__":
    print(record_meeting(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else HOURS_3))
