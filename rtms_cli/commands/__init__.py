"""One file per command: parse, compose, exit."""
