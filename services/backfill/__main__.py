"""Entry point of the backfill process: `python -m services.backfill plan | run …`."""

from __future__ import annotations

import sys

from clearwell.cli.main import main
from services.backfill.command import backfill

if __name__ == "__main__":
    sys.exit(main(command=backfill, prog_name="clearwell backfill"))
