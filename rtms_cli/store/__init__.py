"""Recordings as objects: what ships them to a store while they are made, and what reads them from there."""
