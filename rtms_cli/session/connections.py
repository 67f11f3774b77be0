"""The channels of a session together: connecting, losing and rebuilding them (PROTOCOL §9).

What comes of a message is `Session`'s affair; here is what follows for the sockets. Commands collect in `out`.
"""

from collections import deque
from collections.abc import Mapping

from rtms_cli.machine import GIVEN_UP, MEDIA, SIGNALING, Close, Command, Open, Warn
from rtms_cli.protocol.media import MEDIA_NAMES, MediaRequest
from rtms_cli.protocol.numbers import MediaType, StatusCode
from rtms_cli.session import rules
from rtms_cli.session.channel import Channel, Phase
from rtms_cli.session.handshakes import kinds_wanted, plan_media
from rtms_cli.session.rules import US, explain_refusal

_GOING_AWAY = 1001
"""The close code of an endpoint that is going away (RFC 6455, 7.4.1)."""
_MOST_STEPS = 1_000
"""The last ones that are shown."""


class Connections:
    """One signaling channel, and the media channels that it leads to.

    :param stream_id: the stream's; the back-off's jitter comes from it.
    """

    def __init__(self, stream_id: str, request: MediaRequest) -> None:
        self._stream_id = stream_id
        self._request = request
        self.signaling = Channel(SIGNALING)
        self.channels: dict[str, Channel] = {SIGNALING: self.signaling}
        self.out: list[Command] = []
        self.steps: deque[tuple[str, int]] = deque(maxlen=_MOST_STEPS)
        """The lifecycle so far: what, and when in µs."""
        self.refused: dict[MediaType, str] = {}
        """Kinds of media that were asked for and refused, with the reason."""
        self.heard_us = 0
        """When anything came on any channel."""
        self.rebuilds = True
        """Whether what is lost is rebuilt; not while the end is near."""
        self.failure: str | None = None
        """Why no connection will come about any more."""
        self._urls: Mapping[str, str] = {}
        """The media URLs of the last `2`."""
        self._splits = request.split
        """Whether each kind has a socket of its own where it can: as was asked for, or since the server wants it so."""
        self._last_loss_us: int | None = None
        self._was_left = False
        self._unknown_to_server = 0
        """Refusals of `3`, one after the other, by a server that does not know our signaling connection."""

    @property
    def media(self) -> list[Channel]:
        """The media channels."""
        return [channel for channel in self.channels.values() if channel.is_media]

    @property
    def has_sockets(self) -> bool:
        """Whether any channel has a socket, or opens one."""
        return any(channel.has_socket for channel in self.channels.values())

    @property
    def are_up(self) -> bool:
        """Whether signaling and all media that are still available are up."""
        media = self.media
        return (
            self.signaling.phase is Phase.UP
            and all(channel.is_settled for channel in media)
            and any(channel.phase is Phase.UP for channel in media)
        )

    @property
    def was_rebuilt(self) -> bool:
        """Whether a connection was lost or left, after which another one came, or may come."""
        return self._last_loss_us is not None or self._was_left

    @property
    def may_be_ready(self) -> bool:
        """Whether `7` may go out: media are up, and none that may still come up in this try is under way.

        What has to be tried again is not waited for: that may take its whole deadline, and the other kinds are there.
        """
        phases = {channel.phase for channel in self.media}
        settled = {Phase.UP, Phase.WAITING, Phase.GONE}
        return self.signaling.phase is Phase.UP and Phase.UP in phases and phases <= settled

    @property
    def nothing_granted(self) -> bool:
        """Whether every kind that was asked for was refused."""
        return bool(self.refused) and set(kinds_wanted(self._request)) <= set(self.refused)

    def next_us(self) -> int | None:
        """When time alone changes something."""
        times = [
            channel.next_us(self._life_elsewhere(channel), doubts=self.rebuilds) for channel in self.channels.values()
        ]
        return min((time for time in times if time is not None), default=None)

    def check_time(self, at_us: int) -> None:
        """Do what is due."""
        for channel in list(self.channels.values()):
            self._check_doubt(channel, at_us)
            silent_us = channel.silent_us(self._life_elsewhere(channel))
            if silent_us is not None and at_us >= silent_us:
                self.lose(channel, at_us, f"neither keep-alive nor data for {rules.SILENCE_S} s")
            elif channel.due_us is not None and at_us >= channel.due_us:
                self._on_due(channel, at_us)

    def connect(self, channel: Channel, at_us: int, *, fresh: bool = False) -> None:
        """Open a channel's socket.

        :param fresh: whether it begins a new life, for which the server waits again.
        """
        if fresh:
            channel.lost_us = at_us
            channel.tries = channel.early_closes = channel.duplicates = 0
        channel.connects += 1
        channel.enter(Phase.OPENING, at_us, at_us + rules.HANDSHAKE_S * US)
        self.out.append(Open(channel.name, channel.url))

    def shake(self, channel: Channel, at_us: int) -> None:
        """Its socket is open, and the handshake goes out."""
        channel.enter(Phase.SHAKING, at_us, at_us + rules.HANDSHAKE_S * US)
        self.step(f"{channel.name} open", at_us)

    def accept(self, channel: Channel, at_us: int) -> None:
        """Its handshake was accepted."""
        channel.enter(Phase.UP, at_us)
        channel.has_been_up = True
        channel.tries = channel.early_closes = channel.duplicates = 0
        channel.note = ""
        if channel.is_media:
            self._unknown_to_server = 0
        self.step(f"{channel.name} up", at_us)

    def open_media(self, urls: Mapping[str, str], at_us: int) -> None:
        """Open the media sockets that the server's answer allows."""
        kinds = [kind for kind in kinds_wanted(self._request) if kind not in self.refused]
        self._urls = urls
        plan = plan_media(kinds, urls, split=self._splits)
        for kind in plan.unserved:
            self.refuse_kind(kind, "the server named no URL for it: the app has probably no scope")
        for former in self.media:
            if former.name not in plan.sockets:
                del self.channels[former.name]
        for name, (url, carried) in plan.sockets.items():
            channel = self.channels.setdefault(name, Channel(name))
            channel.url, channel.kinds = url, carried
            self.connect(channel, at_us, fresh=True)
        if not plan.sockets:
            self.failure = "none of the media that were asked for was granted"

    def start_anew(self, url: str, at_us: int, why: str) -> None:
        """Leave every socket, and connect signaling at another URL."""
        self._was_left = self._was_left or self.signaling.has_been_up
        for channel in self.channels.values():
            self.drop(channel, at_us, why)
        self.signaling.url = url
        self.connect(self.signaling, at_us, fresh=True)

    def resume(self, at_us: int) -> None:
        """Rebuild what was closed while the end seemed near."""
        self.rebuilds = True
        if self.signaling.phase is Phase.IDLE:
            self.lose(self.signaling, at_us, "it closed between two sessions")
            return
        for channel in self.media:
            if channel.phase is Phase.IDLE:
                self.connect(channel, at_us, fresh=True)

    def lose(
        self, channel: Channel, at_us: int, how: str, *, has_socket: bool = True, wait_s: float | None = None
    ) -> None:
        """A connection is gone, or came to nothing: rebuild it later, with what depends on it.

        :param has_socket: whether there is a socket left to close.
        :param wait_s: how long to wait before the next try, where it is not the usual back-off.
        """
        was_up = channel.phase is Phase.UP
        self.drop(channel, at_us, how, has_socket=has_socket)
        if not self.rebuilds:
            return
        if was_up:
            channel.lost_us = self._last_loss_us = at_us
            self.step(f"{channel.name} lost", at_us)
        channel.note = how
        if not channel.is_media:
            for other in self.media:
                if other.phase is not Phase.GONE:
                    self.drop(other, at_us, "signaling was lost")
        wait_us = round((rules.back_off_s(channel.tries, self._stream_id) if wait_s is None else wait_s) * US)
        channel.tries += 1
        last_us = channel.give_up_us(at_us)
        if at_us >= last_us:
            self.give_up(
                channel, how if channel.is_media else f"no connection for {channel.deadline_s} s: {how}", at_us
            )
            return
        channel.enter(Phase.WAITING, at_us, min(at_us + wait_us, last_us))
        self.warn(channel.name, f"{'lost' if was_up else 'no connection'}: {how}; next try in {wait_us / US:.1f} s")

    def lose_media(self, media_type: int | None, how: str, at_us: int) -> None:
        """The server misses a media socket: find which. One that is being rebuilt already is that one; one that is
        opened for the first time since signaling came up is none that it could miss.

        While the end is near, the sign is only noted: should another session go on, nothing may come there any more.

        :param media_type: the kinds that it carries, where the server said so.
        """
        media = [each for each in self.media if each.phase is not Phase.GONE]
        media = [each for each in media if media_type is None or media_type & each.kinds]
        media = [each for each in media if each.phase is Phase.UP or each.tries]
        if not self.rebuilds:
            for channel in media:
                channel.suspect(at_us, how)
            return
        lately = [each for each in media if self._was_lost_lately(at_us, each.lost_us)]
        if lately or any(channel.phase is not Phase.UP for channel in media):
            for channel in lately:
                if channel.phase is Phase.UP:
                    channel.suspect(at_us, how)
            return
        for channel in media:
            if len(media) == 1 or at_us - (channel.last_in_us or 0) > rules.QUIET_S * US:
                self.lose(channel, at_us, how)
            else:
                channel.suspect(at_us, how)

    def lose_signaling(self, how: str, at_us: int, *, is_late: bool = False) -> None:
        """The server misses the signaling socket; see `lose_media`.

        :param is_late: whether the sign may come late: after a loss that is known it may mean that one.
        """
        if self.signaling.phase is not Phase.UP:
            return
        if not self.rebuilds or (is_late and self._was_lost_lately(at_us, self._last_loss_us)):
            self.signaling.suspect(at_us, how)
        else:
            self.lose(self.signaling, at_us, how)

    def close_early(self, channel: Channel, at_us: int, how: str) -> None:
        """A socket was closed with 1000 right after our handshake."""
        channel.early_closes += 1
        how += " right after the handshake"
        if not channel.is_media:  # where signaling was accepted, the signature is right
            how += ": many see a wrong signature only as this"
            if channel.early_closes >= rules.SIGNATURE_TRIES and not channel.has_been_up:
                self.failure = f"{channel.name} {how}. {rules.SIGNATURE_HINT}"
                self.drop(channel, at_us, how, has_socket=False)
                return
        self.lose(channel, at_us, how, has_socket=False)

    def drop(self, channel: Channel, at_us: int, why: str, *, has_socket: bool = True) -> None:
        """Let go of a channel; its socket, if it has one, is closed."""
        if has_socket and channel.has_socket:
            self.out.append(Close(channel.name, 1000, why[:100]))
        if channel.phase is not Phase.IDLE:
            channel.enter(Phase.IDLE, at_us)

    def leave(self) -> None:
        """Let go of all sockets, so that the server waits for us to come back: someone else will."""
        channels = reversed(self.channels.values())  # media first: they would end with signaling
        self.out += [Close(channel.name, _GOING_AWAY, "") for channel in channels if channel.has_socket]

    def refuse(self, channel: Channel, status: int | None, reason: str, at_us: int) -> None:
        """A handshake was refused: try again where that can help, say why where it cannot."""
        why = f"{channel.name} handshake refused: {explain_refusal(status, reason)}"
        channel.refused_with = status
        again, wait_s = status in (rules.RETRYABLE if channel.is_media else rules.RETRYABLE_SIGNALING), None
        if not channel.is_media and status in rules.FORMER_MEANINGS:
            why += f" On signaling, some servers mean {rules.FORMER_MEANINGS[status]}."
        if not channel.is_media and status == StatusCode.STATUS_DUPLICATE_SIGNAL_REQUEST:
            channel.duplicates += 1
            again = channel.has_been_up or channel.duplicates < rules.DUPLICATE_TRIES
            wait_s = None if channel.has_been_up else rules.DUPLICATE_S * 2 ** (channel.duplicates - 1)
        if again:
            self.lose(channel, at_us, why, wait_s=wait_s)
        elif self._misses_signaling(channel, status):
            self._unknown_to_server += 1
            self.lose(self.signaling, at_us, f"{why} So the server has no signaling connection of ours")
        elif channel.is_media:
            self.drop(channel, at_us, "refused")
            for kind in MEDIA_NAMES:
                if kind in channel.kinds:
                    self.refuse_kind(kind, why)
            self.give_up(channel, why, at_us)
        else:
            self.failure = why

    def _misses_signaling(self, channel: Channel, status: int | None) -> bool:
        """Whether a refusal means that the server has lost our signaling connection, which it had accepted."""
        is_unknown = channel.is_media and status == StatusCode.STATUS_INVALID_MESSAGE_TYPE
        return is_unknown and self._unknown_to_server < rules.UNKNOWN_TRIES

    def ask_for_less(self, channel: Channel, kind: MediaType, why: str, at_us: int) -> None:
        """One kind was refused: ask for the others of that socket without it."""
        self.refuse_kind(kind, why)
        channel.kinds &= ~kind
        self.drop(channel, at_us, "asking again without it")
        if channel.kinds:
            self.connect(channel, at_us)
        else:
            self.give_up(channel, why, at_us)

    def may_ask_otherwise(self, channel: Channel) -> bool:
        """Whether there is another way to ask for what the unified socket carries; see `ask_otherwise`."""
        own = (MEDIA_NAMES[kind] for kind in MEDIA_NAMES if kind in channel.kinds)
        return channel.name == MEDIA and (not channel.asks_for_all or any(name in self._urls for name in own))

    def ask_otherwise(self, channel: Channel, why: str, at_us: int) -> None:
        """The unified socket takes no such `media_type`: ask for each kind on its own socket, or else for everything.

        Sources differ on whether it takes a sum of bits, or only 32 (PROTOCOL §4).
        """
        own = {kind: name for kind, name in MEDIA_NAMES.items() if kind in channel.kinds}
        self.drop(channel, at_us, "asking in another way")
        offered = {kind: name for kind, name in own.items() if name in self._urls}
        has_others = any(other.is_media and other is not channel for other in self.channels.values())
        if len(offered) < len(own) and not has_others and not channel.asks_for_all:
            self.warn(channel.name, f"{why} Requesting everything, and ignoring the rest")
            channel.wants_all = True
            self.connect(channel, at_us)
            return
        for kind in own:
            if kind not in offered:  # everything would be what the other sockets have, once more
                self.refuse_kind(kind, why)
        if not offered:
            self.give_up(channel, why, at_us)
            return
        self.warn(channel.name, f"{why} Going on with a socket for each kind")
        self._splits = True
        del self.channels[channel.name]
        for kind, name in offered.items():
            split = self.channels.setdefault(f"{MEDIA}.{name}", Channel(f"{MEDIA}.{name}"))
            split.url, split.kinds = self._urls[name], kind
            self.connect(split, at_us, fresh=True)

    def refuse_kind(self, kind: MediaType, why: str) -> None:
        """Note that a kind of media will not come."""
        self.refused[kind] = why
        self.warn(SIGNALING, f"{MEDIA_NAMES[kind]} is not granted: {why}")

    def give_up(self, channel: Channel, why: str, at_us: int) -> None:
        """A channel will not come up any more; without signaling, or without any media, nothing will."""
        channel.enter(Phase.GONE, at_us)
        channel.note = why
        if not channel.is_media:
            self.failure = why
            return
        self.warn(channel.name, GIVEN_UP + why)
        media = self.media
        if all(each.phase is Phase.GONE for each in media):
            self.failure = "; ".join(dict.fromkeys(each.note for each in media if each.note))

    def warn(self, channel: str, text: str) -> None:
        """Tell a person, and the manifest."""
        self.out.append(Warn(channel, text))

    def step(self, name: str, at_us: int) -> None:
        """Note a step of the lifecycle."""
        self.steps.append((name, at_us))

    def _on_due(self, channel: Channel, at_us: int) -> None:
        if channel.phase is Phase.WAITING and at_us >= channel.give_up_us(at_us):
            self.give_up(channel, channel.note, at_us)
        elif channel.phase is Phase.WAITING:
            self.connect(channel, at_us)
        else:
            doing = "no connection" if channel.phase is Phase.OPENING else "no answer to the handshake"
            self.lose(channel, at_us, f"{doing} within {rules.HANDSHAKE_S} s")

    def _check_doubt(self, channel: Channel, at_us: int) -> None:
        doubt = channel.doubt
        if not self.rebuilds or doubt is None or at_us < doubt[0] + rules.DOUBT_S * US:
            return
        doubted_us, how = doubt
        channel.doubt, channel.later_doubt = channel.later_doubt, None
        heard_us = channel.last_in_us if channel.is_media else self.heard_us
        if heard_us is None or heard_us <= doubted_us + rules.UNDER_WAY_S * US:
            self.lose(channel, at_us, f"{how}, and nothing else for {rules.DOUBT_S} s")

    def _life_elsewhere(self, channel: Channel) -> int | None:
        """When anything came on any channel, where that shows that this one lives; else `None`.

        Some servers send keep-alives on the signaling socket only: then a media socket may be silent.
        """
        asks = not channel.is_media or any(each.keep_alives for each in self.media)
        return None if asks else self.heard_us

    def _was_lost_lately(self, at_us: int, loss_us: int | None) -> bool:
        """Whether a sign that comes now may report that loss."""
        is_known = loss_us is not None and self._last_loss_us is not None
        return is_known and at_us - (loss_us or 0) < rules.LATE_SIGNAL_S * US
