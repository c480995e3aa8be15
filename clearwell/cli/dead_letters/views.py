"""`clearwell dead-letter list | stats`: which dead letters there are."""

from __future__ import annotations

from typing import Any

import click
import msgspec
from rich.console import RenderableType

from clearwell.cli.dead_letters.filter import filter_of, filter_options
from clearwell.cli.output import common_options, emit, table
from clearwell.cli.platform import open_platform
from clearwell.cli.results import format_time
from clearwell.control.dead_letters import (
    DeadLetterCount,
    DeadLetterPage,
    DeadLetterState,
    RegisteredDeadLetter,
    count_dead_letters,
    list_dead_letters,
)

UNSETTLED = (DeadLetterState.WAITING, DeadLetterState.FIXED, DeadLetterState.PARKED)


@click.command("list")
@filter_options
@click.option("--limit", type=click.IntRange(1, 100_000), default=50, help="At most this many; default: 50.")
@common_options
def list_command(limit: int, as_json: bool, **options: Any) -> None:
    """Show dead letters, newest first.

    Without --state, those that nobody has dealt with: waiting, fixed and parked.

    \b
      clearwell dead-letter list --stream flights --since 2h
      clearwell dead-letter list --reason "is not one of" --state waiting --json
      clearwell dead-letter list --destination postgres
    """
    with open_platform() as platform:
        page = list_dead_letters(platform, filter_of(options, default=UNSETTLED), limit)
    value = {"letters": [letter_to_json(letter) for letter in page.letters], "total": page.total}
    emit(as_json, value, lambda: _render_page(page))


@click.command()
@filter_options
@common_options
def stats(as_json: bool, **options: Any) -> None:
    """Count dead letters by reason.

    And by stream, destination, step and state; the most frequent first.

    \b
      clearwell dead-letter stats --stream flights
    """
    with open_platform() as platform:
        counts = count_dead_letters(platform, filter_of(options))
    rows = [msgspec.to_builtins(count) | {"destination": count.destination or None} for count in counts]
    emit(as_json, {"counts": rows, "total": sum(count.letters for count in counts)}, lambda: _render_counts(counts))


def letter_to_json(letter: RegisteredDeadLetter) -> dict[str, Any]:
    """A dead letter for programs: without its event. It has one partition in all three topics."""
    value: dict[str, Any] = msgspec.to_builtins(letter)
    return value | {
        "destination": letter.destination or None,
        "dead_partition": letter.raw_partition,
        "clean_partition": None if letter.clean_topic_id is None else letter.raw_partition,
    }


def _render_counts(counts: list[DeadLetterCount]) -> RenderableType:
    if not counts:
        return "There is no such dead letter."
    heads = ("letters", "stream", "state", "destination", "step", "reason", "oldest", "newest")
    rows = [
        (*(count.letters, count.stream, count.state, count.destination, count.step, count.reason),
         *(format_time(count.oldest), format_time(count.newest)))
        for count in counts
    ]  # fmt: skip
    return table(heads, rows)


def _render_page(page: DeadLetterPage) -> RenderableType:
    if not page.letters:
        return "There is no such dead letter."
    heads = ("id", "stream", "state", "attempts", "rejected at", "partition/offset", "destination", "step", "reason")
    rows = [
        (str(letter.id), letter.stream, letter.state, str(letter.attempts), format_time(letter.rejected_at),
         f"{letter.raw_partition}/{letter.raw_offset}", letter.destination, letter.step, letter.reason)
        for letter in page.letters
    ]  # fmt: skip
    overview = table(heads, rows)
    if page.total > len(page.letters):
        overview.caption = (
            f"the newest {len(page.letters):,} of {page.total:,}; --limit shows more, `clearwell dead-letter stats` "
            "counts all"
        )
        overview.caption_justify = "left"
    return overview
