"""Recordings in a store, for the pages: what is searched of them is fetched once into a private folder."""

import shutil
import tempfile
from pathlib import Path
from typing import Any

from rtms_cli.catalog.entries import UNREADABLE, Entry
from rtms_cli.catalog.stored import stored_entry
from rtms_cli.errors import Problem
from rtms_cli.recording.manifest import MANIFEST
from rtms_cli.store.objects import Objects, open_store
from rtms_cli.store.reading import fetched, finished
from rtms_cli.store.urls import is_safe_key, read_store_url

REFRESH_S = 30.0
"""How often the store is listed, at most."""
MOST_NBYTES = 2 << 30
"""Of what is fetched to be searched."""
_SEARCHED = ("transcript", "chat")


class Store:
    """The recordings below a URL: `listing.Recordings`."""

    def __init__(self, url: str, endpoint: str | None) -> None:
        self.url, self._endpoint = url.rstrip("/"), endpoint
        self.objects: Objects = open_store(read_store_url(url), endpoint)

    def stamps(self) -> dict[str, object]:
        """See `Recordings`."""
        found: dict[str, tuple[int, int, Any]] = {}
        for info in self.objects.listed_now(""):
            name, slash, _ = info.key.partition("/")
            if not slash or name.startswith("."):
                continue
            count, nbytes, last = found.get(name, (0, 0, ""))
            found[name] = count + 1, nbytes + info.nbytes, max(last, info.modified.isoformat())
        return dict(found)

    def entry(self, name: str) -> Entry:
        """See `Recordings`."""
        path = f"{self.url}/{name}"
        try:
            entry = stored_entry(self.objects, name, path)
        except Problem as problem:
            return Entry(name, path, UNREADABLE, problem=problem.what)
        return entry or Entry(name, path, UNREADABLE, problem="it has neither a manifest nor a capture")

    def key_of(self, name: str, path: str) -> str | None:
        """The key of a finished recording's file, which has its epoch in it; `None` if there is no such file.

        Only files that the manifest names are there for others: a stranger may have put anything beside them.
        """
        try:
            stored = finished(self.objects, f"{name}/")
        except (ValueError, Problem):
            return None
        if stored is None:
            return None
        if path == MANIFEST:
            return f"{name}/{MANIFEST}"
        keys = {one.path: f"{name}/{one.key}" for one in stored.entry.files}
        key = keys.get(path)
        return key if key is not None and is_safe_key(key) else None


class Copies:
    """The searched files of a store's recordings, in a private folder that is deleted at the end."""

    def __init__(self, store: Store, endpoint: str | None) -> None:
        self._store, self._endpoint = store, endpoint
        self._folder = tempfile.TemporaryDirectory(prefix="rtms-search-")
        self.place = Path(self._folder.name) / "recordings"
        self.place.mkdir()
        self._known: dict[str, object] = {}
        self.problems: list[str] = []

    def close(self) -> None:
        """Delete them."""
        self._folder.cleanup()

    def refresh(self) -> None:
        """Fetch what is new or has changed, and delete what is gone from the store.

        :raises Problem: if the store does not answer.
        """
        stamps = self._store.stamps()
        for name in [name for name in self._known if name not in stamps]:
            self._forget(name)
        self.problems, nbytes = [], 0
        for name, stamp in stamps.items():
            if self._known.get(name) != stamp:
                self._forget(name)
                self._fetch(name)
                self._known[name] = stamp
            nbytes += _nbytes(self.place / name)
            if nbytes > MOST_NBYTES:
                self.problems.append(f"only the first {MOST_NBYTES >> 30} GiB of text are searched")
                return

    def _fetch(self, name: str) -> None:
        try:
            with fetched(f"{self._store.url}/{name}", self._endpoint, _SEARCHED) as found:
                if isinstance(found.source, Path):
                    shutil.copytree(found.source, self.place / name)
                self.problems += [f"{name}: {problem}" for problem in found.problems]
        except Problem as problem:
            self.problems.append(f"{name}: {problem.what}")

    def _forget(self, name: str) -> None:
        self._known.pop(name, None)
        if (self.place / name).is_dir():
            shutil.rmtree(self.place / name)


def _nbytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir()) if folder.is_dir() else 0
