"""`clearwell`: the table of all commands, and how every failure is told to a person."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

import click

from clearwell import settings
from clearwell.cli.group import Entry, LazyGroup
from clearwell.cli.hints import sentence
from clearwell.errors import ClearwellError, Fatal, nearest
from clearwell.terminal import printable_lines

SECTIONS = {
    "The stack": {
        "up": Entry(
            "clearwell.cli.stack:up", "Start Kafka, PostgreSQL, MongoDB and our services, or find them running."
        ),
        "prepare": Entry("clearwell.cli.prepare:prepare", "Make topics, tables and key file on your own servers."),
        "status": Entry("clearwell.cli.status:status", "Show how each stream is doing, and what runs it."),
        "credentials": Entry("clearwell.cli.credentials:credentials", "Show how your own programs log in."),
        "down": Entry("clearwell.cli.stack:down", "End everything; --wipe deletes the data too."),
        "demo": Entry("clearwell.cli.demo:demo", "Run 336,776 real flights through all of it."),
    },
    "Contracts": {
        "contract": Entry("clearwell.cli.contract.commands:contract", "Check, show and test the contracts of streams."),
    },
    "Sources": {
        "connector": Entry(
            "clearwell.cli.connector.commands:connector", "Register sources and see how they are doing."
        ),
    },
    "Destinations": {
        "destination": Entry(
            "clearwell.cli.destination.commands:destination", "Register destinations, pause and replay them."
        ),
    },
    "Models": {
        "subscribe": Entry(
            "clearwell.cli.subscription.commands:subscribe", "Give a model the clean events of a stream."
        ),
        "subscription": Entry(
            "clearwell.cli.subscription.commands:subscription", "Look at what models read, change and remove it."
        ),
        "feature": Entry(
            "clearwell.cli.features.commands:features", "Look at feature views, tell Feast of them, read them."
        ),
        "backfill": Entry("clearwell.cli.backfill:backfill", "Replay history into a training set."),
    },
    "Operations": {
        "balance": Entry("clearwell.cli.balance:balance", "Prove that every event is accounted for."),
        "stream": Entry(
            "clearwell.cli.stream.commands:stream",
            "Look at streams, their topics and who reads them; keep their logs in order.",
        ),
        "job": Entry("clearwell.cli.job.commands:job", "Look at the jobs of workers; pause, restart and scale them."),
        "worker": Entry("clearwell.cli.worker.commands:worker", "Look at workers and collectors, and drain them."),
        "dead-letter": Entry(
            "clearwell.cli.dead_letters.commands:dead_letter", "Look at rejected events, fix them, and send them again."
        ),
        "lake": Entry(
            "clearwell.cli.lake.commands:lake_commands", "Look at the tables of the lake, and keep them in order."
        ),
        "bench": Entry("clearwell.cli.bench:bench", "Measure this machine beside the raw limits."),
        "key": Entry("clearwell.cli.keys:key", "Make and look at the key file."),
    },
}
"""Every command, by journey: the one place to register one."""

INTERRUPTED = 130


@click.group(
    cls=LazyGroup,
    sections=SECTIONS,
    aliases={"dead": "dead-letter"},
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(package_name="clearwell", message="%(prog)s %(version)s")
def clearwell() -> None:
    """Streaming data ingestion for AI/ML teams.

    \b
    Start here:
      clearwell up                      all servers and services, on this machine
      clearwell demo                    real flights, from a file to a model
      clearwell COMMAND --help          what a command does, with examples
    """


def main(args: Sequence[str] | None = None, command: click.Command = clearwell, prog_name: str = "clearwell") -> int:
    """Entry point: run one command and return its exit code; no failure ends in a traceback.

    `command` is another tree of commands, for a service that has its own.
    """
    words = list(sys.argv[1:] if args is None else args)
    try:
        result = command.main(words, prog_name=prog_name, standalone_mode=False)
        return result if isinstance(result, int) else 0
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except (click.Abort, KeyboardInterrupt):
        return tell(words, "interrupted", INTERRUPTED)
    except click.ClickException as error:
        return tell(words, _with_help(error), error.exit_code)
    except ClearwellError as error:
        if os.environ.get("CLEARWELL_DEBUG"):
            traceback.print_exc()
        return tell(words, sentence(error), error.exit_code, error.code)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # whoever read has read enough
        return 0
    except Exception as error:
        if os.environ.get("CLEARWELL_DEBUG"):
            traceback.print_exc()
        return tell(words, _as_bug(error), Fatal.exit_code)


def tell(args: Sequence[str], message: str, exit_code: int, code: str | None = None) -> int:
    """Say what went wrong: one line on standard error, and with --json an object on standard output too.

    `code`: see `ClearwellError`; a mistake on the command line has none.
    """
    click.echo(printable_lines(f"error: {message}"), err=True)
    if "--json" in args:
        more = {} if code is None else {"code": code}
        click.echo(json.dumps({"error": message, "exit_code": exit_code, **more}))
    return exit_code


def _with_help(error: click.ClickException) -> str:
    message = error.format_message()
    if isinstance(error, click.NoSuchOption):
        message = f'No such option "{error.option_name}".{nearest(error.option_name, error.possibilities or ())}'
    if isinstance(error, click.UsageError) and error.ctx is not None:
        message += f" See `{error.ctx.command_path} --help`."
    return message


def _as_bug(error: Exception) -> str:
    """One sentence about a failure nobody foresaw. Its text is withheld, it may quote data (invariant 9)."""
    frames = "".join(traceback.format_list(traceback.extract_tb(error.__traceback__)))
    details = (
        f"{type(error).__module__}.{type(error).__qualname__} (text withheld, it may quote data) raised at:\n{frames}"
    )
    name = f"bug-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log"
    for folder in (settings.home_folder() / "logs", Path(tempfile.gettempdir())):
        try:
            (folder / name).write_text(details)
        except OSError:
            continue
        return (
            f"This is a bug in Clearwell ({type(error).__name__}); its details are in {folder / name}. "
            "CLEARWELL_DEBUG=1 shows them in full."
        )
    return f"This is a bug in Clearwell ({type(error).__name__}); CLEARWELL_DEBUG=1 shows its details."


if __name__ == "__main__":
    sys.exit(main())
