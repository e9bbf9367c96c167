"""`python -m oms.cli` is `oms`, also where no console script is installed."""

from __future__ import annotations

import sys

from oms.cli import main

if __name__ == "__main__":
    sys.exit(main())
