"""Parses `--tap WHAT[,KEY=VALUE…]:TARGET`, and validates it before anything runs."""

import re
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit, urlunsplit

from msgspec import Struct

from rtms_cli.errors import Problem
from rtms_cli.live.pieces import AUDIO, CHAT, EVENTS, SHARE, TRANSCRIPT, VIDEO, SoundForm
from rtms_cli.live.programs import parse_command, shown_command
from rtms_cli.protocol.media import MediaRequest
from rtms_cli.protocol.numbers import MediaType
from rtms_cli.protocol.secrets import redact_url
from rtms_cli.protocol.times import seconds_in

ALL = "all"
KINDS = (AUDIO, VIDEO, SHARE, TRANSCRIPT, CHAT, EVENTS)
ENCODINGS = ("s16le", "f32le", "mulaw", "wav")
RATES_HZ = range(8000, 48001)
MIXED, EACH = "mixed", "each"
STDOUT, EXEC, FILE, WEBSOCKET, TWILIO, LISTEN = "-", "exec", "file", "websocket", "twilio", "listen"
"""Kinds of targets."""
_TARGETS = "-, exec:COMMAND, file:PATH, ws://…, wss://…, twilio+ws://…, twilio+wss://… or listen:PORT"
_KEYS = {
    "rate": (AUDIO,),
    "channels": (AUDIO,),
    "format": (AUDIO,),
    "hold": (AUDIO,),
    "every": (VIDEO, SHARE),
    "user": (*KINDS, ALL),
    "buffer": (*KINDS, ALL),
    "restart": (*KINDS, ALL),
}
"""The keys that each kind accepts. `all` also accepts those of audio."""
_MEDIA = {
    AUDIO: MediaType.AUDIO,
    VIDEO: MediaType.VIDEO,
    SHARE: MediaType.SHARE,
    TRANSCRIPT: MediaType.TRANSCRIPT,
    CHAT: MediaType.CHAT,
}


class TargetSpec(Struct, frozen=True):
    """The destination of a tap."""

    kind: str
    argv: tuple[str, ...] = ()
    """Of `exec`."""
    address: str = ""
    """A path or a URL."""
    port: int = 0
    """Of `listen`."""
    shown: str = ""
    """The same for messages and the manifest, without secrets: only the program of a command, a URL without user and
    query."""


class TapSpec(Struct, frozen=True):
    """One `--tap`."""

    what: str
    target: TargetSpec
    user: str = MIXED
    """`mixed`, `each`, an id or a name."""
    rate_hz: int | None = None
    """`None` means unchanged."""
    channels: int | None = None
    encoding: str = "s16le"
    hold_ms: int = 200
    every_s: float | None = None
    buffer_s: float = 10.0
    restart: bool = True

    @property
    def kinds(self) -> tuple[str, ...]:
        """Return the kinds of pieces that it wants."""
        return KINDS if self.what == ALL else (self.what,)

    def sound(self, rate_hz: int, channels: int) -> SoundForm:
        """Return its audio format for audio of the given format."""
        return SoundForm(self.rate_hz or rate_hz, self.channels or channels, self.encoding)

    def __str__(self) -> str:
        """Return it for messages: `audio → exec:ENGINE`."""
        return f"{self.what} → {self.target.shown}"


def read_tap(text: str) -> TapSpec:
    """Read a `--tap`.

    :raises Problem: if it is invalid.
    """
    head, colon, target = text.partition(":")
    what, *pairs = head.split(",")
    if what not in (*KINDS, ALL):
        raise _problem(text, f"{what or 'nothing'!r} cannot be tapped", f"Begin with {', '.join(KINDS)} or {ALL}.")
    if not colon or not target:
        raise _problem(text, "it has no target", f"After a colon, use {_TARGETS}.")
    given: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if key not in _KEYS or not equals or not value:
            raise _problem(text, f"{pair!r} is not KEY=VALUE", f"Give KEY=VALUE, with {', '.join(_KEYS)} as keys.")
        if what not in _KEYS[key] and not (what == ALL and AUDIO in _KEYS[key]):
            raise _problem(text, f"{key} cannot be used with {what}", f"It is for {', '.join(_KEYS[key])}.")
        if key in given:
            raise _problem(text, f"{key} is given twice", "Give it once.")
        given[key] = value
    tap = _read_keys(text, what, _read_target(text, target), given)
    _check(text, tap)
    return tap


def shown_tap(text: str) -> str:
    """Return a `--tap` without possible secrets in its target, whether it is valid or not."""
    head, colon, target = text.partition(":")
    kind, _, rest = target.partition(":")
    if kind == EXEC:
        return f"{head}:{EXEC}:{shown_command(rest)}"
    if "://" in target:
        return f"{head}:{redact_url(re.split('[?#]', target)[0])}"
    return f"{head}{colon}{target}"


def check_taps(taps: Sequence[TapSpec], request: MediaRequest, *, many_streams: bool) -> None:
    """Check that taps do not conflict, and that the media that they want are requested.

    :param many_streams: whether there may be more than one stream.
    :raises Problem: if they conflict.
    """
    for tap in taps:
        wanted = _MEDIA.get(tap.what)
        if wanted is not None and wanted not in request.types:
            raise Problem(f"--tap {tap.what}: {tap.what} is not requested.", f"Add {tap.what} to --media.")
        if many_streams and tap.target.kind == STDOUT:
            raise Problem(f"--tap {tap.what}:- cannot be used with several streams.", "Use exec:, ws: or listen:.")
        if many_streams and tap.target.kind == FILE and "{stream}" not in tap.target.address:
            raise Problem(f"--tap {tap.target.shown} would mix streams.", "Put {stream} into the path.")
    for kind in (STDOUT, LISTEN, FILE):
        places = [(tap.target.address, tap.target.port) for tap in taps if tap.target.kind == kind]
        twice = next((place for place in places if places.count(place) > 1 and (place[1] or kind != LISTEN)), None)
        if twice is not None:
            shown = next(tap.target.shown for tap in taps if (tap.target.address, tap.target.port) == twice)
            raise Problem(f"Two taps go to {shown}.", "Give each its own target.")


def wants_each(taps: Sequence[TapSpec]) -> bool:
    """Return whether a tap needs each participant's audio, so that it must be requested from Zoom."""
    return any(tap.user != MIXED and AUDIO in tap.kinds for tap in taps)


def _read_keys(text: str, what: str, target: TargetSpec, given: dict[str, str]) -> TapSpec:
    is_twilio = target.kind == TWILIO
    encoding = given.get("format", "mulaw" if is_twilio else "s16le")
    if encoding not in ENCODINGS:
        raise _problem(text, f"format={encoding} is not a known format", f"Use {', '.join(ENCODINGS)}.")
    rate = _number(text, "rate", given.get("rate"), lambda hz: hz in RATES_HZ, "8000 to 48000")
    channels = _number(text, "channels", given.get("channels"), lambda count: count in (1, 2), "1 or 2")
    if encoding == "mulaw":
        rate, channels = rate or 8000, channels or 1
    every = given.get("every")
    if given.get("restart", "yes") not in ("yes", "no"):
        raise _problem(text, f"restart={given['restart']} is not yes or no", "Use restart=yes or restart=no.")
    return TapSpec(
        what,
        target,
        given.get("user", MIXED),
        rate,
        channels,
        encoding,
        round(_seconds(text, "hold", given.get("hold", "200ms"), 0, 30) * 1000),
        None if every is None else _seconds(text, "every", every, 0.1, 3600),
        _seconds(text, "buffer", given.get("buffer", "10s"), 0.1, 600),
        given.get("restart", "yes") == "yes",
    )


def _read_target(text: str, target: str) -> TargetSpec:
    kind, _, rest = target.partition(":")
    if target == STDOUT:
        return TargetSpec(STDOUT, shown="standard output")
    if kind == EXEC:
        return _read_command(text, rest)
    if kind == FILE and rest:
        return TargetSpec(FILE, address=rest, shown=f"file:{rest}")
    if kind == LISTEN:
        port = _number(text, "listen", rest, lambda number: number in range(65536), "a port, 0 to 65535")
        assert port is not None
        return TargetSpec(LISTEN, port=port, shown=f"listen:{port}")
    url = target.removeprefix("twilio+")
    if url.startswith(("ws://", "wss://")):
        return _read_url(text, url, TWILIO if url is not target and url != target else WEBSOCKET)
    raise _problem(text, f"{target!r} is not a valid target", f"Use {_TARGETS}.")


def _read_command(text: str, command: str) -> TargetSpec:
    parsed = parse_command(f"--tap {text.partition(':')[0]}", command)
    return TargetSpec(EXEC, argv=parsed.words, shown=f"exec:{parsed.name}")


def _read_url(text: str, url: str, kind: str) -> TargetSpec:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or port == 0:
        raise _problem(text, "the URL has no host", "Give ws://HOST:PORT/PATH.")
    place = host if port is None else f"{host}:{port}"
    shown = urlunsplit((parts.scheme, f"[{host}]{place[len(host) :]}" if ":" in host else place, parts.path, "", ""))
    return TargetSpec(kind, address=url, shown=f"twilio+{shown}" if kind == TWILIO else shown)


def _check(text: str, tap: TapSpec) -> None:
    kind = tap.target.kind
    if tap.what == ALL and kind not in (WEBSOCKET, LISTEN):
        raise _problem(
            text, "all needs a target that distinguishes kinds", "Use ws://, wss:// or listen:, or one kind."
        )
    if kind == TWILIO and tap.what != AUDIO:
        raise _problem(text, f"Twilio's messages do not carry {tap.what}", "Use audio, or ws:// without twilio+.")
    if tap.encoding == "wav" and kind not in (STDOUT, EXEC, FILE):
        raise _problem(text, "format=wav is for -, exec: and file:", "Use s16le, f32le or mulaw.")
    if tap.user == EACH and kind == STDOUT:
        raise _problem(text, "there is only one standard output", "Use user=mixed, an id or a name, or another target.")
    if tap.user == EACH and kind == FILE and "{user}" not in tap.target.address:
        raise _problem(text, "all participants would share one file", "Put {user} into the path.")


def _number(text: str, key: str, value: str | None, is_good: Callable[[int], bool], what: str) -> int | None:
    if value is None:
        return None
    number = int(value) if value.isascii() and value.isdigit() and len(value) < 10 else -1
    if not is_good(number):
        raise _problem(text, f"{key}={value} is not valid", f"Use {what}.")
    return number


def _seconds(text: str, key: str, value: str, least: float, most: float) -> float:
    seconds = seconds_in(value)
    if seconds is None or not least <= seconds <= most:
        raise _problem(text, f"{key}={value} is not a valid time", f"Use {least:g}s to {most:g}s, as 200ms or 5s.")
    return seconds


def _problem(text: str, what: str, remedy: str) -> Problem:
    shown = text.partition(":")[0]
    return Problem(f"--tap {shown}: {what}.", remedy)
