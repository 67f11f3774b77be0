"""Every case of the matrix; and, one by one, what the simulation has found, or could have."""

from pathlib import Path

import pytest
from simulation.disk import MemoryFiles
from simulation.matrix import BEFORE, BREAK, CASES, IN_FLIGHT, PAGE, Case, at, net, play, row
from simulation.network import Trouble
from simulation.oracle import check
from simulation.plan import FullHit, Hit, KillHit, LateHit, SessionHit, StallHit
from simulation.world import World, run

from rtms_cli.capture import Capture
from rtms_cli.protocol.numbers import MediaType
from rtms_cli.recording.manifest import Manifest
from rtms_cli.recording.repair import repair
from rtms_cli.simulator.faults import Fault

NEVER_BACK = at(5, Fault.REFUSE_SIGNALING, 45, 99)


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_case(case: Case) -> None:
    """docs/reliability.md has its result; `python -m simulation --matrix` renews it."""
    result = play(case)
    assert result.wrong == ()
    assert row(case, result) in PAGE.read_text().splitlines()


FOUND = (
    Case(
        "one session ends revoked, and the next one is lost for good",
        (SessionHit(at_ms=2_000, reason=8, pause_ms=1_000, is_another=True), NEVER_BACK, BREAK),
        seconds=120,
        status="interrupted",
        untaken=range(9999),
        in_flight=IN_FLIGHT,
        rebuilds=-1,
    ),
    Case(
        "media is lost between two sessions",
        (
            SessionHit(at_ms=5_000, reason=6, pause_ms=3_000, is_another=True),
            at(6, Fault.DROP_MEDIA),
        ),
        in_flight=IN_FLIGHT,
    ),
    Case("each media socket is hung up on once", (net(0.1, Trouble.HANG_UP, "media", 3),), split=True),
    Case(
        "a media socket comes back while the server misses signaling",
        (at(5, Fault.DROP_MEDIA), at(5.1, Fault.SILENCE)),
        seconds=120,
        rebuilds=1,
        untaken=range(999),
        in_flight=IN_FLIGHT,
    ),
    Case(
        "one of several media sockets dies before its first keep-alive",
        (net(3, Trouble.DEAF, "audio"),),
        seconds=150,
        split=True,
        untaken=range(999),
        in_flight=999,
    ),
    Case("the first 1 is refused with 8", (at(BEFORE, Fault.REFUSE_SIGNALING, 8, 2),), rebuilds=2),
    Case(
        "a stop webhook comes while the disk finishes",
        (StallHit(at_ms=9_000, seconds=15), LateHit(at_ms=9_500, seconds=4), at(10, Fault.STOP, 8)),
        status="revoked",
        trusted=False,
        sound=False,
    ),
    Case(
        "a sign of lost media comes between two sessions",
        (SessionHit(at_ms=5_000, reason=6, pause_ms=3_000, is_another=True), at(6, Fault.EVENT_7)),
        untaken=range(1),
    ),
    Case(
        "a sign of lost media comes where one kind was refused",
        (at(12, Fault.SAY_INTERRUPTED, 14),),
        media="audio,transcript,chat",
        scopes=MediaType.AUDIO | MediaType.CHAT,
        split=True,
    ),
    Case(
        "three connections are hung up on, by a server that has accepted the signature",
        (net(5, Trouble.HANG_UP, "signaling", 3), net(5.1, Trouble.BREAK, "signaling")),
        seconds=90,
        rebuilds=4,
        in_flight=IN_FLIGHT,
    ),
)


@pytest.mark.parametrize("case", FOUND, ids=[case.name for case in FOUND])
def test_found(case: Case) -> None:
    assert play(case).wrong == ()


def killed(*hits: Hit, resumes_after_s: tuple[float, ...] = ()) -> World:
    """A world whose process may be killed; the oracle repairs what it left."""
    world = run(Case("killed", hits, seconds=5, media="audio", resumes_after_s=resumes_after_s).plan())
    check(world)
    return world


@pytest.mark.parametrize("reason", [8, 19, 6])
def test_killed_about_the_end_it_is_what_was_said(reason: int) -> None:
    """Killed at any moment between the end that was said and the last word."""
    stop = at(2, Fault.STOP, reason)
    (whole,) = killed(stop).recordings
    times = [
        whole.began_ms + entry.frame.at_us // 1000
        for entry in whole.entries
        if b'"state":4,"reason"' in entry.frame.raw or b'"finished"' in entry.frame.raw
    ]
    torn = 0
    for at_ms in range(times[0], times[-1] + 2):
        for operations in (1, 2, 3, 5):
            world = killed(stop, KillHit(at_ms=at_ms, operations=operations))
            assert world.violations == [], (at_ms, operations)
            capture = world.recordings[0].files.read("capture.jsonl")
            torn += b'"state":4,"reason"' in capture and b'"finished"' not in capture
    assert torn > 0, "no kill came between the end that was said and the last word"


def test_killed_while_it_is_continued_it_is_found() -> None:
    hits = at(2, Fault.STOP, 19), KillHit(at_ms=40_000, operations=0)
    world = run(Case("killed", hits, seconds=60, media="audio", resumes_after_s=(5,)).plan())
    check(world)
    assert world.violations == []


class FullCapture(MemoryFiles):
    """A disk that refuses the capture while it is full."""

    def refuses(self, name: str) -> bool:
        return self.is_full and name == "capture.jsonl"


def test_repair_adds_only(tmp_path: Path) -> None:
    """A recording whose capture lacks a stretch is complete and has losses: repaired, it is not a poorer."""
    world = run(Case("capture full", (FullHit(at_ms=8_000, seconds=5),)).plan(), FullCapture)
    (recording,) = world.recordings
    recording.files.put_on_disk(tmp_path)
    sound, before = (tmp_path / "audio/mixed.wav").read_bytes(), Manifest.read(tmp_path)
    assert before.losses
    assert len(list(Capture(tmp_path))) < len(recording.entries)
    repair(tmp_path)
    after = Manifest.read(tmp_path)
    assert (tmp_path / "audio/mixed.wav").read_bytes() == sound
    assert [loss.what for loss in before.losses] == [loss.what for loss in after.losses]
    assert after.status == before.status
