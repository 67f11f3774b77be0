"""The only sockets, tasks and clock."""
