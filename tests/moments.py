"""Moments of made-up streams, for tests and pictures of the dashboard."""

import io
from pathlib import Path

from msgspec import structs
from rich.console import Console

from rtms_cli.protocol.messages import UserId
from rtms_cli.protocol.numbers import Product
from rtms_cli.protocol.webhooks import Stream
from rtms_cli.recording.manifest import Warned
from rtms_cli.recording.recorder import RecorderSnapshot, TrackSnapshot
from rtms_cli.session.channel import ChannelSnapshot, Phase
from rtms_cli.session.life import Stage
from rtms_cli.session.session import SessionSnapshot
from rtms_cli.station.observing import StreamSnapshot
from rtms_cli.view.dashboard import History, Moment, draw

SIZES = [(80, 24), (120, 40), (200, 60)]
SCREENS = Path(__file__).resolve().parent.parent / "fixtures" / "screens"

HOSTILE = "Eve\x1b[2J\x07‮\n[bold red]"


def view(number: int = 1, at_s: float = 12.5, **channel: object) -> StreamSnapshot:
    stream = Stream(Product.MEETING, f"uuid{number}==", f"stream{number}", "wss://rtms.zoom.us/1")
    up = ChannelSnapshot("signaling", Phase.UP, 1_000_000, 12_000_000, 3, 11_000_000, 1, None, "")
    media = structs.replace(up, name="media", **channel)
    session = SessionSnapshot(
        stream=stream,
        stage=Stage.STREAMING,
        steps=(("webhook", 0), ("signaling up", 50_000), ("ready", 70_000), ("media lost", 9_000_000)),
        channels=(up, media),
        stream_state=1,
        session_state=2,
        refused={"chat": "status_code 13 STATUS_MEDIA_TYPE_CHAT_NOT_SUPPORT"},
        ending="",
    )
    recording = RecorderSnapshot(
        folder=Path("recordings/x"),
        status="recording",
        counts={"MEDIA_DATA_AUDIO": round(at_s * 50), "KEEP_ALIVE_REQ": 3},
        nbytes={"MEDIA_DATA_AUDIO": round(at_s * 50_000), "KEEP_ALIVE_REQ": 100},
        tracks=(TrackSnapshot("audio/mixed.wav", "audio", None, None, at_s, 625, 0.5),),
        transcript=(("John Smith", "Good morning"), (HOSTILE, HOSTILE)),
        keep_alive={"media": (3, 1, 4.25)},
        participants={16778240: "John Smith", 2: HOSTILE},
        speaker=16778240,
        losses=7,
        warnings=(Warned(f"media: {HOSTILE}", 1, 0.5),),
    )
    return StreamSnapshot(Path("recordings/x"), round(at_s * 1_000_000), session, recording)


def drawn(moment: Moment, width: int = 120, height: int = 40, history: History | None = None) -> str:
    out = io.StringIO()
    console = Console(file=out, width=width, height=height, color_system=None, legacy_windows=False)
    console.print(draw(moment, history or History(), width, height))
    return out.getvalue()


def busy(at_s: int) -> list[StreamSnapshot]:
    """Three streams in the middle of their lives: one with separate tracks, one that comes back, one that ends."""
    names: dict[UserId, str] = {
        16778240: "John Smith",
        16779264: "Zoë Müller",
        16780288: "山田 太郎",
        16781312: "A. N. Other",
    }
    meeting = Stream(Product.MEETING, "c721ac91a870687a890059==", "0b1ebbf0321c1d12f107ac28", "wss://rtms.zoom.us/1")
    signaling = ChannelSnapshot("signaling", Phase.UP, 50_000, 812_000_000, 81, 811_000_000, 1, None, "")
    sockets = tuple(
        structs.replace(signaling, name=f"media.{kind}", last_in_us=at_s * 1_000_000, last_keep_alive_us=last_us)
        for kind, last_us in (("audio", 812_000_000), ("video", 788_000_000), ("share", 760_000_000))
    )
    session = SessionSnapshot(
        stream=meeting,
        stage=Stage.STREAMING,
        steps=(
            ("webhook", 0), ("signaling open", 210_000), ("signaling up", 350_000), ("media open", 420_000),
            ("media up", 510_000), ("ready", 512_000), ("first media", 530_000), ("media.video lost", 402_000_000),
            ("media.video up", 406_500_000),
        ),
        channels=(signaling, *sockets[:1], structs.replace(sockets[1], connects=2, close_code=1006), sockets[2]),
        stream_state=1,
        session_state=2,
        refused={"chat": "status_code 13 STATUS_MEDIA_TYPE_CHAT_NOT_SUPPORT"},
        ending="",
    )  # fmt: skip
    levels: dict[UserId, float] = {16778240: 0.02, 16779264: 0.7, 16780288: 0.0, 16781312: 0.99}
    gaps: dict[UserId, tuple[int, float]] = {
        16778240: (3, 80.0),
        16779264: (5, 24.0),
        16780288: (0, 0.0),
        16781312: (2, 2.0),
    }
    recording = RecorderSnapshot(
        folder=Path("recordings/20261122T221500Z_meeting_0b1ebbf0321c1d12f107ac28"),
        participants=names,
        speaker=16779264,
        status="recording",
        at_us=at_s * 1_000_000,
        counts={
            "MEDIA_DATA_AUDIO": at_s * 150, "MEDIA_DATA_VIDEO": at_s * 25 + at_s % 3, "MEDIA_DATA_SHARE": at_s,
            "MEDIA_DATA_TRANSCRIPT": at_s // 4, "KEEP_ALIVE_REQ": at_s // 3, "EVENT_UPDATE": 41,
        },
        nbytes={
            "MEDIA_DATA_AUDIO": at_s * 150_000, "MEDIA_DATA_VIDEO": at_s * 187_500, "MEDIA_DATA_SHARE": at_s * 9_000,
            "MEDIA_DATA_TRANSCRIPT": at_s * 40, "KEEP_ALIVE_REQ": at_s * 20, "EVENT_UPDATE": 4_100,
        },
        tracks=tuple(
            TrackSnapshot(f"audio/{user}.wav", "audio", user, name, at_s, at_s * 50, levels[user], *gaps[user])
            for user, name in names.items()
        ),
        transcript=(
            ("John Smith", "Good morning, can everybody hear me?"),
            ("Zoë Müller", "Loud and clear. Shall we begin with the numbers of the third quarter?"),
        ),
        chat=(("山田 太郎", "スライドはリンクにあります"),),
        keep_alive={"signaling": (81, 81, 1.2), "media.audio": (81, 81, 0.8), "media.video": (79, 77, 210.0)},
        losses=2,
        warnings=(Warned("media.audio: audio payloads whose length differs from what the message says", 3, 12.0),),
        backlog_nbytes=120_000,
        written_nbytes=at_s * 420_000,
    )  # fmt: skip
    first = StreamSnapshot(recording.folder, at_s * 1_000_000, session, recording)
    coming_back = view(2, 95.0, phase=Phase.WAITING, note="closed with 1006; next try in 5.2 s", close_code=1006)
    ending = view(3, 40.0)
    ending = structs.replace(ending, session=structs.replace(ending.session, ending="a stop webhook"))
    return [first, coming_back, ending]


def screen(width: int, height: int) -> str:
    """The dashboard of `busy` streams as text."""
    history = History()
    for second in range(805, 813):
        history.sample(busy(second))
    moment = Moment(
        "listen on http://127.0.0.1:8080/webhook",
        busy(812),
        notices=[
            "listening on http://127.0.0.1:8080/webhook",
            "complete, reason 6: recordings/20261122T21_phone_7",
        ],
        free_nbytes=82_000_000_000,
    )
    return drawn(moment, width, height, history)
