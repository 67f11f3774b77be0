"""The scopes of meetings and webinars: what an app may do, as Zoom names it (PROTOCOL §12)."""

from collections.abc import Iterable

MEDIA_SCOPES = {
    kind: f"meeting:read:meeting_{name}"
    for kind, name in (
        ("audio", "audio"),
        ("video", "video"),
        ("share", "screenshare"),
        ("transcript", "transcript"),
        ("chat", "chat"),
    )
}
"""What the streaming app needs for each kind of media."""
CONTROL_SCOPE = "meeting:update:participant_rtms_app_status"
"""What a token needs to start and stop streams."""
_LEVELS = (":admin", ":master")
"""How the same scope ends that holds for a whole account, or for several."""


def missing_scopes(scopes: Iterable[str]) -> list[str]:
    """Find the scopes that are not among a token's, in their order; one of a whole account is as good."""
    there = {scope.removesuffix(level) for scope in scopes for level in ("", *_LEVELS)}
    return [scope for scope in (*MEDIA_SCOPES.values(), CONTROL_SCOPE) if scope not in there]
