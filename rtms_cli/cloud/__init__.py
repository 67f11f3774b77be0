"""Zoom's cloud beside the streams: tokens, the REST API, the event WebSocket (PROTOCOL §11, §12)."""
