"""`PYTHONPATH=tests python -m simulation`: plays seeds, and says how to repeat what goes wrong."""

import argparse
import os
import sys
import time

from simulation.contents import Stats
from simulation.plan import plan_of
from simulation.running import play, run_many
from simulation.world import story


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=2000, metavar="N", help="how many seeds to play")
    parser.add_argument("--first", type=int, default=0, metavar="K", help="the first of them")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, metavar="J", help="processes")
    parser.add_argument("--seed", type=int, metavar="S", help="play this one only")
    parser.add_argument("--faults", metavar="I,J", help="with these of its faults only: `none`, or their numbers")
    parser.add_argument("--matrix", action="store_true", help="play the fault matrix, and renew docs/reliability.md")
    parser.add_argument("-v", "--verbose", action="store_true", help="tell what happened, frame by frame")
    options = parser.parse_args()
    if options.matrix:
        from simulation.matrix import write_matrix

        return write_matrix()
    if options.seed is not None:
        return _one(options.seed, options.faults, options.verbose)
    return _many(options.first, options.seeds, options.jobs)


def _one(seed: int, faults: str | None, verbose: bool) -> int:
    plan = plan_of(seed)
    if faults is not None:
        plan = plan.with_hits([int(number) for number in faults.split(",") if number != "none"])
    world, _ = play(plan)
    print(plan)
    for number, hit in enumerate(plan.hits):
        print(f"fault {number}: {hit}")
    if verbose:
        print(story(world))
    for violation in world.violations:
        print(f"violation: {violation}")
    print(f"1 seeds, {int(bool(world.violations))} violations")
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
    if sys.stderr.isatty():
        print(file=sys.stderr)
    seconds = time.monotonic() - began
    print(f"{total.sessions} sessions, {total.faults} faults, {total.samples} samples and {total.lines} lines checked")
    print(f"{seconds:.1f} s, {1000 * total.seconds / max(1, done):.1f} ms of a processor each")
    print(f"{done} seeds, {bad} violations")
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
