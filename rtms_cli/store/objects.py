"""The calls to an object store that we need, the same for S3, Google Cloud Storage and Azure.

The library is obstore. Its errors are described in words and classified as temporary (`is_temporary`) or permanent.
Credentials are the cloud's usual ones: environment variables, the metadata service, or a workload identity.
"""

import asyncio
import os
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from msgspec import Struct

from rtms_cli.errors import Problem
from rtms_cli.store.urls import StoreUrl, is_safe_key

if TYPE_CHECKING:
    from obstore.store import ObjectStore

PART_NBYTES = 8 << 20
"""Larger files are uploaded in parallel parts of this size."""
PARTS_AT_ONCE = 4
CONNECT_S, REQUEST_S, RETRY_S = 5, 60, 10
"""Time limits in seconds for a connection, for a request, and for retries before the caller gets an error."""
_PIECE_NBYTES = 4 << 20
"""Chunk size for downloads of large objects."""
MOST_OBJECT = 512 << 20
"""Size limit of an object that is read completely."""
MOST_LISTED = 1_000_000
"""Limit of objects below one prefix."""
_BETWEEN = "\x1f"
_T = TypeVar("_T")


class StoreError(Problem):
    """A store call failed."""

    is_temporary = True
    """Whether it may work later."""


class StoreRefusesError(StoreError):
    """The store denies access, or the bucket does not exist."""

    is_temporary = False


class NoObjectError(StoreError):
    """The object does not exist."""

    is_temporary = False


class ConditionError(StoreError):
    """The object has changed or already exists. Nothing was written."""

    is_temporary = False


class Info(Struct, frozen=True):
    """Metadata of an object."""

    key: str
    """Key below the opened URL."""
    nbytes: int
    etag: str
    modified: datetime


class Objects:
    """A place in a store; keys are below it. Methods that end with `_now` wait, and the others are coroutines.

    :param store: obstore's, which has the place's prefix.
    """

    def __init__(self, store: "ObjectStore", url: StoreUrl, endpoint: str | None = None) -> None:
        self._store = store
        self.url = url
        self.endpoint = endpoint

    async def put(self, key: str, data: bytes, *, is_new: bool = False, etag: str = "") -> str:
        """Write an object.

        :param is_new: only write if it does not exist.
        :param etag: only write if it still has this ETag.
        :returns: its new ETag.
        :raises ConditionError: if the condition is not met.
        :raises StoreError: if it could not be written.
        """
        import obstore

        mode: Any = "create" if is_new else _condition(etag) if etag else "overwrite"
        done = await self._call(obstore.put_async(self._store, key, data, mode=mode, use_multipart=False), key)
        return _mark(done)

    async def put_file(self, key: str, path: Path) -> Info:
        """Write a file, in parts if it is large, and check the result.

        :raises StoreError: if it could not be written completely.
        """
        import obstore

        nbytes = (await asyncio.to_thread(path.stat)).st_size
        is_large = nbytes > PART_NBYTES
        put = obstore.put_async(
            self._store, key, path, use_multipart=is_large, chunk_size=PART_NBYTES, max_concurrency=PARTS_AT_ONCE
        )
        await self._call(put, key)
        return await self.arrived(key, nbytes)

    async def arrived(self, key: str, nbytes: int) -> Info:
        """Check that an object has the length that was written.

        :raises StoreError: if it is not.
        """
        info = await self.head(key)
        if info.nbytes != nbytes:
            raise StoreError(f"{self.url}/{key} has {info.nbytes} bytes, and {nbytes} were written.")
        return info

    async def get(self, key: str) -> tuple[bytes, str]:
        """Read an object.

        :returns: what is in it, and its ETag.
        :raises NoObjectError: if there is none.
        """
        import obstore

        got = await self._call(obstore.get_async(self._store, key), key)
        if got.meta["size"] > MOST_OBJECT:
            raise StoreRefusesError(f"{self.url}/{key} is larger than any of ours.")
        data = await self._call(got.bytes_async(), key)
        return bytes(data), _mark(got.meta)

    async def head(self, key: str) -> Info:
        """Return the metadata of an object.

        :raises NoObjectError: if there is none.
        """
        import obstore

        return _info(await self._call(obstore.head_async(self._store, key), key))

    async def listed(self, prefix: str = "") -> AsyncIterator[Info]:
        """Yield the objects below a prefix, except those with keys that are not valid file names."""
        import obstore

        stream, count = obstore.list(self._store, prefix or None, chunk_size=1000), 0
        while chunk := await self._call(_next_chunk(stream), prefix):
            for meta in chunk:
                if is_safe_key(meta["path"]):
                    yield _info(meta)
            count += len(chunk)
            if count > MOST_LISTED:
                raise StoreError(f"{self.url}/{prefix} has more than {MOST_LISTED:,} objects.")

    async def delete(self, keys: Sequence[str]) -> None:
        """Delete objects. Missing objects are not an error."""
        import obstore

        for start in range(0, len(keys), 1000):
            await self._call(obstore.delete_async(self._store, list(keys[start : start + 1000])), keys[start])

    def get_now(self, key: str) -> tuple[bytes, str]:
        """See `get`."""
        import obstore

        def read() -> tuple[bytes, str]:
            got = obstore.get(self._store, key)
            if got.meta["size"] > MOST_OBJECT:
                raise StoreRefusesError(f"{self.url}/{key} is larger than any of ours.")
            return bytes(got.bytes()), _mark(got.meta)

        return self._call_now(read, key)

    def put_now(self, key: str, data: bytes, etag: str) -> None:
        """Write an object again if it still has this ETag; see `put`."""
        import obstore

        mode: Any = _condition(etag)
        self._call_now(lambda: obstore.put(self._store, key, data, mode=mode, use_multipart=False), key)

    def head_now(self, key: str) -> Info:
        """See `head`."""
        import obstore

        return _info(self._call_now(lambda: obstore.head(self._store, key), key))

    def download_now(self, key: str, target: Path, most: int) -> int:
        """Download an object into a new file, in chunks.

        :param most: size limit. The rest is cut off.
        :returns: the size of the file.
        :raises OSError: if the file cannot be written.
        """
        import obstore

        pieces = iter(self._call_now(lambda: obstore.get(self._store, key).stream(min_chunk_size=_PIECE_NBYTES), key))
        nbytes = 0
        with target.open("xb") as sink:
            while nbytes < most and (piece := self._call_now(lambda: next(pieces, None), key)):
                nbytes += sink.write(bytes(piece)[: most - nbytes])
        return nbytes

    def delete_now(self, keys: Sequence[str]) -> None:
        """See `delete`."""
        import obstore

        for start in range(0, len(keys), 1000):
            some = list(keys[start : start + 1000])
            self._call_now(lambda some=some: obstore.delete(self._store, some), some[0])  # type: ignore[misc]

    def range_now(self, key: str, start: int, end: int) -> bytes:
        """Read some bytes of an object."""
        import obstore

        return self._call_now(lambda: bytes(obstore.get_range(self._store, key, start=start, end=end)), key)

    def listed_now(self, prefix: str = "") -> Iterator[Info]:
        """See `listed`."""
        import obstore

        stream, count = obstore.list(self._store, prefix or None, chunk_size=1000), 0
        while chunk := self._call_now(lambda: next(stream, None), prefix):
            for meta in chunk:
                if is_safe_key(meta["path"]):
                    yield _info(meta)
            count += len(chunk)
            if count > MOST_LISTED:
                raise StoreError(f"{self.url}/{prefix} has more than {MOST_LISTED:,} objects.")

    def folders_now(self, prefix: str = "") -> list[str]:
        """Return the names of the folders directly below a prefix."""
        import obstore

        found = self._call_now(lambda: obstore.list_with_delimiter(self._store, prefix or None), prefix)
        return [one.rstrip("/").rpartition("/")[2] for one in found["common_prefixes"] if is_safe_key(one.rstrip("/"))]

    async def _call(self, call: Awaitable[_T], key: str) -> _T:
        try:
            return await call
        except Exception as error:  # obstore's errors have several base classes; others propagate
            raise _in_words(error, self.url, key) from None

    def _call_now(self, call: Callable[[], _T], key: str) -> _T:
        try:
            return call()
        except Exception as error:  # the same
            raise _in_words(error, self.url, key) from None


def open_store(url: StoreUrl, endpoint: str | None = None) -> Objects:
    """Open a place in a store. This makes no request yet.

    :param endpoint: URL of an S3-compatible store, which may be plain HTTP.
    :raises Problem: if the library is not installed or the configuration is invalid.
    """
    try:
        from obstore.store import AzureStore, GCSStore, S3Store
    except ImportError:
        raise Problem(f"{url} needs the library for stores.", "pip install 'rtms-cli[store]'") from None
    client: Any = {"timeout": timedelta(seconds=REQUEST_S), "connect_timeout": timedelta(seconds=CONNECT_S)}
    retry: Any = {"max_retries": 3, "retry_timeout": timedelta(seconds=RETRY_S)}
    common: dict[str, Any] = {"prefix": url.prefix or None, "client_options": client, "retry_config": retry}
    if endpoint is not None and endpoint.startswith("http://"):
        client["allow_http"] = True
    try:
        if url.scheme == "s3":
            config: dict[str, Any] = {"checksum_algorithm": "SHA256"}
            if endpoint is not None:
                config |= {"endpoint": endpoint, "virtual_hosted_style_request": False}
                if not {"AWS_REGION", "AWS_DEFAULT_REGION"} & os.environ.keys():
                    config["region"] = "us-east-1"
            return Objects(S3Store(url.bucket, **common, **config), url, endpoint)
        if url.scheme == "gs":
            return Objects(GCSStore(url.bucket, **common), url)
        if endpoint is not None:
            common["endpoint"] = endpoint
        return Objects(AzureStore(url.bucket, **common), url)
    except Exception as error:  # any error of an invalid configuration
        raise Problem(f"{url} cannot be opened: {_line(error)}.", "Check the cloud's environment variables.") from None


async def _next_chunk(stream: Any) -> Any:
    try:
        return await stream.__anext__()
    except StopAsyncIteration:
        return None


def _mark(meta: Any) -> str:
    """Return a version identifier of an object: its ETag, and its generation, which Google's store requires."""
    e_tag, version = meta["e_tag"] or "", meta["version"]
    return f"{e_tag}{_BETWEEN}{version}" if version else str(e_tag)


def _condition(mark: str) -> dict[str, str]:
    e_tag, _, version = mark.partition(_BETWEEN)
    return {"e_tag": e_tag, "version": version} if version else {"e_tag": e_tag}


def _info(meta: Any) -> Info:
    return Info(str(meta["path"]), int(meta["size"]), _mark(meta), meta["last_modified"].astimezone(UTC))


def _in_words(error: Exception, url: StoreUrl, key: str) -> Exception:
    from obstore import exceptions

    where = f"{url}/{key}" if key else str(url)
    match error:
        case FileNotFoundError() | exceptions.NotFoundError():
            if "NoSuchBucket" in str(error):
                return StoreRefusesError(f"There is no bucket {url.bucket}.", "Make it, or choose another with --out.")
            return NoObjectError(f"{where} does not exist.")
        case exceptions.AlreadyExistsError() | exceptions.PreconditionError():
            return ConditionError(f"{where} was written by another process.")
        case exceptions.PermissionDeniedError() | exceptions.UnauthenticatedError():
            what = f"The store denies access {where}: {_line(error)}."
            return StoreRefusesError(what, "Check the credentials and their permissions.")
        case exceptions.NotSupportedError() | NotImplementedError():
            return StoreRefusesError(f"The store does not support a request at {where}: {_line(error)}.")
        case exceptions.BaseError() | OSError():
            if "NoSuchBucket" in str(error):
                return StoreRefusesError(f"There is no bucket {url.bucket}.", "Make it, or choose another with --out.")
            return StoreError(f"The store does not answer at {where}: {_line(error)}.")
        case _:
            return error


_CODE = re.compile(r"<Code>([A-Za-z]{1,60})</Code>|status: (\d{3})|(Connection refused|timed out|dns error)")


def _line(error: Exception) -> str:
    """Return a short description of an error. The library's text has many lines and may contain the full request."""
    found = [next(filter(None, groups)) for groups in _CODE.findall(str(error))]
    if found:
        return ", ".join(dict.fromkeys(found))[:200]
    first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    first = re.sub(r"https?://\S+", "…", first)[:200].rstrip(".")
    return first if first.isprintable() else ascii(first)[1:-1]
