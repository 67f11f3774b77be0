"""Recordings as objects: shipping them to a store while they are recorded, and reading them from there."""
