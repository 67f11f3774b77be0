"""What a seed stands for: workers, streams, and everything that goes wrong."""

import random

from msgspec import Struct, structs

LAST_TROUBLE_S = 300.0
"""When nothing goes wrong any more."""
END_S = 1200.0
"""When the world ends at the latest; before, when nothing is to come."""


class Show(Struct, frozen=True):
    """One stream of Zoom's."""

    name: str
    at: float
    lasts_s: float
    refuses_with: int | None
    """What a second client is refused with; `None` if it kicks the first one out."""
    reason: int
    again_after_s: float | None
    """When another session of it starts, after its end."""


class Hit(Struct, frozen=True):
    """Something that goes wrong, or is done to the fleet."""

    at: float
    what: str
    """`kill`, `power`, `freeze`, `cut queue`, `cut answers`, `cut requests`, `cut zoom`, `restart queue`, `lose queue`,
    `drain`, `rolling restart`, `failover`."""
    who: int = 0
    """The number of a worker, or of a stream."""
    seconds: float = 0.0
    """How long it lasts, or how long until a worker that was killed is there again."""


class Plan(Struct, frozen=True):
    """A world."""

    seed: int
    slots: tuple[int, ...]
    """Of each worker."""
    shows: tuple[Show, ...]
    hits: tuple[Hit, ...]
    via: str
    """How webhooks come: by `http`, Zoom sends again what was not answered; of `events`, the front tries again."""
    late_webhooks: float
    """How many of them come late."""
    repeats: float
    """How many of them come twice."""
    loses: float
    """How many answers of the queue's are lost, with their connections."""
    tells_due: bool
    """See `queue.Queue`."""

    def with_hits(self, numbers: tuple[int, ...]) -> "Plan":
        """The same world with some of its hits only."""
        return structs.replace(self, hits=tuple(self.hits[number] for number in numbers))


_HITS = (
    (4, "kill"),
    (2, "power"),
    (5, "freeze"),
    (3, "cut queue"),
    (2, "cut answers"),
    (2, "cut requests"),
    (1, "cut zoom"),
    (2, "restart queue"),
    (1, "lose queue"),
    (1, "drain"),
    (2, "rolling restart"),
    (3, "failover"),
)


def plan_of(seed: int) -> Plan:
    """The world of a seed."""
    dice = random.Random(seed)
    workers, streams = dice.randint(3, 8), 50
    spare = dice.choice((1.0, 1.3, 2.0))
    slots = tuple(max(2, round(spare * streams / (workers - 1))) for _ in range(workers))
    shows = tuple(_show(dice, number) for number in range(streams))
    hits = [_hit(dice, workers, streams) for _ in range(dice.choice((0, 1, 1, 2, 2, 3, 4, 6)))]
    if hits and dice.random() < 0.3:  # faults that meet
        first = hits[0]
        hits.append(structs.replace(_hit(dice, workers, streams), at=first.at + dice.uniform(0, 20)))
    return Plan(
        seed,
        slots,
        shows,
        tuple(sorted(hits, key=lambda hit: hit.at)),
        via=dice.choice(("http", "events")),
        late_webhooks=dice.choice((0, 0.05, 0.2)),
        repeats=dice.choice((0, 0.05, 0.2)),
        tells_due=dice.random() < 0.5,
        loses=dice.choice((0, 0, 0.01, 0.05)),
    )


def _show(dice: random.Random, number: int) -> Show:
    at = dice.choice((0.0, dice.uniform(0, 60), dice.uniform(0, LAST_TROUBLE_S)))
    again = dice.choice((1.0, 10.0, 90.0)) if dice.random() < 0.1 else None
    refuses = dice.choice((None, None, 8, 16))
    reason = dice.choice((1, 6, 6, 6, 12))
    return Show(
        f"s{number}", at, dice.choice((5.0, dice.uniform(30, 120), dice.uniform(100, 400))), refuses, reason, again
    )


def _hit(dice: random.Random, workers: int, streams: int) -> Hit:
    (what,) = dice.choices([what for _, what in _HITS], [weight for weight, _ in _HITS])
    at = dice.uniform(1, LAST_TROUBLE_S)
    who = dice.randrange(streams if what == "failover" else workers)
    seconds = {
        "kill": dice.choice((0.5, 5.0, 30.0)),
        "power": dice.choice((30.0, 60.0)),
        "freeze": dice.choice((2.0, 12.5, 14.0, 16.0, 25.0, 40.0)),
        "restart queue": dice.choice((0.5, 5.0, 20.0, 60.0)),
        "lose queue": dice.choice((0.5, 5.0, 20.0, 60.0)),
    }.get(what, dice.choice((3.0, 12.0, 16.0, 30.0, 60.0)))
    return Hit(at, what, who, seconds)
