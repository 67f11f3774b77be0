"""The folder of a worker's part of a recording, and a guard that lets it connect only while it owns the stream."""

import re
from collections.abc import Awaitable, Callable
from pathlib import Path

from rtms_cli.capture import EPOCHS, Header, epoch_name
from rtms_cli.errors import Problem
from rtms_cli.protocol.webhooks import read_webhook
from rtms_cli.recording.files import make_folder
from rtms_cli.station.admission import server_of
from rtms_cli.wire.driver import Dial, FinalConnectionError
from rtms_cli.wire.sockets import Socket

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,200}")


def part_folder(recording: str, epoch: int) -> Callable[[Path, Header, int], Path]:
    """Return a function that creates the folder of a part: the recording's own folder, or a subfolder if another owner
    has already created that here.

    :raises Problem: if the name is invalid, because queues are not trusted.
    """
    if _NAME.fullmatch(recording) is None or not 0 < epoch < 1_000_000:
        raise Problem(f"The queue names a recording {recording[:100]!r}, epoch {epoch}, which is not a valid name.")

    def make(out: Path, header: Header, mode: int) -> Path:
        make_folder(out, mode)
        folder = out / recording
        try:
            folder.mkdir(mode=mode)
        except FileExistsError:
            parts = folder / EPOCHS
            for path in (folder, parts):
                path.mkdir(mode=mode, exist_ok=True)
                if path.is_symlink():
                    raise Problem(f"{path} is a symbolic link; recordings do not follow symbolic links.") from None
            folder = parts / epoch_name(epoch)
            folder.mkdir(mode=mode)
        return folder

    return make


class Guard:
    """Connects for a stream only while it is ours.

    Only signaling matters: once a successor is connected to it, the server refuses our media sockets. And if the queue
    is down for all workers, a lost media socket must still be able to reconnect.

    :param is_ours: returns whether the stream is certainly ours.
    :param settled: waits until it is ours, or raises `FinalConnectionError` if it belongs to another worker.
    """

    def __init__(self, is_ours: Callable[[], bool], settled: Callable[[], Awaitable[None]]) -> None:
        self._is_ours = is_ours
        self._settled = settled
        self._signaling: set[str] = set()

    def learn(self, body: bytes) -> None:
        """Learn the URLs of signaling servers from a webhook."""
        if (url := server_of(read_webhook(body))) is not None:
            self._signaling.add(url)

    def dialing(self, dial: Dial) -> Dial:
        """Return a dial function that only connects while the stream is ours."""

        async def connect(url: str) -> Socket:
            if url not in self._signaling:
                return await dial(url)
            if not self._is_ours():
                await self._settled()
            socket = await dial(url)
            if not self._is_ours():  # it took too long: a successor may be connected by now
                socket.abort()
                raise ConnectionError("the claim on the stream ran out while connecting")
            return socket

        return connect


def lost() -> FinalConnectionError:
    """Return the error that ends a connection attempt after another worker has taken the stream."""
    return FinalConnectionError("another worker has this stream now")
