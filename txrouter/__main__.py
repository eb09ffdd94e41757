"""`python -m txrouter`: the command `txrouter`."""

import sys

from txrouter.cli import main

if __name__ == "__main__":
    sys.exit(main())
