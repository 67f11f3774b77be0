"""The simulation sees what it is there for: with a rule broken, a seed shows it."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from fleet_simulation.plan import plan_of
from fleet_simulation.running import play
from msgspec import structs

from rtms_cli.fleet import book, claims, parts, worker
from rtms_cli.fleet.book import OWNED, WAITING, Book
from rtms_cli.fleet.claims import Claims, Holding, Verdict
from rtms_cli.fleet.dispatch import Claim, Held, Renewed, WorkerStatus

SEEDS = 20
"""In how many of them a broken rule has to show."""
Break = Callable[[pytest.MonkeyPatch], None]


def _no_epoch_check(patch: pytest.MonkeyPatch) -> None:
    """Whoever speaks of a stream that someone owns is its owner."""
    patch.setattr(book, "_is_owner", lambda stream, worker, epoch: stream.state == OWNED)


def _no_lease_check(patch: pytest.MonkeyPatch) -> None:
    """A worker connects as long as it has not heard that it may not."""
    patch.setattr(Claims, "may_connect", lambda self, one, _: self.has(one))


def _no_guard(patch: pytest.MonkeyPatch) -> None:
    """A worker connects, whatever it knows of its claim."""
    patch.setattr(parts.Guard, "dialing", lambda self, dial: dial)


def _epoch_is_not_raised(patch: pytest.MonkeyPatch) -> None:
    """A successor has its predecessor's epoch."""
    take = Book.take

    def broken(self: Book, now_ms: int, status: WorkerStatus, most: int) -> list[Claim]:
        taken = []
        for claim in take(self, now_ms, status, most):
            if claim.epoch > 1:
                self._streams[claim.stream_id].epoch -= 1
                claim = structs.replace(claim, epoch=claim.epoch - 1)
            taken.append(claim)
        return taken

    patch.setattr(Book, "take", broken)


def _never_taken_over(patch: pytest.MonkeyPatch) -> None:
    """A silent owner keeps what it has."""
    patch.setattr(Book, "_may_be_taken", lambda self, now_ms, stream: stream.state == WAITING)


def _taken_over_too_soon(patch: pytest.MonkeyPatch) -> None:
    """A claim runs out before its owner stops to trust it."""
    make = Book.__init__
    patch.setattr(Book, "__init__", lambda self: make(self, 6.0))


def _lost_is_not_told(patch: pytest.MonkeyPatch) -> None:
    """A former owner that comes back does not hear that it is one, and takes its claim for renewed."""
    renewed = Claims.renewed

    def broken(self: Claims, asked_ms: int, held: Mapping[str, Held], answer: Renewed) -> Any:
        return renewed(self, asked_ms, held, structs.replace(answer, lost=()))

    patch.setattr(Claims, "renewed", broken)


def _refused_is_failed(patch: pytest.MonkeyPatch) -> None:
    """Who is refused because the former owner is still connected takes that for the end."""

    def broken(one: Holding, status: str, refused: int | None, now_ms: int, *, was_left: bool) -> Verdict:
        return claims.judge_end(one, status, None, now_ms, was_left=was_left)

    patch.setattr(worker, "judge_end", broken)


def _drained_is_finished(patch: pytest.MonkeyPatch) -> None:
    """Who drains says that its streams are over."""

    def broken(one: Holding, status: str, refused: int | None, now_ms: int, *, was_left: bool) -> Verdict:
        return claims.judge_end(one, status, refused, now_ms, was_left=False)

    patch.setattr(worker, "judge_end", broken)


def _retry_starts_again(patch: pytest.MonkeyPatch) -> None:
    """A webhook that comes twice starts its stream twice."""
    offer = Book._offer_start

    def broken(self: Book, now_ms: int, facts: Any, stream: Any, body: bytes, via: str) -> Any:
        return offer(self, now_ms, facts, None, body, via)

    patch.setattr(Book, "_offer_start", broken)


@pytest.mark.parametrize(
    ("breaks", "says"),
    [
        (_no_epoch_check, "connects after"),
        (_no_lease_check, "connects after"),
        (_no_guard, "connects after"),
        (_epoch_is_not_raised, "both are epoch"),
        (_never_taken_over, "no owner"),
        (_taken_over_too_soon, "connects after"),
        (_lost_is_not_told, "connects after"),
        (_refused_is_failed, "is lost"),
        (_drained_is_finished, "is lost"),
        (_retry_starts_again, "was finished so"),
    ],
)
def test_a_broken_rule_is_seen(breaks: Break, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    breaks(monkeypatch)
    found = (violation for seed in range(SEEDS) for violation in play(plan_of(seed)).violations)
    assert any(says in violation for violation in found)
