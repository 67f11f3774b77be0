"""Pages for a browser: what runs, from a feed, and what was recorded, from a folder or a store."""
