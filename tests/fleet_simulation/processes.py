"""One worker's process: the real `Worker`, on a loop that can be frozen and killed."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from fleet_simulation.clock import ProcessLoop
from fleet_simulation.queue import Way
from fleet_simulation.sessions import Session, Station

from rtms_cli.fleet.dispatch import Claim, WorkerStatus
from rtms_cli.fleet.worker import Worker

if TYPE_CHECKING:
    from fleet_simulation.world import World


class Process:
    """A worker's process."""

    def __init__(self, world: "World", name: str, slots: int) -> None:
        self.world, self.name, self.slots = world, name, slots
        self.is_dead = self.is_frozen = self.is_draining = self.is_over = False
        self.is_cut_out = self.is_cut_in = self.is_cut_zoom = False
        self.silent_since: float | None = None
        """Since when it answers no keep-alives."""
        self.loses_what_is_sent = False
        """Whether what Zoom sends meanwhile never arrives."""
        self.able_since: float | None = None
        """Since when it could take a stream."""
        self.sessions: dict[str, Session] = {}
        self.loop = ProcessLoop(world.clock, lambda text: world.violations.append(f"{name}: {text}"))
        self.worker = Worker(
            Way(world.queue, self),
            cast("Any", Station(self)),
            WorkerStatus(name, slots, slots),
            lambda make: cast("Any", lambda header: None),
            on_over=self._on_over,
        )
        self._main = self.loop.begin(self.worker.run())
        self._main.add_done_callback(lambda _: self._end())

    def hear(self, do: Callable[[], None]) -> None:
        """Something comes in from Zoom: at once, or when it can read again."""
        if not self.is_dead:
            self.loop.call_soon(do)

    def owned(self) -> list[str]:
        """Which streams it sees to, as far as it knows, and can."""
        if self.is_dead or self.is_frozen:
            return []
        claims = self.worker.claims
        return [name for name in claims.held() if not claims[name].is_lost]

    @property
    def is_gone(self) -> bool:
        """Whether it was killed, or has ended."""
        return self.is_dead or self.is_over

    @property
    def is_able(self) -> bool:
        """Whether it could take a stream now."""
        is_there = not (self.is_dead or self.is_frozen or self.is_draining)
        return is_there and not (self.is_cut_in or self.is_cut_out or self.is_cut_zoom) and self.worker.claims.free > 0

    def kill(self, *, power: bool) -> None:
        """End it at once.

        :param power: its machine too: nobody tells Zoom.
        """
        if self.is_dead:
            return
        self.is_dead = True
        if power:
            self._fall_silent(loses=True)
        else:
            self.loses_what_is_sent = self.loses_what_is_sent or self.is_frozen
            self.world.zoom.hang_up(self)
        self.loop.destroy()

    def freeze(self, *, is_frozen: bool) -> None:
        """Stop it, or let it go on."""
        if self.is_dead or self.is_over or is_frozen is self.is_frozen:
            return
        self.is_frozen = self.loop.is_frozen = is_frozen
        if is_frozen:
            self._fall_silent(loses=False)
        else:
            self._speak()
            self.world.watch.is_back(self)

    def cut_zoom(self, *, is_cut: bool) -> None:
        """Cut it off from Zoom, or not any more."""
        self.is_cut_zoom = is_cut
        if self.is_dead:
            return
        if is_cut:
            self._fall_silent(loses=True)
        else:
            self._speak()

    def drain(self) -> None:
        """SIGTERM."""
        if not (self.is_dead or self.is_over):
            self.is_draining = True
            self.loop.call_soon(self.worker.drain, "the plan")

    def _fall_silent(self, *, loses: bool) -> None:
        if self.silent_since is None:
            self.silent_since = self.world.clock.now
        self.loses_what_is_sent = self.loses_what_is_sent or loses
        self.world.zoom.silence(self)

    def _speak(self) -> None:
        if not (self.is_frozen or self.is_cut_zoom):
            self.silent_since, self.loses_what_is_sent = None, False
            self.world.zoom.forget_silence(self)

    def _end(self) -> None:
        if self.is_dead:
            return
        self.is_over = self.is_draining = True
        if not self._main.cancelled() and (error := self._main.exception()) is not None:
            self.world.violations.append(f"{self.name} ended with {error!r}")

    async def _on_over(self, claim: Claim) -> None:
        self.world.on_over(self, claim)
