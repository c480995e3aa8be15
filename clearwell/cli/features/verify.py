"""`clearwell feature verify`: is what is served what history says?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import msgspec
from rich.console import Group as Lines
from rich.console import RenderableType

from clearwell.cli.features.cells import render_excluded, render_value
from clearwell.cli.output import common_options, emit, table
from clearwell.cli.platform import open_platform
from clearwell.control.feature_verification import ValueComparison, ViewVerification, verify_view
from clearwell.errors import ConfigError


@click.command()
@click.argument("view")
@click.option(
    "--sample", type=click.IntRange(1, 100_000), default=100, help="At most this many entities; default: 100."
)
@click.option("--seed", type=int, help="Which ones: the same seed chooses the same; default: another each time.")
@click.option(
    "--log", type=click.Path(path_type=Path, dir_okay=False), help="Write all that was served and computed here."
)
@common_options
@click.pass_context
def verify(ctx: click.Context, view: str, sample: int, seed: int | None, log: Path | None, as_json: bool) -> None:
    """Prove that serving and training see the same values; exit code 1 where they don't.

    Reads entities online, now and at instants of the past, computes the same from the view's events, and compares them
    to the last bit. What is protected is not shown, neither here nor in the log (NDJSON, a line a value).

    \b
      clearwell feature verify carrier_delays
      clearwell feature verify carrier_delays --sample 1000 --log served.ndjson
    """
    with open_platform() as platform:
        verified = verify_view(platform, view, sample, seed)
    if log is not None:
        _write_log(log, verified.comparisons)
    emit(as_json, verified.summary, lambda: _render(verified.summary))
    ctx.exit(1 if verified.summary.mismatches else 0)


def _render(summary: ViewVerification) -> RenderableType:
    if not summary.entities:
        return f'The view "{summary.view}" has no history yet: nothing was compared.'
    rows = [[feature.feature, feature.compared, feature.mismatches] for feature in summary.features]
    examples = [_render_mismatch(example) for feature in summary.features for example in feature.examples]
    outcome = f"{summary.mismatches:,} DIFFER" if examples else "online = offline"
    end = (
        f"{summary.compared:,} values of {summary.entities:,} entities, from {summary.events:,} events (seed "
        f"{summary.seed}): {outcome}."
    )
    excluded = render_excluded(summary.late, summary.beneath, summary.lateness)
    return Lines(table(["feature", "compared", "mismatches"], rows), "", *examples, *excluded, end)


def _render_mismatch(comparison: ValueComparison) -> str:
    return (
        f"{comparison.feature} of {', '.join(map(str, comparison.entity.values()))} at {comparison.time.isoformat()}: "
        f"served {_text(comparison.served)}, but history says {_text(comparison.computed)}"
    )


def _text(value: Any) -> str:
    return "null" if value is None else str(render_value(value))


def _write_log(path: Path, comparisons: Sequence[ValueComparison]) -> None:
    try:
        path.write_bytes(b"".join(msgspec.json.encode(comparison) + b"\n" for comparison in comparisons))
    except OSError as error:
        raise ConfigError(f"The log {path} can't be written ({error.strerror}).") from None
