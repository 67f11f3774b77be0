"""For eyes: reads snapshots, is never called by the data."""
