"""Random faults: the same for the same seed, and nothing that a client cannot come through."""

import random
from pathlib import Path

import pytest
from faults.matrix import compare
from msgspec import structs
from simulator.standing import record
from simulator.test_zoom import IDS, Server

from rtms_cli.simulator.chaos import chaos
from rtms_cli.simulator.faults import Fault, FaultAt
from rtms_cli.simulator.scenario import Scenario


def faults_of(seed: int, seconds: int = 60) -> tuple[FaultAt, ...]:
    return chaos(random.Random(seed), seconds * 1000)


def test_the_same_seed_makes_the_same_faults_and_another_others() -> None:
    assert faults_of(7) == faults_of(7)
    assert len({faults_of(seed) for seed in range(200)}) == 200
    seen = {fault.kind for seed in range(200) for fault in faults_of(seed)}
    ends = {Fault.STOP, Fault.STOP_WEBHOOK_ONLY, Fault.SILENCE, Fault.HANG_UP, Fault.WEBHOOK_INTERRUPTED}
    assert seen == set(Fault) - ends
    for seed in range(200):
        times = [fault.at_ms for fault in faults_of(seed)]
        assert times == sorted(times)
        assert 1000 <= times[0]
        assert times[-1] < 55_000
    assert faults_of(1, 4) == ()


def test_the_same_seed_sends_the_same_messages() -> None:
    def heard(seed: int) -> list[dict[str, object]]:
        server = Server(scenario=Scenario(20, faults=faults_of(seed, 20)))
        server.join(9)
        server.say("signaling", 7, rtms_stream_id=IDS["rtms_stream_id"])
        return server.wait(21)

    one = heard(5)
    assert one == heard(5)
    assert one != heard(13)
    assert len(one) > 50


@pytest.mark.parametrize("seed", [1, 7, 13])
def test_our_recorder_comes_through(seed: int, tmp_path: Path) -> None:
    scenario = structs.replace(Scenario(60), faults=faults_of(seed))
    (played,) = record([scenario], tmp_path, "audio,transcript")
    assert played.manifest.status == "complete"
    assert [finding.what for finding in played.report.findings] == []
    sent, kept = played.count("audio")
    twice = sum(fault.times for fault in scenario.faults if fault.kind is Fault.DUPLICATE)
    assert 3000 <= sent + played.lost("audio") <= 3000 + twice
    assert 2000 < kept <= sent
    # A burst may be under way when its connection breaks; whatever is missing is a gap that the manifest lists.
    assert compare(played.folder, played.manifest)[1] == []
