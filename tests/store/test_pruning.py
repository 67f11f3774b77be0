"""What `rtms prune` deletes, and above all what it does not: folders, and a store with a real S3 API."""

import json
import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from frames import HEADER, tree
from msgspec import structs
from processes import rtms
from recorded_parts import connected, content, in_parts, last_word
from s3_server import S3Server, use_credentials

from rtms_cli.protocol.times import iso_time
from rtms_cli.recording.manifest import MANIFEST
from rtms_cli.recording.ownership import FolderLock
from rtms_cli.recording.pruning import Candidate, Folder, plan
from rtms_cli.recording.recorder import Recorder
from rtms_cli.store.objects import Objects, open_store
from rtms_cli.store.pruning import StorePlace
from rtms_cli.store.urls import read_store_url

NOW = datetime.now(UTC)


def recorded(out: Path, name: str, days: float, *, status: str = "complete", is_open: bool = False) -> Path:
    """A recording that began some days ago."""
    (out / name).mkdir(parents=True)
    recorder = Recorder(out / name, structs.replace(HEADER, created=iso_time(NOW - timedelta(days=days))))
    recorder.fold([*connected(0), *content(0, 5), *([] if is_open else [last_word(5, status)])])
    recorder.checkpoint() if is_open else recorder.close()
    return out / name


def many(out: Path) -> None:
    """One of each kind; all but the last one are old."""
    recorded(out, "a-complete", 40)
    recorded(out, "b-interrupted", 40, status="interrupted")
    recorded(out, "c-killed", 40, is_open=True)
    in_parts(out / "d-parts")
    shutil.copytree(recorded(out, "e-unreadable", 40), out / "f-no-manifest")
    (out / "e-unreadable" / MANIFEST).write_text("{")
    (out / "f-no-manifest" / MANIFEST).unlink()
    (out / "g-notes").mkdir()
    (out / "g-notes/mine.txt").write_text("mine")
    (out / "h-link").symlink_to(recorded(out.parent / "elsewhere", "linked", 40))
    recorded(out, "i-new", 1)
    recorded(out, "j-locked", 40)


def test_a_dry_run_lists_exactly_what_a_run_deletes(tmp_path: Path) -> None:
    out = tmp_path / "recordings"
    many(out)
    outside = tree(tmp_path / "elsewhere")
    lock = FolderLock(out / "j-locked")
    lock.acquire()
    before = tree(out)
    shown = rtms("prune", "--older-than", "30d", "--dry-run", "--json", cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    told = json.loads(shown.stdout)
    listed = [one["name"] for one in told["recordings"]]
    assert tree(out) == before
    assert listed == ["a-complete", "b-interrupted"]
    assert told["bytes"] == sum(len(data) for name, data in before.items() if name.partition("/")[0] in listed)
    left = {one["name"]: one["why"] for one in told["left"]}
    assert left.keys() == {"c-killed", "d-parts", "e-unreadable", "f-no-manifest", "j-locked"}
    assert "is being recorded" in left["j-locked"]
    done = rtms("prune", "--older-than", "30d", "--json", cwd=tmp_path)
    assert [one["name"] for one in json.loads(done.stdout)["recordings"] if one["deleted"]] == listed
    assert tree(out) == {name: before[name] for name in before if name.partition("/")[0] not in listed}
    lock.release()
    assert tree(tmp_path / "elsewhere") == outside
    assert (out / "h-link").is_symlink()


@pytest.mark.parametrize(
    ("options", "names"),
    [
        (["--status", "interrupted"], ["b-interrupted"]),
        (["--keep", "1"], ["a-complete", "b-interrupted", "j-locked"]),
        (["--keep", "3"], ["a-complete"]),
        (["--keep", "9"], []),
    ],
)
def test_choices(options: list[str], names: list[str], tmp_path: Path) -> None:
    many(tmp_path / "r")
    done = rtms("prune", "r", "--older-than", "30d", "--dry-run", "--json", *options, cwd=tmp_path)
    assert [one["name"] for one in json.loads(done.stdout)["recordings"]] == names


def test_what_has_changed_since_it_was_found_stays(tmp_path: Path) -> None:
    folder = recorded(tmp_path / "r", "a", 40)
    place = Folder(tmp_path / "r")
    (found,) = place.find()
    assert isinstance(found, Candidate)
    content = (folder / MANIFEST).read_text()
    (folder / MANIFEST).write_text(content + "\n")
    assert place.delete(found) == "it has changed since"
    (found,) = place.find()
    lock = FolderLock(folder)
    lock.acquire()
    assert isinstance(found, Candidate)
    assert place.delete(found) == "it is being recorded or repaired"
    lock.release()
    assert (folder / "audio/mixed.wav").exists()
    assert place.delete(found) == ""
    assert not any((tmp_path / "r").iterdir())


def test_a_spool_is_not_pruned(tmp_path: Path) -> None:
    """The store may not have what is in it."""
    recorded(tmp_path / "spool", "a", 40)
    (tmp_path / "spool/.store").mkdir()
    done = rtms("prune", "spool", "--older-than", "30d", cwd=tmp_path)
    assert done.returncode == 2
    assert "is a spool" in done.stderr
    assert (tmp_path / "spool/a" / MANIFEST).exists()


def test_what_a_killed_prune_has_left_goes(tmp_path: Path) -> None:
    recorded(tmp_path / "r", "a", 40)
    recorded(tmp_path / "r", "b", 1)
    child = os.fork()
    if child == 0:
        try:
            shutil.rmtree = lambda *_: os._exit(9)  # type: ignore[assignment]
            place = Folder(tmp_path / "r")
            place.delete(next(one for one in place.find() if isinstance(one, Candidate)))
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    (left,) = [path for path in (tmp_path / "r").iterdir() if path.name != "b"]
    assert left.name == ".pruned-a"
    assert not (left / MANIFEST).exists()
    assert rtms("prune", "r", "--older-than", "30d", cwd=tmp_path).returncode == 0
    assert [path.name for path in (tmp_path / "r").iterdir()] == ["b"]


pytestmark = pytest.mark.timeout(300)  # the S3 server takes long to start on a busy machine


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with S3Server() as running:
        yield running


@pytest.fixture
def objects(server: S3Server, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Objects:
    use_credentials(monkeypatch)
    return open_store(read_store_url(f"{server.url}/{request.node.name}"), server.endpoint)


async def stored(objects: Objects, folder: Path) -> None:
    """Put a recording there as a finished one is."""
    manifest = json.loads((folder / MANIFEST).read_text())
    files = []
    for name, data in tree(folder).items():
        if name not in (MANIFEST, "capture.jsonl"):
            files.append({"path": name, "key": f"E0001/{name}", "nbytes": len(data), "sha256": ""})
            await objects.put(f"{folder.name}/E0001/{name}", data)
    await objects.put(f"{folder.name}/capture/E0001-000001.jsonl.zst", b"packed")
    manifest["store"] = {"epoch": 1, "files": files, "segments": ["capture/E0001-000001.jsonl.zst"]}
    await objects.put(f"{folder.name}/{MANIFEST}", json.dumps(manifest).encode())


async def test_a_store(objects: Objects, server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, days in (("a", 40), ("b", 1), ("c", 50), ("d", 60)):
        await stored(objects, recorded(tmp_path / "r", name, days))
    await objects.put("e/capture/E0001-000001.jsonl.zst", b"packed")
    await objects.put("f/mine.txt", b"mine")
    await objects.put(f"d/{MANIFEST}", b"{")
    before = [info.key async for info in objects.listed()]
    url = str(objects.url)
    arguments = ("prune", url, "--older-than", "30d", "--json")
    shown = rtms(*arguments, "--dry-run", settings=server.settings, cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    told = json.loads(shown.stdout)
    assert [one["name"] for one in told["recordings"]] == ["a", "c"]
    assert {one["name"] for one in told["left"]} == {"d", "e"}
    assert [info.key async for info in objects.listed()] == before

    place = StorePlace(objects)
    chosen = plan(place.find(), NOW, 30 * 86400, (), 0).chosen
    assert [one.name for one in chosen] == ["a", "c"]
    with monkeypatch.context() as patched:

        def killed(self: Objects, keys: object) -> None:
            raise KeyboardInterrupt

        patched.setattr(Objects, "delete_now", killed)
        with pytest.raises(KeyboardInterrupt):
            place.delete(chosen[0])
    assert json.loads((await objects.get(f"a/{MANIFEST}"))[0])["status"] == "deleted"
    assert place.delete(chosen[0]) == "it has changed since"
    done = rtms(*arguments, settings=server.settings, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert [one["name"] for one in json.loads(done.stdout)["recordings"] if one["deleted"]] == ["a", "c"]
    assert [info.key async for info in objects.listed()] == [key for key in before if key[0] not in "ac"]
