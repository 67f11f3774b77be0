"""What excuses a failed test is seen where it was, and nowhere else."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

WATCH = """
import sys
from standstill import Standstill
with Standstill() as stood:
    print("watching", flush=True)
    sys.stdin.readline()
print(stood.longest_s)
"""


def test_a_process_that_was_stopped() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", WATCH],
        cwd=Path(__file__).parent,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as watched:
        assert watched.stdin is not None
        assert watched.stdout is not None
        assert watched.stdout.readline() == "watching\n"
        os.kill(watched.pid, signal.SIGSTOP)
        time.sleep(0.3)  # this is the standstill: nothing is waited for
        os.kill(watched.pid, signal.SIGCONT)
        watched.stdin.write("\n")
        watched.stdin.flush()
        assert float(watched.stdout.readline()) > 0.25
