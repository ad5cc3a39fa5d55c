"""Moved to `main/calibrate.py`: this file forwards to it, so that commands that were published keep working."""

import sys

from main.calibrate import main

if __name__ == "__main__":
    sys.exit(main())
