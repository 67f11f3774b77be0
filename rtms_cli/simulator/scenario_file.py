"""Scenarios in TOML: the timed events and faults of a session. About twenty are built in.

    description = "What it is for, in one line."
    seconds = 30
    people = ["John Smith", "Zoë Müller"]

    [[event]]
    at = 5
    drop = "signaling"

`EVENTS` lists every kind of event with its fields. Those in `CLOUD_EVENTS` happen in the cloud, and their times count
from the start of the cloud.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from importlib import resources
from pathlib import Path

from msgspec import Struct, structs

from rtms_cli.errors import Problem, reason_of
from rtms_cli.protocol.numbers import Language, Resolution, StatusCode, StopReason
from rtms_cli.protocol.saved import decode_text, read_toml
from rtms_cli.simulator.cloud_faults import CloudFault, CloudFaultAt
from rtms_cli.simulator.deviations import Deviation
from rtms_cli.simulator.faults import Fault, FaultAt
from rtms_cli.simulator.scenario import FIRST_ID, PEOPLE, Person, Scenario
from rtms_cli.simulator.schedule import Event, EventKind
from rtms_cli.simulator.subtitles import read_language

BEFORE_MS = -1
"""The time of events that happen before the session begins: `at = "start"`."""

MOST_SECONDS = 86_400
"""Longest duration of a session or of the cloud's events."""

MOST_BUFFERED_S = 60
"""How much audio Zoom keeps for a client that has not connected yet (PROTOCOL §4)."""


class ScenarioFile(Struct, frozen=True):
    """A scenario with its name."""

    name: str
    description: str
    scenarios: tuple[Scenario, ...]
    """One scenario per stream. Most files need one stream; a list of refusals needs one for each."""


def built_in() -> Sequence[ScenarioFile]:
    """Return the built-in scenarios, sorted by name."""
    return [load(name) for name in _names()]


def load(name: str) -> ScenarioFile:
    """Read a built-in scenario or a file.

    :param name: a built-in name, or a path that ends with `.toml`.
    :raises Problem: with the line and the invalid field.
    """
    if name.endswith(".toml"):
        path = Path(name)
        try:
            text, _ = decode_text(path.read_bytes())
        except OSError as error:
            raise Problem(f"Cannot read {path}: {reason_of(error)}.", _LIST) from None
        except ValueError as error:
            raise Problem(f"Cannot read {path}: {error}.", _LIST) from None
        return read(text, path.stem, name)
    if name not in _names():
        raise Problem(f"There is no scenario '{name}'.", f"Use {', '.join(_names())}, or a file.toml.")
    return read((_FOLDER / f"{name}.toml").read_text("utf-8"), name, f"{name}.toml")


_FOLDER = resources.files("rtms_cli.simulator") / "scenarios"
_LIST = "`rtms simulate --list` lists the built-in scenarios."


def _names() -> Sequence[str]:
    return sorted(entry.name.removesuffix(".toml") for entry in _FOLDER.iterdir() if entry.name.endswith(".toml"))


def read(text: str, name: str, where: str) -> ScenarioFile:
    """Read a scenario.

    :param where: the file, for errors.
    :raises Problem: with the line and the invalid field.
    """
    try:
        given = read_toml(text.encode())
    except ValueError as error:
        raise Problem(f"{where} is not valid TOML: {error}.", "See https://toml.io.") from None
    top = _Fields(given, where, ())
    description = top.text("description")
    seconds = top.number("seconds", 10.0)
    if not 0.1 <= seconds <= MOST_SECONDS:
        raise top.wrong("seconds", f"has to be a number from 0.1 to {MOST_SECONDS}")
    names = top.texts("people", [person.name for person in PEOPLE])
    if not names or len(set(names)) < len(names):
        raise top.wrong("people", "has to be a list of at least one name, without duplicates")
    people = tuple(Person(FIRST_ID + 1024 * number, each) for number, each in enumerate(names))
    server = top.texts("server", [])
    for each in server:
        if each not in tuple(Deviation):
            raise top.wrong("server", f"has to be a list of {', '.join(Deviation)}")
    late_s = top.number("webhook_after", 0.0)
    buffered_s = top.number("buffered", 0.0)
    if buffered_s > MOST_BUFFERED_S or buffered_s >= seconds:
        raise top.wrong("buffered", f"has to be at most {MOST_BUFFERED_S:g} and less than the session's seconds")
    tables = given.get("event", [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise top.wrong("event", "has to consist of [[event]] tables")
    top.take("event")
    top.finish(())
    lines = [number for number, line in enumerate(text.splitlines(), 1) if re.match(r"\s*\[\[\s*event\s*\]\]", line)]
    events: list[Event] = []
    faults: list[FaultAt] = []
    variants: list[FaultAt] = []
    in_cloud: list[CloudFaultAt] = []
    for number, table in enumerate(tables):
        line = f":{lines[number]}" if len(lines) == len(tables) else f": event {number + 1}"
        event = _Fields(table, f"{where}{line}", names)
        made = _read_event(event, seconds)
        events += [one for one in made if isinstance(one, Event)]
        in_cloud += [one for one in made if isinstance(one, CloudFaultAt)]
        new = [one for one in made if isinstance(one, FaultAt)]
        if len(new) > 1 and new[0].kind in _REFUSALS:
            variants = new
        else:
            faults += new
    whole = Scenario(
        seconds,
        people,
        tuple(faults),
        frozenset(map(Deviation, server)),
        tuple(events),
        late_s,
        buffered_s,
        cloud_faults=tuple(in_cloud),
    )
    each_of = [structs.replace(whole, faults=(*faults, one)) for one in variants] or [whole]
    return ScenarioFile(name, description, tuple(each_of))


class _Fields:
    """A table's fields. Each is read once with its type. Errors name the line."""

    def __init__(self, table: Mapping[str, object], where: str, people: Sequence[str]) -> None:
        self._left = dict(table)
        self._where = where
        self._people = people

    def has(self, name: str) -> bool:
        return name in self._left

    def holds(self, name: str, value: object) -> bool:
        return self._left.get(name) is value

    def take(self, name: str) -> object:
        return self._left.pop(name, None)

    def wrong(self, name: str, what: str) -> Problem:
        return Problem(f"{self._where}: '{name}' {what}.", _LIST)

    def number(self, name: str, default: float | None = None, least: float = 0) -> float:
        value = self.take(name)
        value = default if value is None else value
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= 1e9:
            raise self.wrong(name, f"has to be a number, at least {least:g}" if value is not None else "is missing")
        return float(value)

    def count(self, name: str, default: int | None = None, most: int = 1_000_000, least: int = 0) -> int:
        value = self.number(name, default, least)
        if value != int(value) or value > most:
            raise self.wrong(name, f"has to be a whole number from {least} to {most}")
        return int(value)

    def text(self, name: str) -> str:
        value = self.take(name)
        if not isinstance(value, str):
            raise self.wrong(name, "is missing" if value is None else "has to be a string")
        return value

    def texts(self, name: str, default: list[str]) -> list[str]:
        value = self.take(name)
        value = default if value is None else value
        if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
            raise self.wrong(name, "has to be a list of strings")
        return value

    def choice(self, name: str, choices: Sequence[str], default: str | None = None) -> str:
        value = self.take(name)
        value = default if value is None else value
        if value not in choices:
            raise self.wrong(name, f"has to be one of {', '.join(choices)}")
        return str(value)

    def person(self, name: str) -> int:
        value = self.take(name)
        if value not in self._people:
            raise self.wrong(name, f"has to be one of the people: {', '.join(self._people)}")
        return self._people.index(str(value))

    def yes(self, name: str) -> None:
        if self.take(name) is not True:
            raise self.wrong(name, "has to be true")

    def finish(self, known: Sequence[str]) -> None:
        for name in self._left:
            raise self.wrong(name, f"is not a field here; use {', '.join(known)}" if known else "is not a field here")


_Made = Sequence[Event | FaultAt | CloudFaultAt]


def _read_event(event: _Fields, seconds: float) -> _Made:
    at_ms = BEFORE_MS
    verbs = [verb for verb in (*EVENTS, *CLOUD_EVENTS) if event.has(verb)]
    last_s = MOST_SECONDS if any(verb in CLOUD_EVENTS for verb in verbs) else seconds
    if event.has("at"):
        if (at := event.take("at")) != "start":
            if isinstance(at, bool) or not isinstance(at, int | float) or not 0 <= at <= last_s:
                raise event.wrong("at", f'has to be "start", or seconds from 0 to {last_s:g}')
            at_ms = round(at * 1000)
    else:
        raise event.wrong("at", "is missing")
    if len(verbs) != 1:
        raise event.wrong(
            "event" if not verbs else "', '".join(verbs),
            f"has to name one event: {', '.join((*EVENTS, *CLOUD_EVENTS))}"
            if not verbs
            else "are two events; write two [[event]] tables",
        )
    fields, reader = EVENTS.get(verbs[0]) or CLOUD_EVENTS[verbs[0]]
    made = reader(event, verbs[0], at_ms)
    event.finish(("at", verbs[0], *fields))
    return made


def _ms(event: _Fields, name: str) -> int:
    return round(event.number(name) * 1000)


def _event(event: _Fields, verb: str, at_ms: int) -> _Made:
    return (Event(max(at_ms, 0), EventKind(verb), event.person(verb)),)


def _lasting(event: _Fields, verb: str, at_ms: int) -> _Made:
    return (Event(max(at_ms, 0), EventKind(verb), event.person(verb), _ms(event, "for")),)


_CAMERAS: Mapping[str, int | None] = {"on": None, "off": 0, **{size.name: int(size) for size in Resolution}}


def _camera(event: _Fields, verb: str, at_ms: int) -> _Made:
    who = event.person(verb)
    return (Event(max(at_ms, 0), EventKind.CAMERA, who, camera=_CAMERAS[event.choice("to", list(_CAMERAS))]),)


def _chat(event: _Fields, verb: str, at_ms: int) -> _Made:
    return (Event(max(at_ms, 0), EventKind.CHAT, event.person(verb), text=event.text("text")),)


def _transcript(event: _Fields, verb: str, at_ms: int) -> _Made:
    who, text, for_ms = event.person(verb), event.text("text"), round(event.number("for", 1.5) * 1000)
    language = read_language(event.take("language") if event.has("language") else int(Language.LANGUAGE_ID_ENGLISH))
    if language is None:
        raise event.wrong("language", f"has to be one of {', '.join(each.gist for each in Language)}")
    return (Event(max(at_ms, 0), EventKind.TRANSCRIPT, who, for_ms, text, language),)


def _pause(event: _Fields, verb: str, at_ms: int) -> _Made:
    return (Event(max(at_ms, 0), EventKind.PAUSE, for_ms=_ms(event, verb)),)


def _one_of(faults: Mapping[str, tuple[Fault, int]]) -> "_Reader":
    def reader(event: _Fields, verb: str, at_ms: int) -> _Made:
        fault, number = faults[event.choice(verb, list(faults))]
        return (FaultAt(at_ms, fault, number),)

    return reader


def _packets(fault: Fault) -> "_Reader":
    def reader(event: _Fields, verb: str, at_ms: int) -> _Made:
        return (FaultAt(at_ms, fault, times=event.count(verb, most=10_000, least=1)),)

    return reader


def _lasting_fault(fault: Fault) -> "_Reader":
    def reader(event: _Fields, verb: str, at_ms: int) -> _Made:
        return (FaultAt(at_ms, fault, _ms(event, verb)),)

    return reader


def _flag(fault: Fault, number: int = 0) -> "_Reader":
    def reader(event: _Fields, verb: str, at_ms: int) -> _Made:
        event.yes(verb)
        return (FaultAt(at_ms, fault, number),)

    return reader


_CORRUPT = {
    "base64": Fault.BAD_BASE64,
    "length": Fault.ODD_AUDIO,
    "json": Fault.BAD_JSON,
    "utf8": Fault.BAD_UTF8,
    "type": Fault.UNKNOWN_TYPE,
}


def _corrupt(event: _Fields, verb: str, at_ms: int) -> _Made:
    fault = _CORRUPT[event.choice(verb, list(_CORRUPT))]
    return (FaultAt(at_ms, fault, times=event.count("times", 1, most=10_000, least=1)),)


def _close(event: _Fields, verb: str, at_ms: int) -> _Made:
    code = event.count(verb, most=4999, least=1000)
    return (FaultAt(at_ms, Fault.CLOSE_MEDIA, code),)


_REFUSALS = {Fault.REFUSE_SIGNALING: "signaling", Fault.REFUSE_MEDIA: "media"}


def _refuse(event: _Fields, verb: str, at_ms: int) -> _Made:
    given = event.take(verb)
    listed = given if isinstance(given, list) else [given]
    codes = [code for code in listed if type(code) is int and code in tuple(StatusCode) and code > 0]
    if not codes or len(codes) < len(listed):
        raise event.wrong(verb, f"has to be a status code from 1 to {max(StatusCode)}, or a list of them")
    on = event.choice("on", list(_REFUSALS.values()), "signaling")
    times = event.count("times", 1, most=1000, least=1)
    fault = next(fault for fault, socket in _REFUSALS.items() if socket == on)
    return tuple(FaultAt(at_ms, fault, code, times) for code in codes)


_OLD = {"started": Fault.OLD_STARTED, "stopped": Fault.OLD_STOPPED, "interrupted": Fault.OLD_INTERRUPTED}


def _old_webhook(event: _Fields, verb: str, at_ms: int) -> _Made:
    fault = _OLD[event.choice(verb, list(_OLD))]
    return (FaultAt(at_ms, fault, event.count("minutes", 20, most=1440, least=1)),)


def _hang_up(event: _Fields, verb: str, at_ms: int) -> _Made:
    event.yes(verb)
    return (FaultAt(at_ms, Fault.HANG_UP, times=event.count("times", 1, most=1000, least=1)),)


def _stop(event: _Fields, verb: str, at_ms: int) -> _Made:
    reason = event.count(verb, most=max(StopReason), least=1)
    told = event.choice("told", ["signaling", "webhook"], "signaling")
    return (FaultAt(at_ms, Fault.STOP if told == "signaling" else Fault.STOP_WEBHOOK_ONLY, reason),)


def _token_expires(event: _Fields, verb: str, at_ms: int) -> _Made:
    event.yes(verb)
    return (CloudFaultAt(at_ms, CloudFault.TOKEN_EXPIRES),)


def _events_drop(event: _Fields, verb: str, at_ms: int) -> _Made:
    if event.holds(verb, True):
        event.yes(verb)
        return (CloudFaultAt(at_ms, CloudFault.EVENTS_DROP),)
    return (CloudFaultAt(at_ms, CloudFault.EVENTS_DROP, _ms(event, verb)),)


def _events_delay(event: _Fields, verb: str, at_ms: int) -> _Made:
    return (CloudFaultAt(at_ms, CloudFault.EVENTS_DELAY, _ms(event, verb)),)


def _events_silence(event: _Fields, verb: str, at_ms: int) -> _Made:
    event.yes(verb)
    return (CloudFaultAt(at_ms, CloudFault.EVENTS_SILENCE),)


def _second_subscriber(event: _Fields, verb: str, at_ms: int) -> _Made:
    event.yes(verb)
    return (CloudFaultAt(at_ms, CloudFault.SECOND_SUBSCRIBER, times=event.count("times", 1, most=1000, least=1)),)


def _rest_error(event: _Fields, verb: str, at_ms: int) -> _Made:
    code = event.count(verb, most=99_999, least=100)
    return (CloudFaultAt(at_ms, CloudFault.REST_ERROR, code, event.count("times", 1, most=1000, least=1)),)


_Reader = Callable[[_Fields, str, int], _Made]
EVENTS: Mapping[str, tuple[tuple[str, ...], _Reader]] = {
    "join": ((), _event),
    "leave": ((), _event),
    "mute": ((), _event),
    "unmute": ((), _event),
    "speak": (("for",), _lasting),
    "share": (("for",), _lasting),
    "camera": (("to",), _camera),
    "chat": (("text",), _chat),
    "transcript": (("text", "for", "language"), _transcript),
    "pause": ((), _pause),
    "drop": ((), _one_of({"signaling": (Fault.DROP_SIGNALING, 0), "media": (Fault.DROP_MEDIA, 0)})),
    "close": ((), _close),
    "interrupt": (
        (),
        _one_of(
            {
                "signaling": (Fault.SAY_INTERRUPTED, StopReason.STOP_BC_SIGNAL_CONNECTION_INTERRUPTED),
                "media": (Fault.SAY_INTERRUPTED, StopReason.STOP_BC_DATA_CONNECTION_INTERRUPTED),
                "event": (Fault.EVENT_7, 0),
                "webhook": (Fault.WEBHOOK_INTERRUPTED, 0),
            }
        ),
    ),
    "silence": ((), _flag(Fault.SILENCE)),
    "skip_keep_alives": ((), _lasting_fault(Fault.SKIP_KEEP_ALIVES)),
    "delay": ((), _lasting_fault(Fault.DELAY)),
    "duplicate": ((), _packets(Fault.DUPLICATE)),
    "reorder": ((), _packets(Fault.SWAP)),
    "corrupt": (("times",), _corrupt),
    "failover": (
        (),
        _one_of(
            {
                "same port": (Fault.FAILOVER, 0),
                "another port": (Fault.FAILOVER, 1),
                "split brain": (Fault.SPLIT_BRAIN, 0),
            }
        ),
    ),
    "retry_webhook": ((), _flag(Fault.RETRY_WEBHOOK)),
    "old_webhook": (("minutes",), _old_webhook),
    "refuse": (("on", "times"), _refuse),
    "hang_up": (("times",), _hang_up),
    "revoke": ((), _flag(Fault.STOP, StopReason.STOP_BC_STREAM_REVOKED)),
    "stop": (("told",), _stop),
}
"""Every kind of event: the field that names it, its other fields, and its meaning."""

CLOUD_EVENTS: Mapping[str, tuple[tuple[str, ...], _Reader]] = {
    "token_expires": ((), _token_expires),
    "events_drop": ((), _events_drop),
    "events_delay": ((), _events_delay),
    "events_silence": ((), _events_silence),
    "second_subscriber": (("times",), _second_subscriber),
    "rest_error": (("times",), _rest_error),
}
"""Events of the cloud, in the same form."""
