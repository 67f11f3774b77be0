"""A session run beside a capture: what would today's session have done with the same frames?

A replay needs no session, for the capture tells what was recorded. The rehearsal drives the dashboard, and finds where
the session's behaviour has changed since the capture was made.
"""

from collections import Counter
from collections.abc import Iterable

from rtms_cli.machine import MEDIA, ChannelState, Command, Direction, Frame, Item, Packets, Send, State, frames_of
from rtms_cli.protocol.media import MediaParams, MediaRequest, spelled_out
from rtms_cli.protocol.messages import (
    ClientReadyAck,
    MediaHandshakeRequest,
    Message,
    SignalingHandshakeRequest,
    Signature,
)
from rtms_cli.protocol.numbers import MediaType, MessageType, Product
from rtms_cli.protocol.webhooks import Stream, StreamStart
from rtms_cli.session.session import Session

_PROLOGUE = 1000
"""Frames in which the handshakes must be for the session to be told what was asked for."""


class Rehearsal:
    """A session that receives what another received.

    :param frames: the capture's frames from its beginning; only the handshakes are looked at.
    """

    def __init__(self, frames: Iterable[Frame], product: str, stream_id: str) -> None:
        known = Product(product) if product in tuple(Product) else Product.MEETING
        stream = Stream(known, "", stream_id, "")
        types, params, split, buffer_data = MediaType(0), MediaParams(), False, None
        for _, frame in zip(range(_PROLOGUE), frames, strict=False):
            match frame.message:
                case StreamStart(announced) if not stream.server_url:
                    stream = announced
                case SignalingHandshakeRequest(buffer_data=wanted) if frame.direction is Direction.OUT:
                    buffer_data = wanted
                case MediaHandshakeRequest(media_type=int() as asked) if frame.direction is Direction.OUT:
                    types |= spelled_out(MediaType(asked))
                    params = params.or_else(frame.message.params)
                    split = split or frame.channel != MEDIA
                case ClientReadyAck():
                    break
        self._stream, self._request = stream, MediaRequest(types, params, split, buffer_data)
        self._session = Session(stream, Signature(""), self._request)
        self._would_send: Counter[tuple[str, int]] = Counter()
        self._was_sent: Counter[tuple[str, int]] = Counter()
        self._started = False

    @property
    def session(self) -> Session:
        """The session, for its snapshot."""
        return self._session

    def follow_all(self, item: Item) -> None:
        """Give the session a frame or packets, of which it hears as it did live."""
        if isinstance(item, Packets) and self._is_due_behind(item.at_us[-1]) and self._session.hear(item):
            return
        for frame in frames_of(item):
            self.follow(frame)

    def _is_due_behind(self, at_us: int) -> bool:
        due_us = self._session.deadline_us
        return self._started and (due_us is None or due_us >= at_us)

    def follow(self, frame: Frame) -> None:
        """Give the session one more frame, and the ticks that were due before it."""
        if isinstance(frame.message, ChannelState) and frame.message.state is State.EPOCH:
            self._begin_epoch(frame.at_us)
            return
        while (due_us := self._session.deadline_us) is not None and (due_us < frame.at_us or not self._started):
            self._note(self._session.tick(due_us if self._started else 0))
            self._started = True
        if frame.direction is Direction.OUT:
            if isinstance(frame.message, Message):  # anything else was sent by nobody, whatever the capture says
                self._was_sent[frame.channel, int(frame.message.msg_type)] += 1
        else:
            self._note(self._session.receive(frame))

    def _begin_epoch(self, at_us: int) -> None:
        """Go on as the next owner of the stream, whose session is another one."""
        self._session = Session(self._stream, Signature(""), self._request, continues=True)
        self._note(self._session.tick(at_us))
        self._started = True

    def differences(self) -> list[str]:
        """Where what the session would send is not what was sent: a line for each kind of message."""
        lines = []
        for channel, msg_type in sorted(self._would_send.keys() | self._was_sent.keys()):
            if msg_type == MessageType.VIDEO_SUBSCRIPTION_REQ:
                continue  # whose camera was wanted is in no message
            would, was = self._would_send[channel, msg_type], self._was_sent[channel, msg_type]
            if would != was:
                name = MessageType.label(msg_type)
                lines.append(f"{channel}: this version would send {name} {would} times, {was} were sent")
        return lines

    def _note(self, commands: Iterable[Command]) -> None:
        for command in commands:
            if isinstance(command, Send):
                self._would_send[command.channel, int(command.message.msg_type)] += 1
