"""What several tests share: a station over real sockets, and readers that are not ours."""

import json
import wave
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import trustme

from rtms_cli.machine import Finish, Frame
from rtms_cli.protocol.media import MediaRequest
from rtms_cli.protocol.messages import Signature
from rtms_cli.protocol.webhooks import Stream
from rtms_cli.recording.audio import AudioTrack
from rtms_cli.recording.manifest import Manifest, TapEntry
from rtms_cli.recording.recorder import RecorderSnapshot
from rtms_cli.recording.tracks import PictureTrack, TextTrack
from rtms_cli.recording.writer import Writer
from rtms_cli.station.station import Station, recorder_in, revoke_in
from rtms_cli.wire.clock import Clock
from rtms_cli.wire.dialer import Dialer
from rtms_cli.wire.hosts import HostPolicy


class Silent:
    """An observer that remembers what it was told."""

    def __init__(self) -> None:
        self.started: list[Stream] = []
        self.finished: list[Finish] = []
        self.notices: list[str] = []
        self.frames: list[Frame] = []
        self.events: list[tuple[str, Mapping[str, object]]] = []

    def on_started(self, stream: Stream, folder: Path | None) -> None:
        self.started.append(stream)

    def on_frame(self, stream_id: str, frame: Frame) -> None:
        self.frames.append(frame)

    def on_progress(self, snapshots: Mapping[str, RecorderSnapshot]) -> None:
        pass

    def on_finished(self, stream: Stream, folder: Path | None, finish: Finish, manifest: Manifest | None) -> None:
        self.finished.append(finish)

    def on_notice(self, text: str) -> None:
        self.notices.append(text)

    def on_event(self, name: str, fields: Mapping[str, object], text: str) -> None:
        self.events.append((name, fields))


class Heard:
    """A listener that remembers what it was told.

    :param fails_in: the part that has a defect: `on_audio`, `on_turn`, …
    """

    def __init__(self, fails_in: str = "") -> None:
        self.audio: dict[str, bytearray] = {}
        """The samples of each WAV file, from its zero."""
        self.pictures: list[tuple[str, bytes]] = []
        self.lines: list[tuple[str, bytes]] = []
        self.turns: list[int] = []
        self.is_closed = False
        self._fails_in = fails_in

    def on_audio(self, track: AudioTrack, start: int, chunks: Sequence[bytes]) -> None:
        self._fail("on_audio")
        samples, at = self.audio.setdefault(track.path, bytearray()), start * track.form.block
        samples.extend(bytes(max(0, at - len(samples))))
        pcm = b"".join(chunks)
        samples[at : at + len(pcm)] = pcm

    def on_picture(self, track: PictureTrack, timestamp: int | None, payload: bytes) -> None:
        self._fail("on_picture")
        self.pictures.append((track.path, payload))

    def on_line(self, track: TextTrack, line: bytes) -> None:
        self._fail("on_line")
        self.lines.append((track.path, line))

    def on_turn(self, at_us: int) -> None:
        self._fail("on_turn")
        assert not self.is_closed
        self.turns.append(at_us)

    async def close(self) -> None:
        self._fail("close")
        self.is_closed = True

    def entries(self) -> list[TapEntry]:
        self._fail("entries")
        return [TapEntry("all", "a test", bytes=sum(map(len, self.audio.values())))]

    def _fail(self, part: str) -> None:
        if part == self._fails_in:
            raise RuntimeError(part)


def make_station(
    out: Path,
    writer: Writer,
    request: MediaRequest | None = None,
    *,
    trusted: bool = False,
    observer: Silent | None = None,
    max_streams: int = 1000,
    sign: Callable[[Stream], Signature] = lambda stream: stream.signature or Signature("0" * 64),
    make_clock: Callable[[], Clock] = Clock,
) -> Station:
    """A station over real sockets that draws nothing."""
    return Station(
        make_recorder=recorder_in(out),
        request=request or MediaRequest(),
        sign=sign,
        dial=Dialer(HostPolicy()),
        writer=writer,
        observers=[observer or Silent()],
        trusted=trusted,
        max_streams=max_streams,
        revoke=revoke_in(out),
        make_clock=make_clock,
        check_url=HostPolicy().check_name,
    )


def made_certificate(folder: Path) -> Path:
    """A certificate for localhost with its key (`both.pem`), by an authority of its own (`cert.pem`)."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "cert.pem")
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(folder / "both.pem")
    return folder


def read_wav(path: Path) -> tuple[int, npt.NDArray[np.int16]]:
    """Rate and samples, by the standard library's reader."""
    with wave.open(str(path)) as source:
        assert source.getsampwidth() == 2
        samples = np.frombuffer(source.readframes(source.getnframes()), dtype="<i2")
        return source.getframerate(), samples.reshape(-1, source.getnchannels()).squeeze()


def read_jsonl(path: Path) -> list[dict[str, object]]:
    """A file of JSON lines, by the standard library's reader."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def same_files(one: Path, other: Path, *, but: Sequence[str] = ()) -> None:
    """Hold two folders against each other, byte for byte."""
    files = {str(path.relative_to(one)): path.read_bytes() for path in one.rglob("*") if path.is_file()}
    others = {str(path.relative_to(other)): path.read_bytes() for path in other.rglob("*") if path.is_file()}
    assert sorted(files) == sorted(others)
    differing = [name for name in files if files[name] != others[name] and name not in but]
    assert not differing
