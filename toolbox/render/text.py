"""What keeps hostile text off a person's screen, for every room that writes to one."""

from toolbox.model.text import printable

__all__ = ["printable"]
