"""A worker process's connection to the process that listens."""

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable

import msgspec

from rtms_cli.errors import Problem, reason_of
from rtms_cli.fleet import messages
from rtms_cli.fleet.line import Line
from rtms_cli.fleet.local import Proxy
from rtms_cli.fleet.telling import Teller
from rtms_cli.fleet.worker import Worker
from rtms_cli.station.station import Station

WATCH_S = 1.0
"""Default interval of reports about the streams."""
LEAST_S = 0.1
"""Shortest interval of reports, however many sessions end."""
LOST = "the end of rtms listen"
"""The stop reason of recordings if that process is gone."""


class Parent:
    """The connection to the process that started a worker; see `connect`."""

    def __init__(self) -> None:
        self._line: Line | None = None
        self.dispatch = Proxy(self._send)
        self.teller = Teller(self._send, lambda: 0 if self._line is None else self._line.backlog_nbytes)
        self._task: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._orders: list[messages.Order] = []
        self._obey: Callable[[messages.Order], None] = self._orders.append

    @classmethod
    async def connect(cls, descriptor: int) -> "Parent":
        """Use an inherited descriptor.

        :raises Problem: if it is not a socket.
        """
        try:
            os.set_inheritable(descriptor, False)  # child processes must not keep it open
            end = socket.socket(fileno=descriptor)
        except OSError as error:
            raise Problem(
                f"--queue fd:{descriptor} is not a socket: {reason_of(error)}.", "rtms listen sets it."
            ) from None
        parent = cls()
        parent._line = await Line.connect(end, parent._take, parent._lost)
        return parent

    async def task(self) -> bytes:
        """Wait for this process's task.

        :raises Problem: if the parent process is gone.
        """
        await asyncio.wait([self._task])
        if self._task.cancelled():
            raise Problem("The process that started this worker has exited.")
        return self._task.result()

    async def serve(self, station: Station, worker: Worker) -> None:
        """Report that the worker is ready, then report its streams and obey orders until cancelled."""
        every_s = WATCH_S
        is_new = asyncio.Event()

        def obey(order: messages.Order) -> None:
            nonlocal every_s
            match order:
                case messages.Watch(given_s):
                    every_s = given_s
                    is_new.set()
                case messages.StopAll(who):
                    worker.stop(who)
                case messages.StopOne(stream_id, who):
                    station.end(stream_id, who)
                case messages.Mark(stream_id, text):
                    station.mark(stream_id, text)

        self._send(messages.write(messages.Ready(worker.name, os.getpid())))
        self.teller.on_end = is_new.set  # the report has no ended streams
        early, self._obey = self._orders, obey
        for order in early:
            obey(order)
        while True:
            self.teller.look(station)
            await asyncio.sleep(LEAST_S)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(every_s - LEAST_S):
                    await is_new.wait()
            is_new.clear()

    async def close(self) -> None:
        """Close the connection, after sending pending messages."""
        if self._line is not None:
            await self._line.close()

    def _send(self, message: bytes) -> bool:
        return self._line is not None and self._line.send(message)

    def _take(self, raw: bytes) -> None:
        try:
            message = messages.read_down(raw)
        except msgspec.MsgspecError:
            assert self._line is not None
            self._line.abort()  # it is not the process that started us
            return
        match message:
            case messages.Answer():
                self.dispatch.answered(message)
            case messages.Task(given):
                if not self._task.done():
                    self._task.set_result(given)
            case _:
                self._obey(message)

    def _lost(self) -> None:
        self.dispatch.lost()
        if not self._task.done():
            self._task.cancel()
        self._obey(messages.StopAll(LOST))
