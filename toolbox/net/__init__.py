"""Resolve, connect, secure: the timed phases that every probe shares. What breaks is a value, never an exception."""
