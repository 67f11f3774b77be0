"""What taps pass on, and to whom: real processes, files and pipes; the clock is the test's."""

import asyncio
import json
import os
import shlex
import sys
import threading
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from frames import ZERO_MS, audio, media, said
from live.tapping import PACKET, Tapped, sound
from processes import until

from rtms_cli.live import outlet, outlets
from rtms_cli.recording.files import write_all


def python(program: str, *arguments: str | Path) -> str:
    """A tap's target that runs a program."""
    return "exec:" + shlex.join([sys.executable, "-c", program, *map(str, arguments)])


def copy_to(path: Path) -> str:
    """A target that writes all that it reads to a file."""
    return python("import shutil, sys; shutil.copyfileobj(sys.stdin.buffer, open(sys.argv[1], 'wb'))", path)


def in_thread(pipe: Path) -> tuple[threading.Thread, bytearray]:
    """Read a pipe with a name to its end."""
    got = bytearray()
    reader = threading.Thread(target=lambda: got.extend(pipe.read_bytes()))
    reader.start()
    return reader, got


async def test_the_same_samples_go_to_every_target(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader, piped = in_thread(pipe)
    tapped = Tapped(f"audio:{copy_to(tmp_path / 'process')}", f"audio:file:{tmp_path / 'file'}", f"audio:file:{pipe}")
    expected = await tapped.speak(0, 100)
    entries = await tapped.close()
    await asyncio.to_thread(reader.join)
    assert (tmp_path / "process").read_bytes() == (tmp_path / "file").read_bytes() == piped == expected
    assert [(entry.bytes, entry.drops, entry.late_seconds, entry.exit_code) for entry in entries] == [
        (len(expected), 0, 0, 0),
        (len(expected), 0, 0, None),
        (len(expected), 0, 0, None),
    ]


async def test_a_file_goes_on_where_the_session_does(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"of yesterday")
    first = Tapped(f"audio:file:{tmp_path / 'file'}")
    expected = await first.speak(0, 5)
    await first.close()
    second = Tapped(f"audio:file:{tmp_path / 'file'}")
    expected += await second.speak(5, 5)
    await second.close()
    assert (tmp_path / "file").read_bytes() == expected


async def test_each_participant_has_a_process_that_knows_who_it_is_for(tmp_path: Path) -> None:
    program = (
        "import json, os, sys; data = sys.stdin.buffer.read();"
        "told = {name: value for name, value in os.environ.items() if name.startswith(('RTMS_', 'ZOOM_'))};"
        "open(os.path.join(sys.argv[1], told['RTMS_USER_ID']), 'w').write(json.dumps([told, len(data)]))"
    )
    hostile = f"$(touch {tmp_path}/created); `touch {tmp_path}/created` \n-rf / \0"
    tapped = Tapped(f"audio,user=each:{python(program, tmp_path)}", folder=tmp_path / "recording")
    for number in range(10):
        at_us = (number + 1) * 20_000
        await tapped.come(
            [
                audio(sound(number), ZERO_MS + number * 20, at_us=at_us, user_id=7, user_name=hostile),
                audio(sound(number), ZERO_MS + number * 20, at_us=at_us, user_id=8, user_name="Bernd"),
            ]
        )
    entries = await tapped.close()
    assert sorted(os.listdir(tmp_path)) == ["7", "8"]  # noqa: PTH208
    assert {(entry.user_id, entry.exit_code, entry.bytes) for entry in entries} == {
        (7, 0, 10 * PACKET), (8, 0, 10 * PACKET)
    }  # fmt: skip
    told, size = json.loads((tmp_path / "7").read_text())
    assert size == 10 * PACKET
    assert told == {
        "RTMS_PRODUCT": "meeting",
        "RTMS_ID": "uuid==",
        "RTMS_STREAM_ID": "stream123==",
        "RTMS_FOLDER": str(tmp_path / "recording"),
        "RTMS_USER_ID": "7",
        "RTMS_USER_NAME": hostile.replace("\0", "\N{REPLACEMENT CHARACTER}"),
        "RTMS_RATE": "16000",
        "RTMS_CHANNELS": "1",
        "RTMS_FORMAT": "s16le",
    }


async def test_who_leaves_has_no_process_any_more_and_another_when_they_come_again(tmp_path: Path) -> None:
    program = "import os, sys; data = sys.stdin.buffer.read(); os.write(1, b'%d;' % len(data))"
    tapped = Tapped(f"audio,user=each,format=mulaw:{python(program)}")

    def event(number: int, at_s: float) -> Any:
        people = [{"user_id": 7, "user_name": "Anna"}]
        told = {"event_type": number, "timestamp": ZERO_MS, "participants": people}
        return said({"msg_type": 6, "event": told}, round(at_s * 1_000_000), "signaling")

    for user in (7, 8):
        await tapped.come([audio(sound(0), ZERO_MS, user_id=user, at_us=20_000)])
    await tapped.come([event(4, 1.0)])
    await tapped.come([audio(sound(40), ZERO_MS + 800, user_id=7, at_us=1_100_000)])
    for at_ms in range(1_200, 5_000, 20):
        await tapped.turn(at_ms * 1000)
    assert [entry.user_id for entry in tapped.listeners.entries()] == [7, 8]
    assert 7 in tapped.taps[0]._outputs
    for at_ms in range(5_000, 8_000, 20):
        await tapped.turn(at_ms * 1000)
    assert list(tapped.taps[0]._outputs) == [8]
    await until(lambda: tapped.listeners.entries()[0].exit_code == 0)
    await tapped.come([event(3, 8.0), audio(sound(400), ZERO_MS + 8000, user_id=7, at_us=8_100_000)])
    entries = await tapped.close()
    assert [(entry.user_id, entry.exit_code) for entry in entries] == [(7, 0), (8, 0), (7, 0)]
    first, other, again = entries
    assert 5 * 8_000 < first.bytes < 7 * 8_000 < other.bytes
    assert again.bytes == 160


async def test_a_command_is_told_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = ["ZOOM_CLIENT_SECRET", "ZOOM_SECRET_TOKEN", "ZOOM_VIDEO_SDK_SECRET", "ZM_RTMS_SECRET"]
    for name in [*secrets, "RTMS_NOTIFY_SECRET", "RTMS_TAP_TOKEN"]:
        monkeypatch.setenv(name, "very secret")
    program = "import os, sys; sys.stdin.read(); open(sys.argv[1], 'w').write(repr(os.environ))"
    tapped = Tapped(f"transcript:{python(program, tmp_path / 'environment')}")
    await tapped.close()
    assert "very secret" not in (tmp_path / "environment").read_text()
    assert "RTMS_STREAM_ID" in (tmp_path / "environment").read_text()


async def test_lines_are_those_of_the_files(tmp_path: Path) -> None:
    tapped = Tapped(
        *(f"{kind}:file:{tmp_path / kind}" for kind in ("transcript", "events")),
        f"transcript,user=ANNA:file:{tmp_path / 'anna'}",
    )
    fields: dict[str, Any] = {"start_time": ZERO_MS, "end_time": ZERO_MS + 500, "language": 9}
    await tapped.come(
        [
            media(17, "Guten Tag", ZERO_MS, user_id=7, user_name="Anna", at_us=1000, **fields),
            media(17, "Hello", ZERO_MS + 700, user_id=8, user_name="Bernd", at_us=2000, **fields),
            said({"msg_type": 6, "event": {"event_type": 2, "timestamp": ZERO_MS, "user_id": 7}}, 3000, "signaling"),
        ]
    )
    entries = await tapped.close()
    lines = [json.loads(line) for line in (tmp_path / "transcript").read_text().splitlines()]
    assert [(line["t"], line["user_name"], line["text"]) for line in lines] == [
        (0.0, "Anna", "Guten Tag"), (0.7, "Bernd", "Hello")
    ]  # fmt: skip
    assert [json.loads(line)["text"] for line in (tmp_path / "anna").read_text().splitlines()] == ["Guten Tag"]
    assert "ACTIVE_SPEAKER_CHANGE" in (tmp_path / "events").read_text()
    assert len(entries) == 3


async def test_a_process_that_dies_is_started_again_and_one_that_has_had_enough_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outlet, "FIRST_PAUSE_S", 0.01)
    program = (
        "import sys; log = open(sys.argv[1], 'a'); log.write('x'); log.flush();"
        "sys.stdin.buffer.read(6400); sys.exit(int(sys.argv[2]))"
    )
    tapped = Tapped(
        f"audio:{python(program, tmp_path / 'dies', '3')}",
        f"audio:{python(program, tmp_path / 'enough', '0')}",
        f"audio,restart=no:{python(program, tmp_path / 'once', '4')}",
        f"audio:file:{tmp_path / 'all'}",
    )
    number = 0
    while not (tmp_path / "dies").exists() or len((tmp_path / "dies").read_text()) < 3:
        await tapped.speak(number, 1)
        await asyncio.sleep(0.005)
        number += 1
    entries = await tapped.close()
    assert (tmp_path / "all").read_bytes() == b"".join(sound(each) for each in range(number))
    dies, enough, once, _ = entries
    assert (dies.exit_code, enough.exit_code, once.exit_code) == (3, 0, 4)
    assert dies.restarts >= 2
    assert enough.restarts == once.restarts == 0
    assert (tmp_path / "enough").read_text() == (tmp_path / "once").read_text() == "x"
    for entry in (dies, enough, once):
        assert entry.bytes + entry.drops * PACKET >= number * PACKET * 0.9
        assert entry.drops > 0
    states = [fields["state"] for fields, _ in tapped.told if fields["target"] == dies.target]
    assert {"open", "lost", "gone"} <= set(states)
    assert any("it has ended with exit code 3; retrying in" in text for _, text in tapped.told)


async def test_a_consumer_that_stalls_costs_a_bounded_buffer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name in ((outlet, "FINISH_S"), (outlets, "END_S")):
        monkeypatch.setattr(module, name, 0.2)
    stalls = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
    tapped = Tapped(f"audio,buffer=2s:{python(stalls)}", f"audio,buffer=600s:file:{tmp_path / 'all'}")
    expected = await tapped.speak(0, 30 * 50)
    (output,) = tapped.taps[0]._outputs.values()
    assert output.outlet is not None
    assert output.outlet.buffer._nbytes <= 2.1 * 50 * (PACKET + outlet.PIECE_COST)
    entry, whole = await tapped.close()
    assert (tmp_path / "all").read_bytes() == expected
    assert whole.drops == 0
    assert entry.exit_code == -9
    assert entry.drops > 1000
    assert entry.dropped_seconds == pytest.approx(entry.drops * 0.02, abs=0.01)
    assert entry.bytes + entry.drops * PACKET == len(expected)


async def test_a_disk_that_does_not_answer_holds_up_one_tap_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module, name in ((outlet, "FINISH_S"), (outlets, "END_S")):
        monkeypatch.setattr(module, name, 0.2)
    may_write = threading.Event()

    def stall(descriptor: int, data: bytes) -> None:
        if os.stat(descriptor).st_ino in {path.stat().st_ino for path in tmp_path.glob("*-dead")}:
            may_write.wait()
        write_all(descriptor, data)

    monkeypatch.setattr("rtms_cli.live.outlets.write_all", stall)
    dead = [f"audio,buffer=1s:file:{tmp_path / f'{number}-dead'}" for number in range(20)]
    tapped = Tapped(*dead, f"audio,buffer=600s:file:{tmp_path / 'alive'}")
    expected = await tapped.speak(0, 200)
    await until(lambda: (tmp_path / "0-dead").exists())
    await asyncio.to_thread(int)  # the threads that all share are free
    *held_up, alive = await tapped.close()
    assert (tmp_path / "alive").read_bytes() == expected
    assert alive.drops == 0
    for entry in held_up:
        assert entry.bytes == 0
        assert entry.drops == 200
    may_write.set()


async def test_what_a_command_leaves_behind_ends_with_it(tmp_path: Path) -> None:
    program = (
        "import subprocess, sys; child = subprocess.Popen(['sleep', '600']);"
        "open(sys.argv[1], 'w').write(str(child.pid)); sys.stdin.read()"
    )
    tapped = Tapped(f"transcript:{python(program, tmp_path / 'pid')}")
    await until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
    await tapped.close()
    pid = (tmp_path / "pid").read_text()
    await until(lambda: not Path(f"/proc/{pid}").exists() or "Z" in Path(f"/proc/{pid}/stat").read_text())


async def test_a_pipe_that_nobody_reads_yet_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outlet, "FIRST_PAUSE_S", 0.01)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    tapped = Tapped(f"audio:file:{pipe}")
    expected = await tapped.speak(0, 10)
    await until(lambda: any("nobody reads from the pipe" in text for _, text in tapped.told))
    reader, got = in_thread(pipe)
    await until(lambda: any(fields["state"] == "open" for fields, _ in tapped.told))
    (entry,) = await tapped.close()
    await asyncio.to_thread(reader.join)
    assert got == expected
    assert entry.restarts >= 1
    assert sum("nobody reads from the pipe" in text for _, text in tapped.told) == 1


async def test_silence_and_late_sound_are_counted(tmp_path: Path) -> None:
    tapped = Tapped(f"audio:file:{tmp_path / 'file'}")
    expected = await tapped.speak(0, 10)
    for number in range(10, 60):
        await tapped.turn((number + 1) * 20_000)
    await tapped.come([audio(sound(10), ZERO_MS + 200, at_us=61 * 20_000)])
    expected += bytes((50 - 10 + 1) * PACKET)
    expected += await tapped.speak(61, 20)
    (entry,) = await tapped.close()
    got = (tmp_path / "file").read_bytes()
    assert got[: 10 * PACKET] == expected[: 10 * PACKET]
    assert got[10 * PACKET : -20 * PACKET] == bytes(51 * PACKET)
    assert got[-20 * PACKET :] == expected[-20 * PACKET :]
    assert entry.late_seconds == 0.02
    assert entry.silence_seconds == 51 * 0.02


async def test_forms_of_sound(tmp_path: Path) -> None:
    """Readers that are not ours judge each form: a tone of 1 kHz stays one."""
    names = {
        "wav": "wav", "wav48": "rate=48000,channels=2,format=wav", "f32": "format=f32le", "mulaw": "format=mulaw"
    }  # fmt: skip
    names["wav"] = "format=wav"
    tapped = Tapped(*(f"audio,{keys}:file:{tmp_path / name}" for name, keys in names.items()))
    tone = (np.sin(np.arange(16_000) * 2 * np.pi / 16) * 10_000).astype("<i2")
    for number in range(50):
        at_us = (number + 1) * 20_000
        pcm = tone[number * 320 : number * 320 + 320].tobytes()
        await tapped.come([audio(pcm, ZERO_MS + number * 20, at_us=at_us)])
    await tapped.close()
    with wave.open(str(tmp_path / "wav")) as read:
        assert (read.getframerate(), read.getnchannels(), read.getnframes()) == (16_000, 1, 16_000)
        assert read.readframes(16_000) == tone.tobytes()
    stereo, rate = soundfile.read(tmp_path / "wav48", dtype="int16")
    assert rate == 48_000
    assert stereo.shape[1] == 2
    assert abs(len(stereo) - 48_000) < 200
    floats = np.fromfile(tmp_path / "f32", "<f4")
    assert np.array_equal(floats, tone.astype("<f4") / 32768)
    mulaw, _ = soundfile.read(
        tmp_path / "mulaw", samplerate=8000, channels=1, format="RAW", subtype="ULAW", dtype="int16"
    )
    assert abs(len(mulaw) - 8000) < 50
    for samples, rate in ((tone, 16_000), (stereo[:, 0], 48_000), (stereo[:, 1], 48_000), (mulaw, 8_000)):
        middle = samples[len(samples) // 4 : len(samples) // 4 + rate // 2].astype(float)
        spectrum = np.abs(np.fft.rfft(middle))
        assert abs(int(spectrum.argmax()) * rate / len(middle) - 1000) < 5
        assert np.abs(middle).max() == pytest.approx(10_000, rel=0.05)


async def test_a_wav_for_a_pipe_says_that_its_length_is_not_known(tmp_path: Path) -> None:
    tapped = Tapped(f"audio,format=wav:{copy_to(tmp_path / 'piped.wav')}")
    expected = await tapped.speak(0, 10)
    await tapped.close()
    content = (tmp_path / "piped.wav").read_bytes()
    assert content[:4] == b"RIFF"
    assert content[4:8] == content[40:44] == b"\xff\xff\xff\xff"
    assert content[44:] == expected


async def test_a_command_that_floods_its_output_is_read_slowly() -> None:
    """A flood would keep the event loop from everything else."""
    from rtms_cli.live.pieces import Beginning

    shown: list[str] = []
    target = outlets.ExecTarget(["yes"], show=shown.append)
    await target.open(Beginning("meeting", "id", "stream", None, ("events",)))
    await until(lambda: len(shown) > 2 * outlets.MOST_LINES_A_SECOND)
    reader = target._pipe
    assert reader is not None
    await until(lambda: not reader.is_reading())
    await target.close(hurry=True)
    assert "lines more" in shown[-1] or set(shown) == {"y"}


async def test_who_holds_a_commands_output_open_holds_up_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    from rtms_cli.live.pieces import Beginning

    monkeypatch.setattr(outlets, "REST_S", 0.2)
    program = (
        "import subprocess; child = subprocess.Popen(['sleep', '600'], start_new_session=True);"
        "print(child.pid, flush=True)"
    )
    shown: list[str] = []
    target = outlets.ExecTarget([sys.executable, "-c", program], show=shown.append)
    await target.open(Beginning("meeting", "id", "stream", None, ("events",)))
    await until(lambda: shown)
    assert await target.close() == 0
    os.kill(int(shown[0]), 9)


async def test_the_output_of_a_command_is_shown_as_far_as_a_person_can_read_it() -> None:
    shown: list[str] = []
    program = "import sys; sys.stdin.read(); print('\\n'.join(map(str, range(100_000)))); print('x' * 100_000)"
    target = outlets.ExecTarget([sys.executable, "-c", program], show=shown.append)
    from rtms_cli.live.pieces import Beginning

    await target.open(Beginning("meeting", "id", "stream", None, ("events",)))
    assert await target.close() == 0
    assert shown[:3] == ["0", "1", "2"]
    assert len(shown) < 2_000
    assert max(map(len, shown)) <= outlets.LONGEST_LINE
    assert "lines more" in shown[-1]


async def test_who_reads_standard_output_may_go() -> None:
    from rtms_cli.live.pieces import AUDIO, Beginning, Piece, TargetGoneError

    reading, writing = os.pipe()
    target = outlets.StdoutTarget(writing)
    await target.open(Beginning("meeting", "id", "stream", None, (AUDIO,)))
    assert await target.send([Piece(AUDIO, b"abc")]) == 3
    assert os.read(reading, 10) == b"abc"
    os.close(reading)
    with pytest.raises(TargetGoneError, match="nobody reads it now") as caught:
        await target.send([Piece(AUDIO, b"abc")])
    assert caught.value.final
    await target.close()
    os.close(writing)
