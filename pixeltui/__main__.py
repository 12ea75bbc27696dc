"""`python -m pixeltui`, which is also what torchrun starts."""

import sys

from pixeltui.cli import main

if __name__ == "__main__":
    sys.exit(main())
