"""Settings that all tests have in common."""

import atexit
import os
import signal
import tempfile

from hypothesis import HealthCheck, settings

# A job that a shell began with `&`, or that nohup runs, ignores signals, and so would whatever the tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
for number in (signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, signal.SIG_DFL)

# Commands find the recorders of their user: those of other tests, and of the person who runs them, are none of ours.
_runtime = tempfile.TemporaryDirectory(prefix="rtms-tests-")
os.environ["XDG_RUNTIME_DIR"] = _runtime.name
atexit.register(_runtime.cleanup)

# How long an example takes says something about the machine, and nothing about the program.
settings.register_profile("rtms", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("rtms")
