"""Recordings as things that people list, name, find, play and delete."""
