"""What is opened and read of files that may come from someone else."""

import gzip
import os
import sys
from pathlib import Path

import pytest
import zstandard

from rtms_cli.untrusted import bounded_lines, open_file, open_inside, unpacked


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "recording"
    (folder / "audio").mkdir(parents=True)
    (folder / "audio/one.wav").write_bytes(b"mine")
    (tmp_path / "private").mkdir()
    (tmp_path / "private/one.wav").write_bytes(b"private")
    return folder


def test_a_file_in_the_folder_is_opened(folder: Path) -> None:
    with open_inside(folder, "audio/one.wav") as source:
        assert source.read() == b"mine"


@pytest.mark.skipif(sys.platform != "linux", reason="needs a file that fails when it is read")
def test_a_file_that_fails_while_it_is_read_is_named() -> None:
    for how in ("read", "read1", "readline"):
        with open_file(Path("/proc/self/mem")) as source, pytest.raises(OSError, match=r"error: .*/proc/self/mem"):
            getattr(source, how)()


@pytest.mark.parametrize(
    "name", ["../private/one.wav", "audio/../../private/one.wav", "", ".", "..", "a\0b", "\ud83d", "audio", "x" * 5000]
)
def test_names_that_lead_elsewhere_are_not_followed(folder: Path, name: str) -> None:
    with pytest.raises(OSError):
        open_inside(folder, name)
    with pytest.raises(OSError, match="outside"):
        open_inside(folder, str(folder.parent / "private/one.wav"))


def test_the_folder_of_here_is_no_exception(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    with open_inside(Path(), "audio/one.wav") as source:
        assert source.read() == b"mine"


def test_links_are_not_followed(folder: Path) -> None:
    (folder / "audio/link.wav").symlink_to("one.wav")
    (folder / "video").symlink_to("../private")
    for name in ("audio/link.wav", "video/one.wav"):
        with pytest.raises(OSError, match="symbolic link"):
            open_inside(folder, name)
    with pytest.raises(OSError, match="symbolic link"):
        open_file(folder / "audio/link.wav")
    with open_file(folder / "audio/link.wav", follows=True) as source:
        assert source.read() == b"mine"


def test_only_files_are_opened(folder: Path) -> None:
    os.mkfifo(folder / "pipe")  # opening it would wait for ever
    for name in ("pipe", "audio"):
        with pytest.raises(OSError, match=r"not a file|directory"):
            open_inside(folder, name)
    with pytest.raises(OSError, match="not a file"):
        open_file(Path("/dev/zero"), follows=True)


def test_a_line_that_is_too_long_is_none_and_the_next_one_is_read(tmp_path: Path) -> None:
    (tmp_path / "lines").write_bytes(b"one\n" + b"x" * 200_000 + b"\ntwo\n" + b"y" * 10 + b"\n" + b"torn")
    with open_file(tmp_path / "lines") as source:
        assert list(bounded_lines(source, 10)) == [b"one\n", None, b"two\n", None, b"torn"]


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_several_compressed_files_are_one(tmp_path: Path, suffix: str) -> None:
    pack = gzip.compress if suffix == ".gz" else zstandard.compress
    (tmp_path / "lines").write_bytes(pack(b"one\n" * 100_000) + pack(b"") + pack(b"two\n"))
    with open_file(tmp_path / "lines") as source, unpacked(source, suffix) as lines:
        assert lines.read() == b"one\n" * 100_000 + b"two\n"


def test_zeros_after_a_gzip_file_are_nothing(tmp_path: Path) -> None:
    (tmp_path / "lines").write_bytes(gzip.compress(b"one\n") + b"\0" * 600)
    with open_file(tmp_path / "lines") as source, unpacked(source, ".gz") as lines:
        assert lines.read() == b"one\n"


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_what_unpacks_to_far_too_much_is_read_no_further(tmp_path: Path, suffix: str) -> None:
    content = bytes(200 << 20)
    (tmp_path / "bomb").write_bytes(gzip.compress(content, 9) if suffix == ".gz" else zstandard.compress(content))
    with open_file(tmp_path / "bomb") as source, unpacked(source, suffix) as lines:
        with pytest.raises(OSError, match="unpacks to more than 500 times"):
            lines.read()


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_cut_and_damaged_files_say_so(tmp_path: Path, suffix: str) -> None:
    whole = (gzip.compress if suffix == ".gz" else zstandard.compress)(os.urandom(100_000))
    for content, error in ((whole[:-20], EOFError), (b"x" + whole, OSError)):
        (tmp_path / "one").write_bytes(content)
        with open_file(tmp_path / "one") as source, unpacked(source, suffix) as lines, pytest.raises(error):
            lines.read()
