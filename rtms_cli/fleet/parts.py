"""Where a worker records its part of a recording, and what lets it connect only while the stream is its own."""

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
    """What makes the folder of a part: the recording's own, or one in it where another owner has made that here.

    :raises Problem: if the name is not one of ours: queues are not to be trusted.
    """
    if _NAME.fullmatch(recording) is None or not 0 < epoch < 1_000_000:
        raise Problem(f"The queue names a recording {recording[:100]!r}, epoch {epoch}: rtms does not use such names.")

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
                    raise Problem(f"{path} is a symbolic link; a recording does not go on behind one.") from None
            folder = parts / epoch_name(epoch)
            folder.mkdir(mode=mode)
        return folder

    return make


class Guard:
    """Dials for a stream only while it is ours.

    Only signaling counts: a successor that is connected to it makes the server refuse our media sockets, and where the
    queue is away for all, a lost media socket has to come back anyway.

    :param is_ours: whether the stream is surely ours.
    :param settled: waits until it is; raises `FinalConnectionError` where it is another's.
    """

    def __init__(self, is_ours: Callable[[], bool], settled: Callable[[], Awaitable[None]]) -> None:
        self._is_ours = is_ours
        self._settled = settled
        self._signaling: set[str] = set()

    def learn(self, body: bytes) -> None:
        """Learn from a webhook which URLs are signaling servers'."""
        if (url := server_of(read_webhook(body))) is not None:
            self._signaling.add(url)

    def dialing(self, dial: Dial) -> Dial:
        """Dial as before, while the stream is ours."""

        async def connect(url: str) -> Socket:
            if url not in self._signaling:
                return await dial(url)
            if not self._is_ours():
                await self._settled()
            socket = await dial(url)
            if not self._is_ours():  # that took too long: a successor may be connected by now
                socket.abort()
                raise ConnectionError("the claim on the stream ran out while connecting")
            return socket

        return connect


def lost() -> FinalConnectionError:
    """What ends a connection attempt of a stream that is another's by now."""
    return FinalConnectionError("another worker has this stream now")
