"""Live: what comes in, passed on while it is recorded: taps, hooks, notifications (docs/live.md)."""
