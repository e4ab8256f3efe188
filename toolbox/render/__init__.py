"""The same values as screen, JSON, Markdown and HTML."""
