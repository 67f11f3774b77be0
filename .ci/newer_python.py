"""Print the newest Python on this machine that is newer than this one and works; nothing where there is none."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

NAMES = [f"python3.{minor}" for minor in range(20, 11, -1)]


def candidates() -> list[str]:
    """Commands on the path, and versions that pyenv keeps beside it."""
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    kept = [str(path) for name in NAMES for path in sorted(root.glob(f"*/bin/{name}"))]
    found = [command for name in NAMES if (command := shutil.which(name))]
    return sorted(found + kept, key=lambda path: -int(re.sub(r".*python3\.", "", path)))


def works(command: str) -> bool:
    """Whether it starts, can make virtual environments, and is newer than this one."""
    program = f"import sys, venv, ensurepip; sys.exit(sys.version_info[:2] <= {tuple(sys.version_info[:2])})"
    return subprocess.run([command, "-c", program], capture_output=True, check=False).returncode == 0


if __name__ == "__main__":
    print(next(filter(works, candidates()), ""))
