"""`python -m services.collector [--once] [--connector NAME]...`: reads the registered sources until told to stop."""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import signal
import sys

from clearwell import settings
from clearwell.errors import ClearwellError, Fatal
from clearwell.metrics.process_metrics import ProcessMetrics
from clearwell.metrics.server import MetricsServer
from clearwell.process_end import end_within, run_and_leave
from clearwell.registry import Registry
from services.collector import options
from services.collector.collector import Collector
from services.collector.running_connector import as_bug

log = logging.getLogger(__name__)

ENDS_WITHIN = 20.0
"""Seconds that a stop takes at most: the requests and events in flight have 8, a source that hangs no more."""


async def collect(once: bool, only: list[str] | None) -> int:
    """Run until SIGTERM or SIGINT, or with `once` until no connector is running; returns the exit code."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()

    def end() -> None:
        end_within(ENDS_WITHIN)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end)
    process_settings = settings.load()
    registry = Registry(process_settings.postgres)
    metrics, address = ProcessMetrics(with_process=True), settings.metrics_address()
    collector = Collector(registry, process_settings, only, options.load(), metrics)
    server = MetricsServer(metrics, collector.health.problems, None if once else address)
    collector.health.endpoint = server.start()
    log.info("collector started")
    code = await collector.run(stop, once=once)
    server.close()
    registry.close()
    log.info("collector stopped")
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
    run_and_leave(lambda: collect(args.once, args.connector), report)


def report(error: BaseException) -> int:
    """Log why the collector ends and return its exit code; of an error nobody foresaw type and places alone."""
    if isinstance(error, ClearwellError):
        log.error("%s", error)
        return error.exit_code
    as_bug(error)
    return Fatal.exit_code


def _set_up_logging() -> None:
    """As `clearwell.worker.faust_app` does, without importing Faust."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    for name in ("clearwell", "services", "connectors", "__main__"):
        logging.getLogger(name).setLevel(logging.INFO)


if __name__ == "__main__":
    sys.exit(main())
