"""Record, inspect and simulate Zoom Realtime Media Streams (RTMS)."""

__version__ = "0.1.0"
