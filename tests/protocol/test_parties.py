"""Who a message belongs to, and what events say of people, in every shape that was seen."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtms_cli.protocol.fields import LONGEST_ID, user_id
from rtms_cli.protocol.messages import Audio, Chat, EventUpdate, Media, Transcript, UserId, read
from rtms_cli.protocol.parties import (
    Mention,
    Parties,
    event_label,
    has_joined,
    is_speaker_change,
    label,
    name_of,
    party,
    party_of,
    people_of,
    shown_name,
    speaker_of,
)

ALIKE = ["10", "1_0", " 10", "10 ", "+10", "010", "１０", "10.0", "-10", "0x10", "10\n", "1e1", "", "−10"]


def said(number: int, **content: object) -> Media | Transcript | Chat:
    message = read(json.dumps({"msg_type": number, "content": {"data": "AA==", "timestamp": 1, **content}}).encode())
    assert isinstance(message, Media | Transcript | Chat)
    return message


def event(kind: object, **fields: object) -> EventUpdate:
    message = read(json.dumps({"msg_type": 6, "event": {"event_type": kind, **fields}}).encode())
    assert isinstance(message, EventUpdate)
    return message


@pytest.mark.parametrize(
    ("product", "user", "channel", "whose"),
    [
        ("meeting", 16778240, None, 16778240),
        ("meeting", 0, None, None),
        ("meeting", None, None, None),
        ("meeting", "", None, None),
        ("meeting", 0, 0, None),  # everyone's sound, whatever else it says
        ("meeting", 0, 1, 1),
        ("meeting", None, 0, 0),
        ("meeting", 7, 1, 7),
        ("session", "alice", 0, "alice"),
        ("contact_center", None, 0, 0),
        ("contact_center", 0, 0, 0),
        ("contact_center", 7, 0, 0),
        ("contact_center", 7, "agent", "agent"),
        ("contact_center", 7, None, 7),
        ("contact_center", 7, "", 7),
        ("contact_center", None, None, None),
        ("phone", 0, 1, 1),
        ("phone", 0, None, None),
        ("of next year", None, 1, 1),
    ],
)
def test_whose_it_is_goes_by_the_product(product: str, user: UserId, channel: UserId, whose: UserId) -> None:
    assert party(product, user, channel) == whose
    ids = {"user_id": user, "channel_id": channel}
    for number in (14, 15, 16, 17):
        assert party_of(said(number, **ids), product) == whose
    assert party_of(said(18, user_id=user), product) == party(product, user)


def test_ids_that_look_alike_are_not_the_same() -> None:
    found = [user_id(text) for text in ALIKE]
    assert len(set(found)) == len(ALIKE)
    assert found[0] == user_id(10) == user_id(10.0) == 10
    assert user_id(True) != user_id(1)
    assert user_id([1]) != user_id(1)
    assert len({user_id(value) for value in (1.5, {"id": 1}, {"id": 2}, False)}) == 4


@given(st.integers() | st.text(max_size=300), st.integers() | st.text(max_size=300))
def test_different_ids_stay_different(one: int | str, other: int | str) -> None:
    assert (user_id(one) == user_id(other)) == (str(one) == str(other))


@pytest.mark.parametrize("long", [10**5000, "x" * 4_000_000, "9" * 4_000], ids=["number", "text", "digits"])
def test_a_long_id_is_told_by_its_beginning_and_a_hash(long: int | str) -> None:
    found = user_id(long)
    assert isinstance(found, str)
    assert len(found) == LONGEST_ID
    assert user_id(found) == found
    assert isinstance(long, int) or user_id(f"{long}.") != found


def test_an_id_and_a_name_may_be_numbers_or_not() -> None:
    message = said(14, user_id="16778240", user_name=42)
    assert (message.user_id, message.user_name) == (16778240, "42")
    assert said(17, user_id="010", user_name=None).user_id == "010"
    assert isinstance(said(14, user_id=" 10"), Audio)


ANNA, BO = Mention(1, "Anna"), Mention(2, "Bo")
PEOPLE = [{"user_id": 1, "user_name": "Anna"}, {"user_id": "2", "user_name": "Bo"}]


@pytest.mark.parametrize(
    ("fields", "people"),
    [
        ({"participants": PEOPLE}, [ANNA, BO]),
        ({"participants": PEOPLE[0]}, [ANNA]),
        ({"participants": {"1": PEOPLE[0], "2": {"user_name": "Bo"}}}, [ANNA, BO]),
        ({"participants": {"1": "Anna", "2": "Bo"}}, [ANNA, BO]),
        ({"participants": [1, "2", 0, None, True]}, [Mention(1), Mention(2)]),
        ({"participants": ["Anna", "Bo", ""]}, [Mention(None, "Anna"), Mention(None, "Bo")]),
        (
            {"participants": [{"user_id": 1, "user_name": 42}, {"user_id": 2, "user_name": ["x"]}]},
            [Mention(1, "42"), Mention(2)],
        ),
        ({"participants": [PEOPLE[0], {"user_id": 1}]}, [ANNA]),
        ({"participants": [{"user_id": 1}, PEOPLE[0]]}, [ANNA]),
        ({"participants": [[1], {}, {"user_id": None}]}, []),
        ({"participants": {"count": 2, "more": "yes"}}, []),
        ({"participants": 1}, [Mention(1)]),
        ({"participants": None}, []),
        ({"participants": []}, []),
        ({"data": {"list": [{"participants": PEOPLE}]}}, [ANNA, BO]),
        (PEOPLE[0], [ANNA]),
        ({"user_id": 0, "user_name": ""}, []),
        ({"user_id": 1, "participants": [PEOPLE[1]]}, [BO]),
        ({"operator": {"user_id": 1, "user_name": "Anna"}}, []),
        ({"user_name": "Anna"}, [Mention(None, "Anna")]),
        ({}, []),
    ],
)
def test_people_of_events(fields: dict[str, object], people: list[Mention]) -> None:
    assert people_of(event(3, **fields), "meeting") == people


@pytest.mark.parametrize("key", ["participant_info", "paticipant_info"])
@pytest.mark.parametrize("inside", [lambda held: held, lambda held: {"payload": {"object": held}}])
def test_contact_center_names_channels(key: str, inside: object) -> None:
    info = [
        {"channel_id": 0, "participant_mode": "consumer", "display_name": "Ann", "phone_number": "+15550001234"},
        {"channel_id": "1", "user_id": "agent-7", "display_name": "Bo", "queue_id": "q", "queue_name": "Sales"},
    ]
    assert callable(inside)
    for held, people in ((info, [Mention(0, "Ann"), Mention(1, "Bo", "agent-7")]), (info[0], [Mention(0, "Ann")])):
        found = people_of(event(8, event_ts=1, **inside({key: held})), "contact_center")
        assert found == people


def test_a_user_without_a_channel_is_the_party_that_events_say() -> None:
    parties = Parties("contact_center")
    line = said(17, user_id="agent-7")
    assert parties.party_of(line) == "agent-7"
    parties.people_of(event(10, participant_info={"channel_id": 0, "user_id": "agent-7", "display_name": "Bo"}))
    assert parties.party_of(line) == 0
    assert parties.party_of(said(17, user_id="agent-7", channel_id=2)) == 2
    assert parties.party_of(said(17, user_id="agent-8")) == "agent-8"
    parties.people_of(event(10, participant_info={"channel_id": 3, "user_id": "agent-7"}))
    assert parties.party_of(line) == "agent-7"  # of two channels it is neither's
    meeting = Parties("meeting")
    meeting.people_of(event(3, participants={"channel_id": 0, "user_id": 7}))
    assert meeting.party_of(said(17, user_id=7)) == 7


def test_a_phone_number_is_no_name() -> None:
    info = {"channel_id": 0, "display_name": "+1 (555) 000-1234", "phone_number": "15550001234"}
    told = people_of(event(8, participant_info=info), "contact_center")
    assert told == [Mention(0, "number ending in 34")]
    assert people_of(event(8, participant_info={"channel_id": 0, "phone_number": "15550001234"}), "phone") == [
        Mention(0)
    ]
    assert people_of(
        event(3, participants={"user_id": 1, "display_name": "5551", "phone_number": 5551}), "meeting"
    ) == [Mention(1, "number ending in 51")]
    assert name_of(said(14, channel_id=0, user_name="(555) 000 1234"), "phone") == "number ending in 34"
    assert shown_name("meeting", "15550001234") == "15550001234"
    assert shown_name("phone", "Agent 0012345") == "Agent 0012345"
    assert shown_name("phone", "Bo (+1 555 010-0124)") == "Bo (number ending in 24)"
    for between in "–‑\N{MINUS SIGN}_\N{NO-BREAK SPACE}\N{ZERO WIDTH SPACE}":
        assert shown_name("phone", between.join(("555", "010", "0124"))) == "number ending in 24"
        assert shown_name("phone", f"Bo +1{between}555{between}0100124") == "Bo number ending in 24"
    assert shown_name("phone", "\u202a[+1] 555 010 0124\u202c") == "number ending in 24"
    assert shown_name("contact_center", "tel:15550100124@example.com") == "tel:number ending in 24@example.com"


def test_who_came_and_who_went() -> None:
    meeting = [has_joined(event(kind), "meeting") for kind in (3, 4, 8, "PARTICIPANT_JOIN", 9)]
    assert meeting == [True, False, None, True, None]
    contact_center = [has_joined(event(kind), "contact_center") for kind in (8, 9, 10, 11, 12, 29)]
    assert contact_center == [True, False, True, False, None, False]


def test_who_speaks() -> None:
    change = event("2", user_id=1, user_name="Anna")
    assert is_speaker_change(change, "meeting")
    assert speaker_of(change, "meeting") == ANNA
    assert speaker_of(event(2, user_id=0), "meeting") is None
    assert not is_speaker_change(event(3), "meeting")


@pytest.mark.parametrize("product", ["phone", "meeting", "contact_center"])
@pytest.mark.parametrize(("code", "shown"), [(3, "event code 3"), ("8", "event code 8"), ([], "UNDEFINED")])
def test_an_event_code_is_no_event_type(code: object, shown: str, product: str) -> None:
    event_ = event(None, event_code=code, user_id=7)
    assert event_label(event_, product) == shown
    assert has_joined(event_, product) is None
    assert event_.fields["event_code"] == code


def test_labels() -> None:
    assert [label("phone", 0), label("meeting", 7), label("meeting", 7, "Bo"), label("meeting", None)] == [
        "channel 0",
        "7",
        "Bo",
        "",
    ]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["participants", "participant_info", "user_id", "user_name", "1", "x"]), inner
        )
    ),
    max_leaves=12,
)


@given(JSON, st.sampled_from(["meeting", "contact_center"]))
def test_no_shape_is_trusted(fields: object, product: str) -> None:
    message = read(json.dumps({"msg_type": 6, "event": fields}).encode())
    if isinstance(message, EventUpdate):
        for who in people_of(message, product):
            assert isinstance(who.party, int | str | None)
            assert who.party is not None or who.name
