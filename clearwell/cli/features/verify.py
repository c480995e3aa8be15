"""`clearwell features verify`: is what is served what history says?"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import msgspec
from rich.console import Group as Lines
from rich.console import RenderableType

from clearwell import settings
from clearwell.cli.features.shown import cell
from clearwell.cli.output import emit, home_option, json_option, table
from clearwell.contract.features import Aggregate, FeatureView
from clearwell.errors import ConfigError
from clearwell.features.declared import find_view
from clearwell.features.verify import Compared, Verdict
from clearwell.features.verify import verify as verify_view

EXAMPLES = 3
HIDDEN = "(protected)"


@click.command()
@click.argument("view")
@click.option(
    "--sample", type=click.IntRange(1, 100_000), default=100, help="At most this many entities; default: 100."
)
@click.option("--seed", type=int, help="Which ones: the same seed chooses the same; default: another each time.")
@click.option(
    "--log", type=click.Path(path_type=Path, dir_okay=False), help="Write all that was served and computed here."
)
@home_option
@json_option
@click.pass_context
def verify(ctx: click.Context, view: str, sample: int, seed: int | None, log: Path | None, as_json: bool) -> None:
    """Prove that serving and training see the same values; exit code 1 where they don't.

    Reads entities online, now and at instants of the past, computes the same from the view's events, and compares them
    to the last bit. What is protected is not shown, neither here nor in the log (NDJSON, a line a value).

    \b
      clearwell features verify carrier_delays
      clearwell features verify carrier_delays --sample 1000 --log served.ndjson
    """
    one = find_view(settings.schemas_folder(), view).view
    chosen = random.randrange(2**31) if seed is None else seed  # noqa: S311 - a sample, no secret
    found = verify_view(settings.load(), one, sample, chosen)
    if log is not None:
        _write(log, one, found)
    emit(as_json, _object(one, found, chosen), lambda: _sheet(one, found, chosen))
    ctx.exit(1 if found.mismatches else 0)


def _line(view: FeatureView, one: Compared) -> dict[str, Any]:
    """One comparison without what is protected (invariant 9)."""
    counted = one.feature.aggregate in (Aggregate.COUNT, Aggregate.DISTINCT)
    hidden = one.feature.source.privacy is not None and not counted
    return {
        "feature": one.feature.name,
        "entity": {
            key.name: HIDDEN if key.privacy is not None else value
            for key, value in zip(view.entity.keys, one.entity, strict=True)
        },
        "time": one.time,
        "served": HIDDEN if hidden else one.served,
        "computed": HIDDEN if hidden else one.computed,
    }


def _object(view: FeatureView, found: Verdict, seed: int) -> dict[str, Any]:
    return {
        "view": found.view,
        "digest": found.digest,
        "seed": seed,
        "entities": found.entities,
        "events": found.events,
        "late": found.left_out.late,
        "beneath": found.left_out.beneath,
        "compared": len(found.compared),
        "mismatches": len(found.mismatches),
        "features": [
            {"feature": name, "compared": len(some), "mismatches": len(wrong), "examples": _examples(view, wrong)}
            for name, some, wrong in _by_feature(view, found)
        ],
    }


def _examples(view: FeatureView, wrong: Sequence[Compared]) -> list[dict[str, Any]]:
    return [_line(view, one) for one in wrong[:EXAMPLES]]


def _by_feature(view: FeatureView, found: Verdict) -> list[tuple[str, list[Compared], list[Compared]]]:
    made = []
    for feature in view.features:
        some = [one for one in found.compared if one.feature.name == feature.name]
        made.append((feature.name, some, [one for one in some if not one.same]))
    return made


def _sheet(view: FeatureView, found: Verdict, seed: int) -> RenderableType:
    if not found.entities:
        return f'The view "{found.view}" has no history yet: nothing was compared.'
    rows = [[name, len(some), len(wrong)] for name, some, wrong in _by_feature(view, found)]
    wrong = [_line(view, one) for _, _, some in _by_feature(view, found) for one in some[:EXAMPLES]]
    examples = [
        f"{one['feature']} of {', '.join(map(str, one['entity'].values()))} at {one['time'].isoformat()}: "
        f"served {_said(one['served'])}, but history says {_said(one['computed'])}"
        for one in wrong
    ]
    verdict = f"{len(found.mismatches):,} DIFFER" if wrong else "online = offline"
    end = (
        f"{len(found.compared):,} values of {found.entities:,} entities, from {found.events:,} events (seed {seed}): "
        f"{verdict}."
    )
    return Lines(table(["feature", "compared", "mismatches"], rows), "", *examples, *found.left_out.lines(view), end)


def _said(value: Any) -> str:
    return "null" if value is None else str(cell(value))


def _write(path: Path, view: FeatureView, found: Verdict) -> None:
    lines = (msgspec.json.encode(_line(view, one) | {"same": one.same}) for one in found.compared)
    try:
        path.write_bytes(b"".join(line + b"\n" for line in lines))
    except OSError as error:
        raise ConfigError(f"The log {path} can't be written ({error.strerror}).") from None
