"""What a driver hides before anyone sees it: so that what is recorded live is what a replay reads in the capture."""

from msgspec import structs

from rtms_cli.machine import WEBHOOK, ChannelState, Frame, frame_of, state_frame
from rtms_cli.protocol.messages import Media, Unreadable
from rtms_cli.protocol.secrets import Secrets, redact, redact_unreadable, redact_url
from rtms_cli.protocol.webhooks import StreamStart, UnreadableWebhook


class Discretion:
    """Hides secrets in frames.

    A signature that was sent, or came with a webhook, is hidden wherever it comes back, from the machine too. Values
    under secrets' keys and in URLs are hidden in what is kept and shown only, for a machine connects with them.
    """

    def __init__(self) -> None:
        self.secrets = Secrets()

    def learn(self, message: object) -> None:
        """Take note of the signature in a message that we send, or in a webhook."""
        holder = message.stream if isinstance(message, StreamStart) else message
        self.secrets.learn(getattr(holder, "signature", None))

    def kept(self, frame: Frame) -> Frame:
        """A frame as it is kept and shown."""
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
