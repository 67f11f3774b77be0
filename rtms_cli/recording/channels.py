"""What is known of each media socket: what was asked for, what was granted, and what follows for what comes on it."""

from collections.abc import Callable

from rtms_cli.protocol.media import MEDIA_NAMES, MediaParams
from rtms_cli.protocol.messages import Chat, Media, MediaHandshakeRequest, Transcript, UserId
from rtms_cli.protocol.numbers import EVERY_MEDIA, MediaType
from rtms_cli.recording.audio import AudioForm, audio_form, is_decoded
from rtms_cli.recording.intake import Intake, expected_size
from rtms_cli.recording.ledger import MOST_CHANNELS
from rtms_cli.recording.timeline import Segment


class Channel:
    """What is known of one media socket."""

    __slots__ = ("aside", "asked", "audio", "expected", "granted", "has_granted", "intakes", "is_decoded", "warned")

    def __init__(self) -> None:
        self.asked = MediaParams()
        self.aside = MediaType(0)
        """Kinds that come and are not wanted: everything was asked for, since the server took nothing less."""
        self.granted = MediaParams()
        self.has_granted = False
        self.warned = False
        self._settle()

    def ask(self, request: MediaHandshakeRequest) -> None:
        """Take note of what we asked for."""
        self.asked = request.params
        is_everything = request.media_type == MediaType.ALL and request.params.kinds()
        self.aside = EVERY_MEDIA & ~request.params.kinds() if is_everything else MediaType(0)
        self._settle()

    def grant(self, params: MediaParams) -> None:
        """Take note of what the server granted."""
        self.granted = params
        self.has_granted = True
        self._settle()

    def open(self) -> None:
        """Begin again; whatever was granted before holds until the server says otherwise."""
        self.has_granted = self.warned = False

    def _settle(self) -> None:
        """Work out the audio's form again: granted, else asked, else Zoom's default."""
        params = self.granted.or_else(self.asked).audio
        self.audio: AudioForm = audio_form(params)
        self.expected = expected_size(self.audio, params)
        self.is_decoded = is_decoded(self.audio)
        self.intakes: dict[tuple[UserId, UserId, Segment], Intake] = {}


class Channels:
    """The media sockets of one recording.

    :param warn: takes what a person should know.
    """

    def __init__(self, warn: Callable[[str], None]) -> None:
        self._warn = warn
        self.known: dict[str, Channel] = {}

    def find(self, name: str) -> Channel:
        """A socket, which may be new; of very many of them, all further ones are one."""
        channel = self.known.get(name)
        if channel is None:
            if len(self.known) >= MOST_CHANNELS:
                self._warn(f"more than {MOST_CHANNELS} channels: the others are merged into one")
                name = ""
            channel = self.known.setdefault(name, Channel())
        return channel

    def find_for_media(self, name: str) -> Channel:
        """A socket on which media came."""
        channel = self.find(name)
        if not channel.has_granted and not channel.warned:
            channel.warned = True
            form = "what was asked for" if channel.asked.audio else "Zoom's defaults (L16, 16 kHz, mono)"
            self._warn(f"{name}: media without an accepted handshake (4); read as {form}")
        return channel

    def leaves_aside(self, name: str, message: Media | Transcript | Chat) -> bool:
        """Whether a message is of a kind that was not wanted; it is in the capture."""
        channel = self.known.get(name)
        if channel is None or message.media_type not in channel.aside:
            return False
        self._warn(f"{name}: {MEDIA_NAMES[message.media_type]} that was not asked for is left aside")
        return True

    def params(self) -> tuple[MediaParams, MediaParams]:
        """What was asked for and what was granted, over all of them."""
        asked, granted = MediaParams(), MediaParams()
        for channel in self.known.values():
            asked, granted = asked.or_else(channel.asked), granted.or_else(channel.granted)
        return asked, granted
