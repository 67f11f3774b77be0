"""Plays scenarios to our own recorder, on the virtual clock of the simulation."""

from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct, structs
from simulation.matrix import Case
from simulation.world import World, run

from rtms_cli.recording.manifest import Manifest
from rtms_cli.simulator.scenario import Scenario
from rtms_cli.simulator.zoom import Report


class Played(Struct, frozen=True):
    """What became of a stream, on both sides."""

    report: Report
    manifest: Manifest
    folder: Path

    def opened(self, channel: str = "signaling") -> int:
        """How often a channel was opened."""
        return len([one for one in self.manifest.connections if one.channel == channel])

    def count(self, kind: str) -> tuple[int, int]:
        """Packets of a kind: sent, and kept."""
        sent = self.report.sent.get(f"MEDIA_DATA_{kind.upper()}", 0)
        return sent, sum(track.packets for track in self.manifest.tracks if track.kind == kind)

    def lost(self, kind: str) -> int:
        """How many packets of a kind found nobody to take them."""
        return self.report.untaken.get(f"MEDIA_DATA_{kind.upper()}", 0)

    def silence_s(self) -> float:
        """How much sound is missing."""
        return sum(end - start for track in self.manifest.tracks for start, end in track.gaps)


def play(scenario: Scenario, media: str = "all", send_rate: int = 20) -> World:
    """Play a scenario, whether it is recorded or not."""
    case = Case("a scenario", seconds=scenario.seconds, media=media, step_ms=send_rate)
    plan = structs.replace(case.plan(), webhook_after_s=scenario.webhook_after_s)
    world = run(plan, scenario=scenario)
    assert world.violations == []
    return world


def record(scenarios: Sequence[Scenario], out: Path, media: str = "all", send_rate: int = 20) -> Sequence[Played]:
    """Record every scenario as a stream of its own; in the order of the scenarios."""
    played = []
    for number, scenario in enumerate(scenarios):
        world = play(scenario, media, send_rate)
        (recording,), (stream,) = world.recordings, world.zoom.streams
        folder = out / str(number)
        recording.files.put_on_disk(folder)
        played.append(Played(stream.zoom.report(), Manifest.read(folder), folder))
    return played
