"""`python -m services.collector [--once] [--connector NAME]...`: reads the registered sources until told to stop."""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import os
import signal
import sys

from clearwell import settings
from clearwell.errors import ClearwellError
from clearwell.registry import Registry
from services.collector import options
from services.collector.collector import Collector

log = logging.getLogger(__name__)


async def collect(once: bool, only: list[str] | None) -> int:
    """Run until SIGTERM or SIGINT, or with `once` until no connector is running; returns the exit code."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    where = settings.load()
    registry = Registry(where.postgres)
    log.info("collector started")
    code = await Collector(registry, where, only, options.load()).run(stop, once=once)
    registry.close()
    log.info("collector stopped")
    logging.shutdown()
    if code == 70:
        os._exit(code)  # a source hangs in a thread that nothing can end
    return code


def main() -> int:
    """Entry point; returns the exit code."""
    parser = argparse.ArgumentParser(prog="services.collector", description=__doc__)
    parser.add_argument("--once", action="store_true", help="end when no connector is running any more")
    parser.add_argument(
        "--connector", action="append", metavar="NAME", help="run this one alone; several times: these alone"
    )
    args = parser.parse_args()
    _set_up_logging()
    gc.set_threshold(50_000, 20, 100)
    try:
        return asyncio.run(collect(args.once, args.connector))
    except ClearwellError as error:
        log.error("%s", error)
        return error.exit_code


def _set_up_logging() -> None:
    """As `clearwell.kafka.worker` does, without importing Faust."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    for name in ("clearwell", "services", "connectors", "__main__"):
        logging.getLogger(name).setLevel(logging.INFO)


if __name__ == "__main__":
    sys.exit(main())
