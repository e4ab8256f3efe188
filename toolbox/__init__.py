"""The on-call toolbox of the tracker production."""

__version__ = "0.1.0"
