"""Ships recordings from a spool to a store while they are recorded, and finishes them there.

Theory of operation. The disk is the source of truth; nothing here touches a recorder. Every `TICK_S`, a scan of the
disk finds the parts whose next segment is due. They are uploaded in parallel. When a part's recorder has closed, the
rest is uploaded; then, if the stream is over, the finished files, and the manifest last. Only data that the store has
confirmed counts as shipped, and only complete parts are removed from the spool.

A process that starts writing a recording puts its epoch into the manifest with a conditional write. An owner that
finds a later epoch there stops, because it has lost the stream.
"""

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from rtms_cli.errors import Problem, log_defect, reason_of
from rtms_cli.machine import Finish
from rtms_cli.protocol.webhooks import Stream
from rtms_cli.recording.manifest import MANIFEST, Manifest
from rtms_cli.recording.ownership import FolderLock, NoLocksError
from rtms_cli.store.deaf import DeafObserver
from rtms_cli.store.finishing import FencedError, Finisher
from rtms_cli.store.objects import ConditionError, NoObjectError, Objects, StoreError
from rtms_cli.store.segments import (
    SEGMENT_NBYTES,
    SEGMENT_S,
    next_segment,
    packed,
    segment_name,
    unpacked_segment,
    waiting_nbytes,
)
from rtms_cli.store.spool import (
    STATES,
    Segment,
    Shipped,
    SpoolPart,
    drop_least_valuable,
    nbytes_in,
    part_at,
    parts_in,
)

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

log = logging.getLogger(__name__)

TICK_S = 0.5
LAST_S = 30.0
"""How long an ending process keeps uploading. The rest stays in the spool for the next process."""
ADOPT_S = 30.0
"""How often the spool is measured and searched for parts that other processes left behind."""
QUIET_S = 10.0
"""A part without writes for this long counts as left behind."""
UPLOADS = 16
"""At once."""
LONGEST_S = 60.0
"""How long finishing a recording waits for another part to be stored."""
FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 30.0
"""Retry delay for an unreachable store."""
SURE_S = 12.0
"""After a longer pause between two writes, the manifest is checked for whether the stream is still ours."""
MAY_GO_ON_S = 600.0
"""How long an interrupted recording stays in the spool, because it may continue in this process."""


class _Part:
    """A part that is being shipped."""

    def __init__(self, part: SpoolPart, *, is_closed: bool, is_over: bool) -> None:
        self.part = part
        self.state = Shipped(part.epoch)
        """Its state when it was last processed."""
        self.is_closed = is_closed
        """Whether its recorder has closed."""
        self.is_over = is_over
        """Whether the recording is finished in the store when the rest is there."""
        self.revoked = False
        self.may_go_on = False
        """Whether this process may continue it."""
        self.is_adopted = False
        """Whether its process has died: what it has recorded is stored, and nothing else is written."""
        self.has_claimed = False
        self.busy = False
        self.waiting = 0
        self.since = self.confirmed = time.monotonic()
        """When its last segment was cut, and when the store last confirmed our ownership."""
        self.ended = asyncio.Event()
        self.lock: FolderLock | None = None
        """Held from when its recorder has closed, so that nobody else takes it for one that was left behind."""
        self.not_before, self.wait_s = 0.0, FIRST_WAIT_S
        """When it is tried again, where something is wrong with it alone; and how long after the next time."""
        self.oldest: float | None = None
        """Since when data is waiting."""

    def take(self) -> bool:
        """Hold its lock, where there are locks; waits for the disk.

        :returns: whether no other process works on it.
        """
        if self.lock is None:
            lock = FolderLock(self.part.folder)
            try:
                lock.acquire()
            except NoLocksError:
                return True
            except OSError:
                return False
            self.lock = lock
        return True

    def let_go(self) -> None:
        """Release its lock."""
        if self.lock is not None:
            self.lock.release()
            self.lock = None


class _Standing(DeafObserver):
    """The state of shipping, for screens and probes."""

    def __init__(self, objects: Objects, most_nbytes: int) -> None:
        self.objects = objects
        self._most_nbytes = most_nbytes
        self._parts: dict[Path, _Part] = {}
        self._away = ""
        """Why the store cannot be reached."""
        self._counts: Counter[str] = Counter()
        self._spooled = 0
        """Last measured size of the spool in bytes."""

    def _waits(self) -> tuple[int, float]:
        """Return how many bytes are waiting, and for how many seconds the oldest have waited."""
        open_parts = [one for one in self._parts.values() if not one.ended.is_set()]
        now = time.monotonic()
        oldest = min((one.oldest for one in open_parts if one.oldest is not None), default=now)
        return sum(one.waiting for one in open_parts), round(now - oldest, 1)

    def snapshot(self) -> dict[str, object]:
        """Return the state for `GET /healthz`."""
        waiting, oldest_s = self._waits()
        return {
            "url": str(self.objects.url),
            "state": self._away or "reached",
            "waiting_bytes": waiting,
            "oldest_seconds": oldest_s,
            "spool_bytes": self._spooled,
            "segments": self._counts["segments"],
            "failures": self._counts["failures"],
        }

    def not_ready(self) -> str | None:
        """Return why no stream should be accepted now."""
        if self._away and self._spooled > self._most_nbytes:
            return f"the spool is full, and the store cannot be reached: {self._away}"
        return None

    def figures(self) -> "Iterable[Metric]":
        """Yield the metrics for `GET /metrics`."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        waiting, oldest_s = self._waits()
        yield GaugeMetricFamily("rtms_store_reached", "Whether the store can be reached.", float(not self._away))
        yield GaugeMetricFamily("rtms_store_waiting_bytes", "Capture that is not stored yet.", waiting)
        yield GaugeMetricFamily(
            "rtms_store_oldest_seconds", "Age of the oldest capture that is not stored yet.", oldest_s
        )
        yield GaugeMetricFamily("rtms_spool_bytes", "Size of the spool.", self._spooled)
        for name, what in _COUNTERS.items():
            yield CounterMetricFamily(f"rtms_store_{name}", what, self._counts[name])
        yield CounterMetricFamily("rtms_store_segment_bytes", "Bytes of segments.", self._counts["nbytes"])


class Shipping(_Standing):
    """See the module docstring. It observes a station. Use it with `async with`.

    :param objects: where recordings are stored.
    :param spool: where the station records.
    :param most_nbytes: size limit of the spool.
    :param tell: reports to scripts and users; see `Observer.on_event`.
    :param in_fleet: whether recordings have several owners, so that `finish` reports when one is over.
    """

    def __init__(
        self,
        objects: Objects,
        spool: Path,
        most_nbytes: int,
        tell: Callable[[str, Mapping[str, object], str], None],
        *,
        in_fleet: bool = False,
        keep_revoked: bool = False,
    ) -> None:
        super().__init__(objects, most_nbytes)
        self._spool = spool
        self._tell = tell
        self._in_fleet = in_fleet
        self._finisher = Finisher(objects, spool, keep_revoked=keep_revoked)
        self._uploads = asyncio.Semaphore(UPLOADS)
        self._tasks: set[asyncio.Task[None]] = set()
        self._running: asyncio.Task[None] | None = None
        self._wait_s = FIRST_WAIT_S
        self._not_before = 0.0
        self._adopts_at = 0.0
        self._changed = asyncio.Event()

    async def __aenter__(self) -> "Shipping":
        await asyncio.to_thread((self._spool / STATES).mkdir, mode=0o700, parents=True, exist_ok=True)
        self._running = asyncio.create_task(self._run(), name="shipping")
        self._running.add_done_callback(self._done)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._running is not None
        self._running.cancel()
        await asyncio.wait([self._running])
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    # See `Observer`.

    def on_started(self, stream: Stream, folder: Path | None) -> None:
        """A recording has started or continues."""
        if folder is None:
            return
        known = self._parts.get(folder)
        if known is not None:
            known.is_closed = known.is_over = False
            known.ended.clear()
            return
        self._spawn(self._begin(folder), f"ship {folder.name}")

    def on_finished(self, stream: Stream, folder: Path | None, finish: Finish, manifest: Manifest | None) -> None:
        """A recorder has closed."""
        one = None if folder is None else self._parts.get(folder)
        if one is not None:
            self._close(one, finish.status)
        elif folder is not None:
            self._spawn(self._begin(folder, finish.status), f"ship {folder.name}")

    def on_event(self, name: str, fields: Mapping[str, object], text: str) -> None:
        """Handle a worker's report that a stream with several owners is over for now."""
        recording, epoch = fields.get("recording"), fields.get("epoch")
        if name == "fleet" and fields.get("what") == "over" and isinstance(recording, str) and isinstance(epoch, int):
            self.finish(recording, epoch)

    def finish(self, recording: str, epoch: int) -> None:
        """A recording with several owners is over: finish it in the store, also where this owner recorded nothing."""
        if not self._is_ours(recording, epoch):
            self._spawn(self._finish_without_part(recording, epoch), f"finish {recording}")

    def _is_ours(self, recording: str, epoch: int) -> bool:
        """Return whether a part of the recording is shipped here, which also finishes the recording."""
        for one in self._parts.values():
            if one.part.recording == recording and one.part.epoch == epoch:
                one.is_over = True
                return True
        return False

    async def idle(self, timeout_s: float | None = None) -> bool:
        """Wait until the store has everything that was recorded.

        :returns: whether it has.
        """
        try:
            async with asyncio.timeout(timeout_s):
                while any(not one.ended.is_set() for one in self._parts.values()) or self._tasks:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            return False
        return True

    # The loop.

    async def _run(self) -> None:
        while True:
            if time.monotonic() >= self._adopts_at:
                self._adopts_at = time.monotonic() + ADOPT_S
                try:
                    await self._adopt()
                    await self._keep_bound()
                except OSError as error:  # a part that vanishes, a full disk: running recordings are shipped anyway
                    log.warning("%s could not be looked through: %s", self._spool, error)
            ready = [one for one in self._parts.values() if not one.busy and not one.ended.is_set()]
            sizes = await asyncio.to_thread(_waiting, ready)
            now = time.monotonic()
            for one, size in zip(ready, sizes, strict=True):
                one.waiting = size
                one.oldest = (one.oldest or now) if size else None
                is_due = one.is_closed or size >= SEGMENT_NBYTES or (size and now - one.since >= SEGMENT_S)
                if is_due and now >= max(self._not_before, one.not_before):
                    one.busy = True
                    self._spawn(self._ship(one), f"ship {one.part.recording}")
            await asyncio.sleep(TICK_S)

    def _spawn(self, work: Any, name: str) -> None:
        task: asyncio.Task[None] = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        self._changed.set()
        if not task.cancelled() and (defect := task.exception()) is not None:
            log_defect(log, task.get_name(), defect)

    async def _begin(self, folder: Path, status: str | None = None) -> None:
        part = await asyncio.to_thread(part_at, self._spool, folder)
        if part is None or folder in self._parts:
            return
        one = self._parts[folder] = _Part(part, is_closed=False, is_over=False)
        if status is not None:
            self._close(one, status)

    def _close(self, one: _Part, status: str) -> None:
        one.is_closed, one.revoked = True, status == "revoked"
        one.may_go_on = status == "interrupted" and not self._in_fleet
        one.is_over = one.is_over or not self._in_fleet or one.revoked

    async def _ship(self, one: _Part) -> None:
        """Ship the waiting data of a part, and finish the part if it is over."""
        one.state = await asyncio.to_thread(one.part.state)
        try:
            async with self._uploads:
                await self._ship_part(one)
        except FencedError:
            one.state.is_fenced = True
            one.ended.set()
            await asyncio.to_thread(one.part.remember, one.state)
            text = f"{one.part.recording}: a later owner has it; nothing more is written to the store"
            self._tell("store", {"state": "fenced", "recording": one.part.recording, "epoch": one.part.epoch}, text)
        except StoreError as error:
            self._miss(error)
        except OSError as error:
            self._try_later(one, f"WARNING: {one.part.folder} is not stored yet: {reason_of(error)}")
        except Problem as problem:  # it cannot be finished: the spool keeps it
            one.ended.set()
            text = f"WARNING: {one.part.recording} is not finished: {problem} rtms repair {self._url_of(one.part)}"
            self._tell("store", {"state": "failed", "recording": one.part.recording}, text)
        except Exception:  # a defect in rtms must not stop the others, nor be reported twice a second
            log.exception("a defect in rtms: %s", one.part.recording)
            self._try_later(one, f"WARNING: {one.part.recording} is not stored yet because of a defect in rtms")
        finally:
            if one.ended.is_set():
                await asyncio.to_thread(one.let_go)
            one.busy = False
            self._changed.set()

    async def _ship_part(self, one: _Part) -> None:
        if one.is_closed and not one.may_go_on and not await asyncio.to_thread(one.take):
            return  # its recorder has not released it yet
        if not one.has_claimed and not one.revoked and not (one.is_adopted and self._in_fleet):
            await self._claim(one)
        if one.is_adopted and await self._finisher.is_gone(one.part.recording):
            await asyncio.to_thread(one.part.remove)
            self._parts.pop(one.part.folder, None)
            one.ended.set()
            return
        if not one.revoked:
            await self._ship_segments(one)
        if not one.is_closed or (not one.is_over and not self._in_fleet):
            return
        if one.is_over:
            if one.is_adopted and self._in_fleet and not one.revoked:
                status = await self._finisher.finish_again(one.part.recording)
            else:
                await self._ship_others(one.part)
                if await self._finisher.has_to_be_made_anew(one.part):
                    await asyncio.to_thread(one.let_go)
                status = await self._finisher.finish(one.part, revoked=one.revoked)
            self._counts["recordings"] += 1
            url = self._url_of(one.part)
            fields = {"state": "stored", "recording": one.part.recording, "url": url, "status": status}
            self._tell("store", fields, f"stored {url}")
        one.state.is_final = True
        await asyncio.to_thread(one.part.remember, one.state)
        if not one.may_go_on:
            await asyncio.to_thread(one.part.remove)
            self._parts.pop(one.part.folder, None)
        one.ended.set()

    def _try_later(self, one: _Part, text: str) -> None:
        if one.wait_s == FIRST_WAIT_S:
            self._tell("store", {"state": "failed", "recording": one.part.recording}, text)
        one.not_before = time.monotonic() + one.wait_s
        one.wait_s = min(LONGEST_S, 2 * one.wait_s)

    def _url_of(self, part: SpoolPart) -> str:
        return f"{self.objects.url}/{part.recording}"

    async def _ship_others(self, part: SpoolPart) -> None:
        """Store what dead owners of a recording left in this spool."""
        for other in await asyncio.to_thread(lambda: list(parts_in(self._spool))):
            if other.recording != part.recording or other.folder == part.folder or not other.is_quiet(QUIET_S):
                continue
            known = self._parts.get(other.folder)
            if known is not None:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LONGEST_S):
                        await known.ended.wait()
                continue
            await self._ship_left(_Part(other, is_closed=True, is_over=False))

    async def _ship_left(self, left: _Part) -> None:
        """Store what a dead owner left in this spool."""
        if not await asyncio.to_thread(left.take):
            return
        left.is_adopted = left.busy = True
        self._parts[left.part.folder] = left
        try:
            left.state = await asyncio.to_thread(left.part.state)
            if not await self._finisher.is_gone(left.part.recording):
                await self._ship_segments(left)
            await asyncio.to_thread(left.part.remove)
        finally:  # if that failed, it is adopted later
            del self._parts[left.part.folder]
            left.ended.set()
            await asyncio.to_thread(left.let_go)

    async def _ship_segments(self, one: _Part) -> None:
        part = one.part
        while True:
            cut = await asyncio.to_thread(next_segment, part.folder, one.state.mark)
            if cut is None:
                one.since = time.monotonic()
                return
            if time.monotonic() - one.confirmed > SURE_S and one.has_claimed:
                await self._claim(one)
            lines, mark = cut
            data = await asyncio.to_thread(packed, lines)
            number = len(one.state.segments) + 1
            key = f"{part.recording}/{segment_name(part.epoch, number)}"
            start = one.state.mark.offset if mark.part == one.state.mark.part else 0
            try:
                await self.objects.put(key, data, is_new=True)
            except ConditionError:
                mark = await self._put_before(key, lines, start, mark.part)
            self._reach()
            self._counts["segments"] += 1
            self._counts["nbytes"] += len(data)
            one.state.segments.append(Segment(number, mark.part, start, mark.offset, len(data)))
            one.state.mark = mark
            one.since = one.confirmed = time.monotonic()
            await asyncio.to_thread(part.remember, one.state)

    async def _put_before(self, key: str, lines: bytes, start: int, part: int) -> Any:
        """Return the end of a segment that we stored before but could not record as stored."""
        from rtms_cli.store.segments import Mark, without_header

        data, _ = await self.objects.get(key)
        try:
            there = without_header(unpacked_segment(data))
        except ValueError as error:
            raise Problem(f"{self.objects.url}/{key} is damaged: {error}.", "Delete it: it is stored again.") from None
        ours = without_header(lines)
        if not ours.startswith(there):
            raise FencedError
        header = len(lines) - len(ours)
        return Mark(part, max(start, header) + len(there))

    async def _claim(self, one: _Part) -> None:
        """Write into the manifest that we write the recording now.

        :raises FencedError: if a later owner does.
        """
        await self._finisher.claim(one.part)
        self._reach()
        one.has_claimed, one.confirmed = True, time.monotonic()

    async def _finish_without_part(self, recording: str, epoch: int) -> None:
        """Finish a recording to which this process has not contributed."""
        await asyncio.sleep(TICK_S)  # it may have just started here
        if self._is_ours(recording, epoch):
            return
        nothing = SpoolPart(self._spool, recording, self._spool / STATES / "nothing", epoch)
        while True:
            try:
                await self._ship_others(nothing)
                await self._finisher.finish_from_segments(recording, epoch)
                self._reach()
                return
            except FencedError:
                return
            except NoObjectError:
                return  # nobody has recorded anything
            except StoreError as error:
                self._miss(error)
                await asyncio.sleep(self._wait_s)
            except Problem as problem:
                self._tell("store", {"state": "failed"}, f"WARNING: {recording} is not finished: {problem}")
                return

    # Unreachable stores, full spools, and parts left behind.

    def _miss(self, error: StoreError) -> None:
        self._counts["failures"] += 1
        if not self._away:
            text = f"WARNING: {error} Recordings continue in {self._spool} until the store is back."
            self._tell("store", {"state": "away"}, text)
        self._away = str(error)
        self._not_before = time.monotonic() + self._wait_s
        self._wait_s = min(LONGEST_WAIT_S, 2 * self._wait_s)

    def _reach(self) -> None:
        if self._away:
            self._tell("store", {"state": "reached"}, "the store is reachable again")
        self._away, self._wait_s, self._not_before = "", FIRST_WAIT_S, 0.0

    async def _adopt(self) -> None:
        """Take over parts whose process has died, including those of earlier runs."""
        for folder, one in list(self._parts.items()):
            if one.ended.is_set() and one.may_go_on and await asyncio.to_thread(_is_old, folder):
                await asyncio.to_thread(one.part.remove)  # it was not continued
                del self._parts[folder]
        for part in await asyncio.to_thread(lambda: list(parts_in(self._spool))):
            if part.folder in self._parts:
                continue
            if not await asyncio.to_thread(part.is_quiet, QUIET_S):
                continue
            state = await asyncio.to_thread(part.state)
            if state.is_fenced:
                continue
            if state.is_final and not await asyncio.to_thread(waiting_nbytes, part.folder, state.mark):
                if await asyncio.to_thread(_is_old, part.folder):
                    await asyncio.to_thread(part.remove)
                continue
            one = _Part(part, is_closed=True, is_over=not self._in_fleet)
            if not await asyncio.to_thread(one.take):
                continue
            self._parts[part.folder], one.is_adopted = one, True
            self._tell("store", {"state": "adopted", "recording": part.recording}, f"{part.folder} is stored, too")
            manifest = await asyncio.to_thread(_manifest_of, part.folder)
            one.revoked = manifest is not None and manifest.status == "revoked"
            one.is_over = one.is_over or one.revoked or await self._finisher.is_surely_over(part.recording)

    async def _keep_bound(self) -> None:
        self._spooled = await asyncio.to_thread(nbytes_in, self._spool)
        if self._spooled <= self._most_nbytes:
            return
        count, freed = await asyncio.to_thread(
            drop_least_valuable,
            self._spool,
            self._spooled - self._most_nbytes,
            {folder for folder, one in self._parts.items() if one.lock is not None},
            {folder for folder, one in self._parts.items() if one.busy},
        )
        self._counts["dropped"] += count
        text = (
            f"WARNING: {self._spool} holds {self._spooled >> 20} MiB, and --spool-max is {self._most_nbytes >> 20} MiB:"
            f" {count} files were deleted that their captures can make again ({freed >> 20} MiB)"
        )
        self._tell("store", {"state": "spool full", "dropped": count, "nbytes": freed}, text)


_COUNTERS = {
    "segments": "Segments of captures that were stored.",
    "recordings": "Recordings that were finished in the store.",
    "failures": "Calls to the store that failed.",
    "dropped": "Files deleted from a full spool; their captures can restore them.",
}


def _waiting(parts: list[_Part]) -> list[int]:
    return [waiting_nbytes(one.part.folder, one.state.mark) for one in parts]


def _manifest_of(folder: Path) -> Manifest | None:
    try:
        return Manifest.read(folder)
    except (OSError, ValueError):
        return None


def _is_old(folder: Path) -> bool:
    try:
        return time.time() - (folder / MANIFEST).stat().st_mtime > MAY_GO_ON_S
    except OSError:
        return True


msgspec.json.Decoder(Shipped)  # or two threads would make what msgspec knows of it, and crash
