"""Tells whether the machine stood still for a while, as virtual ones do now and then."""

import threading
import time

TICK_S = 0.005


class Standstill:
    """While it is entered, watches how long this process did not get on at most, beside what it worked itself."""

    def __init__(self) -> None:
        self.longest_s = 0.0
        self._left = threading.Event()
        self._watching = threading.Thread(target=self._watch, name="standstill", daemon=True)

    def __enter__(self) -> "Standstill":
        self._watching.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._left.set()
        self._watching.join()

    def _watch(self) -> None:
        is_left = False
        while not is_left:
            before, worked = time.monotonic(), time.process_time()
            is_left = self._left.wait(TICK_S)
            self.longest_s = max(self.longest_s, time.monotonic() - before - (time.process_time() - worked))
