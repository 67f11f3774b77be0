"""Every number of the protocol, once: its value, Zoom's name for it, and one line for people.

Source: Zoom's RTMS data-type reference and event reference (protocol version 1).
"""

from enum import IntEnum, IntFlag, StrEnum
from typing import Self

_LONGEST_NAME = 100
"""Letters of a name that is looked up, or kept where no table has it; the longest known ones have some fifty."""


_HUGE = 10**100
"""A number that no message has a use for; larger ones cannot be reckoned with any more."""


class Numbered(IntEnum):
    """A table of numbers with Zoom's names; `gist` is one line for people."""

    gist: str

    def __new__(cls, number: int, gist: str) -> Self:
        """Make a member that is the number, and carries its line for people."""
        member = int.__new__(cls, number)
        member._value_ = number
        member.gist = gist
        return member

    @classmethod
    def find(cls, value: object) -> int | None:
        """Read a number that may come as a number, as digits or as a name.

        :returns: the member where the table has it, the bare number where it does not, `None` for what is neither.

        Servers in the wild give states and reasons as names, in full (`STOP_BC_MEETING_ENDED`) or without their
        common beginning (`MEETING_ENDED`), or with a longer one (`RTMS_STREAM_STATE_TERMINATED`).
        """
        number = as_int(value)
        if number is not None:
            return cls.member(number)
        if not isinstance(value, str) or len(value) > _LONGEST_NAME:
            return None
        name = value.strip().upper().replace("HANDSHAKE", "HAND_SHAKE")
        if name in cls.__members__:
            return cls.__members__[name]
        found = {
            member
            for known, member in cls.__members__.items()
            if name and (name.endswith("_" + known) or known.endswith("_" + name))
        }
        return found.pop() if len(found) == 1 else None

    @classmethod
    def member(cls, number: int) -> int:
        """The table's member for a number, or the bare number where the table has none."""
        try:
            return cls(number)  # type: ignore[call-arg]  # the one-argument call looks a member up
        except ValueError:
            return number

    @classmethod
    def find_or_name(cls, value: object) -> int | str | None:
        """The same as `find`, but a name that the table does not have is kept."""
        number = cls.find(value)
        if number is None and isinstance(value, str) and value.strip():
            return value.strip()[:_LONGEST_NAME]
        return number

    @classmethod
    def label(cls, number: int | str | None) -> str:
        """Write a number with its documented name: `3 STATUS_INVALID_SIGNATURE`. A name without a number stays."""
        if number is None:
            return "(none)"
        if isinstance(number, str):
            return number
        known = cls.member(number)
        return f"{int(number)} {known.name}" if isinstance(known, cls) else f"{int(number)} (undocumented)"

    @classmethod
    def explain(cls, number: int | str | None) -> str:
        """Write a number with its name and its line for people."""
        known = cls.member(number) if isinstance(number, int) else None
        return f"{cls.label(number)}: {known.gist}" if isinstance(known, cls) else cls.label(number)


def as_int(value: object) -> int | None:
    """Read an integer that may come as a number, a string of digits or a float without fraction; not a huge one."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if type(value) is int:
        return value if abs(value) < _HUGE else None
    if isinstance(value, str) and len(value) < 40:
        try:
            return int(value)
        except ValueError:
            return None
    return None


class Product(StrEnum):
    """What Zoom streams from (PROTOCOL §2)."""

    MEETING = "meeting"
    WEBINAR = "webinar"
    VIDEO_SDK = "session"
    CONTACT_CENTER = "contact_center"
    PHONE = "phone"

    @property
    def id_field(self) -> str:
        """The webhook field that holds this product's id."""
        return _ID_FIELDS[self]

    @property
    def title(self) -> str:  # type: ignore[override]  # a product's title is its name for people
        """The product's name for people."""
        return _TITLES[self]


_ID_FIELDS = {
    Product.MEETING: "meeting_uuid",
    Product.WEBINAR: "meeting_uuid",
    Product.VIDEO_SDK: "session_id",
    Product.CONTACT_CENTER: "engagement_id",
    Product.PHONE: "call_id",
}
_TITLES = {
    Product.MEETING: "Meeting",
    Product.WEBINAR: "Webinar",
    Product.VIDEO_SDK: "Video SDK",
    Product.CONTACT_CENTER: "Contact Center",
    Product.PHONE: "Phone",
}


class MessageType(Numbered):
    """`msg_type` (PROTOCOL §4)."""

    SIGNALING_HAND_SHAKE_REQ = 1, "client asks to join on the signaling socket"
    SIGNALING_HAND_SHAKE_RESP = 2, "server accepts or rejects, and names the media URLs"
    DATA_HAND_SHAKE_REQ = 3, "client asks for media on a media socket"
    DATA_HAND_SHAKE_RESP = 4, "server grants or denies media"
    EVENT_SUBSCRIPTION = 5, "client subscribes to events"
    EVENT_UPDATE = 6, "an event of the session"
    CLIENT_READY_ACK = 7, "client is ready for media"
    STREAM_STATE_UPDATE = 8, "the stream changed its state"
    SESSION_STATE_UPDATE = 9, "the session changed its state"
    SESSION_STATE_REQ = 10, "client asks for the session's state"
    SESSION_STATE_RESP = 11, "the session's state"
    KEEP_ALIVE_REQ = 12, "server asks whether the client lives"
    KEEP_ALIVE_RESP = 13, "client lives"
    MEDIA_DATA_AUDIO = 14, "audio"
    MEDIA_DATA_VIDEO = 15, "video"
    MEDIA_DATA_SHARE = 16, "screen share"
    MEDIA_DATA_TRANSCRIPT = 17, "transcript"
    MEDIA_DATA_CHAT = 18, "chat"
    STREAM_STATE_REQ = 19, "client asks for the stream's state"
    STREAM_STATE_RESP = 20, "the stream's state"
    STREAM_CLOSE_REQ = 21, "client asks for a clean end"
    STREAM_CLOSE_RESP = 22, "server's answer to that"
    META_DATA_AUDIO = 23, "audio metadata"
    META_DATA_VIDEO = 24, "video metadata (reserved)"
    META_DATA_SHARE = 25, "share metadata (reserved)"
    META_DATA_TRANSCRIPT = 26, "transcript metadata (reserved)"
    META_DATA_CHAT = 27, "chat metadata (reserved)"
    VIDEO_SUBSCRIPTION_REQ = 28, "client asks for one participant's video"
    VIDEO_SUBSCRIPTION_RESP = 29, "server's answer to that"


class MediaType(IntFlag):
    """Bits of `media_type` (PROTOCOL §5); their sum asks for several on one socket."""

    AUDIO = 1
    VIDEO = 2
    SHARE = 4
    TRANSCRIPT = 8
    CHAT = 16
    ALL = 32


EVERY_MEDIA = MediaType.AUDIO | MediaType.VIDEO | MediaType.SHARE | MediaType.TRANSCRIPT | MediaType.CHAT
"""The five kinds one by one, which `ALL` stands for."""


class ContentType(Numbered):
    """`content_type` (PROTOCOL §5)."""

    RTP = 1, "RTP packets"
    RAW_AUDIO = 2, "raw audio"
    RAW_VIDEO = 3, "raw video"
    FILE_STREAM = 4, "file stream"
    TEXT = 5, "text"


class Codec(Numbered):
    """`codec` (PROTOCOL §5)."""

    L16 = 1, "PCM, signed 16 bit, little-endian"
    G711 = 2, "G.711 A-law"
    G722 = 3, "G.722"
    OPUS = 4, "Opus"
    JPG = 5, "JPEG images"
    PNG = 6, "PNG images"
    H264 = 7, "H.264 in Annex B form"


class SampleRate(Numbered):
    """`sample_rate` (PROTOCOL §5)."""

    SR_8K = 0, "8 kHz"
    SR_16K = 1, "16 kHz"
    SR_32K = 2, "32 kHz"
    SR_48K = 3, "48 kHz"

    @property
    def hz(self) -> int:
        """The rate in samples a second."""
        return (8_000, 16_000, 32_000, 48_000)[int(self)]


class AudioChannel(Numbered):
    """`channel` (PROTOCOL §5)."""

    MONO = 1, "mono"
    STEREO = 2, "stereo"


class DataOption(Numbered):
    """`data_opt` (PROTOCOL §5)."""

    AUDIO_MIXED_STREAM = 1, "all participants' audio in one"
    AUDIO_MULTI_STREAMS = 2, "audio per participant"
    VIDEO_SINGLE_ACTIVE_STREAM = 3, "the active speaker's video"
    VIDEO_SINGLE_INDIVIDUAL_STREAM = 4, "one chosen participant's video"
    VIDEO_MIXED_GALLERY_VIEW = 5, "gallery view (SDK only)"


class Resolution(Numbered):
    """`resolution` (PROTOCOL §5)."""

    SD = 1, "640×360 or 854×480"
    HD = 2, "1280×720"
    FHD = 3, "1920×1080"
    QHD = 4, "2560×1440"


class Language(Numbered):
    """Transcript languages (PROTOCOL §5)."""

    LANGUAGE_ID_NONE = -1, "none"
    LANGUAGE_ID_ARABIC = 0, "Arabic"
    LANGUAGE_ID_BENGALI = 1, "Bengali"
    LANGUAGE_ID_CANTONESE = 2, "Cantonese"
    LANGUAGE_ID_CATALAN = 3, "Catalan"
    LANGUAGE_ID_CHINESE_SIMPLIFIED = 4, "Chinese (Simplified)"
    LANGUAGE_ID_CHINESE_TRADITIONAL = 5, "Chinese (Traditional)"
    LANGUAGE_ID_CZECH = 6, "Czech"
    LANGUAGE_ID_DANISH = 7, "Danish"
    LANGUAGE_ID_DUTCH = 8, "Dutch"
    LANGUAGE_ID_ENGLISH = 9, "English"
    LANGUAGE_ID_ESTONIAN = 10, "Estonian"
    LANGUAGE_ID_FINNISH = 11, "Finnish"
    LANGUAGE_ID_FRENCH_CANADA = 12, "French (Canada)"
    LANGUAGE_ID_FRENCH_FRANCE = 13, "French (France)"
    LANGUAGE_ID_GERMAN = 14, "German"
    LANGUAGE_ID_HEBREW = 15, "Hebrew"
    LANGUAGE_ID_HINDI = 16, "Hindi"
    LANGUAGE_ID_HUNGARIAN = 17, "Hungarian"
    LANGUAGE_ID_INDONESIAN = 18, "Indonesian"
    LANGUAGE_ID_ITALIAN = 19, "Italian"
    LANGUAGE_ID_JAPANESE = 20, "Japanese"
    LANGUAGE_ID_KOREAN = 21, "Korean"
    LANGUAGE_ID_MALAY = 22, "Malay"
    LANGUAGE_ID_PERSIAN = 23, "Persian"
    LANGUAGE_ID_POLISH = 24, "Polish"
    LANGUAGE_ID_PORTUGUESE = 25, "Portuguese"
    LANGUAGE_ID_ROMANIAN = 26, "Romanian"
    LANGUAGE_ID_RUSSIAN = 27, "Russian"
    LANGUAGE_ID_SPANISH = 28, "Spanish"
    LANGUAGE_ID_SWEDISH = 29, "Swedish"
    LANGUAGE_ID_TAGALOG = 30, "Tagalog"
    LANGUAGE_ID_TAMIL = 31, "Tamil"
    LANGUAGE_ID_TELUGU = 32, "Telugu"
    LANGUAGE_ID_THAI = 33, "Thai"
    LANGUAGE_ID_TURKISH = 34, "Turkish"
    LANGUAGE_ID_UKRAINIAN = 35, "Ukrainian"
    LANGUAGE_ID_VIETNAMESE = 36, "Vietnamese"


class Attribute(Numbered):
    """`attribute` of a transcript message (PROTOCOL §5)."""

    NONE = 0, "none"
    NEW = 1, "new"
    UPDATE = 2, "replaces an earlier one"
    DELETE = 3, "takes an earlier one back"


class ChatOperation(Numbered):
    """`operation_type` of a chat message since July 2026 (PROTOCOL §4); the numbers are not those of `Attribute`."""

    NEW = 1, "new"
    DELETE = 2, "takes an earlier one back"
    UPDATE = 3, "replaces an earlier one"
    EMOJI_ADD = 4, "adds a reaction"
    EMOJI_REMOVE = 5, "takes a reaction back"


class ChatSessionType(Numbered):
    """`type` of a `chat_session`: who can read a chat message (PROTOCOL §4)."""

    EVERYONE = 1, "everyone"
    INDIVIDUAL = 2, "one person"
    CHAT_GROUP = 3, "a chat group"
    HOSTS_AND_PANELISTS = 4, "hosts and panelists"
    INDIVIDUAL_CC_HOSTS_AND_PANELISTS = 5, "one person, with a copy to hosts and panelists"


class MeetingEvent(Numbered):
    """`event_type` of every product but Contact Center (PROTOCOL §6)."""

    FIRST_PACKET_TIMESTAMP = 1, "first packet"
    ACTIVE_SPEAKER_CHANGE = 2, "active speaker changed"
    PARTICIPANT_JOIN = 3, "participant joined"
    PARTICIPANT_LEAVE = 4, "participant left"
    SHARING_START = 5, "screen share started"
    SHARING_STOP = 6, "screen share stopped"
    MEDIA_CONNECTION_INTERRUPTED = 7, "a media connection was interrupted"
    PARTICIPANT_VIDEO_ON = 8, "camera on"
    PARTICIPANT_VIDEO_OFF = 9, "camera off"
    CHAT_GROUP_CREATE = 10, "chat group created"
    CHAT_GROUP_DELETE = 11, "chat group deleted"
    CHAT_GROUP_MEMBERS_ADD = 12, "members added to a chat group"
    CHAT_GROUP_MEMBERS_DELETE = 13, "members removed from a chat group"
    CHAT_GROUP_MEMBER_STATUS_UPDATE = 14, "a chat group member's status changed"


class ContactCenterEvent(Numbered):
    """`event_type` of Contact Center voice, where it differs (PROTOCOL §6)."""

    CONSUMER_ANSWERED = 8, "consumer answered"
    CONSUMER_END = 9, "consumer ended the call"
    USER_ANSWERED = 10, "agent answered"
    USER_END = 11, "agent ended the call"
    USER_HOLD = 12, "agent put the call on hold"
    USER_UNHOLD = 13, "agent took the call off hold"
    MONITOR_STARTED = 14, "monitoring started"
    MONITOR_TRANSITIONED = 15, "monitoring changed"
    MONITOR_ENDED = 16, "monitoring ended"
    TAKEOVER_STARTED = 17, "takeover started"
    TRANSFER_INITIATED = 18, "transfer initiated"
    TRANSFER_CANCELED = 19, "transfer canceled"
    TRANSFER_ACCEPTED = 20, "transfer accepted"
    TRANSFER_COMPLETED = 21, "transfer completed"
    TRANSFER_REJECTED = 22, "transfer rejected"
    TRANSFER_TIMEOUT = 23, "transfer timed out"
    CONFERENCE_CANCELED = 24, "conference canceled"
    CONFERENCE_PARTICIPANT_CANCELED = 25, "conference participant canceled"
    CONFERENCE_PARTICIPANT_INVITED = 26, "conference participant invited"
    CONFERENCE_PARTICIPANT_REJECTED = 27, "conference participant rejected"
    CONFERENCE_PARTICIPANT_TIMEOUT = 28, "conference participant timed out"
    CONFERENCE_PARTICIPANT_LEFT = 29, "conference participant left"


IVR_EVENTS = range(30, 35)
"""Contact Center's events of IVR streaming, whose names are not public (PROTOCOL §6)."""


CHAT_GROUP_EVENTS = range(MeetingEvent.CHAT_GROUP_CREATE, MeetingEvent.CHAT_GROUP_MEMBER_STATUS_UPDATE + 1)
"""Those of chat groups, which meetings and webinars have."""
_WITH_CHAT_GROUPS = (Product.MEETING, Product.WEBINAR)


def event_name(product: Product, event_type: int | str | None) -> str:
    """The documented name of an event; Contact Center has its own numbers from 8 on."""
    if isinstance(event_type, str):
        return event_type
    if event_type is None:
        return "UNDEFINED"
    tables = (ContactCenterEvent, MeetingEvent) if product is Product.CONTACT_CENTER else (MeetingEvent,)
    for table in tables:
        known = table.member(event_type)
        has_it = table is ContactCenterEvent or product in _WITH_CHAT_GROUPS or event_type not in CHAT_GROUP_EVENTS
        if isinstance(known, table) and has_it:
            return known.name
    is_ivr = product is Product.CONTACT_CENTER and event_type in IVR_EVENTS
    return f"IVR event {event_type}" if is_ivr else f"EVENT_{event_type}"


class SessionState(Numbered):
    """State of Zoom's own session (PROTOCOL §7)."""

    INACTIVE = 0, "inactive"
    INITIALIZE = 1, "initializing"
    STARTED = 2, "started"
    PAUSED = 3, "paused"
    RESUMED = 4, "resumed"
    STOPPED = 5, "stopped"


class StreamState(Numbered):
    """State of the stream (PROTOCOL §7)."""

    INACTIVE = 0, "inactive"
    ACTIVE = 1, "active"
    INTERRUPTED = 2, "interrupted"
    TERMINATING = 3, "terminating"
    TERMINATED = 4, "terminated"
    PAUSED = 5, "paused"
    RESUMED = 6, "resumed"


class StopReason(Numbered):
    """Why a stream or session stopped (PROTOCOL §8)."""

    STOP_BC_HOST_TRIGGERED = 1, "the host stopped the stream"
    STOP_BC_USER_TRIGGERED = 2, "the user stopped the stream"
    STOP_BC_USER_LEFT = 3, "the user left"
    STOP_BC_USER_EJECTED = 4, "the user was removed by the host"
    STOP_BC_HOST_DISABLED_APP = 5, "the host disabled the app"
    STOP_BC_MEETING_ENDED = 6, "the meeting ended"
    STOP_BC_STREAM_CANCELED = 7, "the stream was canceled by a participant"
    STOP_BC_STREAM_REVOKED = 8, "the stream was revoked: recorded assets must be deleted"
    STOP_BC_ALL_APPS_DISABLED = 9, "all apps were disabled"
    STOP_BC_INTERNAL_EXCEPTION = 10, "an internal exception at Zoom"
    STOP_BC_CONNECTION_TIMEOUT = 11, "the connection timed out"
    STOP_BC_INSTANCE_CONNECTION_INTERRUPTED = 12, "Zoom's own connection to the meeting was interrupted"
    STOP_BC_SIGNAL_CONNECTION_INTERRUPTED = 13, "the signaling connection was interrupted"
    STOP_BC_DATA_CONNECTION_INTERRUPTED = 14, "a media connection was interrupted"
    STOP_BC_SIGNAL_CONNECTION_CLOSED_ABNORMALLY = 15, "the signaling connection closed abnormally"
    STOP_BC_DATA_CONNECTION_CLOSED_ABNORMALLY = 16, "a media connection closed abnormally"
    STOP_BC_EXIT_SIGNAL = 17, "the server received an exit signal"
    STOP_BC_AUTHENTICATION_FAILURE = 18, "authentication failed"
    STOP_BC_AWAIT_RECONNECTION_TIMEOUT = 19, "the client did not come back in time"
    STOP_BC_RECEIVER_REQUEST_CLOSE = 20, "the receiver asked for the end"
    STOP_BC_CUSTOMER_DISCONNECTED = 21, "the customer hung up"
    STOP_BC_AGENT_DISCONNECTED = 22, "the agent hung up"
    STOP_BC_ADMIN_DISABLED_APP = 23, "an administrator disabled the app"
    STOP_BC_KEEP_ALIVE_TIMEOUT = 24, "three keep-alive requests stayed unanswered"
    STOP_BC_MANUAL_API_TRIGGERED = 25, "an API call stopped the stream"
    STOP_BC_STREAMING_NOT_SUPPORTED = 26, "the queue does not support streaming"
    # Older names for two of them.
    STOP_BC_APP_DISABLED_BY_HOST = 5, ""
    STOP_BC_MEETING_CONNECTION_INTERRUPTED = 12, ""

    @property
    def is_failure(self) -> bool:
        """Whether the stream broke rather than ended (PROTOCOL §9: 10–19 and 24)."""
        return 10 <= self <= 19 or self == 24


class StatusCode(Numbered):
    """`status_code` of an answer (PROTOCOL §8)."""

    STATUS_OK = 0, "accepted"
    STATUS_INVALID_MESSAGE_TYPE = 1, "the server does not know that message type, or not at this point"
    STATUS_INVALID_RTMS_STREAM_ID = 2, "no such stream: it ended, or id and stream id are mixed up"
    STATUS_INVALID_SIGNATURE = 3, "the signature does not fit client id, id and stream id"
    STATUS_INVALID_PAYLOAD = 4, "a field is missing or of the wrong type"
    STATUS_INVALID_EVENTS = 5, "the list of events is not valid"
    STATUS_INVALID_EVENT_TYPE = 6, "no such event type"
    STATUS_INVALID_MEDIA_TYPE = 7, "media_type is missing or not a number"
    STATUS_DUPLICATE_SIGNAL_REQUEST = 8, "another signaling connection to this stream is still open"
    STATUS_MEDIA_TYPE_AUDIO_NOT_SUPPORT = 9, "the app has no scope for audio"
    STATUS_MEDIA_TYPE_VIDEO_NOT_SUPPORT = 10, "the app has no scope for video"
    STATUS_MEDIA_TYPE_DESKSHARE_NOT_SUPPORT = 11, "the app has no scope for screen share"
    STATUS_MEDIA_TYPE_TRANSCRIPT_NOT_SUPPORT = 12, "the app has no scope for transcripts"
    STATUS_MEDIA_TYPE_CHAT_NOT_SUPPORT = 13, "the app has no scope for chat"
    STATUS_MEDIA_TYPE_INVALID_VALUE = 14, "media_type is not a sum of the documented bits"
    STATUS_MEDIA_DATA_ALL_CONNECTION_EXIST = 15, "all media connections of this stream exist already"
    STATUS_DUPLICATE_MEDIA_DATA_CONNECTION = 16, "another connection for this media type exists already"
    STATUS_INVALID_MEDIA_PARAMS = 17, "media_params are not valid"
    STATUS_INVALID_MEDIA_AUDIO_PARAMS = 18, "the audio parameters do not fit together"
    STATUS_INVALID_MEDIA_AUDIO_CONTENT_TYPE = 19, "the audio content_type is not valid"
    STATUS_INVALID_MEDIA_AUDIO_SAMPLE_RATE = 20, "the audio sample_rate is not valid"
    STATUS_INVALID_MEDIA_AUDIO_CHANNEL = 21, "the audio channel is not valid"
    STATUS_INVALID_MEDIA_AUDIO_CODEC = 22, "the audio codec is not valid"
    STATUS_INVALID_MEDIA_AUDIO_DATA_OPT = 23, "the audio data_opt is not valid"
    STATUS_INVALID_MEDIA_AUDIO_SEND_RATE = 24, "the audio send_rate is not valid"
    STATUS_INVALID_MEDIA_VIDEO_PARAMS = 25, "the video parameters do not fit together"
    STATUS_INVALID_MEDIA_VIDEO_CONTENT_TYPE = 26, "the video content_type is not valid"
    STATUS_INVALID_MEDIA_VIDEO_CODEC = 27, "the video codec is not valid, or not at this frame rate"
    STATUS_INVALID_MEDIA_VIDEO_RESOLUTION = 28, "the video resolution is not valid"
    STATUS_INVALID_MEDIA_VIDEO_DATA_OPT = 29, "the video data_opt is not valid"
    STATUS_INVALID_MEDIA_VIDEO_FPS = 30, "the video fps is not valid"
    STATUS_INVALID_MEDIA_DESKSHARE_PARAMS = 31, "the share parameters do not fit together"
    STATUS_INVALID_MEDIA_DESKSHARE_CONTENT_TYPE = 32, "the share content_type is not valid"
    STATUS_INVALID_MEDIA_DESKSHARE_CODEC = 33, "the share codec is not valid, or not at this frame rate"
    STATUS_INVALID_MEDIA_DESKSHARE_RESOLUTION = 34, "the share resolution is not valid"
    STATUS_INVALID_MEDIA_DESKSHARE_FPS = 35, "the share fps is not valid"
    STATUS_INVALID_MEDIA_TRANSCRIPT_PARAMS = 36, "the transcript parameters are not valid"
    STATUS_INVALID_MEDIA_TRANSCRIPT_CONTENT_TYPE = 37, "the transcript content_type is not valid"
    STATUS_INVALID_MEDIA_CHAT_PARAMS = 38, "the chat parameters are not valid"
    STATUS_INVALID_MEDIA_CHAT_CONTENT_TYPE = 39, "the chat content_type is not valid"
    STATUS_INVALID_RTMS_SESSION_ID = 40, "no such session"
    STATUS_INVALID_CLIENT_READY_ACK = 41, "CLIENT_READY_ACK came at the wrong moment or for another stream"
    STATUS_INVALID_EVENT_SUBSCRIBE = 42, "the event subscription is not valid"
    STATUS_INVALID_MEDIA_TRANSCRIPT_SOURCE_LANGUAGE = 43, "the transcript language is not valid"
    STATUS_DUPLICATE_VIDEO_SUBSCRIPTION = 44, "that participant's video is subscribed to already"
    STATUS_INTERNAL_EXCEPTION = 45, "an internal exception at Zoom"
    STATUS_INVALID_MEDIA_TRANSCRIPT_TARGET_LANGUAGE = 46, "the language to translate a transcript into is not valid"
    STATUS_CHAT_SESSION_KEY_NOT_AVAILABLE = 47, "the key of the chat session is not available"
