"""`clearwell dead-letter fix`: change the event of a dead letter, and see what would become of it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import msgspec

from clearwell.cli.dead_letters.show import describe_outcome
from clearwell.cli.output import change_options, emit
from clearwell.cli.platform import actor, open_platform
from clearwell.control.dead_letter_changes import DeadLetterFix, apply, plan_fix
from clearwell.dead_letters.patch import EventChange, is_json
from clearwell.dead_letters.preview import KEPT
from clearwell.errors import ConfigError


@click.command()
@click.argument("id_", metavar="ID", type=int)
@click.option("--set", "sets", multiple=True, metavar="FIELD=JSON", help="Set a field: --set 'origin=\"EWR\"'.")
@click.option("--unset", multiple=True, metavar="FIELD", help="Take a field away.")
@click.option(
    "--patch", type=click.Path(path_type=Path), metavar="FILE", help="A JSON merge patch; - is standard input."
)
@click.option("--event", type=click.Path(path_type=Path), metavar="FILE", help="The whole event anew; - as above.")
@click.option("--version", type=int, help="Take it by this version of the contract; default: the newest.")
@change_options
@click.pass_context
def fix(
    ctx: click.Context,
    id_: int,
    sets: tuple[str, ...],
    unset: tuple[str, ...],
    patch: Path | None,
    event: Path | None,
    version: int | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Fix an event, and preview its outcome.

    The changed event runs through the contract's own pipeline; it is kept, sealed, unless it would be rejected again
    (exit code 1). `clearwell dead-letter replay ID` then sends it.

    \b
      clearwell dead-letter fix 17 --set 'origin="EWR"' --dry-run
      clearwell dead-letter fix 17 --unset comment --set distance=1400
      clearwell dead-letter fix 17 --patch changes.json
      clearwell dead-letter fix 17 --version 2          as it came, by a newer contract
    """
    change = EventChange(_read(event), _read(patch), unset, _sets(sets))
    if not change and version is None:
        raise ConfigError(
            "Say what to change: --set, --unset, --patch, --event, or --version; see "
            f"`clearwell dead-letter show {id_}`."
        )
    with open_platform() as platform:
        plan = plan_fix(platform, id_, change, version)
        if plan.is_accepted and not dry_run:
            apply(platform, actor(), plan)
    emit(as_json, _to_json(plan, dry_run), lambda: _render(plan, dry_run))
    ctx.exit(0 if plan.is_accepted else 1)


def _to_json(plan: DeadLetterFix, dry_run: bool) -> dict[str, Any]:
    return {
        "id": plan.letter.id,
        "fixed": plan.is_accepted and not dry_run,
        "dry_run": dry_run,
        "version": plan.version,
        "changed": plan.changed,
        "changed_undeclared": plan.undeclared,
        **{name: getattr(plan.preview, name) for name in ("outcome", "reason", "step", "field")},
        "clean": plan.clean,
    }


def _render(plan: DeadLetterFix, dry_run: bool) -> str:
    letter = plan.letter
    undeclared = [f"{plan.undeclared} undeclared"] if plan.undeclared else []
    lines = [
        f"changed    {', '.join([*plan.changed, *undeclared]) or 'nothing'}",
        f"outcome    {describe_outcome(plan.preview)} ({letter.stream} v{plan.version})",
    ]
    if plan.clean is not None:
        lines += ["clean event"] + [f"  {name:<20} {_text(value)}" for name, value in plan.clean.items()]
    if plan.remembers:
        lines.append("Steps that look at other events (deduplicate, fill) know of none in this preview.")
    if letter.destination and plan.preview.outcome == KEPT:
        lines.append(f"Only the replay can tell whether {letter.destination} takes it.")
    if not plan.is_accepted:
        return "\n".join([*lines, "Nothing was changed: it would be rejected again."])
    if dry_run:
        return "\n".join([*lines, "Nothing was changed."])
    return "\n".join(
        [*lines, f"Dead letter {letter.id} is fixed: `clearwell dead-letter replay {letter.id}` sends it."]
    )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _sets(options: Sequence[str]) -> dict[str, bytes]:
    """Field → JSON. Raises ConfigError without quoting a value, which may be personal (invariant 9)."""
    sets: dict[str, bytes] = {}
    for option in options:
        name, equals, value = option.partition("=")
        if not equals or not name:
            raise ConfigError("--set takes FIELD=JSON, such as --set distance=1400.")
        if not is_json(value.encode(errors="surrogateescape")):
            raise ConfigError(f"The value of --set {name}=… is no JSON: a text needs quotes, as in '{name}=\"EWR\"'.")
        sets[name] = value.encode()
    return sets


def _read(path: Path | None) -> bytes | None:
    if path is None:
        return None
    try:
        return sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path} can't be read: {error.strerror}.") from None
