"""What Zoom says: values only, with no clock, socket, file or logging."""
