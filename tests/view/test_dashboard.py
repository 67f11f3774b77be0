"""The dashboard as text at the sizes of real terminals, from a stream that a real recorder and session made."""

import asyncio
import io
import threading
from pathlib import Path

import pytest
from frames import HEADER, ZERO_MS, audio, granted, said
from moments import HOSTILE, SCREENS, SIZES, drawn, screen, view
from msgspec import structs
from processes import until
from rich.console import Console

from rtms_cli.feed.pictures import detail_of, row_of
from rtms_cli.machine import Direction, frame_of
from rtms_cli.protocol.numbers import Product
from rtms_cli.recording.manifest import TapEntry, Warned
from rtms_cli.recording.recorder import Recorder
from rtms_cli.session.channel import Phase
from rtms_cli.station.observing import ConnectionStatus, StreamSnapshot
from rtms_cli.view.dashboard import History, Moment, meter, sparkline
from rtms_cli.view.lines import JsonLines
from rtms_cli.view.screen import Screen


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_everything_that_matters_is_there_at_every_size(width: int, height: int) -> None:
    text = drawn(Moment("listen", [view()], progress=0.5, notices=["hello"], free_nbytes=5_000_000_000), width, height)
    for part in (
        "listen", "50%", "5.0 GB free", "Meeting uuid1==", "✓ webhook 0.00", "✗ media lost 9.00", "● up", "1/3",
        "4.2ms", "audio", "625", "everyone (mixed)", "John Smith", "Good morning", "chat is not granted",
        "STATUS_MEDIA_TYPE_CHAT_NOT_SUPPORT", "7 LOSSES", "hello", "? help",
    ):  # fmt: skip
        assert part in text, part
    assert all(len(line) <= width for line in text.splitlines())


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_screens_are_those_that_were_approved(width: int, height: int) -> None:
    """Look at the new ones before you approve them: `python tests/pictures.py` writes them."""
    assert screen(width, height) == (SCREENS / f"{width}x{height}.txt").read_text()


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_who_waits_for_a_webhook_sees_the_last_notices(width: int, height: int) -> None:
    """People look there when no webhook comes; a stream that runs needs the room."""
    notices = [f"POST /{number} was answered 404" for number in range(20)]
    for views, shown in (((), 10), ((view(),), 1)):
        text = drawn(Moment("listen", views, notices=notices), width, height)
        assert all(f"POST /{number} " in text for number in range(20 - shown, 20))


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_who_listens_is_shown_with_what_they_did_not_take(width: int, height: int) -> None:
    def tapped(at_s: float, nbytes: int) -> StreamSnapshot:
        taps = (
            TapEntry("audio", "exec:engine", bytes=nbytes, drops=17, late_seconds=1.5, restarts=2),
            TapEntry("audio", "wss://a/b", 7, HOSTILE, bytes=5),
            *(TapEntry("all", f"listen:{port}") for port in range(9000, 9010)),
        )
        one = view(at_s=at_s)
        return structs.replace(one, recording=structs.replace(one.recording, taps=taps))

    history = History()
    for at_s in (10, 12):
        history.sample([tapped(at_s, at_s * 32_000)])
    text = drawn(Moment("listen", [tapped(12, 384_000)]), width, height, history)
    (line,) = [line for line in text.splitlines() if "exec:engine" in line]
    for part in ("audio → exec:engine", "384.0 kB", "32.0 kB", "17", "1.5s", " 2"):
        assert part in line, part
    assert height < 40 or "… and 6 more" in text
    assert not {"\x1b", "\x07"} & set(text)


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_what_is_connected_beside_streams_is_shown_below_the_title(width: int, height: int) -> None:
    for is_good, sign in ((True, "●"), (False, "◌")):
        status = ConnectionStatus(f"event WebSocket, {HOSTILE}", is_good)
        for views in ((), (view(),)):
            text = drawn(Moment("listen", views, connections=[status]), width, height)
            assert text.splitlines()[1].startswith(f" {sign} event WebSocket, ")
            assert not {"\x1b", "\x07"} & set(text)
            assert all(len(line) <= width for line in text.splitlines())
    assert "waiting for the first event" in drawn(Moment("listen", (), connections=[status]), width, height)


def test_nothing_from_outside_reaches_the_terminal_raw() -> None:
    moment = Moment("listen", [view(), view(2)], frames=[frame_of(1, "media", Direction.IN, HOSTILE.encode())])
    text = drawn(moment) + drawn(structs.replace(moment, frames=None))
    assert "\\x1b[2J\\x07" in text
    assert not {"\x1b", "\x07", "‮"} & set(text)
    assert "[bold red]" in text  # no markup


@pytest.mark.parametrize(
    ("phase", "words"), [(Phase.UP, "streaming"), (Phase.WAITING, "lost, coming back"), (Phase.SHAKING, "connecting")]
)
def test_the_state_of_a_stream_is_that_of_its_sockets(phase: Phase, words: str) -> None:
    assert words in drawn(Moment("x", [view(phase=phase, note="closed with 1006")]))


def test_the_parties_of_a_call_are_told_by_their_channels(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, structs.replace(HEADER, product="phone"))
    told = {
        "event_type": 3,
        "participant_info": {"channel_id": 0, "display_name": "Ann", "phone_number": "+15550100123"},
    }
    frames = [said({"msg_type": 6, "event": told}, channel="signaling"), granted()]
    recorder.fold([*frames, *(audio(bytes(640), ZERO_MS, channel_id=channel, user_id=None) for channel in (0, 1))])
    call, out = view(), io.StringIO()
    session = structs.replace(call.session, stream=structs.replace(call.session.stream, product=Product.PHONE))
    call = structs.replace(call, session=session, recording=recorder.snapshot())
    text = drawn(Moment("x", [call], frames=None))
    assert "Ann" in text
    assert "channel 1" in text
    assert "everyone" not in text
    lines = JsonLines(out)
    lines.on_frame("s", frames[0])
    lines.close()
    assert "[phone number]" in out.getvalue()
    assert "5550100123" not in out.getvalue() + text + drawn(Moment("x", [call], frames=frames))


def test_many_streams_are_a_table_around_the_chosen_one() -> None:
    text = drawn(Moment("x", [view(n) for n in range(50)], chosen=40))
    assert "▸  stream40" in text
    assert "stream3 " not in text
    assert "… and 40 more" in text


def test_rates_and_meters() -> None:
    history = History()
    for second in (1, 2, 3):
        history.sample([view(at_s=second)])
    assert history.rates("stream1", "MEDIA_DATA_AUDIO") == [50, 50]
    assert history.bytes_per_s("stream1") == (50_000, 0)
    history.sample([])
    assert history.rates("stream1") == []
    assert sparkline([0, 5, 10]) == "▁▅█"
    assert meter(1.0).plain == "▮" * 12
    assert meter(0.0).plain == "▯" * 12
    assert meter(10 ** (-24 / 20)).plain == "▮" * 6 + "▯" * 6


def test_a_participant_who_falls_silent_is_not_heard_any_more() -> None:
    """Nothing is sent for one who is muted: the last level is none (the feed shows the same)."""
    seen = view()
    (track,) = seen.recording.tracks

    def at(written_us: int | None) -> str:
        tracks = (structs.replace(track, written_us=written_us),)
        now = structs.replace(seen, recording=structs.replace(seen.recording, tracks=tracks))
        detail = detail_of(now)
        assert {row_of(now).level, detail.people[0].level, detail.tracks[0].level} == {now.level(tracks[0])}
        (line,) = [line for line in drawn(Moment("listen", [now])).splitlines() if "everyone" in line]
        return line

    speaking, silent = at(seen.at_us - 700_000), at(seen.at_us - 3_000_000)
    assert "▮" in speaking
    assert "▮" not in silent
    assert at(None) == speaking  # another process has told it, which looked at the time


def test_keys(tmp_path: Path) -> None:
    ended: list[str | None] = []
    views = [view(1), view(2), view(3)]
    console = Console(file=io.StringIO(), width=120, height=40)
    marked: list[str] = []
    screen = Screen("x", lambda: list(views), ended.append, marked.append, tmp_path, console=console)

    def shown() -> str:
        out = io.StringIO()
        Console(file=out, width=120, height=40, color_system=None).print(screen.picture())
        return out.getvalue()

    assert "▸  stream1" in shown()
    screen.press("\x1b[B\x1b[B\x1b[B")
    assert "▸  stream3" in shown()
    screen.press("kms")
    assert (marked, ended) == (["stream2"], [])
    assert "End the recording of stream stream2?" in shown()
    screen.press("n")
    assert "End the recording" not in shown()
    assert ended == []
    screen.press("sy")
    assert ended == ["stream2"]
    screen.press("?")
    assert "finish all recordings and quit" in shown()
    screen.press("q")  # closes the help only
    assert ended == ["stream2"]
    screen.press("q")
    assert "End all 3 recordings and quit?" in shown()
    screen.press("q")  # is not a yes
    assert "End all" not in shown()
    assert ended == ["stream2"]
    screen.press("p")
    views.clear()
    assert "PAUSED" in shown()
    assert "▸  stream2" in shown()
    screen.press("pq")
    assert "waiting for the first webhook" in shown()
    assert ended == ["stream2", None]


def told(width: int, height: int, **changes: object) -> list[str]:
    """The lines of a picture of one stream, without blanks at their ends."""
    one = view()
    recording = structs.replace(one.recording, **changes)
    text = drawn(Moment("listen", [structs.replace(one, recording=recording)]), width, height)
    return [line.rstrip() for line in text.splitlines()]


SPEECH = "This is a sentence that is quite a lot longer than what fits into a column of forty-two letters, in full."


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_what_is_said_is_shown_in_full_and_fills_the_height(width: int, height: int) -> None:
    transcript = tuple(("Ann", f"{number}: {SPEECH}") for number in range(60))
    lines = told(width, height, transcript=transcript, chat=())
    assert "".join(SPEECH.split()) in "".join("".join(lines).split())
    assert len(lines) == height
    assert lines[-1].endswith("? help")
    assert not [number for number, line in enumerate(lines) if not line]


def test_the_keys_stand_on_the_last_line() -> None:
    lines = told(120, 40)
    assert len(lines) == 40
    assert lines[-1].startswith(" ↑↓ stream")
    assert lines[-2] == ""


WARNING = "audio payloads whose length differs from what the message says, and some more words to make it long"


@pytest.mark.parametrize("width", [60, 80, 120])
def test_one_warning_is_shown_at_a_time_in_full(width: int) -> None:
    warnings = tuple(Warned(text, 1, 75.2) for text in ("the first", "the second", WARNING))
    lines = told(width, 40, losses=2, warnings=warnings)
    text = " ".join(" ".join(lines).split())
    assert f"! 1:15 {WARNING} (2 more)" in text
    assert "the second" not in text
    notices = ["WARNING: the first", "listening", f"WARNING: {WARNING}"]
    drawn_ones = " ".join(drawn(Moment("listen", (), notices=notices), width, 24).split())
    assert "the first" not in drawn_ones.replace("waiting for the first", "")
    assert f"WARNING: {WARNING} (1 more above)" in drawn_ones


def test_a_narrow_terminal_shows_title_and_keys_whole() -> None:
    moment = Moment("listen on http://127.0.0.1:8080/webhook", [view(1), view(2)], free_nbytes=5_000_000_000)
    lines = drawn(moment, 60, 24).splitlines()
    assert "listen on http://127.0.0.1:8080/webhook" in lines[0]
    assert "? help" in lines[-1]
    assert "…" not in "".join(lines[1:4])


def test_why_a_socket_was_closed_is_said_once() -> None:
    one = view(phase=Phase.WAITING, note="closed with 1011 (no room); next try in 1 s", close_code=1011)
    assert drawn(Moment("x", [one])).count("1011") == 1


def test_what_is_empty_of_a_bar_is_darker() -> None:
    out = io.StringIO()
    Console(file=out, force_terminal=True, color_system="256", width=40).print(meter(0.1))
    assert out.getvalue().startswith("\x1b[32m▮")
    assert "\x1b[38;5;239m▯" in out.getvalue()


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_who_waits_again_sees_what_has_ended(width: int, height: int) -> None:
    ended = [("complete", f"2 s, 3 people, nothing lost  recordings/{number}") for number in range(5)]
    text = drawn(Moment("listen", (), ended=ended, waiting=["never shown"]), width, height)
    assert "5 streams have ended; waiting for the next webhook" in text
    assert all(f"recordings/{number}" in text for number in range(5))
    assert "never shown" not in text


async def test_a_disk_that_hangs_does_not_keep_the_picture_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    goes_on, asked = threading.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def hang(folder: Path) -> int:
        loop.call_soon_threadsafe(asked.set)
        goes_on.wait()
        return 7_000_000

    monkeypatch.setattr("rtms_cli.view.screen.free_space", hang)
    shown = Screen("x", list, lambda _: None, lambda _: None, tmp_path)

    def text() -> str:
        out = io.StringIO()
        Console(file=out, width=100, height=20, color_system=None).print(shown.picture())
        return out.getvalue()

    measuring = asyncio.create_task(shown._measure_again())
    async with asyncio.timeout(30):
        await asked.wait()
        assert "free" not in text()
        goes_on.set()
        await until(lambda: "7.0 MB free" in text())
    measuring.cancel()


def test_no_more_than_all_is_done() -> None:
    assert "100%" in drawn(Moment("demo", [view()], progress=1.04), 80, 24)
