"""Numbers what happens, and keeps the last of it.

Nothing is formatted before someone wants to see it: until then the journal has what an event is made of.
"""

from collections import deque
from collections.abc import Callable, Iterator
from itertools import islice

from rtms_cli.feed.messages import Event, write

MOST_EVENTS = 50_000
MOST_NBYTES = 16 << 20
"""What kept events may take, about."""
_EACH_NBYTES = 400
"""What an event takes beside its texts."""

Make = Callable[[int], Event]
"""Makes an event of its number."""


class _Kept:
    """An event, or what makes it."""

    __slots__ = ("event", "make", "nbytes")

    def __init__(self, make: Make | None, nbytes: int, event: Event | None = None) -> None:
        self.make, self.nbytes, self.event = make, nbytes, event


class Journal:
    """The last events of a run, by their numbers, which count from 1 without a gap.

    :param most_events: how many are kept.
    :param most_nbytes: what they may take.
    """

    def __init__(self, most_events: int = MOST_EVENTS, most_nbytes: int = MOST_NBYTES) -> None:
        self._most_events, self._most_nbytes = most_events, most_nbytes
        self._kept: deque[_Kept] = deque()
        self._nbytes = 0
        self._subscribers: dict[int, Callable[[Event], None]] = {}
        self._next_subscriber = 0
        self.seq = 0
        """The number of the last event."""

    @property
    def oldest(self) -> int:
        """The number of the oldest event that is kept; `seq + 1` if there is none."""
        return self.seq - len(self._kept) + 1

    @property
    def nbytes(self) -> int:
        """What is kept takes, about."""
        return self._nbytes

    def add(self, make: Make, nbytes: int = 0) -> None:
        """Add what happened.

        :param make: makes the event, at once or much later, or never.
        :param nbytes: of what it is made of.
        """
        self.seq += 1
        self._keep(_Kept(make, nbytes + _EACH_NBYTES))

    def take(self, event: Event) -> None:
        """Add an event of another journal, which has its number; one that is there already is left out.

        Where numbers are missing, what is kept begins again.
        """
        if event.seq <= self.seq:
            return
        if event.seq != self.seq + 1:
            self._kept.clear()
            self._nbytes = 0
        self.seq = event.seq
        self._keep(_Kept(None, 2 * len(write(event)) + _EACH_NBYTES, event))  # any field may be long

    def forget(self, seq: int = 0) -> None:
        """Begin again after this number."""
        self._kept.clear()
        self._nbytes, self.seq = 0, seq

    def after(self, seq: int) -> Iterator[Event]:
        """The events that are kept with a higher number, in order."""
        first = self.oldest
        for offset, kept in enumerate(list(islice(self._kept, max(0, seq + 1 - first), None))):
            yield self._event(kept, max(seq + 1, first) + offset)

    def subscribe(self, on_event: Callable[[Event], None]) -> Callable[[], None]:
        """Call for each new event; returns what ends that."""
        number = self._next_subscriber
        self._next_subscriber += 1
        self._subscribers[number] = on_event
        return lambda: self._subscribers.pop(number, None) and None

    def _keep(self, kept: _Kept) -> None:
        self._kept.append(kept)
        self._nbytes += kept.nbytes
        while len(self._kept) > self._most_events or (self._nbytes > self._most_nbytes and len(self._kept) > 1):
            self._nbytes -= self._kept.popleft().nbytes
        if self._subscribers:
            event = self._event(kept, self.seq)
            for on_event in tuple(self._subscribers.values()):
                on_event(event)

    def _event(self, kept: _Kept, seq: int) -> Event:
        if kept.event is None:
            assert kept.make is not None
            kept.event, kept.make = kept.make(seq), None
        return kept.event
