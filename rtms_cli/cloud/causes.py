"""Why no started webhook comes: the usual causes, and where to look for each of them (PROTOCOL §2, §11, §12)."""

from collections.abc import Sequence

from msgspec import Struct

from rtms_cli.cloud.addresses import PUBLIC
from rtms_cli.protocol.numbers import Product


class Cause(Struct, frozen=True):
    """One cause, in a few words, and the setting to look at."""

    what: str
    """`auto-start is off`."""
    where: str
    """The way to the setting, and what it should say."""

    def __str__(self) -> str:
        return f"{self.what}: {self.where}"


def usual_causes(
    base: str = PUBLIC,
    product: Product = Product.MEETING,
    *,
    by_events: bool | None = None,
    is_called_for: bool = False,
) -> tuple[Cause, ...]:
    """Find the usual causes, the likeliest first.

    :param base: what Zoom's hosts end with: `Addresses.base`.
    :param by_events: whether webhooks come over the event WebSocket, or over HTTP; `None` is either.
    :param is_called_for: whether the stream was asked for by REST, so that nothing needs to start it by itself.
    """
    if product in _SHARED:
        found = _of_a_meeting(base, product, is_called_for=is_called_for)
    else:
        found = _of_a_call(base, product, is_called_for=is_called_for)
    return (*found, *_of_the_app(base, product, by_events=by_events), *_of_the_account(by_events=by_events))


def numbered(causes: Sequence[Cause]) -> list[str]:
    """Put causes in lines for people, in their order: `1. auto-start is off: …`."""
    return [f"{number}. {cause}" for number, cause in enumerate(causes, 1)]


_SHARED = {Product.MEETING: "meeting", Product.WEBINAR: "webinar"}
"""What is streamed because a person shares it with an app, as Zoom's settings call it."""


def _of_a_meeting(base: str, product: Product, *, is_called_for: bool) -> list[Cause]:
    kind = _SHARED[product]
    switch = f"Share realtime {kind} content with apps"
    mine = f"{base}/profile/setting → Zoom Apps"
    if is_called_for:
        first = Cause("sharing is off", f"{mine} → “{switch}” of the user whose stream it is: on")
    else:
        first = Cause(
            "auto-start is off",
            f"{mine} → “{switch}”: on, and below it “Auto-start apps that access shared realtime {kind} content”: "
            "your app, on",
        )
    whose = Cause(
        "the host's account does not allow it",
        f"its administrator: Account Management → Account Settings → Zoom Apps → “{switch}”: on (for the user's group "
        "too); in the meeting, the host may have to approve the app",
    )
    return [first, whose]


def _of_a_call(base: str, product: Product, *, is_called_for: bool) -> list[Cause]:
    if product is Product.CONTACT_CENTER:
        return [Cause("the app is not in the queue", f"{base} → Contact Center → the queue: your app is assigned")]
    if product is Product.PHONE:
        return [
            Cause("the account does not allow it", "ask its administrator whether apps may stream this user's calls")
        ]
    if is_called_for:
        return []
    return [Cause("nothing has started it", "rtms start, or startRealTimeMediaStreams() of the Video SDK, starts it")]


def _of_the_app(base: str, product: Product, *, by_events: bool | None) -> list[Cause]:
    app = f"marketplace.{base} → your app"
    event = f"{product}.{'voice_' if product is Product.CONTACT_CENTER else ''}rtms_started"
    method = {
        True: "method WebSocket, and the subscription of --events",
        False: "method Webhook, and its URL points here (rtms doctor --webhook)",
        None: "method Webhook with your URL (rtms doctor --webhook), or method WebSocket (--events)",
    }[by_events]
    found = [
        Cause(
            "the app's event subscription lacks the event, or delivers another way",
            f"{app} → Feature → Event Subscriptions: {event} (“RTMS Started”) is in it; {method}",
        )
    ]
    if product is not Product.VIDEO_SDK:
        missing = _MEDIA_SCOPES.get(product, "those of RTMS")
        found += [
            Cause("the app lacks a scope", f"{app} → Scopes: {missing}; then add the app again"),
            Cause(
                "the user has not added the app", f"{app} → Local Test → Add App Now, as the user whose stream it is"
            ),
        ]
    return found


_MEDIA_SCOPES = dict.fromkeys(_SHARED, "meeting:read:meeting_audio, …_video, …_transcript, as you want them")


def _of_the_account(*, by_events: bool | None) -> list[Cause]:
    found = [
        Cause("the account has no credits", "Zoom Developer Pack, or the Video SDK's plan: credits are left"),
        Cause(
            "too many streams run",
            "an account may have 2,000 at once, unless Zoom has agreed on more; rtms.concurrency_limited reports it",
        ),
    ]
    if by_events is not False:
        found.append(
            Cause(
                "it came while the event WebSocket was closed, or to another client",
                "such events are lost; a subscription has one connection, so use one per program",
            )
        )
    return found
