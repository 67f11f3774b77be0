"""Audio packets → a WAV file on the session's timeline, valid on disk at any moment (RECORDING, "Audio").

The header is our own: libraries write sizes when they close a file, and a killed process closes none. It is patched
with every flush, after the data that it speaks of. Behind the RIFF header lies a JUNK chunk as long as RF64's `ds64`,
so that the file can become RF64 in place when it passes 4 GB (EBU Tech 3306).
"""

import struct

from msgspec import Struct

from rtms_cli.protocol.media import DEFAULT_PARAMS, AudioParams
from rtms_cli.protocol.messages import UserId
from rtms_cli.protocol.numbers import AudioChannel, Codec, ContentType, SampleRate
from rtms_cli.recording.codecs import (
    RATES_HZ,
    DecodeError,
    Decoder,
    SequenceCount,
    codec_name,
    count_samples,
    decodes,
    new_decoder,
    read_rtp,
)
from rtms_cli.recording.files import Files
from rtms_cli.recording.manifest import TrackEntry
from rtms_cli.recording.timeline import Segment, Timeline
from rtms_cli.recording.track import ClosedTrackError, Track

HEADER_SIZE = 80
_RIFF_LIMIT = 0xFFFFFFFF
_METER_MS = 200
_MOST_ZEROS = 1 << 14

CONCEAL_MS = 100
"""The longest gap that a codec may fill with what it guesses: nobody mutes for so short a time."""


class AudioForm(Struct, frozen=True):
    """What the packets of a track are: it decides the file."""

    codec: int
    rate_hz: int
    audio_channels: int
    content_type: int

    @property
    def codec_name(self) -> str:
        """The codec's documented name."""
        return codec_name(self.codec)

    def __str__(self) -> str:
        """`L16, 16 kHz, mono`."""
        sides = "stereo" if self.audio_channels == 2 else "mono"
        wrapped = ", RTP" if self.content_type == ContentType.RTP else ""
        return f"{self.codec_name}, {self.rate_hz // 1000} kHz, {sides}{wrapped}"

    @property
    def is_plain(self) -> bool:
        """Whether the bytes of a packet are its samples."""
        return self.codec == Codec.L16 and self.content_type != ContentType.RTP

    @property
    def block(self) -> int:
        """Bytes of one sample of all channels in the WAV."""
        return 2 * self.audio_channels


def audio_form(params: AudioParams | None) -> AudioForm:
    """The form that parameters stand for; what is missing or no documented number is Zoom's default."""
    full = (params or AudioParams()).or_else(DEFAULT_PARAMS.audio)
    codec = full.codec or Codec.L16
    rate = full.sample_rate if isinstance(full.sample_rate, SampleRate) else SampleRate.SR_16K
    stereo = full.channel == AudioChannel.STEREO
    content_type = full.content_type or ContentType.RAW_AUDIO
    return AudioForm(codec, RATES_HZ.get(codec, rate.hz), 2 if stereo else 1, content_type)


def is_decoded(form: AudioForm) -> bool:
    """Whether packets of a form can become PCM here."""
    return form.codec == Codec.L16 or decodes(form.codec)


def body_of(form: AudioForm, payload: bytes) -> bytes | None:
    """A packet without its RTP header, where it should have one; `None` if it has none."""
    if form.content_type != ContentType.RTP:
        return payload
    rtp = read_rtp(payload)
    return None if rtp is None else rtp.payload


def samples_in(form: AudioForm, payload: bytes) -> int:
    """How many samples of one channel a packet has; 0 where it is not of the form."""
    body = body_of(form, payload)
    return 0 if body is None else count_samples(form.codec, form.audio_channels, body)


def wav_header(form: AudioForm, nbytes: int) -> bytes:
    """The 80 bytes before the data: RIFF, or RF64 where the sizes need more than 32 bits."""
    block, riff_size = form.block, HEADER_SIZE - 8 + nbytes
    if riff_size <= _RIFF_LIMIT:
        start = struct.pack("<4sI4s4sI28x", b"RIFF", riff_size, b"WAVE", b"JUNK", 28)
        data_size = nbytes
    else:
        sizes = struct.pack("<QQQI", riff_size, nbytes, nbytes // block, 0)
        start = struct.pack("<4sI4s4sI", b"RF64", _RIFF_LIMIT, b"WAVE", b"ds64", 28) + sizes
        data_size = _RIFF_LIMIT
    rate = form.rate_hz
    return start + struct.pack(
        "<4sIHHIIHH4sI", b"fmt ", 16, 1, form.audio_channels, rate, rate * block, block, 16, b"data", data_size
    )


class AudioTrack(Track):
    """One participant's audio in one form and one segment of time: one WAV file.

    Packets are placed when they come and written by `flush`. The file appears with its first samples.

    :param segment: the stretch of the session's clock, or of ours for packets without a usable timestamp.
    :param encoded: what keeps the packets as they came, where that is wanted.
    """

    kind = "audio"

    def __init__(
        self,
        path: str,
        user_id: UserId,
        user_name: str | None,
        form: AudioForm,
        segment: Segment,
        encoded: Track | None = None,
    ) -> None:
        super().__init__(path, user_id, user_name)
        self.form = form
        self.segment = segment
        self.timeline = Timeline(form.rate_hz)
        self.concealed = 0
        """Samples that were lost and that the codec guessed."""
        self.encoded = encoded
        self.assumed = ""
        """What was assumed, because the packets are not as granted."""
        self._is_behind = False
        self._begin()
        self._zero_ms = segment.zero_ms
        self._runs: list[tuple[int, list[bytes]]] = []  # where in the file's samples, and what to write there
        self._run_end = -1
        self._waiting = 0
        self._exists = False
        self._shift = 0  # samples that the file on disk is behind the timeline
        self._disk_end = 0  # bytes of data on disk

    def _begin(self) -> None:
        """Set up what the form needs."""
        form = self.form
        self.sequences = SequenceCount() if form.content_type == ContentType.RTP else None
        self._decoder: Decoder | None = None
        if form.codec != Codec.L16:
            self._decoder = new_decoder(form.codec, form.audio_channels)
        self._block = form.block

    @property
    def zero_ms(self) -> int:
        """Where its first sample lies, on the segment's clock."""
        return self._zero_ms

    @property
    def seconds(self) -> float:
        """The track's length."""
        return self.timeline.end / self.form.rate_hz

    @property
    def has_content(self) -> bool:
        """Whether a packet had samples."""
        return self.timeline.end > 0

    @property
    def gaps(self) -> tuple[int, float]:
        """How many stretches were not sent, and their seconds in all."""
        count, samples = self.timeline.free
        return count, samples / self.form.rate_hz

    @property
    def waiting(self) -> int:
        """Bytes that wait for the next flush."""
        return self._waiting

    def ahead_ms(self, timestamp: int) -> float:
        """How far a time is behind the end of what has its place, in ms; negative where it is before that."""
        self.catch_up()
        return timestamp - self._zero_ms - self.timeline.end * 1000 / self.form.rate_hz

    def append(self, timestamp: int | None, payload: bytes) -> tuple[str, int] | None:
        """Put one packet behind all others, whatever its timestamp says; see `add`."""
        self._is_behind = True
        try:
            return self.add(timestamp, payload)
        finally:
            self._is_behind = False

    def begin_again(self, form: AudioForm) -> None:
        """Forget all packets: they were not what they seemed to be, and are given once more.

        What is on the disk is replaced by the next flush.
        """
        self.form = form
        self.timeline = Timeline(form.rate_hz)
        self.concealed = 0
        self._begin()
        self._zero_ms = self.segment.zero_ms
        self._runs, self._run_end, self._waiting = [], -1, 0
        self._exists = False
        self._shift = self._disk_end = 0
        self.packets = self.nbytes = 0
        self.first_timestamp = self.last_timestamp = None

    def add(self, timestamp: int | None, payload: bytes, *, is_stamped: bool = True) -> tuple[str, int] | None:
        """Place one packet.

        :param is_stamped: whether the timestamp is the packet's own, and not that of its arrival.
        :returns: why something of it could not be kept, and how many bytes of it.
        """
        if not self.is_open:
            raise ClosedTrackError(self.path)
        if not is_stamped:
            first, last = self.first_timestamp, self.last_timestamp
            try:
                return self.add(timestamp, payload)
            finally:
                self.first_timestamp, self.last_timestamp = first, last
        self.packets += 1
        self.nbytes += len(payload)
        if self.sequences is not None:
            rtp = read_rtp(payload)
            if rtp is None:
                return "packet without a good RTP header", len(payload)
            self.sequences.add(rtp.sequence)
            payload = rtp.payload
        if self._decoder is not None:
            return self._add_encoded(self._decoder, timestamp, payload) if payload else None  # nothing was said
        count, odd = divmod(len(payload), self._block)
        if count:
            start, skip, kept = self._place(timestamp, count)
            if kept != count or odd:
                payload = payload[skip * self._block : (skip + kept) * self._block]
            if kept:
                self._put(start, [payload])
        return ("bytes at the end of a packet that are not a whole sample", odd) if odd else None

    def add_run(self, timestamps: list[int], payloads: list[bytes]) -> None:
        """Place packets of plain PCM: what `add` does for each of them.

        :param timestamps: each later than the one before.
        :param payloads: all as long as each other, in whole samples.
        """
        self.add(timestamps[0], payloads[0])  # it may leave a hole
        packets, nbytes = len(payloads), len(payloads[0])
        count = nbytes // self._block
        step_ms, odd = divmod(count * 1000, self.form.rate_hz)
        first_ms, start = timestamps[0], None
        if packets > 1 and not odd and timestamps == list(range(first_ms, first_ms + step_ms * packets, step_ms)):
            start = self.timeline.place_run(first_ms + step_ms - self._zero_ms, step_ms, count, packets - 1)
        if start is None:
            for timestamp, payload in zip(timestamps[1:], payloads[1:], strict=True):
                self.add(timestamp, payload)
            return
        self.packets += packets - 1
        self.nbytes += nbytes * (packets - 1)
        self.last_timestamp = max(timestamps[-1], self.last_timestamp or 0)
        self._put(start, payloads[1:])

    def _add_encoded(self, decoder: Decoder, timestamp: int | None, packet: bytes) -> tuple[str, int] | None:
        nbytes = len(packet)
        count = count_samples(self.form.codec, self.form.audio_channels, packet)
        if not count:
            return f"packet that is not {self.form.codec_name}", nbytes
        if self.encoded is not None:
            self.encoded.add(None if self.segment.is_ours else timestamp, packet)
        self.catch_up()
        end = self.timeline.end
        start, skip, kept = self._place(timestamp, count)
        if not kept:
            return None
        if 0 < start - end <= CONCEAL_MS * self.form.rate_hz // 1000:
            guessed = decoder.conceal(start - end)
            if guessed:
                self._put(end, [guessed])
                self.concealed += len(guessed) // self._block
        fault: tuple[str, int] | None = None
        try:
            pcm = decoder.decode(packet)
        except DecodeError as error:
            pcm, fault = b"", (f"packet could not be decoded: {error}", nbytes)
        pcm = pcm.ljust(count * self._block, b"\0")
        self._put(start, [pcm[skip * self._block : (skip + kept) * self._block]])
        return fault

    def _place(self, timestamp: int | None, count: int) -> tuple[int, int, int]:
        """See `Timeline.place`."""
        segment = self.segment
        if timestamp is None:
            return self.timeline.append(count)
        if segment.zero_ms != self._zero_ms:
            self.catch_up()
        if self.first_timestamp is None or timestamp < self.first_timestamp:
            self.first_timestamp = timestamp
        if self.last_timestamp is None or timestamp > self.last_timestamp:
            self.last_timestamp = timestamp
        if self._is_behind:
            return self.timeline.append(count, timestamp - self._zero_ms)
        return self.timeline.place(timestamp - self._zero_ms, count)

    def _put(self, start: int, chunks: list[bytes]) -> None:
        """Keep samples, which lie one behind the other, for the next flush."""
        if start == self._run_end:
            self._runs[-1][1].extend(chunks)
        else:
            self._runs.append((start, chunks))
        nbytes = sum(map(len, chunks))
        self._run_end = start + nbytes // self._block
        self._waiting += nbytes
        self.dirty = True
        if self.listener is not None:
            self.listener.on_audio(self, start, chunks)

    def catch_up(self) -> None:
        """Take note of a segment's zero that has moved earlier."""
        if self.segment.zero_ms == self._zero_ms:
            return
        samples = self.timeline.shift(self._zero_ms - self.segment.zero_ms)
        self._zero_ms = self.segment.zero_ms
        self._runs = [(start + samples, chunks) for start, chunks in self._runs]
        self._run_end = self._run_end + samples if self._runs else -1
        if self._exists:
            self._shift += samples
        self.dirty = True

    def flush(self, files: Files) -> None:
        """Write what has come since the last flush, and then the sizes in the header.

        :raises OSError: what was to be written is lost; the file is valid anyway, and the next flush goes on.
        """
        runs, self._runs, self._run_end, self._waiting = self._runs, [], -1, 0
        self.dirty = self._shift > 0  # until that has worked
        block, path = self._block, self.path
        if self._shift:
            nbytes = self._shift * block
            files.insert_zeros(path, wav_header(self.form, self._disk_end + nbytes), nbytes)
            self._disk_end += nbytes
            self._shift = 0
            self.dirty = False
        if not runs:
            return
        if not self._exists:
            files.replace(path, wav_header(self.form, 0))
            self._exists = True
        parts = [(HEADER_SIZE + start * block, b"".join(chunks)) for start, chunks in self._bridged(runs)]
        end = max(self._disk_end, max(position - HEADER_SIZE + len(data) for position, data in parts))
        self.level = _peak(parts[-1][1][-self.form.rate_hz * _METER_MS // 1000 * block :])
        parts.append((0, wav_header(self.form, end)))
        files.write_at(path, parts)
        self._disk_end = end

    def _bridged(self, runs: list[tuple[int, list[bytes]]]) -> list[tuple[int, list[bytes]]]:
        """Runs of samples, those with little silence between them as one: a write costs more than some zeros.

        Only what lies behind all that there is is joined so: no sample can be where the zeros go.
        """
        bridged: list[tuple[int, list[bytes]]] = []
        end, last_end = self._disk_end // self._block, -1
        for start, chunks in runs:
            if last_end == end <= start and (start - end) * self._block <= _MOST_ZEROS:
                bridged[-1][1].append(bytes((start - end) * self._block))
                bridged[-1][1].extend(chunks)
            else:
                bridged.append((start, chunks))
            last_end = start + sum(map(len, chunks)) // self._block
            end = max(end, last_end)
        return bridged

    def entry(self, origin_ms: int | None, most_gaps: int) -> TrackEntry:
        """The track's part of the manifest."""
        rate, holes = self.form.rate_hz, self.timeline.holes()
        return TrackEntry(
            kind=self.kind,
            path=self.path,
            user_id=self.user_id,
            user_name=self.user_name,
            channel_id=self.channel_id,
            codec=self.form.codec_name,
            rate=rate,
            channels=self.form.audio_channels,
            packets=self.packets,
            bytes=self.nbytes,
            first_timestamp=self.first_timestamp,
            last_timestamp=self.last_timestamp,
            duration=round(self.seconds, 6),
            offset=self.segment.offset_s(origin_ms),
            gaps=[(round(start / rate, 6), round(end / rate, 6)) for start, end in holes[:most_gaps]],
            gap_count=len(holes),
            duplicates=self.timeline.duplicates,
            overlap=round(self.timeline.overlap / rate, 6),
            lost=None if self.sequences is None else self.sequences.lost,
            concealed=round(self.concealed / rate, 6),
            assumed=self.assumed or None,
        )


def _peak(pcm: bytes) -> float:
    """About the loudest sample, for a meter: some two hundred of them are looked at.

    NumPy would look at all in the same time, but costs 15 MB and a tenth of a second to begin with.
    """
    samples = memoryview(pcm).cast("h")
    some = samples[:: len(samples) // 200 | 1]  # an odd step meets both channels
    return max(max(some), -min(some)) / 32768
