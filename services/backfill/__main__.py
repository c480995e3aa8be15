"""Entry point of the backfill process: `python -m services.backfill plan | run …`."""

from __future__ import annotations

import sys

from services.lean import arrow_with_system_memory, arrow_without_pandas


def run() -> int:
    """Returns the exit code."""
    arrow_with_system_memory()
    from clearwell.cli.main import main
    from services.backfill.command import backfill  # imports pyarrow

    arrow_without_pandas()
    return main(command=backfill, prog_name="clearwell backfill")


if __name__ == "__main__":
    sys.exit(run())
