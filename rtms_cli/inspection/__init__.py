"""Inspects captures: summary, messages, protocol findings and timeline, each in one pass with bounded memory."""
