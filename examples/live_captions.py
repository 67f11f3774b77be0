"""Live captions in the terminal: the last lines that were said, by whom, as they are corrected.

rtms simulate --seconds 60 --payload-out payload.json
python examples/live_captions.py payload.json
"""

import asyncio
import sys

from rich.live import Live
from rich.text import Text

import rtms_cli

SHOWN = 8
COLORS = ("cyan", "green", "magenta", "yellow", "blue")


def drawn(lines: list[rtms_cli.Transcript], people: list[str]) -> Text:
    """The last lines, each in its speaker's color."""
    text = Text()
    for line in lines[-SHOWN:]:
        name = line.user_name or "somebody"
        if name not in people:
            people.append(name)
        text.append(f"{name}: ", style=f"bold {COLORS[people.index(name) % len(COLORS)]}")
        text.append(f"{line.text}\n")
    return text


async def main(payload: str) -> None:
    """Show what is said until the stream ends, or Ctrl-C ends it."""
    lines: list[rtms_cli.Transcript] = []
    people: list[str] = []
    async with rtms_cli.join(payload, media="transcript") as stream:
        with Live(auto_refresh=False) as live:
            async for item in stream:
                if not isinstance(item, rtms_cli.Transcript):
                    continue
                if item.attribute:  # what was said before is changed, or taken back
                    former = (item.user_id, item.start_time)
                    lines = [line for line in lines if (line.user_id, line.start_time) != former]
                if item.attribute != "DELETE":
                    lines = [*lines, item][-SHOWN:]
                live.update(drawn(lines, people), refresh=True)


if __name__ == "__main__":
    try:
        asyncio.run(main(sys.argv[1]))
    except KeyboardInterrupt:
        pass
    except rtms_cli.Problem as problem:
        sys.exit(str(problem))
