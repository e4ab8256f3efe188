"""The vocabulary as frozen dataclasses."""
