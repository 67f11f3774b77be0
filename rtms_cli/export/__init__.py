"""A recording → files that people play, read and plot."""
