"""``python -m dipole`` is ``dipole``."""

from __future__ import annotations

import sys

from dipole.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
