"""What a seed stands for: a stream, what is said in it, and everything that goes wrong."""

import random
from collections.abc import Callable, Sequence
from typing import TypeVar

from msgspec import Struct, structs
from simulation.network import ON_CONNECT, Trouble

from rtms_cli.protocol.media import AudioParams, MediaParams, MediaRequest, ShareParams, VideoParams
from rtms_cli.protocol.numbers import (
    EVERY_MEDIA,
    AudioChannel,
    Codec,
    ContentType,
    DataOption,
    MediaType,
    Product,
    Resolution,
    SampleRate,
)
from rtms_cli.simulator.calls import media_of
from rtms_cli.simulator.deviations import MISFITS, Deviation
from rtms_cli.simulator.faults import Fault

T = TypeVar("T")

FAILURES = (*range(10, 20), 24)
"""Stop reasons that are failures (PROTOCOL §9)."""
ENDS = (1, 2, 3, 4, 5, 6, 7, 9, 20, 21, 22, 23, 25, 26)
REVOKED = 8
SIGNS = (Fault.EVENT_7, Fault.SAY_INTERRUPTED, Fault.WEBHOOK_INTERRUPTED)
"""Faults that tell of a loss while the sockets stay open."""
CALM_S = 40
"""How long nothing goes wrong before the last words, which a session that lives has to record."""
CALM_AFTER_SILENCE_S = 110
"""The same where a loss shows only as silence: 65 s pass before the client believes it."""


class Hit(Struct, frozen=True, kw_only=True):
    """Something that goes wrong. Times are milliseconds since the world began."""

    at_ms: int

    @property
    def is_silent(self) -> bool:
        """Whether it may show only as silence."""
        return False


class ZoomHit(Hit, frozen=True):
    """A fault of the simulator's, on the show's clock."""

    fault: Fault
    number: int = 0
    times: int = 1

    @property
    def is_silent(self) -> bool:
        """See `Hit.is_silent`."""
        return self.fault in (Fault.SILENCE, Fault.SKIP_KEEP_ALIVES, Fault.REFUSE_SIGNALING, Fault.REFUSE_MEDIA)


class NetworkHit(Hit, frozen=True):
    """Trouble with connections."""

    trouble: Trouble
    kind: str = ""
    times: int = 1

    @property
    def is_silent(self) -> bool:
        """See `Hit.is_silent`."""
        if self.trouble in (Trouble.BREAK, Trouble.DELAYED):
            return False
        return self.trouble not in (Trouble.REFUSE, Trouble.EOF, Trouble.HANG_UP) or self.times > 1


class WebhookHit(Hit, frozen=True):
    """A webhook out of its order: `again` the newest started one, `old` the first one, `interrupted` a late one; `old
    stop` and `old interrupted`, which are older than the newest start; or one that nobody at Zoom has sent: `forged
    stop`, `forged revocation`.
    """

    what: str
    number: int = 0


class StopHit(Hit, frozen=True):
    """SIGTERM."""


class KillHit(Hit, frozen=True):
    """`kill -9`; perhaps the process is started again."""

    operations: int
    """How many more operations on the disk it does; of the last one, a part."""
    again_after_s: float | None = None


class StallHit(Hit, frozen=True):
    """The disk does nothing for a while."""

    seconds: float

    @property
    def is_silent(self) -> bool:
        """See `Hit.is_silent`: what is read late looks like a sign of life."""
        return True


class FullHit(Hit, frozen=True):
    """Every write fails for a while."""

    seconds: float


class SessionHit(Hit, frozen=True):
    """A session of the stream ends for a reason, and it or another one starts; on the show's clock."""

    reason: int
    pause_ms: int
    is_another: bool


class LateHit(Hit, frozen=True):
    """The next webhooks arrive late, or twice."""

    seconds: float
    twice: bool = False


class Plan(Struct, frozen=True):
    """A world."""

    seed: int
    product: Product
    people: int
    request: MediaRequest
    scopes: MediaType
    deviations: frozenset[Deviation]
    trusted: bool
    webhook_after_s: float
    buffered_s: float
    busy_ms: int
    calm_ms: int
    resumes_after_s: tuple[float, ...]
    tells_end: bool
    """Whether a stopped webhook follows the end."""
    packets: int
    """About how many packets of audio; 0 is sound without a pause."""
    hits: tuple[Hit, ...] = ()
    slow: str = ""
    """A kind of connection on which everything takes some seconds."""

    @property
    def duration_ms(self) -> int:
        """How long a show is."""
        return self.busy_ms + self.calm_ms

    def with_hits(self, numbers: Sequence[int]) -> "Plan":
        """The same world with some of its hits only."""
        return structs.replace(self, hits=tuple(self.hits[number] for number in numbers))


def plan_of(seed: int) -> Plan:
    """The world of a seed."""
    dice = random.Random(seed)
    busy_ms = dice.choice((5_000, 15_000, 30_000, 60_000))
    hits = sorted(_hits(dice, busy_ms), key=lambda hit: hit.at_ms)
    silent = any(hit.is_silent for hit in hits)
    split = dice.random() < 0.4
    chance = 0.5 if split else 0.05
    scopes = EVERY_MEDIA
    if dice.random() < 0.1:
        scopes &= ~dice.choice((MediaType.VIDEO, MediaType.SHARE, MediaType.CHAT, MediaType.TRANSCRIPT))
    deviations = frozenset[Deviation]()
    if dice.random() < 0.25:
        deviations = frozenset(dice.sample([one for one in Deviation if one not in MISFITS], dice.choice((1, 1, 2))))
        if Deviation.NO_SUM in deviations and not split:
            deviations |= {Deviation.ALL_ONLY}  # where there are other URLs, it is the same as a split session
    product = dice.choice((Product.MEETING, Product.MEETING, *Product))
    plan = Plan(
        seed=seed,
        product=product,
        people=dice.choice((1, 2, 2, 3)),
        request=_request(dice, split),
        scopes=media_of(product, scopes),
        deviations=deviations,
        trusted=dice.random() < 0.7,
        webhook_after_s=dice.choice((0, 0, dice.uniform(0, 20))),
        buffered_s=dice.choice((0, 0, 0, 0, 0, 2)),
        busy_ms=busy_ms,
        calm_ms=1000 * (CALM_AFTER_SILENCE_S if silent else CALM_S) if hits else 2000,
        resumes_after_s=tuple(dice.choice((0.5, 5, 30, 100)) for _ in range(dice.choice((0, 1, 1, 2)))),
        tells_end=dice.random() < 0.9,
        packets=dice.choice((20, 40, 60)),
        hits=tuple(hits),
        slow=dice.choice(("audio", "video", "transcript", "chat", "signaling")) if dice.random() < chance else "",
    )
    has_signs = any(isinstance(hit, ZoomHit) and hit.fault in SIGNS for hit in hits)
    if has_signs and (plan.slow or (split and len(hits) > 1)):
        # What is under way for this long looks like a sign of life after the sign of a loss; and a sign that names no
        # socket is taken for the loss of the one that was repaired a while ago.
        return structs.replace(plan, calm_ms=1000 * CALM_AFTER_SILENCE_S)
    return plan


def _request(dice: random.Random, split: bool) -> MediaRequest:
    kinds = MediaType.AUDIO
    if dice.random() < 0.05:
        kinds = MediaType.TRANSCRIPT
    if dice.random() < 0.15:
        kinds = EVERY_MEDIA
    for kind, chance in (
        (MediaType.VIDEO, 0.3),
        (MediaType.SHARE, 0.2),
        (MediaType.TRANSCRIPT, 0.6),
        (MediaType.CHAT, 0.4),
    ):
        if dice.random() < chance:
            kinds |= kind
    rate = dice.choice((SampleRate.SR_8K,) * 12 + (SampleRate.SR_16K,) * 2 + (SampleRate.SR_32K, SampleRate.SR_48K))
    audio = AudioParams(
        ContentType.RAW_AUDIO,
        rate,
        AudioChannel.STEREO if dice.random() < 0.15 else AudioChannel.MONO,
        Codec.L16,
        dice.choice((DataOption.AUDIO_MIXED_STREAM, DataOption.AUDIO_MULTI_STREAMS)),
        dice.choice((100, 200, 200, 200, 500, 20)),
    )
    codec, fps = dice.choice(((Codec.JPG, 5), (Codec.PNG, 5), (Codec.H264, 30)))
    video = VideoParams(ContentType.RAW_VIDEO, codec, Resolution.HD, DataOption.VIDEO_SINGLE_ACTIVE_STREAM, fps)
    share = ShareParams(ContentType.RAW_VIDEO, dice.choice((Codec.JPG, Codec.PNG)), Resolution.FHD, 1)
    defaults = MediaRequest()
    params = MediaParams(audio, video, share, defaults.params.transcript, defaults.params.chat)
    return MediaRequest(kinds, params, split, False if dice.random() < 0.1 else None)


def _hits(dice: random.Random, busy_ms: int) -> Sequence[Hit]:
    hits: list[Hit] = []
    for _ in range(dice.choice((0, 1, 1, 1, 2, 2, 2, 3, 3, 4, 5))):
        at_ms = dice.randint(-200, busy_ms)
        if hits and dice.random() < 0.3:
            at_ms = hits[-1].at_ms + dice.randint(0, 5_000)  # faults that meet
        hits += _pick(dice, _MAKERS)(at_ms, dice)
    return hits


_Maker = Callable[[int, random.Random], list[Hit]]


def _zoom(fault: Fault, *numbers: int, most: int = 1, before: Fault | None = None) -> _Maker:
    def make(at_ms: int, dice: random.Random) -> list[Hit]:
        at_ms = at_ms if before is not None else max(0, at_ms)
        hits: list[Hit] = [
            ZoomHit(
                at_ms=at_ms, fault=fault, number=dice.choice(numbers) if numbers else 0, times=dice.randint(1, most)
            )
        ]
        if before is not None:
            hits.append(ZoomHit(at_ms=at_ms, fault=before))
        return hits

    return make


def _network(at_ms: int, dice: random.Random) -> list[Hit]:
    trouble = dice.choice((*Trouble, Trouble.BREAK, Trouble.DELAYED))
    kind = dice.choice(("", "signaling", "media", "media", "audio", "video", "transcript", "chat"))
    if dice.random() < 0.15:
        at_ms = dice.randint(100, 900)  # while the first connections come up
    hits: list[Hit] = [NetworkHit(at_ms=at_ms, trouble=trouble, kind=kind, times=dice.choice((1, 1, 2, 3)))]
    if trouble in ON_CONNECT and dice.random() < 0.8:
        hits.append(NetworkHit(at_ms=at_ms + 1, trouble=Trouble.BREAK, kind=dice.choice(("", "signaling", "media"))))
    return hits


def _webhook(at_ms: int, dice: random.Random) -> list[Hit]:
    old = dice.choice(("old", "old stop", "old interrupted"))
    what = dice.choice(("again", "again", old, "interrupted", "forged stop", "forged revocation"))
    return [WebhookHit(at_ms=at_ms, what=what, number=dice.choice((*ENDS, *FAILURES)))]


def _kill(at_ms: int, dice: random.Random) -> list[Hit]:
    return [KillHit(at_ms=at_ms, operations=max(0, dice.randint(-3, 8)), again_after_s=dice.choice((None, 0.5, 5, 20)))]


def _session(at_ms: int, dice: random.Random) -> list[Hit]:
    pause_ms = dice.choice((100, 3_000))
    return [
        SessionHit(at_ms=at_ms, reason=dice.choice((1, 6, 8, 12)), pause_ms=pause_ms, is_another=dice.random() < 0.7)
    ]


_MAKERS: Sequence[tuple[int, _Maker]] = (
    (3, _zoom(Fault.DROP_SIGNALING)),
    (3, _zoom(Fault.DROP_MEDIA)),
    (2, _zoom(Fault.CLOSE_MEDIA, 1000, 1001, 1011)),
    (3, _zoom(Fault.FAILOVER, 0, 1)),
    (2, _zoom(Fault.SPLIT_BRAIN)),
    (3, _zoom(Fault.SAY_INTERRUPTED, 13, 14, 15, 16)),
    (1, _zoom(Fault.EVENT_7)),
    (2, _zoom(Fault.WEBHOOK_INTERRUPTED)),
    (1, _zoom(Fault.RETRY_WEBHOOK)),
    *((1, _zoom(fault, 5, 20, 60)) for fault in (Fault.OLD_STARTED, Fault.OLD_STOPPED, Fault.OLD_INTERRUPTED)),
    (3, _zoom(Fault.STOP, *ENDS)),
    (4, _zoom(Fault.STOP, *FAILURES)),
    (2, _zoom(Fault.STOP, REVOKED)),
    (2, _zoom(Fault.STOP_WEBHOOK_ONLY, *ENDS, *FAILURES, REVOKED)),
    (2, _zoom(Fault.SILENCE)),
    (1, _zoom(Fault.REFUSE_SIGNALING, 8, 45, most=2, before=Fault.DROP_SIGNALING)),
    (1, _zoom(Fault.REFUSE_MEDIA, 15, 16, 45, most=2, before=Fault.DROP_MEDIA)),
    (1, _zoom(Fault.HANG_UP, before=Fault.DROP_SIGNALING)),
    (1, _zoom(Fault.DUPLICATE, most=10)),
    (1, _zoom(Fault.SWAP, most=5)),
    (1, _zoom(Fault.BAD_BASE64, most=3)),
    (1, _zoom(Fault.BAD_JSON, most=3)),
    (1, _zoom(Fault.BAD_UTF8, most=3)),
    (1, _zoom(Fault.UNKNOWN_TYPE, most=3)),
    (1, _zoom(Fault.ODD_AUDIO, most=3)),
    (1, _zoom(Fault.SKIP_KEEP_ALIVES, 15_000, 50_000)),
    (1, _zoom(Fault.DELAY, 300, 3_000)),
    (12, _network),
    (5, _webhook),
    (4, lambda at_ms, dice: [StopHit(at_ms=at_ms)]),
    (4, _kill),
    (2, lambda at_ms, dice: [StallHit(at_ms=at_ms, seconds=dice.choice((2, 15, 25)))]),
    (1, lambda at_ms, dice: [FullHit(at_ms=at_ms, seconds=dice.choice((1, 5)))]),
    (3, _session),
    (2, lambda at_ms, dice: [LateHit(at_ms=at_ms, seconds=dice.choice((1, 20, 400)), twice=dice.random() < 0.5)]),
)


def _pick(dice: random.Random, weighted: Sequence[tuple[int, T]]) -> T:
    return dice.choices([one for _, one in weighted], [weight for weight, _ in weighted])[0]
