"""Recordings in a store, listed and found as those in a folder are."""

from collections.abc import Iterator

from rtms_cli.catalog.entries import UNFINISHED, UNREADABLE, Entry, described, newest_first
from rtms_cli.catalog.finding import LATEST, is_called, not_one
from rtms_cli.catalog.naming import titled
from rtms_cli.errors import Problem
from rtms_cli.recording.manifest import MANIFEST, Manifest
from rtms_cli.store.objects import Objects, open_store
from rtms_cli.store.reading import StoredManifest, finished, segments_in
from rtms_cli.store.urls import read_store_url


def stored_entries(url: str, endpoint: str | None = None) -> Iterator[Entry]:
    """The recordings below a URL, in the order of their names.

    One without a finished manifest is `unfinished`: the store does not say whether someone records it.

    :raises Problem: if the store does not answer.
    """
    objects = open_store(read_store_url(url), endpoint)
    for name in sorted(objects.folders_now()):
        if (entry := stored_entry(objects, name, f"{url.rstrip('/')}/{name}")) is not None:
            yield entry


def find_stored(text: str, url: str, endpoint: str | None = None) -> str:
    """The URL of the recording that a person means; see `catalog.finding.find_folder`.

    :raises Problem: if there is none, or several, or the store does not answer.
    """
    if text == LATEST:
        entries = newest_first(stored_entries(url, endpoint))
        if not entries:
            raise Problem(f"There is no recording in {url}.", "`rtms listen --out` records into a store.")
        return entries[0].path
    names = set(open_store(read_store_url(url), endpoint).folders_now())
    named = [text] if text in names else sorted(name for name in names if text and name.startswith(text))
    if not named:
        named = [entry.name for entry in stored_entries(url, endpoint) if text and is_called(entry, text)]
    if len(named) != 1:
        raise not_one(text, named, names, url.rstrip("/"))
    return f"{url.rstrip('/')}/{named[0]}"


def stored_entry(objects: Objects, name: str, path: str) -> Entry | None:
    """What a list says of a recording below a place in a store; `None` if it is not one.

    :param path: its URL.
    """
    nbytes = sum(info.nbytes for info in objects.listed_now(name))
    try:
        stored = finished(objects, f"{name}/")
    except ValueError as error:
        return Entry(name, path, UNREADABLE, nbytes=nbytes, problem=str(error))
    if stored is not None:
        return described(name, path, stored.manifest.status, stored.manifest, nbytes)
    return Entry(name, path, UNFINISHED, nbytes=nbytes) if segments_in(objects, f"{name}/") else None


def read_stored(url: str, endpoint: str | None = None) -> tuple[Entry, Manifest]:
    """A finished recording in a store, by its URL.

    :raises Problem: if there is none, or the store does not answer.
    """
    objects, stored = _finished(url, endpoint)
    nbytes = sum(info.nbytes for info in objects.listed_now(""))
    name = url.rstrip("/").rpartition("/")[2]
    return described(name, url, stored.manifest.status, stored.manifest, nbytes), stored.manifest


def name_stored(url: str, title: str | None, endpoint: str | None = None) -> None:
    """Give a finished recording in a store a title; see `catalog.naming`.

    :raises Problem: if there is none, it was changed meanwhile, or the store does not answer.
    """
    objects, _ = _finished(url, endpoint)
    content, etag = objects.get_now(MANIFEST)
    try:
        objects.put_now(MANIFEST, titled(content, title), etag)
    except ValueError as error:
        raise Problem(f"The manifest of {url} cannot be changed: {error}.") from None


def _finished(url: str, endpoint: str | None) -> tuple[Objects, StoredManifest]:
    objects = open_store(read_store_url(url), endpoint)
    try:
        stored = finished(objects)
    except ValueError as error:
        raise Problem(f"The manifest of {url} cannot be read: {error}.") from None
    if stored is None:
        raise Problem(f"{url} is not a finished recording.", "`rtms ls URL` lists those below a URL.")
    return objects, stored
