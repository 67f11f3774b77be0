"""Hides secrets before frames are stored or shown, so that a replay of the capture equals the live recording."""

from msgspec import structs

from rtms_cli.machine import WEBHOOK, ChannelState, Frame, frame_of, state_frame
from rtms_cli.protocol.messages import Media, Unreadable
from rtms_cli.protocol.secrets import Secrets, redact, redact_unreadable, redact_url
from rtms_cli.protocol.webhooks import StreamStart, UnreadableWebhook


class Discretion:
    """Hides secrets in frames.

    A signature that was sent or arrived with a webhook is hidden wherever it appears again, even from the machine.
    Values of secret keys and in URLs are only hidden in stored and shown frames, because the machine needs them to
    connect.
    """

    def __init__(self) -> None:
        self.secrets = Secrets()

    def learn(self, message: object) -> None:
        """Remember the signature in a message that we send or in a webhook."""
        holder = message.stream if isinstance(message, StreamStart) else message
        self.secrets.learn(getattr(holder, "signature", None))

    def kept(self, frame: Frame) -> Frame:
        """Return a frame as it is stored and shown."""
        message, raw = frame.message, frame.raw
        if isinstance(message, Media):
            return frame
        if isinstance(message, ChannelState):
            reason = redact_url(self.secrets.hide_text(message.reason))
            change = structs.replace(message, reason=reason, url=redact_url(message.url))
            return frame if change == message else state_frame(frame.at_us, frame.channel, change)
        is_unreadable = isinstance(message, Unreadable | UnreadableWebhook)
        cleaned = redact_unreadable(raw)[0] if is_unreadable else redact(raw)
        if frame.channel == WEBHOOK:
            cleaned = self.secrets.hide(cleaned)
        return frame if cleaned is raw else frame_of(frame.at_us, frame.channel, frame.direction, cleaned, frame.via)
