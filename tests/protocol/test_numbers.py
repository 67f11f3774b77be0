"""The tables of PROTOCOL §4–§8 against a second, independent copy, and how numbers are read and shown."""

import pytest

from rtms_cli.protocol.numbers import (
    Attribute,
    AudioChannel,
    ChatOperation,
    ChatSessionType,
    Codec,
    ContactCenterEvent,
    ContentType,
    DataOption,
    Language,
    MediaType,
    MeetingEvent,
    MessageType,
    Numbered,
    Product,
    Resolution,
    SampleRate,
    SessionState,
    StatusCode,
    StopReason,
    StreamState,
    as_int,
    event_name,
)

# Each table is its first number and its names in order; none has a hole.
TABLES: list[tuple[type[Numbered], int, str, str]] = [
    (
        MessageType,
        1,
        "",
        """SIGNALING_HAND_SHAKE_REQ SIGNALING_HAND_SHAKE_RESP DATA_HAND_SHAKE_REQ DATA_HAND_SHAKE_RESP
        EVENT_SUBSCRIPTION EVENT_UPDATE CLIENT_READY_ACK STREAM_STATE_UPDATE SESSION_STATE_UPDATE SESSION_STATE_REQ
        SESSION_STATE_RESP KEEP_ALIVE_REQ KEEP_ALIVE_RESP MEDIA_DATA_AUDIO MEDIA_DATA_VIDEO MEDIA_DATA_SHARE
        MEDIA_DATA_TRANSCRIPT MEDIA_DATA_CHAT STREAM_STATE_REQ STREAM_STATE_RESP STREAM_CLOSE_REQ STREAM_CLOSE_RESP
        META_DATA_AUDIO META_DATA_VIDEO META_DATA_SHARE META_DATA_TRANSCRIPT META_DATA_CHAT VIDEO_SUBSCRIPTION_REQ
        VIDEO_SUBSCRIPTION_RESP""",
    ),
    (
        StopReason,
        1,
        "STOP_BC_",
        """HOST_TRIGGERED USER_TRIGGERED USER_LEFT USER_EJECTED HOST_DISABLED_APP MEETING_ENDED STREAM_CANCELED
        STREAM_REVOKED ALL_APPS_DISABLED INTERNAL_EXCEPTION CONNECTION_TIMEOUT INSTANCE_CONNECTION_INTERRUPTED
        SIGNAL_CONNECTION_INTERRUPTED DATA_CONNECTION_INTERRUPTED SIGNAL_CONNECTION_CLOSED_ABNORMALLY
        DATA_CONNECTION_CLOSED_ABNORMALLY EXIT_SIGNAL AUTHENTICATION_FAILURE AWAIT_RECONNECTION_TIMEOUT
        RECEIVER_REQUEST_CLOSE CUSTOMER_DISCONNECTED AGENT_DISCONNECTED ADMIN_DISABLED_APP KEEP_ALIVE_TIMEOUT
        MANUAL_API_TRIGGERED STREAMING_NOT_SUPPORTED""",
    ),
    (
        StatusCode,
        0,
        "STATUS_",
        """OK INVALID_MESSAGE_TYPE INVALID_RTMS_STREAM_ID INVALID_SIGNATURE INVALID_PAYLOAD INVALID_EVENTS
        INVALID_EVENT_TYPE INVALID_MEDIA_TYPE DUPLICATE_SIGNAL_REQUEST MEDIA_TYPE_AUDIO_NOT_SUPPORT
        MEDIA_TYPE_VIDEO_NOT_SUPPORT MEDIA_TYPE_DESKSHARE_NOT_SUPPORT MEDIA_TYPE_TRANSCRIPT_NOT_SUPPORT
        MEDIA_TYPE_CHAT_NOT_SUPPORT MEDIA_TYPE_INVALID_VALUE MEDIA_DATA_ALL_CONNECTION_EXIST
        DUPLICATE_MEDIA_DATA_CONNECTION INVALID_MEDIA_PARAMS INVALID_MEDIA_AUDIO_PARAMS
        INVALID_MEDIA_AUDIO_CONTENT_TYPE INVALID_MEDIA_AUDIO_SAMPLE_RATE INVALID_MEDIA_AUDIO_CHANNEL
        INVALID_MEDIA_AUDIO_CODEC INVALID_MEDIA_AUDIO_DATA_OPT INVALID_MEDIA_AUDIO_SEND_RATE
        INVALID_MEDIA_VIDEO_PARAMS INVALID_MEDIA_VIDEO_CONTENT_TYPE INVALID_MEDIA_VIDEO_CODEC
        INVALID_MEDIA_VIDEO_RESOLUTION INVALID_MEDIA_VIDEO_DATA_OPT INVALID_MEDIA_VIDEO_FPS
        INVALID_MEDIA_DESKSHARE_PARAMS INVALID_MEDIA_DESKSHARE_CONTENT_TYPE INVALID_MEDIA_DESKSHARE_CODEC
        INVALID_MEDIA_DESKSHARE_RESOLUTION INVALID_MEDIA_DESKSHARE_FPS INVALID_MEDIA_TRANSCRIPT_PARAMS
        INVALID_MEDIA_TRANSCRIPT_CONTENT_TYPE INVALID_MEDIA_CHAT_PARAMS INVALID_MEDIA_CHAT_CONTENT_TYPE
        INVALID_RTMS_SESSION_ID INVALID_CLIENT_READY_ACK INVALID_EVENT_SUBSCRIBE
        INVALID_MEDIA_TRANSCRIPT_SOURCE_LANGUAGE DUPLICATE_VIDEO_SUBSCRIPTION INTERNAL_EXCEPTION
        INVALID_MEDIA_TRANSCRIPT_TARGET_LANGUAGE CHAT_SESSION_KEY_NOT_AVAILABLE""",
    ),
    (
        Language,
        -1,
        "LANGUAGE_ID_",
        """NONE ARABIC BENGALI CANTONESE CATALAN CHINESE_SIMPLIFIED CHINESE_TRADITIONAL CZECH DANISH DUTCH ENGLISH
        ESTONIAN FINNISH FRENCH_CANADA FRENCH_FRANCE GERMAN HEBREW HINDI HUNGARIAN INDONESIAN ITALIAN JAPANESE KOREAN
        MALAY PERSIAN POLISH PORTUGUESE ROMANIAN RUSSIAN SPANISH SWEDISH TAGALOG TAMIL TELUGU THAI TURKISH UKRAINIAN
        VIETNAMESE""",
    ),
    (
        MeetingEvent,
        1,
        "",
        """FIRST_PACKET_TIMESTAMP ACTIVE_SPEAKER_CHANGE PARTICIPANT_JOIN PARTICIPANT_LEAVE SHARING_START SHARING_STOP
        MEDIA_CONNECTION_INTERRUPTED PARTICIPANT_VIDEO_ON PARTICIPANT_VIDEO_OFF CHAT_GROUP_CREATE CHAT_GROUP_DELETE
        CHAT_GROUP_MEMBERS_ADD CHAT_GROUP_MEMBERS_DELETE CHAT_GROUP_MEMBER_STATUS_UPDATE""",
    ),
    (
        ContactCenterEvent,
        8,
        "",
        """CONSUMER_ANSWERED CONSUMER_END USER_ANSWERED USER_END USER_HOLD USER_UNHOLD MONITOR_STARTED
        MONITOR_TRANSITIONED MONITOR_ENDED TAKEOVER_STARTED TRANSFER_INITIATED TRANSFER_CANCELED TRANSFER_ACCEPTED
        TRANSFER_COMPLETED TRANSFER_REJECTED TRANSFER_TIMEOUT CONFERENCE_CANCELED CONFERENCE_PARTICIPANT_CANCELED
        CONFERENCE_PARTICIPANT_INVITED CONFERENCE_PARTICIPANT_REJECTED CONFERENCE_PARTICIPANT_TIMEOUT
        CONFERENCE_PARTICIPANT_LEFT""",
    ),
    (SessionState, 0, "", "INACTIVE INITIALIZE STARTED PAUSED RESUMED STOPPED"),
    (StreamState, 0, "", "INACTIVE ACTIVE INTERRUPTED TERMINATING TERMINATED PAUSED RESUMED"),
    (ContentType, 1, "", "RTP RAW_AUDIO RAW_VIDEO FILE_STREAM TEXT"),
    (Codec, 1, "", "L16 G711 G722 OPUS JPG PNG H264"),
    (SampleRate, 0, "SR_", "8K 16K 32K 48K"),
    (AudioChannel, 1, "", "MONO STEREO"),
    (
        DataOption,
        1,
        "",
        """AUDIO_MIXED_STREAM AUDIO_MULTI_STREAMS VIDEO_SINGLE_ACTIVE_STREAM VIDEO_SINGLE_INDIVIDUAL_STREAM
        VIDEO_MIXED_GALLERY_VIEW""",
    ),
    (Resolution, 1, "", "SD HD FHD QHD"),
    (Attribute, 0, "", "NONE NEW UPDATE DELETE"),
    (ChatOperation, 1, "", "NEW DELETE UPDATE EMOJI_ADD EMOJI_REMOVE"),
    (ChatSessionType, 1, "", "EVERYONE INDIVIDUAL CHAT_GROUP HOSTS_AND_PANELISTS INDIVIDUAL_CC_HOSTS_AND_PANELISTS"),
]


@pytest.mark.parametrize(("table", "first", "start", "names"), TABLES, ids=[row[0].__name__ for row in TABLES])
def test_tables(table: type[Numbered], first: int, start: str, names: str) -> None:
    expected = [(number, start + name) for number, name in enumerate(names.split(), first)]
    assert [(int(member), member.name) for member in table] == expected
    for number, name in expected:
        # Servers in the wild give either, the number as a string too, the name without its common beginning too.
        for spelling in (number, str(number), float(number), name, name.lower(), name.removeprefix(start)):
            assert table.find(spelling) is table(number)  # type: ignore[call-arg]
        assert table.label(number) == f"{number} {name}"
        gist = table(number).gist  # type: ignore[call-arg]
        assert gist
        assert table.explain(number) == f"{number} {name}: {gist}"


def test_the_tables_end_where_the_protocol_ends() -> None:
    assert [max(table) for table in (MessageType, StopReason, StatusCode, Language)] == [29, 26, 47, 36]


def test_media_bits() -> None:
    bits = {"AUDIO": 1, "VIDEO": 2, "SHARE": 4, "TRANSCRIPT": 8, "CHAT": 16, "ALL": 32}
    assert {bit.name: bit.value for bit in MediaType} == bits


def test_rates_in_hz() -> None:
    assert [rate.hz for rate in SampleRate] == [8_000, 16_000, 32_000, 48_000]


def test_which_reasons_are_failures() -> None:
    assert [int(reason) for reason in StopReason if reason.is_failure] == [10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 24]


@pytest.mark.parametrize(
    ("number", "label", "explained"),
    [
        (3, "3 STATUS_INVALID_SIGNATURE", "3 STATUS_INVALID_SIGNATURE: " + StatusCode(3).gist),  # type: ignore[call-arg]
        (48, "48 (undocumented)", "48 (undocumented)"),
        (-1, "-1 (undocumented)", "-1 (undocumented)"),
        (None, "(none)", "(none)"),
    ],
)
def test_labels(number: int | None, label: str, explained: str) -> None:
    assert (StatusCode.label(number), StatusCode.explain(number)) == (label, explained)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("RTMS_STREAM_STATE_TERMINATED", 4),
        (" terminated ", 4),
        ("RTMS_STREAM_STATE_INACTIVE", 0),
        (7, 7),
        ("-3", -3),
        ("TERMINATE", None),
        ("", None),
        ("_", None),
        (None, None),
        (True, None),
        (4.5, None),
        ([4], None),
        ({"state": 4}, None),
    ],
)
def test_what_else_a_number_can_look_like(value: object, expected: int | None) -> None:
    assert StreamState.find(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, 0),
        (1 << 70, 1 << 70),
        ("16778240", 16778240),
        (2.0, 2),
        (10**100 - 1, 10**100 - 1),
        (10**100, None),
        (-(10**400), None),
        (1e300, None),
        (0.5, None),
        (float("inf"), None),
        (float("nan"), None),
        ("1e3", None),
        ("9" * 40, None),
        ("", None),
        (False, None),
        (b"1", None),
    ],
)
def test_whole(value: object, expected: int | None) -> None:
    assert as_int(value) == expected


@pytest.mark.parametrize(
    ("event_type", "meeting", "contact_center"),
    [
        (1, "FIRST_PACKET_TIMESTAMP", "FIRST_PACKET_TIMESTAMP"),
        (7, "MEDIA_CONNECTION_INTERRUPTED", "MEDIA_CONNECTION_INTERRUPTED"),
        (8, "PARTICIPANT_VIDEO_ON", "CONSUMER_ANSWERED"),
        (9, "PARTICIPANT_VIDEO_OFF", "CONSUMER_END"),
        (10, "CHAT_GROUP_CREATE", "USER_ANSWERED"),
        (14, "CHAT_GROUP_MEMBER_STATUS_UPDATE", "MONITOR_STARTED"),
        (15, "EVENT_15", "MONITOR_TRANSITIONED"),
        (29, "EVENT_29", "CONFERENCE_PARTICIPANT_LEFT"),
        (30, "EVENT_30", "IVR event 30"),
        (34, "EVENT_34", "IVR event 34"),
        (35, "EVENT_35", "EVENT_35"),
        ("PARTICIPANT_JOIN", "PARTICIPANT_JOIN", "PARTICIPANT_JOIN"),
        (None, "UNDEFINED", "UNDEFINED"),
    ],
)
def test_event_names(event_type: int | str | None, meeting: str, contact_center: str) -> None:
    for product in (Product.MEETING, Product.WEBINAR):
        assert event_name(product, event_type) == meeting
    assert event_name(Product.CONTACT_CENTER, event_type) == contact_center


def test_chat_groups_are_of_meetings_and_webinars() -> None:
    for product in (Product.VIDEO_SDK, Product.PHONE):
        assert [event_name(product, number) for number in (9, 10, 14, 15)] == [
            "PARTICIPANT_VIDEO_OFF", "EVENT_10", "EVENT_14", "EVENT_15",
        ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("STOP_BC_MEETING_CONNECTION_INTERRUPTED", 12),
        ("MEETING_CONNECTION_INTERRUPTED", 12),
        ("rtms_stop_bc_app_disabled_by_host", 5),
        ("APP_DISABLED_BY_HOST", 5),
        ("CONNECTION_INTERRUPTED", None),
        ("STOP_BC_OF_THE_FUTURE", None),
    ],
)
def test_older_names_of_stop_reasons(name: str, reason: int | None) -> None:
    assert StopReason.find(name) == reason
    if reason is not None:
        assert StopReason.label(StopReason.find(name)) == StopReason.label(reason)


def test_a_name_that_no_table_has_is_kept_where_that_is_wanted() -> None:
    assert [StopReason.find_or_name(value) for value in (6, "6", "MEETING_ENDED", " STOP_BC_NEW ", "", None, [6])] == [
        6, 6, 6, "STOP_BC_NEW", None, None, None
    ]  # fmt: skip
    assert StopReason.label("STOP_BC_NEW") == StopReason.explain("STOP_BC_NEW") == "STOP_BC_NEW"
    assert StopReason.find_or_name("x" * 10_000) == "x" * 100


def test_products() -> None:
    assert {product.value: (product.id_field, product.title) for product in Product} == {
        "meeting": ("meeting_uuid", "Meeting"),
        "webinar": ("meeting_uuid", "Webinar"),
        "session": ("session_id", "Video SDK"),
        "contact_center": ("engagement_id", "Contact Center"),
        "phone": ("call_id", "Phone"),
    }
