"""Who speaks when, by the energy of each participant's sound, and for how long in all.

rtms simulate --seconds 60 --payload-out payload.json
python examples/voice_activity.py payload.json
"""

import asyncio
import sys
from collections import defaultdict

import numpy as np

import rtms_cli

LOUD_DBFS = -45.0
HANGOVER_S = 0.4
"""A pause that is shorter ends no utterance."""


def level_dbfs(sound: rtms_cli.Audio) -> float:
    """The level of some samples: 0 is as loud as can be."""
    power = float(np.mean(np.square(sound.samples, dtype=np.float64))) if len(sound.samples) else 0.0
    return 10 * float(np.log10(power / 32768**2 + 1e-12))


class Voice:
    """One participant."""

    def __init__(self) -> None:
        self.name = ""
        self.spoken = 0.0
        self.began: float | None = None
        self.last = 0.0

    def hear(self, sound: rtms_cli.Audio, start: float) -> str | None:
        """Take the next sound; a line where somebody begins to speak."""
        self.name = sound.user_name or str(sound.user_id)
        if level_dbfs(sound) < LOUD_DBFS:
            return None
        self.spoken += sound.seconds
        self.last = start + sound.seconds
        if self.began is not None:
            return None
        self.began = start
        return f"{start:7.2f}  {self.name} begins"

    def end(self, now: float) -> str | None:
        """A line where somebody has spoken, and says nothing any more."""
        if self.began is None or now - self.last < HANGOVER_S:
            return None
        line = f"{self.last:7.2f}  {self.name} has spoken for {self.last - self.began:.1f} s"
        self.began = None
        return line


async def main(payload: str) -> None:
    """Tell who speaks until the stream ends, then for how long in all."""
    voices: defaultdict[int | str | None, Voice] = defaultdict(Voice)
    zero = None
    async with rtms_cli.join(payload, media="audio", separate=True) as stream:
        async for item in stream:
            if not isinstance(item, rtms_cli.Audio):
                continue
            zero = item.timestamp if zero is None else zero
            now = (item.timestamp - zero) / 1000
            said = [voice.end(now) for voice in voices.values()] + [voices[item.user_id].hear(item, now)]
            for line in filter(None, said):
                print(line, flush=True)
    for line in filter(None, [voice.end(float("inf")) for voice in voices.values()]):
        print(line)
    for voice in sorted(voices.values(), key=lambda voice: -voice.spoken):
        print(f"{voice.spoken:7.2f} s  {voice.name}")


if __name__ == "__main__":
    try:
        asyncio.run(main(sys.argv[1]))
    except KeyboardInterrupt:
        pass
    except rtms_cli.Problem as problem:
        sys.exit(str(problem))
