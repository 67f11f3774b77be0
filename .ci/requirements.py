"""Print requirements of pyproject.toml, one a line.

--lowest: the dependencies and those of the extra `export`, pinned to the lowest versions that are allowed;
--tools: what the tests need beside them.
"""

import re
import sys
import tomllib
from pathlib import Path

PROJECT = tomllib.loads((Path(__file__).resolve().parent.parent / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
NO_TEST_TOOLS = ("rtms-cli", "mypy", "ruff")


def lowest(requirement: str) -> str:
    """`name[extra]>=1.2,<3; marker` → `name[extra]==1.2; marker`."""
    wanted, _, marker = requirement.partition(";")
    found = re.fullmatch(r"\s*([\w.-]+(?:\[[\w,-]+\])?)\s*>=\s*([\w.]+)\s*(?:,.*)?", wanted)
    if found is None:
        raise SystemExit(f"pyproject.toml: {requirement!r} has no lowest version")
    return f"{found[1]}=={found[2]}" + (f";{marker}" if marker else "")


def main(what: str) -> None:
    """Print them."""
    if what == "--lowest":
        print("\n".join(map(lowest, [*PROJECT["dependencies"], *EXTRAS["export"]])))
    elif what == "--tools":
        print("\n".join(each for each in EXTRAS["dev"] if not each.startswith(NO_TEST_TOOLS)))
    else:
        raise SystemExit(__doc__)


if __name__ == "__main__":
    main(*sys.argv[1:2] or [""])
