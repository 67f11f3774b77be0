"""Recordings in a store, for the pages: what is searched of them is fetched once into a private folder."""

import shutil
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

from rtms_cli.catalog.entries import UNREADABLE, Entry
from rtms_cli.catalog.stored import stored_entry
from rtms_cli.errors import Problem, reason_of
from rtms_cli.recording.manifest import MANIFEST
from rtms_cli.store.objects import Info, NoObjectError, Objects, StoreError, open_store
from rtms_cli.store.reading import fetched, finished
from rtms_cli.store.segments import epoch_and_number, segment_name
from rtms_cli.store.urls import is_safe_key, read_store_url

REFRESH_S = 30.0
"""How often the store is listed, at most."""
FRESH_S = 5.0
"""How long what was seen of one recording holds: a browser that plays asks for many ranges."""
_MOST_SEEN = 100
MOST_NBYTES = 2 << 30
"""Of what is fetched to be searched."""
_SEARCHED = ("transcript", "chat")


class Store:
    """The recordings below a URL: `listing.Recordings`."""

    def __init__(self, url: str, endpoint: str | None) -> None:
        self.url, self._endpoint = url.rstrip("/"), endpoint
        self.objects: Objects = open_store(read_store_url(url), endpoint)
        self._seen: dict[str, tuple[float, object, dict[str, str]]] = {}

    def stamps(self) -> dict[str, object]:
        """See `Recordings`."""
        return _stamps(self.objects.listed_now(""))

    def stamp(self, name: str) -> object:
        """The same of one, as it is now or was a moment ago; `None` if it is not a recording.

        :raises StoreError: if the store does not answer.
        """
        return self._look(name)[0]

    def key(self, name: str, path: str) -> str:
        """The object that is a recording's file: the manifest says which. Other objects are not files of it.

        :raises StoreError: if there is none, or the store does not answer.
        """
        _, keys = self._look(name)
        if path not in keys:
            raise NoObjectError(f"{self.url}/{name} has no file {path}.")
        return keys[path]

    def forget(self, name: str) -> None:
        """Look again at one that was changed."""
        self._seen.pop(name, None)

    def _look(self, name: str) -> tuple[object, dict[str, str]]:
        now = time.monotonic()
        seen = self._seen.get(name)
        if seen is not None and now - seen[0] < FRESH_S:
            return seen[1], seen[2]
        found = list(self.objects.listed_now(name)) if is_safe_key(name) else []
        stamp = _stamps(found).get(name)
        keys = seen[2] if seen is not None and seen[1] == stamp else self._keys(name, found) if stamp else {}
        if len(self._seen) >= _MOST_SEEN:
            self._seen.clear()
        self._seen[name] = now, stamp, keys
        return stamp, keys

    def _keys(self, name: str, found: Iterable[Info]) -> dict[str, str]:
        inside = {info.key.removeprefix(f"{name}/"): info.key for info in found}
        keys = {path: key for path, key in inside.items() if path == MANIFEST or _is_segment(path)}
        try:
            stored = finished(self.objects, f"{name}/")
        except ValueError:
            return keys
        files = stored.entry.files if stored is not None else ()
        return keys | {file.path: inside[file.key] for file in files if file.key in inside}

    def entry(self, name: str) -> Entry:
        """See `Recordings`."""
        path = f"{self.url}/{name}"
        try:
            entry = stored_entry(self.objects, name, path)
        except Problem as problem:
            return Entry(name, path, UNREADABLE, problem=problem.what)
        return entry or Entry(name, path, UNREADABLE, problem="it has neither a manifest nor a capture")


def _stamps(found: Iterable[Info]) -> dict[str, object]:
    """Of recordings: what has neither a manifest nor a piece of a capture is something else."""
    stamps: dict[str, tuple[int, int, str]] = {}
    names = set()
    for info in found:
        name, slash, path = info.key.partition("/")
        if not slash or name.startswith("."):
            continue
        if path == MANIFEST or _is_segment(path):
            names.add(name)
        count, nbytes, last = stamps.get(name, (0, 0, ""))
        mark = f"{info.modified.isoformat()} {info.etag}" if path == MANIFEST else info.modified.isoformat()
        stamps[name] = count + 1, nbytes + info.nbytes, max(last, mark)
    return {name: stamp for name, stamp in stamps.items() if name in names}


def _is_segment(path: str) -> bool:
    place = epoch_and_number(path)
    return place is not None and path == segment_name(*place)


class Copies:
    """The searched files of a store's recordings, in a private folder that is deleted at the end."""

    def __init__(self, store: Store, endpoint: str | None) -> None:
        self._store, self._endpoint = store, endpoint
        self._folder = tempfile.TemporaryDirectory(prefix="rtms-search-")
        self.place = Path(self._folder.name) / "recordings"
        self.place.mkdir()
        self._known: dict[str, object] = {}
        self._problems: dict[str, list[str]] = {}
        self._is_full = False

    @property
    def problems(self) -> list[str]:
        """What could not be read, and why."""
        full = [f"only the first {MOST_NBYTES >> 30} GiB of text are searched"] if self._is_full else []
        return full + [f"{name}: {problem}" for name, said in tuple(self._problems.items()) for problem in said]

    def close(self) -> None:
        """Delete them."""
        self._folder.cleanup()

    def refresh(self) -> None:
        """Fetch what is new or has changed, and delete what is gone from the store.

        :raises Problem: if the store does not answer.
        """
        stamps = self._store.stamps()
        for name in [name for name in {**self._known, **self._problems} if name not in stamps]:
            self._forget(name)
        nbytes, self._is_full = 0, False
        for name, stamp in stamps.items():
            if self._is_full:
                self._forget(name)
                continue
            if self._known.get(name) != stamp:
                self._forget(name)
                if self._fetch(name):
                    self._known[name] = stamp
            nbytes += _nbytes(self.place / name)
            self._is_full = nbytes > MOST_NBYTES

    def _fetch(self, name: str) -> bool:
        """Returns whether it has to be done only once."""
        try:
            with fetched(f"{self._store.url}/{name}", self._endpoint, _SEARCHED) as found:
                if isinstance(found.source, Path):
                    shutil.copytree(found.source, self.place / name)
                self._problems[name] = list(found.problems)
        except Problem as problem:
            self._problems[name] = [problem.what]
            return not isinstance(problem, StoreError)
        except OSError as error:
            self._forget(name)
            self._problems[name] = [reason_of(error)]
            return False
        return True

    def _forget(self, name: str) -> None:
        self._known.pop(name, None)
        self._problems.pop(name, None)
        if (self.place / name).is_dir():
            shutil.rmtree(self.place / name)


def _nbytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir()) if folder.is_dir() else 0
