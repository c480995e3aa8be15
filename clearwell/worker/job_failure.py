"""What is said of a job that failed: one sentence, without data (invariant 9)."""

from __future__ import annotations

import logging
import traceback

from clearwell.errors import ClearwellError, Fatal

log = logging.getLogger(__name__)


def describe_failure(error: BaseException) -> str:
    """Our own errors are one sentence. Of any other only type and places are logged: its text may quote data."""
    if isinstance(error, ClearwellError):
        return str(error)
    frames = "".join(traceback.format_list(traceback.extract_tb(error.__traceback__)))
    log.error("ended by %s (text withheld, it may quote data), raised at:\n%s", type(error).__name__, frames)
    return f"It ended by {type(error).__name__}; see the worker's log."


def exit_code(error: BaseException) -> int:
    """The exit code of a process that ends by it."""
    return error.exit_code if isinstance(error, ClearwellError) else Fatal.exit_code


def set_up_logging() -> None:
    """Log lines to standard error: time, level, which job, where, text. Libraries only from WARNING on."""
    form = "%(asctime)s %(levelname)s [%(threadName)s] %(name)s %(message)s"
    logging.basicConfig(level=logging.WARNING, format=form)
    for name in ("clearwell", "services", "connectors", "__main__"):
        logging.getLogger(name).setLevel(logging.INFO)
    for name in ("transport", "faust_app", "no_tables"):  # Faust says there what it starts and stops
        logging.getLogger(f"clearwell.worker.{name}").setLevel(logging.WARNING)
    logging.getLogger("aiokafka.consumer.group_coordinator").setLevel(logging.ERROR)  # a new broker is asked again
    # What ends a job comes by there with a traceback, whose texts may quote data (invariant 9); it is said once, by us.
    for name in ("faust", "mode"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
