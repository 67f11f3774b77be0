"""What to do about it: Sans-I/O state machines."""
