"""`python -m rtms_cli`, and the console script `rtms`."""

import gc
import sys


def main() -> None:
    """Run `rtms`; a Ctrl-C while it is still being imported ends it as quietly as a later one."""
    try:
        from rtms_cli.commands.app import main as run

        run()
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        gc.freeze()  # to look through all that was imported for garbage would take a tenth of a short command's time


if __name__ == "__main__":
    main()
