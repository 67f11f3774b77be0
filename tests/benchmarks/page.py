"""How quickly a browser opens and moves a long page: `python tests/benchmarks/page.py [--hours 3] [--rounds 3]`.

A meeting is recorded first (see tests/long_meeting.py), with a line of the transcript every 1.5 s and three files of
sound. Opening is measured from the navigation on: until something was painted (first contentful paint), and until the
load event, when the waves are there too. Moving is what one step costs the page, layout and drawing included: the list
scrolled from end to end in 200 steps, the timeline zoomed in from the whole to a second and out again in 120. Of the
steps the median and the worst count; of the rounds, each of which starts a browser, the median.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parent.parent))

from browser import browser
from long_meeting import record_meeting

from rtms_cli.inspection.page import write_page

MEASURE = """(async () => {
  const frame = () => new Promise(requestAnimationFrame);
  const paints = performance.getEntriesByType("paint"), [opened] = performance.getEntriesByType("navigation");
  const steps = async (count, step) => {
    const costs = [];
    for (let number = 0; number < count; number++) {
      await frame();
      const start = performance.now();
      step(number);
      costs.push(performance.now() - start);
    }
    costs.sort((one, other) => one - other);
    return [costs[costs.length >> 1], costs.at(-1)];
  };
  const scroll = await steps(200, (number) => {
    list.scrollTop = ((list.scrollHeight - list.clientHeight) * number) / 199;
    fill();
    list.getBoundingClientRect();
  });
  const middle = (whole.from + whole.to) / 2, ratio = 1 / (whole.to - whole.from);
  const zoomed = await steps(120, (number) => {
    const half = ((whole.to - whole.from) / 2) * ratio ** (1 - Math.abs(number - 60) / 60);
    show(middle - half, middle + half);
    draw();
  });
  const mounted = document.querySelectorAll("#lines .line").length;
  const painted = paints.find(({ name }) => name === "first-contentful-paint").startTime;
  return [painted, opened.loadEventEnd, ...scroll, ...zoomed, visible.length, mounted];
})()"""
NAMES = (
    "first contentful paint, ms", "loaded, ms", "a step of scrolling, ms", "the worst", "a step of zooming, ms",
    "the worst", "lines", "of them in the document",
)  # fmt: skip


async def measure(html: Path) -> list[float]:
    """One round."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        async with browser(Path(profile)) as window:
            await window.open(html.as_uri())
            await window.until("performance.getEntriesByType('paint').length > 1 && !stale")
            found = await window.run(MEASURE)
            assert isinstance(found, list)
            assert window.complaints() == []
            return found


def main() -> None:
    """Record, write, open."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=float, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        recording = record_meeting(Path(folder) / "recording", round(3600 * options.hours))
        html = recording / "page.html"
        start = time.perf_counter()
        nbytes = write_page(recording, html)
        print(f"{nbytes / 1e6:.1f} MB, written in {time.perf_counter() - start:.1f} s")
        rounds = [asyncio.run(measure(html)) for _ in range(options.rounds)]
    for name, *values in zip(NAMES, *rounds, strict=True):
        print(f"{name:<28}{median(values):>10,.1f}")


if __name__ == "__main__":
    main()
