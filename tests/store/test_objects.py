"""The calls to a store, against a real S3 API."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from s3_server import S3Server, use_credentials

from rtms_cli.errors import Problem
from rtms_cli.store.objects import (
    PART_NBYTES,
    ConditionError,
    NoObjectError,
    Objects,
    StoreError,
    StoreRefusesError,
    open_store,
)
from rtms_cli.store.urls import StoreUrl, is_safe_key, is_store_url, read_store_url

pytestmark = pytest.mark.timeout(300)  # the S3 server takes long to start on a busy machine


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with S3Server() as running:
        yield running


@pytest.fixture
def objects(server: S3Server, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Objects:
    use_credentials(monkeypatch)
    return open_store(read_store_url(f"{server.url}/{request.node.name}"), server.endpoint)


async def test_what_is_written_is_read(objects: Objects) -> None:
    etag = await objects.put("a/b.txt", b"hello")
    assert await objects.get("a/b.txt") == (b"hello", etag)
    assert objects.get_now("a/b.txt") == (b"hello", etag)
    assert objects.range_now("a/b.txt", 1, 3) == b"el"
    info = await objects.head("a/b.txt")
    assert (info.key, info.nbytes, info.etag) == ("a/b.txt", 5, etag)
    assert [one.key async for one in objects.listed("a")] == [one.key for one in objects.listed_now()] == ["a/b.txt"]
    assert objects.folders_now() == ["a"]
    await objects.delete(["a/b.txt", "never/there"])
    with pytest.raises(NoObjectError):
        await objects.get("a/b.txt")
    assert [one async for one in objects.listed()] == []


async def test_conditions(objects: Objects) -> None:
    first = await objects.put("m", b"1", is_new=True)
    with pytest.raises(ConditionError):
        await objects.put("m", b"2", is_new=True)
    second = await objects.put("m", b"2", etag=first)
    with pytest.raises(ConditionError):
        await objects.put("m", b"3", etag=first)
    assert await objects.get("m") == (b"2", second)


@pytest.mark.parametrize("nbytes", [0, 5, PART_NBYTES, 2 * PART_NBYTES + 7])
async def test_files_of_any_size(objects: Objects, nbytes: int, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(range(256)) * (nbytes // 256) + b"x" * (nbytes % 256))
    info = await objects.put_file("big", path)
    assert info.nbytes == nbytes
    assert (await objects.get("big"))[0] == path.read_bytes()


async def test_a_store_that_is_away_or_has_no_such_bucket(server: S3Server, objects: Objects) -> None:
    with pytest.raises(StoreRefusesError, match="no bucket nowhere"):
        await open_store(read_store_url("s3://nowhere/x"), server.endpoint).put("a", b"")
    with pytest.raises(StoreError) as away:
        await open_store(read_store_url("s3://recordings"), "http://127.0.0.1:9").put("a", b"")
    assert away.value.is_temporary
    assert "its-secret" not in str(away.value)


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("s3://bucket", StoreUrl("s3", "bucket")),
        ("s3://bucket/a//b/", StoreUrl("s3", "bucket", "a/b")),
        ("GS://my-bucket/x", StoreUrl("gs", "my-bucket", "x")),
        ("azure://container/x", StoreUrl("az", "container", "x")),
    ],
)
def test_urls(text: str, url: StoreUrl) -> None:
    assert is_store_url(text)
    assert read_store_url(text) == url
    assert str(url).startswith(url.scheme)
    assert url.child("y").name == "y"


@pytest.mark.parametrize(
    "text", ["s3://", "s3:///x", "s3://b/../c", "s3://bucket/a?x=1", "s3://user@bucket/x", "s3://bucket/\n"]
)
def test_what_is_no_url(text: str) -> None:
    with pytest.raises(Problem):
        read_store_url(text)


def test_folders_are_no_urls() -> None:
    assert not is_store_url("recordings")
    assert not is_store_url("/tmp/s3")
    assert not is_store_url("C:/x")


@pytest.mark.parametrize("key", ["", "/etc/passwd", "../x", "a/../b", "a//b", "a\\b", "a\0b", "a\nb", "x" * 2000])
def test_keys_that_no_file_could_have(key: str) -> None:
    assert not is_safe_key(key)
