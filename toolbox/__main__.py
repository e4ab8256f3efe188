"""Run the program with `python -m toolbox`."""

import sys

from toolbox.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
