"""The dashboard as text at the sizes of real terminals, from a stream that a real recorder and session made."""

import io
from pathlib import Path

import pytest
from msgspec import structs
from rich.console import Console

from rtms_cli.machine import Direction, frame_of
from rtms_cli.protocol.numbers import Product
from rtms_cli.protocol.webhooks import Stream
from rtms_cli.recording.recorder import RecorderSnapshot, TrackSnapshot
from rtms_cli.session.session import ChannelSnapshot, Phase, SessionSnapshot
from rtms_cli.view.dashboard import History, Moment, draw, meter, sparkline
from rtms_cli.view.screen import Screen
from rtms_cli.view.streams import StreamView

HOSTILE = "Eve\x1b[2J\x07‮\n[bold red]"


def view(number: int = 1, at_s: float = 12.5, **channel: object) -> StreamView:
    stream = Stream(Product.MEETING, f"uuid{number}==", f"stream{number}", "wss://rtms.zoom.us/1")
    up = ChannelSnapshot("signaling", Phase.UP, 1_000_000, 12_000_000, 3, 11_000_000, 1, None, "")
    media = structs.replace(up, name="media", **channel)
    session = SessionSnapshot(
        stream=stream,
        steps=(("webhook", 0), ("signaling up", 50_000), ("ready", 70_000), ("media lost", 9_000_000)),
        channels=(up, media),
        stream_state=1,
        session_state=2,
        participants={16778240: "John Smith", 2: HOSTILE},
        speaker=16778240,
        refused={"chat": "status_code 13 STATUS_MEDIA_TYPE_CHAT_NOT_SUPPORT"},
        ending="",
    )
    recording = RecorderSnapshot(
        folder=Path("recordings/x"),
        status="recording",
        counts={"MEDIA_DATA_AUDIO": round(at_s * 50), "KEEP_ALIVE_REQ": 3},
        nbytes={"MEDIA_DATA_AUDIO": round(at_s * 50_000), "KEEP_ALIVE_REQ": 100},
        tracks=(TrackSnapshot("audio/mixed.wav", "audio", 0, None, at_s, 625, 0.5),),
        transcript=(("John Smith", "Good morning"), (HOSTILE, HOSTILE)),
        keep_alive={"media": (3, 1, 4.25)},
        losses=7,
        warnings=(f"media: {HOSTILE}",),
    )
    return StreamView(Path("recordings/x"), round(at_s * 1_000_000), session, recording)


def drawn(moment: Moment, width: int = 120, height: int = 40, history: History | None = None) -> str:
    out = io.StringIO()
    console = Console(file=out, width=width, height=height, color_system=None, legacy_windows=False)
    console.print(draw(moment, history or History(), width, height))
    return out.getvalue()


@pytest.mark.parametrize(("width", "height"), [(80, 24), (120, 40), (200, 60)])
def test_everything_that_matters_is_there_at_every_size(width: int, height: int) -> None:
    text = drawn(Moment("listen", [view()], progress=0.5, notices=["hello"], free_nbytes=5_000_000_000), width, height)
    for part in (
        "listen", "50%", "5.0 GB free", "Meeting uuid1==", "✓ webhook 0.00", "✗ media lost 9.00", "● up", "1/3",
        "4.2ms", "audio", "625", "everybody (mixed)", "John Smith", "Good morning", "chat is not granted",
        "STATUS_MEDIA_TYPE_CHAT_NOT_SUPPORT", "7 LOSSES", "hello", "? help",
    ):  # fmt: skip
        assert part in text, part
    assert all(len(line) <= width for line in text.splitlines())


def test_nothing_from_outside_reaches_the_terminal_raw() -> None:
    moment = Moment("listen", [view(), view(2)], frames=[frame_of(1, "media", Direction.IN, HOSTILE.encode())])
    text = drawn(moment) + drawn(structs.replace(moment, frames=None))
    assert "\\x1b[2J\\x07" in text
    assert not {"\x1b", "\x07", "‮"} & set(text)
    assert "[bold red]" in text  # no markup


@pytest.mark.parametrize(
    ("phase", "said"), [(Phase.UP, "streaming"), (Phase.WAITING, "lost, coming back"), (Phase.SHAKING, "connecting")]
)
def test_the_state_of_a_stream_is_that_of_its_sockets(phase: Phase, said: str) -> None:
    assert said in drawn(Moment("x", [view(phase=phase, note="closed with 1006")]))


def test_many_streams_are_a_table_around_the_chosen_one() -> None:
    text = drawn(Moment("x", [view(n) for n in range(50)], chosen=40))
    assert "▸  stream40" in text
    assert "stream3 " not in text
    assert "… and 37 more" in text


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
    assert (marked, ended) == (["stream2"], ["stream2"])
    screen.press("?")
    assert "finish all recordings and quit" in shown()
    screen.press("q")  # closes the help only
    assert ended == ["stream2"]
    screen.press("p")
    views.clear()
    assert "HELD STILL" in shown()
    assert "▸  stream2" in shown()
    screen.press("pq")
    assert "no stream yet" in shown()
    assert ended == ["stream2", None]
