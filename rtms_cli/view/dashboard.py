"""The dashboard as a picture of a moment: pure functions from snapshots to what Rich draws.

`screen.py` decides when to draw; nothing here has a clock, a terminal or a state of its own but `History`.
"""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from math import log10

from msgspec import Struct
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.padding import Padding
from rich.panel import Panel
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from rtms_cli.machine import Frame
from rtms_cli.protocol.messages import UserId
from rtms_cli.protocol.numbers import Product
from rtms_cli.protocol.parties import label
from rtms_cli.recording.recorder import TrackSnapshot
from rtms_cli.session.channel import ChannelSnapshot, Phase
from rtms_cli.station.observing import ConnectionStatus, StreamSnapshot
from rtms_cli.view.catalog import STYLES
from rtms_cli.view.ended import NARROW
from rtms_cli.view.gist import frame_line
from rtms_cli.view.text import clock_time, escape, size_of

WIDE = 110
"""From this many columns on the detail of a stream stands in two columns."""

KEEP_ALIVE_LATE_S, KEEP_ALIVE_LOST_S = 20, 45
"""A server asks every 10 s, and cuts the connection after three unanswered ones (PROTOCOL §9)."""

_MEDIA = ("MEDIA_DATA_AUDIO", "MEDIA_DATA_VIDEO", "MEDIA_DATA_SHARE", "MEDIA_DATA_TRANSCRIPT", "MEDIA_DATA_CHAT")
_BARS = "▁▂▃▄▅▆▇█"
_PHASES = {
    Phase.UP: ("●", "green"),
    Phase.OPENING: ("◌", "yellow"),
    Phase.SHAKING: ("◐", "yellow"),
    Phase.WAITING: ("◌", "red"),
    Phase.GONE: ("○", "dim"),
    Phase.IDLE: ("○", "dim"),
}
MOST_PEOPLE = 8
MOST_TAPS = 6
MOST_ENDED = 8
_METER_WIDTH = 12
_EMPTY = "grey30"
"""The part of a bar that is not filled: darker than what is."""
_SPARK_WIDTH = 24


class _Sample(Struct, frozen=True):
    """The counters of a stream at a moment."""

    at_us: int
    counts: dict[str, int]
    nbytes: int
    written_nbytes: int
    tapped: tuple[int, ...]
    """Bytes that each tap was given."""


class History:
    """How the counters of streams have grown, a sample a second; the only memory of the dashboard."""

    def __init__(self) -> None:
        self._samples: dict[str, deque[_Sample]] = {}

    def sample(self, views: Iterable[StreamSnapshot]) -> None:
        """Remember what the counters are now, and forget streams that are gone."""
        seen = {}
        for view in views:
            stream_id = view.session.stream.stream_id
            samples = self._samples.get(stream_id) or deque(maxlen=_SPARK_WIDTH + 1)
            if not samples or view.at_us - samples[-1].at_us >= 1_000_000:
                recording = view.recording
                nbytes = sum(recording.nbytes.values())
                tapped = tuple(tap.bytes for tap in recording.taps)
                samples.append(_Sample(view.at_us, recording.counts, nbytes, recording.written_nbytes, tapped))
            seen[stream_id] = samples
        self._samples = seen

    def rates(self, stream_id: str, name: str | None = None) -> Sequence[float]:
        """Messages a second between the samples, oldest first: of one type, or of all."""
        rates = []
        for before, after in pairwise(self._samples.get(stream_id, ())):
            if name is None:
                grown = sum(after.counts.values()) - sum(before.counts.values())
            else:
                grown = after.counts.get(name, 0) - before.counts.get(name, 0)
            rates.append(grown * 1_000_000 / (after.at_us - before.at_us))
        return rates

    def bytes_per_s(self, stream_id: str) -> tuple[float, float]:
        """Bytes a second over the last samples: received, and written."""
        if (last := self._last_samples(stream_id)) is None:
            return 0.0, 0.0
        first, last_one, seconds = last
        return (last_one.nbytes - first.nbytes) / seconds, (last_one.written_nbytes - first.written_nbytes) / seconds

    def tapped_per_s(self, stream_id: str) -> Sequence[float]:
        """Bytes a second over the last samples that each tap was given."""
        if (last := self._last_samples(stream_id)) is None:
            return ()
        first, last_one, seconds = last
        return [(after - before) / seconds for before, after in zip(first.tapped, last_one.tapped, strict=False)]

    def _last_samples(self, stream_id: str) -> tuple[_Sample, _Sample, float] | None:
        samples = list(self._samples.get(stream_id, ()))
        if len(samples) < 2:
            return None
        first, last = samples[-min(4, len(samples))], samples[-1]
        return first, last, (last.at_us - first.at_us) / 1_000_000


class Line(Struct, frozen=True):
    """A message of a stream as its recorder, in another process, describes it."""

    at_s: float
    """On the stream's clock."""
    text: str


class Guide(Struct, frozen=True):
    """What the keys do."""

    keys: Sequence[tuple[str, str]] = (
        ("↑ ↓", "another stream"),
        ("r", "messages as they come"),
        ("p", "pause the picture"),
        ("m", "mark this moment: a line in events.jsonl"),
        ("s", "end this stream's recording"),
        ("q", "finish all recordings and quit"),
        ("?", "this list"),
    )
    foot: Sequence[str] = ("↑↓ stream", "r messages", "p pause", "m mark", "s stop", "q quit", "? help")
    """In short; if there is no room for all, the last ones, of which one shows the others."""


OWN = Guide()
ATTACHED = Guide(
    (
        *OWN.keys[:4],
        ("s", "end this stream's recording, if the recorder runs with --web-control"),
        ("q", "detach: the recorder continues"),
        OWN.keys[-1],
    ),
    (*OWN.foot[:5], "q detach", OWN.foot[-1]),
)
"""Of a dashboard whose recorder is another process."""


class Moment(Struct, frozen=True):
    """All that one picture shows."""

    title: str
    views: Sequence[StreamSnapshot]
    chosen: int = 0
    """Which of the views is shown in full."""
    progress: float | None = None
    """0 to 1, where the end is known."""
    notices: Sequence[str] = ()
    frames: Sequence[Frame | Line] | None = None
    """The chosen stream's last frames, where they are wanted."""
    paused: bool = False
    help: bool = False
    question: str = ""
    """What is asked, and answered with y or n."""
    waiting: Sequence[str] = ()
    """What to do as long as nothing has come."""
    ended: Sequence[tuple[str, str]] = ()
    """The last sessions that have ended: status and a line each."""
    keys: bool = True
    """Whether keys can be pressed."""
    free_nbytes: int | None = None
    connections: Sequence[ConnectionStatus] = ()
    """What is connected that belongs to no stream."""
    guide: Guide = OWN


class _Part(Struct, frozen=True):
    """A piece of the picture; the highest rank gives way first if there is no room for all."""

    rank: int
    least: int
    """Lines that stay of it as long as they can."""
    content: RenderableType
    newest_last: bool = False
    """Whether its first lines are those to cut."""


class _Fitted:
    """Parts one below the other, cut to this many lines. Each is rendered once.

    :param has_foot: whether the last part stands on the last line.
    """

    def __init__(self, parts: Sequence[_Part], height: int, *, has_foot: bool = False) -> None:
        self._parts = parts
        self._height = height
        self._has_foot = has_foot

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        options = options.update(height=None)
        rendered = [console.render_lines(part.content, options, pad=False) for part in self._parts]
        by_rank = sorted(range(len(rendered)), key=lambda index: -self._parts[index].rank)
        excess = sum(map(len, rendered)) - self._height
        for least in (True, False):
            for index in by_rank:
                part = self._parts[index]
                keep = part.least if least or not part.rank else 0
                cut = max(0, min(excess, len(rendered[index]) - keep))
                if cut:
                    lines = rendered[index]
                    rendered[index] = lines[cut:] if part.newest_last else lines[:-cut]
                    excess -= cut
        if self._has_foot and excess < 0:
            rendered[-1:-1] = [[[]] * -excess]
        new_line = Segment.line()
        for number, line in enumerate(line for lines in rendered for line in lines):
            if number:
                yield new_line
            yield from line


def draw(moment: Moment, history: History, width: int, height: int) -> RenderableType:
    """The whole picture, in `height` lines at most: what matters least gives way."""
    parts = [_Part(0, 1, _head(moment, width))]
    parts += [_Part(1, 1, _connection(one, width)) for one in moment.connections]
    if moment.help:
        return _Fitted([*parts, _Part(1, 1, _help(moment.guide))], height)
    chosen = moment.views[moment.chosen] if moment.views else None
    if len(moment.views) > 1:
        parts.append(_Part(4, 3, _streams(moment, history, max(3, height // 4), width)))
    if chosen is None:
        parts.append(_Part(1, 6, _idle(moment)))
    else:
        parts.append(_Part(1, 3, _stream_head(chosen, 8 if width >= WIDE else 4)))
        if moment.frames is not None:
            parts.append(_Part(2, 5, _messages(chosen, moment.frames, max(3, height - 14))))
        elif width >= WIDE:
            both = Table.grid(expand=True, padding=(0, 1, 0, 0))
            both.add_column(ratio=5)
            both.add_column(ratio=3)
            both.add_row(
                Group(_sockets(chosen, width), _counts(chosen, history), *_taps(chosen, history)), _people(chosen)
            )
            parts += [_Part(2, 8, both), _Part(6, 3, _words(chosen, height), newest_last=True)]
        else:
            parts += [
                _Part(2, 4, _sockets(chosen, width)),
                _Part(3, 3, _counts(chosen, history)),
                *(_Part(4, 2, table) for table in _taps(chosen, history)),
                _Part(5, 3, _people(chosen)),
                _Part(6, 1, _words(chosen, height), newest_last=True),
            ]
        parts.append(_Part(2, 2, _remarks(chosen)))
    parts.append(_Part(7, 1, _notices(moment.notices, 10 if chosen is None else 3, width), newest_last=True))
    if moment.question:
        question = Text.assemble((f" {moment.question} ", "bold yellow"), "y yes  n no")
        parts.append(_Part(0, 1, question))
    elif moment.keys:
        parts.append(_Part(0, 1, _foot(moment.guide, width)))
    return _Fitted(parts, height, has_foot=bool(moment.question or moment.keys))


def _foot(guide: Guide, width: int) -> Text:
    keys = list(guide.foot)
    while len(keys) > 1 and len("  ".join(keys)) + 1 > width:
        del keys[0]
    return Text(f" {'  '.join(keys)}", style="dim", no_wrap=True, overflow="crop")


def _idle(moment: Moment) -> RenderableType:
    """What stands where no stream runs: what has been recorded, or how to begin."""
    awaited = "event" if moment.connections else "webhook"
    if not moment.ended:
        hints = [Padding(Text(escape(line)), (0, 2)) for line in moment.waiting]
        return Group(Text(), Text(f"  waiting for the first {awaited}", style="bold"), Text(), *hints, Text())
    count = len(moment.ended)
    head = f"  {'1 stream has' if count == 1 else f'{count} streams have'} ended; waiting for the next {awaited}"
    rows = [
        Text.assemble("  ", (status, STYLES.get(status, "")), f"  {escape(line)}", no_wrap=True, overflow="ellipsis")
        for status, line in moment.ended[-MOST_ENDED:]
    ]
    return Group(Text(), Text(head, style="bold"), *rows, Text())


def _connection(status: ConnectionStatus, width: int) -> RenderableType:
    sign, style = ("●", "green") if status.is_good else ("◌", "yellow")
    return Text.assemble((f" {sign} ", style), escape(status.text, width - 4), no_wrap=True)


def _notices(notices: Sequence[str], most: int, width: int) -> RenderableType:
    """The last ones; of warnings only the newest, in full."""
    warnings = [number for number, notice in enumerate(notices) if notice.startswith("WARNING")]
    kept = [number for number in range(len(notices)) if number not in warnings[:-1]][-most:]
    if warnings and warnings[-1] not in kept:
        kept = [warnings[-1], *kept[1:]]
    lines: list[RenderableType] = []
    for number in kept:
        if number not in warnings:
            lines.append(Text(f" {escape(notices[number], width - 2)}", "dim", no_wrap=True))
            continue
        more = f" ({len(warnings) - 1} more above)" if len(warnings) > 1 else ""
        lines.append(Padding(Text(escape(notices[number]) + more, "yellow"), (0, 0, 0, 1)))
    return Group(*lines)


def _head(moment: Moment, width: int) -> RenderableType:
    """The title and, as far as there is room beside it, how far it is and how the disk stands."""
    left = Text.assemble(
        (" rtms ", "bold reverse"), (" PAUSED" if moment.paused else "", "bold yellow"), " ", moment.title, "  "
    )
    facts: list[Text] = []
    if moment.progress is not None:
        bar = 10 if width < NARROW else 20
        share = min(1.0, moment.progress)
        done = round(share * bar)
        facts.append(Text.assemble(("━" * done, "green"), ("━" * (bar - done), _EMPTY), f" {share:4.0%}  "))
    if moment.free_nbytes is not None:
        facts.append(Text(f"{size_of(moment.free_nbytes)} free ", style="dim"))
    if moment.views:
        backlog = sum(view.recording.backlog_nbytes for view in moment.views)
        facts.insert(bool(moment.progress is not None), Text(f"backlog {size_of(backlog)}  ", style="dim"))
    while len(facts) > 1 and left.cell_len + sum(fact.cell_len for fact in facts) > width:
        del facts[-2 if len(facts) > 2 else -1]
    line = Table.grid(expand=True)
    line.add_column(no_wrap=True, ratio=1)
    line.add_column(justify="right", no_wrap=True)
    line.add_row(left, Text().join(facts))
    return line


def _help(guide: Guide) -> RenderableType:
    table = Table.grid(padding=(0, 3))
    for key, what in guide.keys:
        table.add_row(Text(key, style="bold"), what)
    return Panel(table, title="keys", expand=False)


def _streams(moment: Moment, history: History, room: int, width: int) -> RenderableType:
    table = Table(box=None, header_style="dim", padding=(0, 2 if width >= WIDE else 1, 0, 0))
    table.add_column("", min_width=1, no_wrap=True)
    left_out = {"product", "messages"} if width < NARROW else set()
    for name in ("stream", "product", "state"):
        if name not in left_out:
            table.add_column(name, no_wrap=True)
    for name in ("for", "messages", "/s", "size", "losses"):
        if name not in left_out:
            table.add_column(name, justify="right", no_wrap=True)
    first = max(0, min(moment.chosen - room // 2, len(moment.views) - room))
    for number, view in list(enumerate(moment.views))[first : first + room]:
        stream, recording = view.session.stream, view.recording
        rates = history.rates(stream.stream_id)
        table.add_row(
            "▸" if number == moment.chosen else "",
            escape(stream.stream_id, 12 if width >= WIDE else 9),
            *(() if left_out else (stream.product.title,)),
            _state(view),
            clock_time(view.at_us / 1_000_000),
            *(() if left_out else (f"{sum(recording.counts.values()):,}",)),
            f"{rates[-1]:.0f}" if rates else "",
            size_of(sum(recording.nbytes.values())),
            Text(str(recording.losses), style="bold red") if recording.losses else Text("-", style="dim"),
        )
    hidden = len(moment.views) - room
    return Group(table, Text(f"  … and {hidden} more", style="dim")) if hidden > 0 else table


def _state(view: StreamSnapshot) -> Text:
    word = view.state
    if word == "lost":
        return Text("lost, coming back", style="bold red")
    return Text(word, style="green" if word == "streaming" else "yellow")


def _stream_head(view: StreamSnapshot, most_steps: int) -> RenderableType:
    session, stream = view.session, view.session.stream
    line = Text(" ", no_wrap=True, overflow="ellipsis")
    line.append(stream.product.title, style="bold")
    line.append(f" {escape(stream.id, 40)}  ")
    line.append_text(_state(view))
    line.append(f"  {clock_time(view.at_us / 1_000_000)}")
    where = Text(f" → {escape(str(view.folder or 'nowhere'))}", style="dim", no_wrap=True, overflow="ellipsis")
    steps = Text(" ", overflow="fold")
    shown = session.steps[-most_steps:]
    if len(shown) < len(session.steps):
        steps.append("… ", style="dim")
    for number, (name, at_us) in enumerate(shown):
        bad = name.endswith("lost") or name == "failover"
        steps.append(" ─ " if number else "", style="dim")
        steps.append(f"{'✗' if bad else '✓'} {name}", style="red" if bad else "green")
        steps.append(f" {at_us / 1_000_000:.2f}", style="dim")
    return Group(line, where, steps)


def _sockets(view: StreamSnapshot, width: int) -> RenderableType:
    channels = view.session.channels
    is_narrow = width < NARROW
    rebuilt = any(channel.connects > 1 for channel in channels) and not is_narrow
    table = Table(box=None, header_style="dim", padding=(0, 1, 0, 1))
    for name in ("socket", "state"):
        table.add_column(name, no_wrap=True)
    more = () if is_narrow else ("slowest", "heard")
    for name in ("for", "keep-alive", "last", *more, *(("tries",) if rebuilt else ())):
        table.add_column(name, justify="right", no_wrap=True)
    for channel in channels:
        sign, style = _PHASES[channel.phase]
        received, answered, slowest_ms = view.recording.keep_alive.get(channel.name, (0, 0, None))
        table.add_row(
            channel.name,
            Text(f"{sign} {channel.phase}", style=style),
            _age(view.at_us, channel.since_us),
            Text(f"{answered}/{received}", style="red" if received - answered > 1 else ""),
            _keep_alive_age(view, channel),
            *(
                ()
                if is_narrow
                else ("" if slowest_ms is None else f"{slowest_ms:.1f}ms", _age(view.at_us, channel.last_in_us))
            ),
            *((str(channel.connects),) if rebuilt else ()),
        )
    notes: list[RenderableType] = [
        Text(f"   {channel.name}: {note}", style="dim", no_wrap=True, overflow="ellipsis")
        for channel in channels
        if (note := _closed(channel))
    ]
    return Group(table, *notes)


def _age(at_us: int, since_us: int | None) -> str:
    return "" if since_us is None else clock_time(max(0, at_us - since_us) / 1_000_000)


def _keep_alive_age(view: StreamSnapshot, channel: ChannelSnapshot) -> Text:
    if channel.phase is not Phase.UP:
        return Text()
    age_s = (view.at_us - (channel.last_keep_alive_us or channel.since_us)) / 1_000_000
    style = "red" if age_s > KEEP_ALIVE_LOST_S else "yellow" if age_s > KEEP_ALIVE_LATE_S else ""
    return Text(clock_time(max(0.0, age_s)) if channel.last_keep_alive_us is not None else "", style=style)


def _closed(channel: ChannelSnapshot) -> str:
    code = "" if channel.close_code is None else f"closed with {channel.close_code}"
    note = escape(channel.note, 80)
    return note if not code or code in note else f"{code} {note}".rstrip()


def _counts(view: StreamSnapshot, history: History) -> RenderableType:
    table = Table(box=None, header_style="dim", padding=(0, 2, 0, 1))
    table.add_column("media", no_wrap=True)
    for name in ("messages", "/s", "size"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    stream_id, recording = view.session.stream.stream_id, view.recording
    for name in _MEDIA:
        if count := recording.counts.get(name):
            rates = history.rates(stream_id, name)
            table.add_row(
                name.removeprefix("MEDIA_DATA_").lower(),
                f"{count:,}",
                f"{rates[-1]:.0f}" if rates else "",
                size_of(recording.nbytes.get(name, 0)),
                Text(sparkline(rates), style="cyan"),
            )
    others = {name: count for name, count in recording.counts.items() if name not in _MEDIA}
    if others:
        nbytes = sum(recording.nbytes.get(name, 0) for name in others)
        table.add_row("other", f"{sum(others.values()):,}", "", size_of(nbytes), "")
    received, written = (size_of(round(rate)) for rate in history.bytes_per_s(stream_id))
    files = f"{len(recording.tracks)} files, {size_of(recording.written_nbytes)}"
    lines: list[RenderableType] = [table, Text(f" {received}/s in, {written}/s to disk; {files}", style="dim")]
    lines += [
        Text(f" {name} is not granted: {escape(why, 200)}", style="yellow", no_wrap=True, overflow="ellipsis")
        for name, why in view.session.refused.items()
    ]
    return Group(*lines)


def _taps(view: StreamSnapshot, history: History) -> list[RenderableType]:
    """To whom what comes is passed on, how fast, and what they did not take; nothing where nobody listens."""
    taps = view.recording.taps
    if not taps:
        return []
    rates = history.tapped_per_s(view.session.stream.stream_id)
    table = Table(box=None, header_style="dim", padding=(0, 1, 0, 1))
    table.add_column("tap", no_wrap=True, overflow="ellipsis", max_width=28)
    for name, least in (("given", 8), ("/s", 8), ("dropped", 7), ("late", 5), ("again", 5)):
        table.add_column(name, justify="right", no_wrap=True, min_width=least)
    for number, tap in enumerate(taps[:MOST_TAPS]):
        whose = tap.user_name or ("" if tap.user_id is None else str(tap.user_id))
        table.add_row(
            Text(f"{tap.what}{f' of {escape(whose, 16)}' if whose else ''} → {escape(tap.target, 60)}"),
            size_of(tap.bytes),
            size_of(round(rates[number])) if number < len(rates) else "",
            Text(str(tap.drops), style="red") if tap.drops else "",
            f"{tap.late_seconds:.1f}s" if tap.late_seconds else "",
            str(tap.restarts) if tap.restarts else "",
        )
    if len(taps) > MOST_TAPS:
        table.add_row(Text(f"… and {len(taps) - MOST_TAPS} more", style="dim"))
    return [table]


def sparkline(rates: Sequence[float]) -> str:
    """Rates as bars, scaled to the highest."""
    top = max(rates, default=0.0)
    if top <= 0:
        return ""
    return "".join(_BARS[min(len(_BARS) - 1, int(rate / top * (len(_BARS) - 1) + 0.5))] for rate in rates)


def _people(view: StreamSnapshot) -> RenderableType:
    recording, product = view.recording, view.session.stream.product
    sound = {track.user_id: track for track in recording.tracks if track.kind == "audio"}
    table = Table(box=None, header_style="dim", padding=(0, 2, 0, 1))
    table.add_column("who", no_wrap=True)
    table.add_column("level", no_wrap=True)
    table.add_column("gaps", justify="right", no_wrap=True)
    names: dict[UserId, str] = {track.user_id: track.user_name or "" for track in recording.tracks}
    names |= recording.participants
    names.pop(None, None)
    if (mixed := sound.get(None)) is not None:
        table.add_row(Text("everyone (mixed)", style="dim"), meter(view.level(mixed)), _gaps(mixed))
    for user_id, name in _loudest(view, names, sound)[:MOST_PEOPLE]:
        speaking = user_id is not None and user_id == recording.speaker
        track = sound.get(user_id)
        level = Text("speaking" if speaking else "", style="green") if track is None else meter(view.level(track))
        style = "bold green" if speaking else ""
        table.add_row(
            Text(escape(label(product, user_id, name), 28), style=style), level, "" if track is None else _gaps(track)
        )
    if len(names) > MOST_PEOPLE:
        table.add_row(Text(f"… and {len(names) - MOST_PEOPLE} more", style="dim"), "", "")
    return table if table.row_count else Text()


def _loudest(
    view: StreamSnapshot, names: Mapping[UserId, str], sound: Mapping[UserId, TrackSnapshot]
) -> list[tuple[UserId, str]]:
    """The participants; where not all have room, those who can be heard come first."""
    people = list(names.items())
    if len(people) <= MOST_PEOPLE:
        return people
    speaker = view.recording.speaker
    quiet = {user: (user != speaker, -view.level(sound[user]) if user in sound else 0.0) for user, _ in people}
    return sorted(people, key=lambda person: quiet[person[0]])


def _gaps(track: TrackSnapshot) -> str:
    return f"{track.gaps}, {clock_time(track.gap_seconds)}" if track.gaps else ""


def meter(level: float) -> Text:
    """A peak from 0 to 1 as a bar, on a scale of 48 dB."""
    decibels = 20 * log10(level) if level > 0 else -96.0
    full = round(max(0.0, min(1.0, 1 + decibels / 48)) * _METER_WIDTH)
    style = "red" if level > 0.98 else "green"
    return Text.assemble(("▮" * full, style), ("▯" * (_METER_WIDTH - full), _EMPTY))


def _words(view: StreamSnapshot, room: int) -> RenderableType:
    lines: list[RenderableType] = []
    for words, sign in ((view.recording.transcript, "“"), (view.recording.chat, "✉")):
        for name, text in words[-room:]:
            line = Text(f"{sign} ", style="dim")
            line.append(f"{escape(name, 24)}: ", style="bold not dim")
            line.append(escape(text), style="not dim")
            lines.append(Padding(line, (0, 1)))
    return Group(*lines)


def _messages(view: StreamSnapshot, frames: Sequence[Frame | Line], room: int) -> RenderableType:
    product: Product = view.session.stream.product
    shown = (
        (frame.at_s, escape(frame.text))
        if isinstance(frame, Line)
        else (frame.at_us / 1_000_000, frame_line(frame, product))
        for frame in frames[-room:]
    )
    lines = [Text(f"{at_s:9.3f}  {text}", no_wrap=True, overflow="ellipsis") for at_s, text in shown]
    return Panel(Group(*lines), title="messages, without media", title_align="left", border_style="dim")


def _remarks(view: StreamSnapshot) -> RenderableType:
    """What went wrong with a stream, in one place: how much was lost, and the newest warning, with its time."""
    losses, warnings = view.recording.losses, view.recording.warnings
    remark = Text()
    if losses:
        remark.append(f"{losses} {'LOSS' if losses == 1 else 'LOSSES'}: see the manifest  ", style="bold red")
    if warnings:
        more = f" ({len(warnings) - 1} more)" if len(warnings) > 1 else ""
        newest = warnings[-1]
        remark.append(f"! {clock_time(newest.first_at)}  {escape(newest.text)}{more}", style="yellow")
    return Padding(remark, (0, 1)) if remark else Group()
