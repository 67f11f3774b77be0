"""What runs, as messages for other processes: the page, `rtms attach`, and what others build (docs/feed.md)."""
