"""`PYTHONPATH=tests python -m fuzz`: spoils inputs at random, and says how to repeat what goes wrong."""

import argparse
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from multiprocessing.connection import Connection, wait
from pathlib import Path

from fuzz.targets import TARGETS, Box

CHUNK = 50
"""Seeds that a process plays before it makes way for a fresh one."""
HUNG_S = 120.0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0, metavar="N", help="how long to go on")
    parser.add_argument("--seeds", type=int, metavar="N", help="how many seeds to play of each target instead")
    parser.add_argument("--first", type=int, default=0, metavar="K", help="the first seed")
    parser.add_argument("--seed", type=int, metavar="S", help="play this one only, of one target")
    parser.add_argument("--target", action="append", choices=TARGETS, help="only this one; may be repeated")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, metavar="J", help="processes")
    options = parser.parse_args()
    targets = options.target or list(TARGETS)
    if options.seed is not None:
        return _one(targets[0], options.seed)
    with tempfile.TemporaryDirectory(prefix="rtms-fuzz-") as tempfile.tempdir:  # for workers too, which may be killed
        return _many(targets, options.first, options.seeds, options.minutes * 60, options.jobs)


def _one(target: str, seed: int) -> int:
    os.environ["RTMS_DEBUG"] = "1"
    root = Path(tempfile.mkdtemp(prefix="rtms-fuzz-"))
    box = Box(root)
    violations = box.play(target, seed)
    for command in box.watch.ran:
        print(f"rtms {command}")
    for violation in violations:
        print(f"violation: {violation}")
    print(f"the files are in {root}/work")
    return int(bool(violations))


def _work(sink: Connection, target: str, seeds: range) -> None:
    root = Path(tempfile.mkdtemp())
    try:
        box = Box(root)
        for seed in seeds:
            sink.send((seed, None, 0))
            sink.send((seed, box.play(target, seed), max(1, len(box.watch.ran))))
    finally:
        shutil.rmtree(root, ignore_errors=True)


class _Worker:
    """A process that plays some seeds of one target."""

    def __init__(self, target: str, seeds: range) -> None:
        self.target, self.seeds, self.seed = target, seeds, seeds.start
        self.source, sink = multiprocessing.Pipe(duplex=False)
        self.process = multiprocessing.get_context("fork").Process(target=_work, args=(sink, target, seeds))
        self.process.start()
        sink.close()
        self.heard = time.monotonic()

    def hear(self) -> list[str] | None:
        """The violations of a seed that is done; `None` if there is no word of one."""
        self.heard = time.monotonic()
        seed, violations, count = self.source.recv()
        self.seed = seed
        if violations is None:
            return None
        executions[self.target] += count
        return list(violations)


executions: Counter[str] = Counter()


def _kind(target: str, violation: str) -> str:
    """A violation without its numbers; an exception by its name and place alone."""
    name, _, place = violation.partition(":")
    if " at " in place:
        violation = f"{name} at {place.rpartition(' at ')[2]}"
    return "".join("0" if char.isdigit() else char for char in f"{target} {violation}")[:100]


def _many(targets: list[str], first: int, count: int | None, seconds: float, jobs: int) -> int:
    began, found = time.monotonic(), Counter[str]()
    nexts = dict.fromkeys(targets, first)
    workers: list[_Worker] = []
    turn = played = 0

    def report(target: str, seed: int, violations: list[str]) -> None:
        for violation in violations:
            kind = _kind(target, violation)
            found[kind] += 1
            if found[kind] == 1:
                print(
                    f"PYTHONPATH=tests python -m fuzz --target {target} --seed {seed}  # {violation[:300]}", flush=True
                )

    while True:
        late = count is None and time.monotonic() - began > seconds
        while len(workers) < jobs and not late:
            open_targets = [one for one in targets if count is None or nexts[one] < first + count]
            if not open_targets:
                break
            target = open_targets[turn % len(open_targets)]
            turn += 1
            end = nexts[target] + CHUNK if count is None else min(nexts[target] + CHUNK, first + count)
            workers.append(_Worker(target, range(nexts[target], end)))
            nexts[target] = end
        if not workers:
            break
        ready = wait([worker.source for worker in workers], timeout=5)
        for worker in list(workers):
            try:
                violations = worker.hear() if worker.source in ready else None
            except EOFError:
                worker.process.join()
                workers.remove(worker)
                if worker.process.exitcode:
                    report(worker.target, worker.seed, [f"the process died: {worker.process.exitcode}"])
                continue
            if violations is not None:
                played += 1
                report(worker.target, worker.seed, violations)
                if late:
                    worker.process.terminate()
                    worker.process.join()
                    workers.remove(worker)
            elif time.monotonic() - worker.heard > HUNG_S:
                report(worker.target, worker.seed, ["hangs"])
                worker.process.kill()
    for kind, times in found.most_common():
        print(f"{times:6} × {kind}")
    print(", ".join(f"{target} {executions[target]}" for target in targets))
    took = f"{time.monotonic() - began:.0f} s"
    print(f"{took}, {played} seeds, {executions.total()} executions, {len(found)} kinds of violation")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
