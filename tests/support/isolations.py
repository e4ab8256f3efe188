"""The kinds of isolation that can be tried by whoever runs the tests."""

import os

from toolbox.lab.runtime.spec import Isolation

PRIVATE = [Isolation.ROOT, Isolation.USER] if os.geteuid() == 0 else [Isolation.USER]
ISOLATIONS = [*PRIVATE, Isolation.SHARED]
