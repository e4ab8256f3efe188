"""A value that must not be seen: a password, a token."""

from typing import Final

_MASK: Final = "•••"


class Secret:
    """Holds a secret and never shows it: not in `str`, `repr`, f-strings, dataclasses, pickles or exceptions."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The secret itself: for the call that needs it, and nowhere else."""
        return self._value

    def __repr__(self) -> str:
        return _MASK

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._value == other._value

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    def __reduce__(self) -> str:
        raise TypeError("a secret is not pickled")
