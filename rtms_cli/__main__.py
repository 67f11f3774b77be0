"""`python -m rtms_cli`, and the console script `rtms`."""

from rtms_cli.commands.app import main

if __name__ == "__main__":
    main()
