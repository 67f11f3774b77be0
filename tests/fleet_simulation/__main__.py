"""`PYTHONPATH=tests python -m fleet_simulation`: plays seeds, and says how to repeat what goes wrong."""

import argparse
import os
import sys
import time

from fleet_simulation.plan import plan_of
from fleet_simulation.running import Stats, play, run_many, stats_of


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m fleet_simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000, metavar="N", help="how many seeds to play")
    parser.add_argument("--first", type=int, default=0, metavar="K", help="the first of them")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, metavar="J", help="processes")
    parser.add_argument("--seed", type=int, metavar="S", help="play this one only")
    parser.add_argument("--faults", metavar="I,J", help="with these of its faults only: `none`, or their numbers")
    parser.add_argument("--about", metavar="TEXT", default="", help="tell only what has this in it")
    options = parser.parse_args()
    if options.seed is not None:
        return _one(options.seed, options.faults, options.about)
    return _many(options.first, options.seeds, options.jobs)


def _one(seed: int, faults: str | None, about: str) -> int:
    plan = plan_of(seed)
    if faults is not None:
        plan = plan.with_hits(tuple(int(number) for number in faults.split(",") if number != "none"))
    world = play(plan)
    for at, text in world.notes:
        if about in text or "HIT" in text:
            print(f"{at:8.2f}  {text}")
    for violation in world.violations:
        print(f"violation: {violation}")
    print(stats_of(world).worlds, "seed,", len(world.violations), "violations")
    return int(bool(world.violations))


def _many(first: int, count: int, jobs: int) -> int:
    total, done, bad, began = Stats(), 0, 0, time.monotonic()
    for seeds, stats, failures in run_many(first, count, jobs):
        total.add(stats)
        done += seeds
        bad += len(failures)
        for failure in failures:
            print(f"{failure.command}  # {'; '.join(failure.violations)[:300]}", flush=True)
        if sys.stderr.isatty():
            print(f"\r{done} of {count}, {bad} bad", end="", file=sys.stderr, flush=True)
    waits = sorted(total.takeovers) or [0.0]
    print(f"{total.hits} faults, {total.handshakes} handshakes, {total.hours:.0f} hours of audio")
    print(f"without an owner: p50 {waits[len(waits) // 2]:.0f} s, p99 {waits[len(waits) * 99 // 100]:.0f} s")
    print(f"{time.monotonic() - began:.1f} s")
    print(f"{done} seeds, {bad} violations")
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
