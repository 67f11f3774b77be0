"""The engine: takes starts from anywhere and runs each stream's session with its sinks; it knows no screen."""
