"""The standard streams as a process may find them: closed, full, or on a terminal that has gone."""

import os
import sys
from typing import TextIO


def open_closed() -> None:
    """Put /dev/null where a standard stream is closed (`<&-`), as ssh does.

    Else Python has None for the stream, and the next file or socket takes its number and is read or written as if it
    were the stream.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free, which is this one
            os.set_inheritable(number, True)
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8"))


def give_up(stream: TextIO) -> None:
    """Nobody takes what is written to `stream`: lose it, and what is buffered.

    Python would else try that again when it ends, and failing make 120 of our exit code.
    """
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
