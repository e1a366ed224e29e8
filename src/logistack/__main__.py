"""`python -m logistack` is the command `logistack`."""

import sys

from logistack.cli import main

if __name__ == "__main__":
    sys.exit(main())
