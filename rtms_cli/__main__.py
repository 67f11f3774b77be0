"""`python -m rtms_cli`, and the console script `rtms`."""

import sys


def _run() -> None:
    # msgspec takes from typing_extensions, if that is there, what typing has too: importing it would then take twice
    # as long.
    name = "typing_extensions"
    there = sys.modules.get(name)
    sys.modules[name] = None  # type: ignore[assignment]  # so whoever imports it is told that there is none
    import msgspec  # noqa: F401

    del sys.modules[name]
    if there is not None:
        sys.modules[name] = there
    from rtms_cli.commands.app import main as run

    run()


def main() -> None:
    """Run `rtms`; a Ctrl-C while it is still being imported ends it as quietly as a later one."""
    try:
        _run()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
