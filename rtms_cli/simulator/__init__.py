"""Zoom's side of the same protocol."""
