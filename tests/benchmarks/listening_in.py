"""What listening in costs the recorder: `PYTHONPATH=.:tests python -m benchmarks.listening_in`.

One stream is recorded, and nobody, one or ten listen at the feed's socket, each with a connection of its own. The
pages of `rtms web` have one for all browsers, so the second row is theirs. CPU is that of the recorder alone.
"""

import argparse
import asyncio
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path

from benchmarks.taps import cpu_s
from feed.following import follow, hear, place_in
from web.watching import recorder
from websockets.asyncio.client import ClientConnection

from rtms_cli.simulator.scenario import Scenario


async def drain(sound: ClientConnection) -> None:
    """Hear all of it."""
    async for _ in sound:
        pass


async def main(seconds: float) -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as folder:
        async with recorder(Path(folder), "--media", "audio", web=False) as here:
            place, pid = await place_in(Path(here.settings["RTMS_RUNTIME_DIR"])), here.listener.process.pid
            async with follow(place) as client:
                stream = await here.begin(Scenario(3_600))
                await client.picture(lambda one: one["streams"] and one["streams"][0]["messages"].get("audio", 0) > 50)
            for count in (0, 1, 10):
                async with AsyncExitStack() as stack:
                    sounds = [await stack.enter_async_context(hear(place, stream.stream_id)) for _ in range(count)]
                    tasks = [asyncio.create_task(drain(sound)) for sound in sounds]
                    await asyncio.sleep(1)
                    before = cpu_s(pid)
                    await asyncio.sleep(seconds)
                    print(f"{count:>3} listeners: {100 * (cpu_s(pid) - before) / seconds:5.1f} % of a core", flush=True)
                    for task in tasks:
                        task.cancel()
                    await asyncio.gather(*tasks, return_exceptions=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10)
    asyncio.run(main(parser.parse_args().seconds))
