"""Runs seeds: one, with some of its faults, or many in several processes."""

import gc
import logging
import multiprocessing
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice

from fleet_simulation.plan import Plan, plan_of
from fleet_simulation.world import World
from msgspec import Struct

from rtms_cli.fleet import standing, worker

CHUNK = 10
"""Seeds that a process takes at once."""


class Stats(Struct):
    """What was looked at."""

    worlds: int = 0
    hits: int = 0
    handshakes: int = 0
    hours: float = 0.0
    """Of audio that was recorded."""
    takeovers: list[float] = []
    """How long streams had no owner, s."""

    def add(self, other: "Stats") -> None:
        """Add up."""
        self.worlds += other.worlds
        self.hits += other.hits
        self.handshakes += other.handshakes
        self.hours += other.hours
        self.takeovers += other.takeovers


class Failure(Struct, frozen=True):
    """A seed that showed a violation."""

    seed: int
    faults: tuple[int, ...]
    """The fewest that show it, by their places in the plan."""
    violations: tuple[str, ...]

    @property
    def command(self) -> str:
        """What repeats it."""
        faults = ",".join(map(str, self.faults)) or "none"
        return f"PYTHONPATH=tests python -m fleet_simulation --seed {self.seed} --faults {faults}"


def play(plan: Plan) -> World:
    """Play a plan; what is wrong is in the world's `violations`."""
    world = World(plan)
    with _on_the_clock_of(world):
        world.run()
    world.watch.check()
    return world


def stats_of(world: World) -> Stats:
    """What was looked at in a world."""
    seconds = sum(stream.seconds for stream in world.zoom.all())
    watch = world.watch
    return Stats(1, len(world.plan.hits), watch.handshakes, seconds / 3600, watch.takeover_s)


@contextmanager
def _on_the_clock_of(world: World) -> Iterator[None]:
    """Have workers read the world's clock, and look at their loops' delays less often than 20 times a second."""
    former = worker.now_ms, standing.LATE_EVERY_S, logging.root.manager.disable
    logging.disable()
    worker.now_ms, standing.LATE_EVERY_S = lambda: world.clock.now_ms, 5.0
    try:
        yield
    finally:
        worker.now_ms, standing.LATE_EVERY_S = former[:2]
        logging.disable(former[2])


def shrink(plan: Plan, violations: Sequence[str]) -> Failure:
    """Leave out one fault after the other while the same kind of violation stays."""
    kinds, faults = set(map(_kind, violations)), tuple(range(len(plan.hits)))
    is_smaller = True
    while is_smaller:
        is_smaller = False
        for left_out in faults:
            fewer = tuple(fault for fault in faults if fault != left_out)
            found = play(plan.with_hits(fewer)).violations
            if kinds & set(map(_kind, found)):
                faults, violations, is_smaller = fewer, found, True
                break
    return Failure(plan.seed, faults, tuple(violations))


def _kind(violation: str) -> str:
    """A violation without its numbers."""
    return re.sub(r"\d+", "0", violation.partition(" s: ")[2])[:40]


def run_chunk(seeds: Sequence[int]) -> tuple[Stats, list[Failure]]:
    """Run some seeds, and shrink those that fail."""
    total, failures = Stats(), []
    for seed in seeds:
        plan = plan_of(seed)
        world = play(plan)
        total.add(stats_of(world))
        if world.violations:
            failures.append(shrink(plan, world.violations))
    return total, failures


def run_many(first: int, count: int, jobs: int) -> Iterator[tuple[int, Stats, list[Failure]]]:
    """Run seeds in several processes.

    :returns: for each chunk, in order: how many seeds, what was looked at, and what is wrong.
    """
    seeds = iter(range(first, first + count))
    chunks = [list(chunk) for chunk in iter(lambda: list(islice(seeds, CHUNK)), [])]
    with multiprocessing.get_context("fork").Pool(jobs, prepare) as pool:
        for chunk, (stats, failures) in zip(chunks, pool.imap(run_chunk, chunks), strict=True):
            yield len(chunk), stats, failures


def prepare() -> None:
    """Have the garbage collector look less often: worlds are many small objects, and soon gone."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
