"""`python -m kshot` is `kshot`."""

import sys

from kshot.cli import main

if __name__ == "__main__":
    sys.exit(main())
