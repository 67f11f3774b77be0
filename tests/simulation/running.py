"""Runs seeds: one, with some of its faults, or many in several processes."""

import gc
import multiprocessing
import re
import time
from collections.abc import Iterator, Sequence
from itertools import islice

from msgspec import Struct
from simulation.contents import Stats
from simulation.oracle import check
from simulation.plan import Plan, plan_of
from simulation.world import World, run

CHUNK = 20
"""Seeds that a process takes at once."""


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
        return f"PYTHONPATH=tests python -m simulation --seed {self.seed} --faults {faults}"


def play(plan: Plan) -> tuple[World, Stats]:
    """Play a plan and look at what was recorded; what is wrong is in the world's `violations`."""
    began = time.process_time()
    world = run(plan)
    stats = check(world)
    stats.seconds = time.process_time() - began
    return world, stats


def shrink(plan: Plan) -> Failure:
    """Leave out one fault after the other while the same kind of violation stays."""
    world, _ = play(plan)
    violations = world.violations
    kinds = set(map(_kind, violations))
    faults = tuple(range(len(plan.hits)))
    is_smaller = True
    while is_smaller:
        is_smaller = False
        for left_out in faults:
            fewer = tuple(fault for fault in faults if fault != left_out)
            found = play(plan.with_hits(fewer))[0].violations
            if kinds & set(map(_kind, found)):
                faults, violations, is_smaller = fewer, found, True
                break
    return Failure(plan.seed, faults, tuple(violations))


def _kind(violation: str) -> str:
    """A violation without its numbers."""
    return re.sub(r"\d+", "0", violation)[:40]


def run_chunk(seeds: Sequence[int]) -> tuple[Stats, list[Failure]]:
    """Run some seeds, and shrink those that fail."""
    total, failures = Stats(), []
    for seed in seeds:
        plan = plan_of(seed)
        world, stats = play(plan)
        total.add(stats)
        if world.violations:
            failures.append(shrink(plan))
    return total, failures


def run_many(first: int, count: int, jobs: int) -> Iterator[tuple[int, Stats, list[Failure]]]:
    """Run seeds in several processes.

    :returns: for each chunk, in order: how many seeds, what was looked at, and what is wrong.
    """
    seeds = iter(range(first, first + count))
    chunks = [list(chunk) for chunk in iter(lambda: list(islice(seeds, CHUNK)), [])]
    prepare()
    if jobs == 1:
        for chunk in chunks:
            yield len(chunk), *run_chunk(chunk)
        return
    with multiprocessing.get_context("fork").Pool(jobs, prepare) as pool:
        for chunk, (stats, failures) in zip(chunks, pool.imap(run_chunk, chunks), strict=True):
            yield len(chunk), stats, failures


def prepare() -> None:
    """Have the garbage collector look less often: worlds are many small objects, and soon gone."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
