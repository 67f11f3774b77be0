"""What stays on disk: a fold over frames."""
