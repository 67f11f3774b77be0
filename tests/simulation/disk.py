"""Disks in memory, and the writer that folds frames in batches of chance."""

import asyncio
import errno
import random
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path

from msgspec import structs

from rtms_cli.machine import Frame, Item, frames_of
from rtms_cli.recording.files import Files, Mark
from rtms_cli.recording.hearing import Listener
from rtms_cli.recording.recorder import Recorder, RecorderSnapshot
from rtms_cli.recording.writer import Sink, Writer


class MemoryFiles(Files):
    """The files of one folder, in memory."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.contents: dict[str, bytearray] = {}
        self.is_full = False
        """Whether every write fails."""
        self.refused = 0
        """Writes that failed."""
        self.operations_left: int | None = None
        """After this many operations the process is dead; of the last one, a part is done."""

    @property
    def is_dead(self) -> bool:
        """Whether the process has died that had the files open."""
        return self.operations_left is not None and self.operations_left <= 0

    def marks(self, names: Iterable[str]) -> tuple[Mark | None, ...]:
        """See `Files.marks`: nobody else can touch them."""
        return tuple((0, 0, 0) for _ in names)

    def append(self, name: str, data: bytes) -> int:
        """See `Files.append`."""
        place = len(self.contents.get(name, b""))
        if (whole := self._begin(name)) is not None:
            self.contents.setdefault(name, bytearray()).extend(data if whole else data[: len(data) // 2])
        return place

    def write_at(self, name: str, parts: list[tuple[int, bytes]]) -> None:
        """See `Files.write_at`."""
        if (whole := self._begin(name)) is not None:
            content = self.contents[name]
            for position, data in parts if whole else parts[: len(parts) // 2]:
                if len(content) < position:
                    content.extend(bytes(position - len(content)))
                content[position : position + len(data)] = data

    def replace(self, name: str, data: bytes) -> None:
        """See `Files.replace`."""
        if self._begin(name):
            self.contents[name] = bytearray(data)

    def insert_zeros(self, name: str, head: bytes, count: int) -> None:
        """See `Files.insert_zeros`."""
        if self._begin(name):
            self.contents[name] = bytearray(head) + bytes(count) + self.contents[name][len(head) :]

    def read(self, name: str) -> bytes:
        """See `Files.read`."""
        return bytes(self.contents.get(name, b""))

    def remove(self, name: str) -> None:
        """See `Files.remove`."""
        if self._begin(name, is_write=False):
            self.contents.pop(name, None)

    def put_on_disk(self, folder: Path) -> None:
        """Make a real folder of it."""
        for name, content in self.contents.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)

    def _begin(self, name: str, *, is_write: bool = True) -> bool | None:
        """Begin an operation.

        :returns: whether all of it is done; `None` for nothing of it.
        """
        if self.is_dead:
            return None
        if is_write and self.refuses(name):
            self.refused += 1
            raise OSError(errno.ENOSPC, "No space left on device")
        if self.operations_left is not None:
            self.operations_left -= 1
            return self.operations_left > 0
        return True

    def refuses(self, name: str) -> bool:
        """Whether a write fails."""
        return self.is_full


class SimWriter(Writer):
    """Folds what its sinks got some time later, in batches.

    :param dice: decides when.
    """

    def __init__(self, dice: random.Random) -> None:
        super().__init__()
        self._dice = dice
        self._room = asyncio.Event()
        self._room.set()
        self.sinks: list[SimSink] = []
        self.defects: list[str] = []

    @property
    def full(self) -> bool:
        """Whether the disk stands still."""
        return not self._room.is_set()

    def stall(self, seconds: float) -> None:
        """Have the disk do nothing for a while."""
        self._room.clear()
        asyncio.get_running_loop().call_later(seconds, self._go_on)

    def _go_on(self) -> None:
        self._room.set()
        for sink in self.sinks:
            sink.fold()

    def open(self, recorder: Recorder, now_us: Callable[[], int] | None = None) -> Sink:
        """See `Writer.open`."""
        sink = SimSink(self, recorder, now_us)
        self.sinks.append(sink)
        return sink

    async def room(self) -> None:
        """See `Writer.room`."""
        await self._room.wait()

    async def close(self) -> None:
        """See `Writer.close`."""


class SimSink(Sink):
    """Where one session's frames go.

    `told` of each frame says whether the machine heard of it; see `World`.
    """

    def __init__(self, writer: SimWriter, recorder: Recorder, now_us: Callable[[], int] | None) -> None:
        super().__init__(writer, recorder, now_us)
        self.recorder = recorder
        self._sim = writer
        self._items: list[Item] = []
        self._is_due = False
        self._is_over = False
        self._checkpoint_at = 0.0
        self.log: deque[Frame] = deque()

    @property
    def full(self) -> bool:
        """See `Sink.full`."""
        return self._sim.full

    def put(self, item: Item) -> None:
        """See `Sink.put`."""
        if self._is_over:
            return
        self.log.extend(frames_of(item))
        self._items.append(item)
        if not self._is_due:
            self._is_due = True
            asyncio.get_running_loop().call_later(self._sim._dice.uniform(0, 1.5), self.fold)

    def invite(self, guest: Listener | None) -> asyncio.Future[None]:
        """See `Sink.invite`."""
        received = super().invite(guest)
        if self._is_over:
            self._receive()
        elif not self._is_due:
            self._is_due = True
            asyncio.get_running_loop().call_later(self._sim._dice.uniform(0, 1.5), self.fold)
        return received

    async def room(self) -> None:
        """See `Sink.room`."""
        await self._sim.room()

    def snapshot(self) -> RecorderSnapshot:
        """See `Sink.snapshot`."""
        return structs.replace(self.recorder.snapshot(), backlog_nbytes=0)

    def fold(self) -> None:
        """Fold what waits."""
        self._is_due = False
        if self._is_over or self._sim.full:
            return
        self._receive()
        items, self._items = self._items, []
        try:
            at_us = None if self._now_us is None else self._now_us()
            if items:
                only_heard = self._sim._dice.randrange(len(items) + 1)
                self.recorder.fold(items[:only_heard], writes=False)
                self.recorder.fold(items[only_heard:])
            if at_us is not None:
                self.recorder.turn(at_us)
            now = asyncio.get_running_loop().time()
            if now >= self._checkpoint_at:
                self._checkpoint_at = now + self._sim._dice.uniform(2, 20)
                self.recorder.checkpoint()
        except Exception as defect:
            self._sim.defects.append(f"Recorder.fold: {defect!r}")
            self.recorder.note_loss("a defect in rtms", repr(defect))

    async def close(self) -> RecorderSnapshot:
        """See `Sink.close`."""
        await self._sim.room()
        if not self._is_over:
            self.fold()
            self._is_over = True
            try:
                self.recorder.close()
            except Exception as defect:
                self._sim.defects.append(f"Recorder.close: {defect!r}")
            self._receive()
        return self.recorder.snapshot()
