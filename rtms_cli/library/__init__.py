"""For programs (docs/library.md): streams as they come, recordings as objects, and a stand-in for Zoom in tests."""
