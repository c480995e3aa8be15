"""`python -m services.worker`: hosts jobs until it is told to stop; with `--job NAME` that one alone."""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import signal
import sys

from clearwell import settings
from clearwell.arrow_memory import use_system_memory
from clearwell.metrics.process_metrics import ProcessMetrics
from clearwell.metrics.server import MetricsServer
from clearwell.process_end import end_within, run_and_leave
from clearwell.registry import Registry
from clearwell.worker.job_failure import describe_failure, exit_code, set_up_logging
from services.worker import options
from services.worker.member_name import member_name
from services.worker.single_job import SingleJob
from services.worker.wiring import Wiring
from services.worker.worker import Worker

log = logging.getLogger(__name__)

ENDS_WITHIN = 25.0
"""Seconds that a stop takes at most."""

COLLECT_AFTER = 500_000
"""Objects made since the last look for garbage in cycles. 16,000 records in flight are 130,000 objects, headers above
all, and none of them is garbage: looking at them after each 50,000 took a fifth of a deliverer's time."""


async def work(job: str | None, leased: bool) -> int:
    """Run until SIGTERM or SIGINT; returns the exit code."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()

    def end() -> None:
        end_within(ENDS_WITHIN)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end)
    process_settings = settings.load()
    registry = Registry(process_settings.postgres)
    if job is not None:
        instance = member_name(job, process_settings.postgres, leased)
        return await SingleJob(job, registry, Wiring(process_settings, registry), instance).run(stop)
    worker_options = options.load()
    log.info("worker %s started", worker_options.name)
    metrics, address = ProcessMetrics(with_process=True), settings.metrics_address()
    worker = Worker(registry, process_settings, worker_options, metrics)
    server = MetricsServer(metrics, worker.health.problems, address)
    worker.health.endpoint = server.start()
    code = await worker.run(stop)
    server.close()
    log.info("worker stopped")
    return code


def report(error: BaseException) -> int:
    """Log why the process ends, and return its exit code."""
    log.error("%s", describe_failure(error))
    return exit_code(error)


def main() -> int:
    """Entry point; returns the exit code."""
    parser = argparse.ArgumentParser(prog="services.worker", description=__doc__)
    parser.add_argument("--job", metavar="NAME", help="run this job alone, as `clearwell job list` names it")
    parser.add_argument("--leased", action="store_true", help="for a worker, which holds the job's lease")
    args = parser.parse_args()
    use_system_memory()
    set_up_logging()
    gc.set_threshold(COLLECT_AFTER, 20, 100)
    run_and_leave(lambda: work(args.job, args.leased), report)


if __name__ == "__main__":
    sys.exit(main())
