"""A recording in a store, read like a folder's: its segments are one capture, and its files come as they are needed.

Only what is needed is downloaded: of the segments one after the other, with a few ahead, of the files those that are
asked for. Whatever a store lists or holds may come from a stranger: keys that are not ours are passed over, sizes have
bounds, and a segment that belongs to another recording is named and left out.
"""

import asyncio
import io
import tempfile
from collections.abc import Collection, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import msgspec
from msgspec import Struct, structs

from rtms_cli.capture import Capture, Header, belong_together, read_header
from rtms_cli.errors import Problem
from rtms_cli.protocol.endings import Status
from rtms_cli.recording.manifest import MANIFEST, MOST_NBYTES, Manifest
from rtms_cli.store.finishing import FencedError, Finisher, StoreEntry
from rtms_cli.store.objects import NoObjectError, Objects, StoreError, open_store
from rtms_cli.store.segments import MOST_SEGMENT_NBYTES, epoch_and_number, segment_name
from rtms_cli.store.urls import StoreUrl, is_safe_key, read_store_url

CAPTURE_PREFIX = "capture"
_HEAD_NBYTES = 1 << 18
"""How much of a segment is read for its header: more than a frame's first block, which may have 128 KiB."""
_AHEAD, _AHEAD_NBYTES = 2, 16 << 20
"""How many segments are downloaded ahead, and the size limit of each."""


class _Known(Struct):
    status: str = ""
    store: StoreEntry | None = None


_KNOWN = msgspec.json.Decoder(_Known)


class StoredManifest(NamedTuple):
    """The manifest of a finished recording."""

    manifest: Manifest
    entry: StoreEntry
    """Its store entry."""
    etag: str


class Segment(NamedTuple):
    """A piece of a recording's capture."""

    epoch: int
    number: int
    key: str
    nbytes: int
    modified: datetime


def finished(objects: Objects, prefix: str = "") -> StoredManifest | None:
    """Return the manifest of a finished recording, or `None` if it is not finished.

    :param prefix: where the recording is below the place that was opened, with a slash at its end.
    :raises ValueError: if it has a manifest that is not one of ours.
    :raises StoreError: if the store does not answer.
    """
    try:
        if objects.head_now(f"{prefix}{MANIFEST}").nbytes > MOST_NBYTES:
            raise ValueError(f"it is larger than {MOST_NBYTES >> 20} MiB")
        content, etag = objects.get_now(f"{prefix}{MANIFEST}")
    except NoObjectError:
        return None
    try:
        known = _KNOWN.decode(content)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if known.status in ("", Status.RECORDING):
        return None
    if known.store is None:
        raise ValueError("it does not say what the store has")
    if not all(is_safe_key(one.key) and is_safe_key(one.path) for one in known.store.files):
        raise ValueError("it names files outside of the recording")
    return StoredManifest(Manifest.decode(content), known.store, etag)


def segments_in(objects: Objects, prefix: str = "") -> list[Segment]:
    """Return the segments of a recording's capture, in order. Other objects are skipped.

    :param prefix: see `read_manifest`.
    """
    found = []
    for info in objects.listed_now(f"{prefix}{CAPTURE_PREFIX}"):
        place = epoch_and_number(info.key)
        if place is not None and info.key == f"{prefix}{segment_name(*place)}":
            found.append(Segment(*place, info.key, info.nbytes, info.modified))
    return sorted(found)


def gaps(segments: list[Segment]) -> list[str]:
    """Describe the missing numbers."""
    told, last = [], (0, 0)
    for epoch, number, *_ in segments:
        before = last[1] if epoch == last[0] else 0
        if number > before + 1:
            missing = f"segment {before + 1}" if number == before + 2 else f"segments {before + 1} to {number - 1}"
            told.append(f"{missing} of epoch {epoch} {'is' if number == before + 2 else 'are'} not there")
        last = epoch, number
    return told


class StoredCapture(Capture):
    """A capture in a store, in segments; see `Capture`.

    :raises Problem: if there is none that can be read, or the store does not answer.
    """

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._segments = segments_in(objects)
        self._place = Path(objects.url.name or objects.url.bucket)
        self._ahead: dict[Path, Future[bytes]] = {}
        self._pool: ThreadPoolExecutor | None = None
        self._source = None
        self._nbytes_before = 0
        self.problems = []
        if not self._segments:
            raise Problem(f"{objects.url} has no capture.", "Give the URL of one recording.")
        self.gaps = gaps(self._segments)
        """Descriptions of missing segments."""
        self._lacking = [*self.gaps]
        self._by_path = {self._path_of(one): one for one in self._segments}
        self._named = self._place
        self.paths = list(self._by_path)
        self._headers = self._read_headers()
        self.paths = [path for path in self.paths if path in self._headers]
        self._last = 1
        if not self.paths:
            raise Problem(f"{objects.url} has no capture that can be read: {'; '.join(self._lacking)}.")
        self.path = self.paths[0]
        first = self._headers[self.path]
        self.header = structs.replace(first, verified=all(header.verified for header in self._headers.values()))

    @property
    def objects(self) -> Objects:
        """Where it is."""
        return self._objects

    @property
    def last_epoch(self) -> int:
        """The last owner that has stored something."""
        return self._segments[-1].epoch

    @property
    def modified(self) -> datetime:
        """When the newest segment was written, by the store's clock."""
        return max(segment.modified for segment in self._segments)

    def end_us(self) -> int | None:
        """See `Capture.end_us`; that is in the last segment, whose end is its own."""
        return None

    def goes_on_behind(self, place: int) -> bool:
        """Return whether there is another segment. Later ones are not looked for."""
        return place < len(self.paths) - 1

    def close(self) -> None:
        """Stop downloading ahead."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None
        self._ahead.clear()

    def _path_of(self, segment: Segment) -> Path:
        return self._place / CAPTURE_PREFIX / segment.key.rpartition("/")[2]

    def _read_headers(self) -> dict[Path, Header]:
        """The headers of all segments, by the first one of each epoch that can be read."""
        by_epoch: dict[int, Header] = {}
        found: dict[Path, Header] = {}
        for path, segment in self._by_path.items():
            if segment.nbytes > MOST_SEGMENT_NBYTES:
                self._lacking.append(f"{path.name} is larger than {MOST_SEGMENT_NBYTES >> 20} MiB")
                continue
            header = by_epoch.get(segment.epoch)
            if header is None:
                try:
                    header = self._header_of(path, segment)
                except Problem as problem:
                    if isinstance(problem, StoreError):
                        raise
                    self._lacking.append(problem.what.rstrip("."))
                    continue
                if any(not belong_together(header, one) for one in by_epoch.values()):
                    self._lacking.append(f"{path.name} belongs to another recording")
                    continue
                by_epoch[segment.epoch] = header
            found[path] = header
        return found

    def _header_of(self, path: Path, segment: Segment) -> Header:
        head = b""
        if segment.nbytes:
            head = self._objects.range_now(segment.key, 0, min(segment.nbytes, _HEAD_NBYTES))
        header = read_header(io.BufferedReader(io.BytesIO(head)), path)
        if header.epoch != segment.epoch:
            raise Problem(f"{path.name} belongs to another recording.")
        return header

    def _open(self, path: Path) -> io.BufferedReader:
        content = self._downloaded(path)
        try:
            header = read_header(io.BufferedReader(io.BytesIO(content)), path)
            belongs = belong_together(header, self.header) and header.epoch == self._headers[path].epoch
            problem = "" if belongs else f"{path.name} belongs to another recording"
        except Problem as error:
            problem = error.what.rstrip(".")
        if problem:
            self.problems.append(problem)
            content = b""
        return io.BufferedReader(io.BytesIO(content))

    def _nbytes_of(self, path: Path) -> int:
        return self._by_path[path].nbytes

    def _downloaded(self, path: Path) -> bytes:
        """Return a segment while the next ones are being downloaded."""
        pool = self._pool = self._pool or ThreadPoolExecutor(_AHEAD, "segments")
        waiting = self._ahead.pop(path, None)
        if waiting is None:  # reading starts over
            for other in self._ahead.values():
                other.cancel()
            self._ahead.clear()
            waiting = pool.submit(self._get, path)
        place = self.paths.index(path)
        for following in self.paths[place + 1 : place + 1 + _AHEAD]:
            if following not in self._ahead and self._nbytes_of(following) <= _AHEAD_NBYTES:
                self._ahead[following] = pool.submit(self._get, following)
        return waiting.result()

    def _get(self, path: Path) -> bytes:
        return self._objects.get_now(self._by_path[path].key)[0]


class Fetched(NamedTuple):
    """The requested data of a recording in a store."""

    source: Path | Capture
    """A folder with what is needed of its finished files; the capture, where it is not finished."""
    capture: Capture
    problems: list[str]


@contextmanager
def fetched(text: str, endpoint: str | None, kinds: Collection[str]) -> Iterator[Fetched]:
    """Open a recording by its URL. The downloaded data exists while the block runs.

    :param kinds: kinds of tracks whose files are needed; empty means all.
    :raises Problem: if it cannot be read.
    """
    objects = open_store(read_store_url(text), endpoint)
    try:
        stored = finished(objects)
    except ValueError as error:
        raise Problem(f"{objects.url}/{MANIFEST} cannot be read: {error}.") from None
    capture = StoredCapture(objects)
    with ExitStack() as closing:
        closing.callback(capture.close)
        if stored is None:
            yield Fetched(capture, capture, [])
            return
        folder = Path(closing.enter_context(tempfile.TemporaryDirectory(prefix="rtms-store-")))
        manifest = stored.manifest
        manifest.tracks = [one for one in manifest.tracks if not kinds or one.kind in kinds]
        paths = [one.path for one in manifest.tracks]
        (folder / MANIFEST).write_bytes(manifest.encode())
        names = [*paths, *(f"{path}.index.jsonl" for path in paths)]
        problems = list(download(objects, stored.entry, names, folder))
        yield Fetched(folder, capture, problems)


SILENT_S = 60.0
"""A recording without new data for this long has no owner, because a live owner adds data every 10 s."""


def repair_stored(text: str, endpoint: str | None, *, keep_revoked: bool, force: bool) -> tuple[str, bool]:
    """Finish a recording in a store from its segments after its owners are gone. A finished recording is unchanged.

    :param force: even if its last segment is new.
    :returns: how it ended, and whether there was something to repair.
    :raises Problem: if it is not a recording, is being recorded, or could not be finished.
    """
    url = read_store_url(text)
    objects = open_store(url, endpoint)
    try:
        stored = finished(objects)
    except ValueError as error:
        raise Problem(f"{url}/{MANIFEST} cannot be read: {error}.", "Nothing was changed.") from None
    if stored is not None:
        return stored.manifest.status, False
    segments = segments_in(objects)
    if not segments or not url.prefix:
        raise Problem(f"{url} has no capture.", "Give the URL of one recording.")
    silent_s = (datetime.now(UTC) - max(segment.modified for segment in segments)).total_seconds()
    if silent_s < SILENT_S and not force:
        raise Problem(
            f"{url} may be being recorded: its last segment came {max(0, silent_s):.0f} s ago.",
            f"Repair it when nothing records it, or use --force. It waits for {SILENT_S:.0f} s.",
        )
    parent = StoreUrl(url.scheme, url.bucket, url.prefix.rpartition("/")[0])
    with tempfile.TemporaryDirectory(prefix="rtms-store-") as spool:
        finisher = Finisher(open_store(parent, endpoint), Path(spool), keep_revoked=keep_revoked)
        try:
            return asyncio.run(finisher.finish_from_segments(url.name, segments[-1].epoch)), True
        except FencedError:
            raise Problem(f"{url} is being recorded by a later owner.", "Nothing was changed.") from None


def download(objects: Objects, entry: StoreEntry, names: list[str], folder: Path) -> Iterator[str]:
    """Download some finished files of a recording into a folder, by their names in it.

    :returns: differences from the manifest, as they are found.
    """
    by_name = {one.path: one for one in entry.files}
    for name in names:
        stored = by_name.get(name)
        if stored is None:
            continue
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            nbytes = objects.download_now(stored.key, target, stored.nbytes)
        except NoObjectError:
            yield f"{name} is no longer in the store"
            continue
        if nbytes != stored.nbytes:
            yield f"{name} has {nbytes} bytes in the store, and the manifest says {stored.nbytes}"
