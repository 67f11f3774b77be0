"""Print the requirements of pyproject.toml pinned to the lowest versions that it allows, one a line.

`python .ci/lowest.py [EXTRA…]`: the dependencies, and those of the extras that are named.
"""

import re
import sys
import tomllib
from pathlib import Path

PROJECT = tomllib.loads((Path(__file__).resolve().parent.parent / "pyproject.toml").read_text())["project"]


def lowest(requirement: str) -> str:
    """`name[extra]>=1.2,<3; marker` → `name[extra]==1.2; marker`."""
    wanted, _, marker = requirement.partition(";")
    found = re.fullmatch(r"\s*([\w.-]+(?:\[[\w,-]+\])?)\s*>=\s*([\w.]+)\s*(?:,.*)?", wanted)
    if found is None:
        raise SystemExit(f"pyproject.toml: {requirement!r} has no lowest version")
    return f"{found[1]}=={found[2]}" + (f";{marker}" if marker else "")


def main(extras: list[str]) -> None:
    """Print them."""
    requirements = list(PROJECT["dependencies"])
    for extra in extras:
        requirements += [
            each for each in PROJECT["optional-dependencies"][extra] if not each.startswith(PROJECT["name"])
        ]
    print("\n".join(lowest(each) for each in requirements))


if __name__ == "__main__":
    main(sys.argv[1:])
