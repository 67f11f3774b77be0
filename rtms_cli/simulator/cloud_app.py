"""The apps that the simulated cloud knows, and its error answers."""

from collections.abc import Callable
from urllib.parse import parse_qs

from msgspec import Struct

from rtms_cli.protocol.media import spelled_out
from rtms_cli.protocol.numbers import MediaType
from rtms_cli.protocol.strict_json import dumps
from rtms_cli.wire.http import Answer, Fields

JSON = "application/json; charset=UTF-8"

Find = Callable[[str, str, bool], None]
"""Records a finding: where, what, and whether it is a mistake."""


class CloudApp(Struct, frozen=True):
    """The credentials that the cloud accepts."""

    client_id: str
    """The app that streams."""
    client_secret: str
    account_id: str
    server_to_server: tuple[str, str] | None = None
    """Id and secret of a Server-to-Server OAuth app. Without it, the streaming app has both roles."""
    video_sdk_api: tuple[str, str] | None = None
    """Key and secret that sign calls about Video SDK sessions."""
    access_token: str = ""
    """A user's token."""
    scopes: tuple[str, ...] = ()


MEDIA_SCOPES = {
    MediaType.AUDIO: "meeting:read:meeting_audio",
    MediaType.VIDEO: "meeting:read:meeting_video",
    MediaType.SHARE: "meeting:read:meeting_screenshare",
    MediaType.TRANSCRIPT: "meeting:read:meeting_transcript",
    MediaType.CHAT: "meeting:read:meeting_chat",
}
MEETING_SCOPE = "meeting:update:participant_rtms_app_status"
CONTACT_CENTER_SCOPE = "contact_center:update:engagement_rtms_app_status:admin"
PHONE_READ_SCOPE, PHONE_WRITE_SCOPE = "phone:read:rtms_session", "phone:write:rtms_session"


def all_scopes(media: MediaType) -> tuple[str, ...]:
    """Return all scopes that an app needs to use every call with these media."""
    has = spelled_out(media)
    return (
        *(scope for kind, scope in MEDIA_SCOPES.items() if kind in has),
        *(MEETING_SCOPE, CONTACT_CENTER_SCOPE, PHONE_READ_SCOPE, PHONE_WRITE_SCOPE),
    )


def json_answer(status: int, fields: object, headers: Fields = ()) -> Answer:
    """Return a JSON answer."""
    return Answer(status, dumps(fields), JSON, headers)


def error_answer(status: int, code: int, message: str, headers: Fields = ()) -> Answer:
    """Return an error in the REST API's form."""
    return json_answer(status, {"code": code, "message": message}, headers)


def form_fields(form: str) -> dict[str, str]:
    """Return the fields of a form or query, each with its first value. Invalid input has no fields."""
    try:
        return {name: values[0] for name, values in parse_qs(form, max_num_fields=100).items()}
    except ValueError:
        return {}
