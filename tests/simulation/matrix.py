"""The fault matrix: everything that can go wrong between a server, a network, a disk and us, one case each.

`python -m simulation --matrix` plays all of it and renews the table in docs/reliability.md; `test_cases.py` plays it
case by case. The oracle looks at every sample; a case adds what has to become of its recording.
"""

import errno
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct, structs
from simulation.disk import MemoryFiles
from simulation.network import Trouble
from simulation.oracle import check
from simulation.plan import Hit, NetworkHit, Plan, SessionHit, StallHit, StopHit, WebhookHit, ZoomHit
from simulation.world import World, run

from rtms_cli.machine import ChannelState, State
from rtms_cli.protocol.media import AudioParams, MediaRequest, parse_media
from rtms_cli.protocol.numbers import (
    EVERY_MEDIA,
    AudioChannel,
    Codec,
    ContentType,
    DataOption,
    MediaType,
    Product,
    SampleRate,
)
from rtms_cli.recording.manifest import MANIFEST, Manifest
from rtms_cli.simulator.deviations import MISFITS, Deviation
from rtms_cli.simulator.faults import Fault

PAGE = Path(__file__).resolve().parents[2] / "docs/reliability.md"
STEP_MS = 100
IN_FLIGHT = 8
"""Packets that may be under way when a connection breaks: the slowest links take 0.6 s."""


class Case(Struct, frozen=True):
    """What goes wrong, and what has to become of the recording."""

    name: str
    hits: tuple[Hit, ...] = ()
    deviations: frozenset[Deviation] = frozenset()
    seconds: float = 30
    media: str = "audio,transcript"
    scopes: MediaType = EVERY_MEDIA
    split: bool = False
    status: str = "complete"
    trusted: bool = True
    """Whether the listener has the secret token."""
    files: type[MemoryFiles] = MemoryFiles
    unkept: int = 0
    """Audio packets that reach us spoilt: they are counted in `losses`. −1 is any number."""
    untaken: range = range(1)
    """How many audio packets may be due while nobody is there to take them."""
    in_flight: int = 0
    """How many may be under way when a connection breaks."""
    rebuilds: int = 0
    """How often the signaling socket is opened again; −1 is any number."""
    sound: bool = True
    """Whether any sound is recorded."""
    resumes_after_s: tuple[float, ...] = ()
    """After how many seconds Zoom announces the stream again that ended for a failure."""
    recordings: int = 1
    """How many there are; none where the server accepts no handshake."""
    step_ms: int = STEP_MS
    """Milliseconds of a packet."""

    def plan(self) -> Plan:
        """The world of the case."""
        audio = AudioParams(
            ContentType.RAW_AUDIO,
            SampleRate.SR_16K,
            AudioChannel.MONO,
            Codec.L16,
            DataOption.AUDIO_MIXED_STREAM,
            self.step_ms,
        )
        params = structs.replace(MediaRequest().params, audio=audio)
        return Plan(
            seed=sum(self.name.encode()),
            product=Product.MEETING,
            people=3,
            request=MediaRequest(parse_media(self.media), params, self.split),
            scopes=self.scopes,
            deviations=self.deviations,
            trusted=self.trusted,
            webhook_after_s=0,
            buffered_s=0,
            busy_ms=round(self.seconds * 1000),
            calm_ms=0,
            resumes_after_s=self.resumes_after_s,
            tells_end=True,
            packets=0,
            hits=self.hits,
        )


class Result(Struct, frozen=True):
    """What became of it."""

    sent: int
    untaken: int
    kept: int
    missing_ms: float
    status: str
    wrong: tuple[str, ...]
    """What is not as it has to be; empty is the verdict `good`."""


class FullFiles(MemoryFiles):
    """A disk without room for sound at its third and fourth write."""

    writes = 0

    def write_at(self, name: str, parts: list[tuple[int, bytes]]) -> None:
        self.writes += 1
        if 3 <= self.writes < 5:
            self.refused += 1
            raise OSError(errno.ENOSPC, "No space left on device")
        super().write_at(name, parts)


class ReadOnlyTranscript(MemoryFiles):
    """A disk that refuses one file for good."""

    def refuses(self, name: str) -> bool:
        return name == "transcript.jsonl"


def at(seconds: float, fault: Fault, number: int = 0, times: int = 1) -> Hit:
    return ZoomHit(at_ms=round(seconds * 1000), fault=fault, number=number, times=times)


def net(seconds: float, trouble: Trouble, kind: str = "", times: int = 1) -> Hit:
    return NetworkHit(at_ms=round(seconds * 1000), trouble=trouble, kind=kind, times=times)


BEFORE = -1.0
BREAK = at(5, Fault.DROP_SIGNALING)
CASES = (
    Case("nothing goes wrong"),
    Case("one socket a kind", split=True, media="all"),
    Case("signaling breaks", (BREAK,), rebuilds=1, in_flight=IN_FLIGHT),
    Case("signaling breaks twice", (BREAK, at(15, Fault.DROP_SIGNALING)), rebuilds=2, in_flight=2 * IN_FLIGHT),
    Case("media breaks", (at(5, Fault.DROP_MEDIA),), in_flight=IN_FLIGHT),
    Case("media breaks, split", (at(5, Fault.DROP_MEDIA),), split=True, in_flight=IN_FLIGHT),
    Case("media is closed with 1001", (at(5, Fault.CLOSE_MEDIA, 1001),)),
    Case("server failover", (at(5, Fault.FAILOVER),), rebuilds=1, in_flight=IN_FLIGHT),
    Case("server failover to another port", (at(5, Fault.FAILOVER, 1),), rebuilds=1, in_flight=IN_FLIGHT),
    Case(
        "failover, webhook retried",
        (at(5, Fault.FAILOVER), at(6, Fault.RETRY_WEBHOOK)),
        rebuilds=1,
        in_flight=IN_FLIGHT,
    ),
    Case("failover, the old server goes on", (at(5, Fault.SPLIT_BRAIN),), rebuilds=1, in_flight=IN_FLIGHT),
    Case(
        "failover, and the first webhook comes late again",
        (at(5, Fault.FAILOVER), WebhookHit(at_ms=12_000, what="old")),
        rebuilds=1,
        in_flight=IN_FLIGHT,
    ),
    *(
        Case(
            f"failover, and {what} webhook from before it comes late",
            (at(5, Fault.FAILOVER), WebhookHit(at_ms=12_000, what=f"old {what.split()[1]}", number=6)),
            rebuilds=1,
            in_flight=IN_FLIGHT,
        )
        for what in ("a stop", "an interrupted")
    ),
    Case(
        "webhooks from before the start, sent again after 60, 5 and 20 minutes",
        tuple(
            at(5 + number, fault, minutes)
            for number, minutes in enumerate((60, 5, 20))
            for fault in (Fault.OLD_STARTED, Fault.OLD_STOPPED, Fault.OLD_INTERRUPTED)
        ),
    ),
    Case("webhook comes again", (at(2, Fault.RETRY_WEBHOOK), at(9, Fault.RETRY_WEBHOOK))),
    *(Case(f"8 INTERRUPTED, reason {n}", (at(5, Fault.SAY_INTERRUPTED, n),), rebuilds=1) for n in (13, 15)),
    *(Case(f"8 INTERRUPTED, reason {n}", (at(5, Fault.SAY_INTERRUPTED, n),)) for n in (14, 16)),
    Case("event 7", (at(5, Fault.EVENT_7),)),
    Case("event 7, split", (at(5, Fault.EVENT_7),), split=True, media="all"),
    Case("interrupted webhook", (at(5, Fault.WEBHOOK_INTERRUPTED),), rebuilds=1),
    Case("event 7 and a broken socket", (at(5, Fault.EVENT_7), at(5.02, Fault.DROP_MEDIA)), in_flight=IN_FLIGHT),
    Case("connections die silently", (at(5, Fault.SILENCE),), seconds=120, rebuilds=1, untaken=range(1, 300)),
    Case(
        "back, but refused with 8",
        (at(5, Fault.REFUSE_SIGNALING, 8, 2), BREAK),
        seconds=60,
        rebuilds=3,
        in_flight=IN_FLIGHT,
    ),
    Case("back, but refused with 45", (at(5, Fault.REFUSE_SIGNALING, 45), BREAK), rebuilds=2, in_flight=IN_FLIGHT),
    Case(
        "media refused with 15 and 16",
        (at(5, Fault.REFUSE_MEDIA, 15), at(5, Fault.REFUSE_MEDIA, 16), at(5, Fault.DROP_MEDIA)),
        seconds=60,
        in_flight=IN_FLIGHT,
    ),
    Case("the first 1 is hung up on", (at(BEFORE, Fault.HANG_UP),), rebuilds=1),
    Case(
        "no way back",
        (at(5, Fault.REFUSE_SIGNALING, 45, 99), BREAK),
        seconds=200,
        status="interrupted",
        untaken=range(9999),
        in_flight=IN_FLIGHT,
        rebuilds=-1,
    ),
    Case("wrong signature", (at(BEFORE, Fault.REFUSE_SIGNALING, 3),), recordings=0, sound=False),
    Case("1 is always hung up on", (at(BEFORE, Fault.HANG_UP, 0, 99),), recordings=0, sound=False),
    Case(
        "refused without a status code",
        (at(BEFORE, Fault.REFUSE_SIGNALING, 3),),
        frozenset({Deviation.SILENT_REFUSAL}),
        recordings=0,
        sound=False,
    ),
    Case("no scope for audio", scopes=MediaType.TRANSCRIPT, sound=False),
    Case("no scope for video", scopes=MediaType.AUDIO | MediaType.TRANSCRIPT, media="all", split=True),
    *(Case(f"stop reason {n}", (at(10, Fault.STOP, n),), status="interrupted") for n in (*range(10, 20), 24)),
    *(Case(f"stop reason {n}", (at(10, Fault.STOP, n),)) for n in (1, 6, 7, 25)),
    Case(
        "only a webhook reports the stop",
        (at(10, Fault.STOP_WEBHOOK_ONLY, 6),),
        untaken=range(500),
        in_flight=IN_FLIGHT,  # the server's sockets break with what they had not sent
    ),
    Case("revoked, by signaling", (at(10, Fault.STOP, 8),), status="revoked", sound=False),
    Case("revoked, by a verified webhook", (at(10, Fault.STOP_WEBHOOK_ONLY, 8),), status="revoked", sound=False),
    Case(
        "revoked, by a webhook that anyone may have sent",
        (at(10, Fault.STOP_WEBHOOK_ONLY, 8),),
        trusted=False,
        untaken=range(500),
        rebuilds=-1,
        in_flight=IN_FLIGHT,
    ),
    Case(
        "one session ends revoked, the next one well",
        (SessionHit(at_ms=5_000, reason=8, pause_ms=2_000, is_another=True),),
    ),
    Case("a packet comes twice", (at(5, Fault.DUPLICATE),)),
    Case("packets change places", (at(5, Fault.SWAP),)),
    Case("payload is not base64", (at(5, Fault.BAD_BASE64),), unkept=1),
    Case("payload of odd length", (at(5, Fault.ODD_AUDIO),)),
    Case("a frame is not JSON", (at(5, Fault.BAD_JSON),)),
    Case("a frame is not UTF-8", (at(5, Fault.BAD_UTF8),)),
    Case("unknown message type", (at(5, Fault.UNKNOWN_TYPE),)),
    *(
        Case(f"server: {deviation}", deviations=frozenset({deviation}))
        for deviation in Deviation
        if deviation is not Deviation.SILENT_REFUSAL and deviation not in MISFITS
    ),
    Case("server: no sum, and no other URL", deviations=frozenset({Deviation.NO_SUM, Deviation.ALL_ONLY})),
    Case("network: everything breaks", (net(5, Trouble.BREAK),), rebuilds=1, in_flight=IN_FLIGHT),
    Case("network: signaling breaks", (net(5, Trouble.BREAK, "signaling"),), rebuilds=1, in_flight=IN_FLIGHT),
    Case("network: media breaks", (net(5, Trouble.BREAK, "media"),), in_flight=IN_FLIGHT),
    Case(
        "network: two upgrades end early",
        (net(5, Trouble.EOF, "", 2), net(5.1, Trouble.BREAK, "signaling")),
        seconds=60,
        rebuilds=3,
        in_flight=IN_FLIGHT,
    ),
    Case(
        "network: refused, then slow",
        (net(5, Trouble.REFUSE), net(5, Trouble.SLOW), net(5.1, Trouble.BREAK, "signaling")),
        seconds=60,
        rebuilds=-1,
        in_flight=IN_FLIGHT,
    ),
    Case("network: everything waits for 2 s", (net(5, Trouble.DELAYED),)),
    Case(
        "network: the server's side is silent",
        (net(12, Trouble.DEAF),),
        seconds=140,
        rebuilds=1,
        in_flight=IN_FLIGHT + 700,  # sent for 70 s into a connection that loses it
        untaken=range(200),
    ),
    Case("disk full for a while", files=FullFiles, unkept=-1),
    Case("one file is read-only", files=ReadOnlyTranscript, unkept=-1),
    Case("disk stalls for 15 s", (StallHit(at_ms=5_000, seconds=15),)),
    Case("disk stalls for 30 s", (StallHit(at_ms=5_000, seconds=30),), seconds=60, unkept=-1),
    Case("SIGTERM", (StopHit(at_ms=10_000),)),
    Case(
        "SIGTERM while reconnecting",
        (BREAK, StopHit(at_ms=7_000)),
        status="interrupted",
        untaken=range(999),
        rebuilds=-1,
        in_flight=IN_FLIGHT,
    ),
    Case(
        "interrupted, and announced again",
        (at(10, Fault.STOP, 19),),
        resumes_after_s=(5,),
        rebuilds=1,
    ),
)
"""`at` counts from the show's beginning, everything else from the world's."""


def play(case: Case) -> Result:
    """Play a case, and look at what was kept."""
    plan = case.plan()
    world = run(plan, case.files)
    check(world)
    wrong = list(world.violations)
    if len(world.recordings) != case.recordings:
        wrong.append(f"{len(world.recordings)} recordings of one stream")
    sent = sum(stream.zoom.report().sent.get("MEDIA_DATA_AUDIO", 0) for stream in world.zoom.streams)
    untaken = sum(stream.zoom.report().untaken.get("MEDIA_DATA_AUDIO", 0) for stream in world.zoom.streams)
    if not world.recordings:
        return Result(sent, untaken, 0, 0, "no recording", tuple(wrong))
    recording = world.recordings[-1]
    manifest = msgspec.json.decode(recording.files.read(MANIFEST), type=Manifest)
    tracks = [track for track in manifest.tracks if track.kind == "audio"]
    kept = sum(track.packets for track in tracks)
    missing_ms = sum(1000 * (end - start) for track in tracks for start, end in track.gaps)
    wrong += _look(case, world, manifest)
    if not case.sound:
        if kept:
            wrong.append(f"{kept} audio packets, where there should be none")
    elif case.unkept >= 0 and not 0 <= sent - kept - case.unkept <= case.in_flight:
        wrong.append(f"{sent} audio packets were sent, {kept} kept")
    if case.sound and untaken not in case.untaken:
        wrong.append(f"{untaken} audio packets found nobody")
    return Result(sent, untaken, kept, missing_ms, manifest.status, tuple(wrong))


def _look(case: Case, world: World, manifest: Manifest) -> Iterator[str]:
    if manifest.status != case.status:
        yield f"status {manifest.status}, not {case.status}: {manifest.stop}"
    opened = [
        entry
        for entry in world.recordings[-1].entries
        if entry.frame.channel == "signaling"
        and isinstance(entry.frame.message, ChannelState)
        and entry.frame.message.state is State.OPENING
    ]
    if case.rebuilds >= 0 and len(opened) - 1 != case.rebuilds:
        yield f"signaling was opened {len(opened)} times"


def table(rows: Sequence[tuple[Case, Result]]) -> str:
    """The table that docs/reliability.md shows."""
    lines = [
        "| fault | audio packets sent | kept | lost before us | silence put in | status | verdict |",
        "|---|--:|--:|--:|--:|---|---|",
    ]
    return "\n".join([*lines, *(row(case, result) for case, result in rows)])


def row(case: Case, result: Result) -> str:
    """A case's line of the table."""
    verdict = "good" if not result.wrong else "**BAD** " + "; ".join(result.wrong)
    silence = f"{result.missing_ms / 1000:.2f} s" if result.missing_ms else ""
    lost = result.untaken or ""
    return f"| {case.name} | {result.sent} | {result.kept} | {lost} | {silence} | {result.status} | {verdict} |"


def write_matrix() -> int:
    """Play every case, and put the table into docs/reliability.md.

    :returns: 1 where a case is bad.
    """
    rows = []
    for case in CASES:
        rows.append((case, play(case)))
        print(f"{case.name}: {'good' if not rows[-1][1].wrong else rows[-1][1].wrong}", file=sys.stderr)
    text = table(rows)
    print(text)
    head, _, rest = PAGE.read_text().partition("<!-- matrix -->")
    PAGE.write_text(f"{head}<!-- matrix -->\n{text}\n<!-- /matrix -->{rest.partition('<!-- /matrix -->')[2]}")
    return int(any(result.wrong for _, result in rows))
