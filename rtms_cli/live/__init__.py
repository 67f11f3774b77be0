"""Live: what comes in, handed on while it is recorded: taps, hooks, notifications (docs/live.md)."""
