"""What a server sends in a made-up session, and when: a pure function of the scenario and the granted parameters.

Audio and pictures come from `synthesis`, which is imported when a client requests them. The rest does not need NumPy.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

from msgspec import Struct

from rtms_cli.protocol.media import MediaParams, TranscriptParams
from rtms_cli.protocol.messages import (
    Chat,
    EventUpdate,
    Message,
    SessionStateUpdate,
    StreamStateUpdate,
    Transcript,
    UserId,
)
from rtms_cli.protocol.numbers import (
    ChatOperation,
    ChatSessionType,
    MediaType,
    MeetingEvent,
    Product,
    SessionState,
    StreamState,
)
from rtms_cli.protocol.parties import BY_CHANNEL
from rtms_cli.simulator.calls import call_events, cast
from rtms_cli.simulator.scenario import Scenario
from rtms_cli.simulator.schedule import TURN_MS, Event, EventKind, Schedule, within

SENTENCES = (
    ("Good morning, can everybody hear me?", "Yes, loud and clear."),
    ("Then let us begin with the numbers.", "One moment, I am sharing my screen."),
    ("As you can see, it goes up and to the right.", "Und das ist schön so."),
    ("Any questions so far?", "No, thank you. ありがとう。"),
)
"""Lines that the first two participants speak in turn."""


class Cue(Struct, frozen=True):
    """A message and its time."""

    at_ms: int
    kind: MediaType | None
    """`None` for an event or a change of state on the signaling socket."""
    message: Message | None
    """`None` if there is no picture now. The next one may have one."""


def nobody() -> UserId:
    """The default video choice, before the client chooses a participant."""
    return None


def make_cues(
    scenario: Scenario,
    params: MediaParams,
    epoch_ms: int,
    kind: MediaType | None,
    chosen: Callable[[], UserId] = nobody,
    session_id: str = "",
    product: str = Product.MEETING,
) -> Iterator[Cue]:
    """Yield all messages of one kind, in order. Audio and pictures are encoded on demand.

    :param epoch_ms: Zoom's clock, in Unix ms, when the session began.
    :param chosen: returns whose video the client has chosen. It is called for each picture.
    """
    scenario = cast(scenario, product)
    schedule = scenario.schedule()
    match kind:
        case MediaType.AUDIO | MediaType.VIDEO | MediaType.SHARE:
            from rtms_cli.simulator import synthesis

            return synthesis.make_media(scenario, schedule, params, epoch_ms, kind, chosen)
        case MediaType.TRANSCRIPT:
            return _transcript(scenario, schedule, params.transcript, epoch_ms)
        case MediaType.CHAT:
            return _chat(scenario, schedule, epoch_ms)
        case _:
            return _events(scenario, schedule, epoch_ms, session_id, product)


def _transcript(
    scenario: Scenario, schedule: Schedule, params: TranscriptParams | None, epoch_ms: int
) -> Iterator[Cue]:
    """Send each line once it has been spoken. Without `enable_lid`, all lines have the requested language."""
    fixed = params.src_language if params is not None and params.enable_lid is False else None
    lines = schedule.events(EventKind.TRANSCRIPT) or [
        Event(
            start_ms,
            EventKind.TRANSCRIPT,
            start_ms // TURN_MS % len(scenario.people),
            1_400,
            SENTENCES[number // 2 % len(SENTENCES)][number % 2],
        )
        for number, start_ms in enumerate(range(0, scenario.duration_ms - 1_500, 2_000))
    ]
    for line in sorted(lines, key=lambda line: line.at_ms + line.for_ms):
        at_ms = line.at_ms + line.for_ms
        if schedule.is_paused(at_ms):
            continue
        person = scenario.people[line.who]
        message = Transcript(
            *person.sender,
            epoch_ms + at_ms,
            line.text,
            epoch_ms + line.at_ms,
            epoch_ms + at_ms,
            line.language if fixed is None else fixed,
            channel_id=person.channel_id,
        )
        yield Cue(at_ms, MediaType.TRANSCRIPT, message)


def _chat(scenario: Scenario, schedule: Schedule, epoch_ms: int) -> Iterator[Cue]:
    lines = schedule.events(EventKind.CHAT)
    talk = _talk(scenario, epoch_ms) if not lines else _written(lines, scenario, epoch_ms)
    for at_ms, message in talk:
        if not schedule.is_paused(at_ms):
            yield Cue(at_ms, MediaType.CHAT, message)


def _written(lines: Sequence[Event], scenario: Scenario, epoch_ms: int) -> Iterator[tuple[int, Chat]]:
    for number, line in enumerate(lines, 1):
        person = scenario.people[line.who]
        yield (
            line.at_ms,
            Chat(
                *person.sender,
                epoch_ms + line.at_ms,
                line.text,
                operation=ChatOperation.NEW,
                message_id=f"message-{number}",
                chat_session=_EVERYONE,
            ),
        )


_EVERYONE = {"type": int(ChatSessionType.EVERYONE)}


def _talk(scenario: Scenario, epoch_ms: int) -> Iterator[tuple[int, Chat]]:
    """A made-up chat: a message, a reply with a file, an edit, a reaction, and a deleted message."""
    for number, at_ms in enumerate(range(1_000, scenario.duration_ms, 3_000)):
        turn, part = divmod(number, 6)
        first, reply, other = (f"message-{turn + 1}-{name}" for name in "abc")
        text, operation, ident, parent = (
            (f"Message {number + 1}: the slides are in the wiki 📎", ChatOperation.NEW, first, None),
            (f"Message {number + 1}: here they are", ChatOperation.NEW, reply, first),
            (f"Message {number + 1}: the slides are in the wiki, page 3 📎", ChatOperation.UPDATE, first, None),
            ("👍", ChatOperation.EMOJI_ADD, first, None),
            (f"Message {number + 1}: oops, wrong window", ChatOperation.NEW, other, None),
            ("", ChatOperation.DELETE, other, None),
        )[part]
        person = scenario.people[(part in (1, 3)) % len(scenario.people)]
        message = Chat(
            *person.sender,
            epoch_ms + at_ms,
            text,
            operation=operation,
            message_id=ident,
            parent_message_id=parent,
            chat_session=_EVERYONE,
            files=[{"file_id": f"file-{turn + 1}", "file_name": "slides.pdf", "file_size": 48_123}] if parent else None,
        )
        yield at_ms, message


def _meeting_events(scenario: Scenario, schedule: Schedule) -> list[tuple[int, int, dict[str, object]]]:
    people, end_ms = scenario.people, scenario.duration_ms
    named = [{"user_id": person.user_id, "user_name": person.name} for person in people]
    bare = [{"user_id": person.user_id} for person in people]
    here = [who for who in range(len(people)) if within(0, schedule.present[who])]
    cues: list[tuple[int, int, dict[str, object]]] = []
    cues.append((0, MeetingEvent.PARTICIPANT_JOIN, {"participants": [named[who] for who in here]}))
    filmed = [bare[who] for who in here if schedule.camera(who, 0) != 0]
    if filmed:
        cues.append((0, MeetingEvent.PARTICIPANT_VIDEO_ON, {"participants": filmed}))
    for who, spans in enumerate(schedule.present):
        for start_ms, until_ms in spans:
            if start_ms > 0:
                cues.append((start_ms, MeetingEvent.PARTICIPANT_JOIN, {"participants": [named[who]]}))
                if schedule.camera(who, start_ms) != 0:
                    cues.append((start_ms, MeetingEvent.PARTICIPANT_VIDEO_ON, {"participants": [bare[who]]}))
            if until_ms < end_ms:
                cues.append((until_ms, MeetingEvent.PARTICIPANT_LEAVE, {"participants": [bare[who]]}))
    if not (schedule.events(EventKind.JOIN) or schedule.events(EventKind.LEAVE)):
        cues.append((end_ms - 1, MeetingEvent.PARTICIPANT_LEAVE, {"participants": [bare[-1]]}))
    for (start_ms, until_ms), who in schedule.shares:
        cues.append((start_ms, MeetingEvent.SHARING_START, dict(named[who])))
        cues.append((until_ms, MeetingEvent.SHARING_STOP, dict(named[who])))
    for at_ms, who, is_on in schedule.cameras():
        event = MeetingEvent.PARTICIPANT_VIDEO_ON if is_on else MeetingEvent.PARTICIPANT_VIDEO_OFF
        cues.append((at_ms, event, {"participants": [bare[who]]}))
    for (_, before), (at_ms, who) in pairwise([(-1, -1), *schedule.speakers]):
        if who != before or schedule.in_turns:
            cues.append((at_ms, MeetingEvent.ACTIVE_SPEAKER_CHANGE, dict(named[who])))
    return cues


def _chat_groups(scenario: Scenario) -> list[tuple[int, int, dict[str, object]]]:
    """Chat group events. Their other fields are not public."""
    member: dict[str, object] = {"participants": [{"user_id": scenario.people[-1].user_id}]}
    told: list[tuple[int, dict[str, object]]] = [
        (MeetingEvent.CHAT_GROUP_CREATE, {}),
        (MeetingEvent.CHAT_GROUP_MEMBERS_ADD, member),
        (MeetingEvent.CHAT_GROUP_MEMBER_STATUS_UPDATE, member),
        (MeetingEvent.CHAT_GROUP_MEMBERS_DELETE, member),
        (MeetingEvent.CHAT_GROUP_DELETE, {}),
    ]
    return [(part * scenario.duration_ms // 6, *one) for part, one in enumerate(told, 1)]


def _events(scenario: Scenario, schedule: Schedule, epoch_ms: int, session_id: str, product: str) -> Iterator[Cue]:
    """The session's events. Calls have no camera or share events, and use `event_ts`."""
    is_call, end_ms = product in BY_CHANNEL, scenario.duration_ms
    cues = call_events(scenario, schedule, product) if is_call else _meeting_events(scenario, schedule)
    if product in (Product.MEETING, Product.WEBINAR) and not scenario.events:
        cues += _chat_groups(scenario)
    cues.insert(0, (0, MeetingEvent.FIRST_PACKET_TIMESTAMP, {}))
    messages: list[tuple[int, Message]] = [
        (
            at_ms,
            EventUpdate(event, None, {"event_ts": epoch_ms + at_ms, **fields})
            if is_call
            else EventUpdate(event, epoch_ms + at_ms, fields),
        )
        for at_ms, event, fields in sorted(cues, key=lambda cue: cue[:2])
    ]
    for start_ms, until_ms in schedule.paused:
        for at_ms, stream, session in (
            (start_ms, StreamState.PAUSED, SessionState.PAUSED),
            (until_ms, StreamState.RESUMED, SessionState.RESUMED),
        ):
            messages.append((at_ms, StreamStateUpdate(stream, timestamp=epoch_ms + at_ms)))
            messages.append((at_ms, SessionStateUpdate(session_id, session, timestamp=epoch_ms + at_ms)))
    for at_ms, message in sorted(messages, key=lambda pair: pair[0]):
        if at_ms < end_ms:
            yield Cue(at_ms, None, message)
