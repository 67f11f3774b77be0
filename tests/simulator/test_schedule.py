"""What follows from what people do: whose packets come when, who is seen, which events tell of it."""

import pytest
from simulator.test_codecs_sent import cues

from rtms_cli.protocol.conversation import Conversation, chat_line
from rtms_cli.protocol.media import AudioParams, MediaParams, TranscriptParams, VideoParams
from rtms_cli.protocol.messages import Audio, Chat, EventUpdate, Share, Transcript, Video, encode, read
from rtms_cli.protocol.numbers import MediaType, MeetingEvent
from rtms_cli.simulator.cues import make_cues
from rtms_cli.simulator.deviations import Deviation, spoken
from rtms_cli.simulator.scenario import PEOPLE, Scenario
from rtms_cli.simulator.schedule import Event, EventKind, Span, both, merged, overlapping, within, without

EVENTS = (
    Event(1000, EventKind.JOIN, 1),
    Event(0, EventKind.SPEAK, 0, 1500),
    Event(500, EventKind.SPEAK, 1, 2500),
    Event(2000, EventKind.MUTE, 1),
    Event(2200, EventKind.UNMUTE, 1),
    Event(1200, EventKind.SHARE, 1, 5000),
    Event(3000, EventKind.LEAVE, 1),
    Event(3500, EventKind.SPEAK, 2, 500),
)
SCENARIO = Scenario(5, events=EVENTS)


def spans(stamps: list[int], step_ms: int) -> list[Span]:
    """Runs of packets without a gap."""
    return [
        (first, max(last for last in stamps if all(at in stamps for at in range(first, last, step_ms))) + step_ms)
        for first in stamps
        if first - step_ms not in stamps
    ]


def test_packets_come_while_somebody_is_there_speaks_and_is_not_muted() -> None:
    shown = cues(SCENARIO, MediaParams(audio=AudioParams(2, 0, 1, 1, 2, 20)), MediaType.AUDIO)
    mine: dict[object, list[int]] = {person.user_id: [] for person in PEOPLE}
    for cue in shown:
        assert isinstance(cue.message, Audio)
        mine[cue.message.user_id].append(cue.at_ms)
    assert [spans(stamps, 20) for stamps in mine.values()] == [
        [(0, 1500)],
        [(1000, 2000), (2200, 3000)],
        [(3500, 4000)],
    ]
    video = cues(SCENARIO, MediaParams(video=VideoParams(3, 5, 1, 3, 5)), MediaType.VIDEO)
    seen = [PEOPLE.index(person) for cue in video for person in PEOPLE if isinstance(cue.message, Video)
            and cue.message.user_id == person.user_id]  # fmt: skip
    assert seen == [0] * 5 + [1] * 10 + [0] * 3 + [2] * 7  # whoever spoke last of those who are there
    share = cues(SCENARIO, MediaParams(), MediaType.SHARE)
    assert [(cue.at_ms, cue.message.user_id) for cue in share if isinstance(cue.message, Share)] == [
        (1200, PEOPLE[1].user_id)
    ]


def test_events_tell_of_it() -> None:
    events = [
        (cue.at_ms, cue.message.event_type, cue.message.fields)
        for cue in make_cues(SCENARIO, MediaParams(), 0, None)
        if isinstance(cue.message, EventUpdate)
    ]
    one, two, three = ({"user_id": person.user_id, "user_name": person.name} for person in PEOPLE)
    bare = [{"user_id": person.user_id} for person in PEOPLE]
    assert events == [
        (0, MeetingEvent.FIRST_PACKET_TIMESTAMP, {}),
        (0, MeetingEvent.ACTIVE_SPEAKER_CHANGE, one),
        (0, MeetingEvent.PARTICIPANT_JOIN, {"participants": [one, three]}),
        (0, MeetingEvent.PARTICIPANT_VIDEO_ON, {"participants": [bare[0], bare[2]]}),
        (1000, MeetingEvent.ACTIVE_SPEAKER_CHANGE, two),
        (1000, MeetingEvent.PARTICIPANT_JOIN, {"participants": [two]}),
        (1000, MeetingEvent.PARTICIPANT_VIDEO_ON, {"participants": [bare[1]]}),
        (1200, MeetingEvent.SHARING_START, two),
        (3000, MeetingEvent.PARTICIPANT_LEAVE, {"participants": [bare[1]]}),
        (3000, MeetingEvent.SHARING_STOP, two),
        (3500, MeetingEvent.ACTIVE_SPEAKER_CHANGE, three),
    ]


@pytest.mark.parametrize(
    ("params", "languages"), [((5, 9, True), [14, 20]), ((5, 9, None), [14, 20]), ((5, 9, False), [9, 9])]
)
def test_the_language_is_detected_unless_the_client_does_not_want_that(
    params: tuple[int, int, bool | None], languages: list[int]
) -> None:
    events = (Event(0, EventKind.TRANSCRIPT, 1, 500, "Moin", 14), Event(1000, EventKind.TRANSCRIPT, 2, 500, "はい", 20))
    shown = cues(Scenario(3, events=events), MediaParams(transcript=TranscriptParams(*params)), MediaType.TRANSCRIPT)
    assert [cue.message.language for cue in shown if isinstance(cue.message, Transcript)] == languages


def test_spans() -> None:
    assert merged([(5, 9), (0, 2), (8, 12), (2, 3)]) == [(0, 2), (2, 3), (5, 12)]
    assert both([(0, 10), (20, 30)], [(5, 25)]) == [(5, 10), (20, 25)]
    assert without([(0, 10), (20, 30)], [(5, 22), (29, 40)]) == [(0, 5), (22, 29)]
    many = [(at, at + 5) for at in range(0, 1000, 10)]
    for at_ms in range(-3, 1010):
        assert within(at_ms, many) == any(start <= at_ms < end for start, end in many)
        stretch = at_ms, at_ms + 17
        assert list(overlapping(many, *stretch)) == [
            span for span in many if span[0] < stretch[1] and span[1] > stretch[0]
        ]


def test_a_made_up_chat_has_every_operation() -> None:
    conversation = Conversation()
    for cue in cues(Scenario(18), MediaParams(), MediaType.CHAT):
        assert isinstance(cue.message, Chat)
        conversation.take(cue.at_ms / 1000, chat_line(cue.message))
    assert [(conversation.sender(post), post.shown()) for post in conversation.posts] == [
        ("John Smith", "Message 3: the slides are in the wiki, page 3 📎 (edited) [👍 Zoë Müller]"),
        ("Zoë Müller, in reply to John Smith", "Message 2: here they are 📎 slides.pdf"),
        ("John Smith", "(deleted)"),
    ]


def test_what_a_scenario_has_somebody_write_is_a_new_message() -> None:
    events = (Event(500, EventKind.CHAT, 1, text="hi"), Event(900, EventKind.CHAT, 0, text="ho"))
    sent = [cue.message for cue in cues(Scenario(3, events=events), MediaParams(), MediaType.CHAT)]
    assert [(one.user_name, one.text, one.operation, one.message_id) for one in sent if isinstance(one, Chat)] == [
        ("Zoë Müller", "hi", 1, "message-1"), ("John Smith", "ho", 1, "message-2"),
    ]  # fmt: skip


@pytest.mark.parametrize("deviations", [set(), {Deviation.CHAT_AS_JSON}, {Deviation.CHAT_AS_JSON, Deviation.FLAT}])
def test_a_chat_in_every_shape_is_read_as_it_was(deviations: set[Deviation]) -> None:
    for cue in cues(Scenario(18), MediaParams(), MediaType.CHAT):
        assert isinstance(cue.message, Chat)
        said = spoken("media", cue.message, frozenset(deviations))
        assert said is not None
        assert read(said.raw or encode(cue.message)) == cue.message
