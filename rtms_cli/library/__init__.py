"""For programs (docs/library.md): streams as they come, recordings as objects, and a Zoom simulator in tests."""
