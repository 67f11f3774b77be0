"""Parts of a recording as the owners of a stream leave them, one after the other."""

from collections.abc import Iterable
from pathlib import Path

from frames import HEADER, ZERO_MS, audio, granted, media, said, state
from msgspec import structs

from rtms_cli.capture import epoch_name
from rtms_cli.machine import Frame, State
from rtms_cli.recording.recorder import Recorder
from rtms_cli.simulator.media import mixed

SLOTS = 150


def connected(at_us: int) -> list[Frame]:
    """A connection that comes up."""
    return [
        state(State.OPENING, at_us, "signaling", url="wss://zoom.example/s"),
        state(State.OPEN, at_us, "signaling"),
        state(State.OPENING, at_us, url="wss://zoom.example/m"),
        state(State.OPEN, at_us),
        granted(at_us=at_us),
    ]


def content(start: int, stop: int) -> list[Frame]:
    """What Zoom sends in some slots of 20 ms: sound of two, words, a picture now and then, keep-alives."""
    made: list[Frame] = []
    for slot in range(start, stop):
        at_us, timestamp = 1_000 + slot * 20_000, ZERO_MS + 20 * slot
        pcm = mixed(1, slot * 320, 320, 16_000).tobytes()
        made.append(audio(pcm, timestamp, at_us=at_us))
        made.append(audio(pcm[::-1], timestamp, user_id=7, user_name="Ann", at_us=at_us))
        if slot % 10 == 0:
            made.append(media(17, f"line {slot}", timestamp, user_id=7, at_us=at_us))
            made.append(said({"msg_type": 12, "timestamp": timestamp}, at_us, "media"))
    return made


def record(folder: Path, epoch: int, frames: Iterable[Frame], *, is_killed: bool = False) -> Path:
    """A part, or a whole recording."""
    folder.mkdir(parents=True)
    recorder = Recorder(folder, structs.replace(HEADER, epoch=epoch, generator=f"rtms-cli {epoch}"))
    recorder.begin()
    recorder.fold(list(frames))
    if is_killed:
        recorder.checkpoint()
    else:
        recorder.close()
    return folder


def last_word(slot: int, status: str = "complete") -> Frame:
    """What a session says last."""
    return state(State.FINISHED, 2_000 + slot * 20_000, "signaling", code=6, reason="Zoom", status=status)


def in_parts(folder: Path, cut: int = 60, overlap: int = 5) -> Path:
    """A recording whose first owner was killed, and whose second one got some of the same again."""
    record(folder, 1, [*connected(0), *content(0, cut + overlap)], is_killed=True)
    at_us = 1_000 + cut * 20_000
    second = [*connected(at_us), *content(cut, SLOTS), last_word(SLOTS)]
    record(folder / "epochs" / epoch_name(2), 2, second)
    return folder


def whole(folder: Path) -> Path:
    """What one owner would have recorded."""
    return record(folder, 1, [*connected(0), *content(0, SLOTS), last_word(SLOTS)])
