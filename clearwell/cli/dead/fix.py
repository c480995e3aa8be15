"""`clearwell dead fix`: mend the event of a dead letter, and see what would become of it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import msgspec

from clearwell import settings
from clearwell.cli.dead.show import said
from clearwell.cli.output import dry_run_option, emit, home_option, json_option
from clearwell.cli.session import open_registry
from clearwell.dead_letters.patch import Change, is_json
from clearwell.dead_letters.preview import KEPT, visible
from clearwell.dead_letters.repair import Mended, Mender
from clearwell.errors import ConfigError
from clearwell.privacy.open import open_keyring
from clearwell.registry import dead_letters


@click.command()
@click.argument("letter", metavar="ID", type=int)
@click.option("--set", "sets", multiple=True, metavar="FIELD=JSON", help="Set a field: --set 'origin=\"EWR\"'.")
@click.option("--unset", multiple=True, metavar="FIELD", help="Take a field away.")
@click.option(
    "--patch", type=click.Path(path_type=Path), metavar="FILE", help="A JSON merge patch; - is standard input."
)
@click.option("--event", type=click.Path(path_type=Path), metavar="FILE", help="The whole event anew; - as above.")
@click.option("--version", type=int, help="Let this version of the contract judge; default: the newest.")
@dry_run_option
@home_option
@json_option
@click.pass_context
def fix(
    ctx: click.Context,
    letter: int,
    sets: tuple[str, ...],
    unset: tuple[str, ...],
    patch: Path | None,
    event: Path | None,
    version: int | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Mend an event, and preview its outcome.

    The contract's own pipeline judges the mended event; it is kept, sealed, unless it would be rejected again (exit
    code 1). `clearwell dead replay ID` then sends it.

    \b
      clearwell dead fix 17 --set 'origin="EWR"' --dry-run
      clearwell dead fix 17 --unset comment --set distance=1400
      clearwell dead fix 17 --patch mended.json
      clearwell dead fix 17 --version 2          as it came, by a newer contract
    """
    change = Change(_read(event), _read(patch), unset, _sets(sets))
    if not change and version is None:
        raise ConfigError(
            f"Say what to mend: --set, --unset, --patch, --event, or --version; see `dead show {letter}`."
        )
    where = settings.load()
    with open_registry() as registry:
        with registry.session() as session:
            found = dead_letters.get(session, letter)
        mender = Mender(where, registry, open_keyring(where))
        mender.require_declared(found, version, change)
        mended = mender.mend(found, change, version, dry_run=dry_run)
    emit(as_json, _as_object(mended, dry_run), lambda: _told(mended, dry_run))
    ctx.exit(0 if mended.fine else 1)


def _as_object(mended: Mended, dry_run: bool) -> dict[str, Any]:
    outcome = mended.outcome
    return {
        "id": mended.letter.id,
        "fixed": mended.fine and not dry_run,
        "dry_run": dry_run,
        "version": mended.judge.version,
        "changed": mended.changed,
        "changed_undeclared": mended.others,
        **{name: getattr(outcome, name) for name in ("verdict", "reason", "step", "field")},
        "clean": None if outcome.clean is None else visible(mended.judge.schema, outcome.clean),
    }


def _told(mended: Mended, dry_run: bool) -> str:
    letter, outcome = mended.letter, mended.outcome
    others = [f"{mended.others} undeclared"] if mended.others else []
    lines = [
        f"changed    {', '.join([*mended.changed, *others]) or 'nothing'}",
        f"outcome    {said(outcome)} ({letter.stream} v{mended.judge.version})",
    ]
    if outcome.clean is not None:
        shown = visible(mended.judge.schema, outcome.clean)
        lines += ["clean event"] + [f"  {name:<20} {_text(value)}" for name, value in shown.items()]
    if mended.judge.remembers:
        lines.append("Steps that look at other events (deduplicate, fill) know of none in this preview.")
    if letter.destination and outcome.verdict == KEPT:
        lines.append(f"Whether {letter.destination} takes it, only the replay can tell.")
    if not mended.fine:
        return "\n".join([*lines, "Nothing was changed: it would be rejected again."])
    if dry_run:
        return "\n".join([*lines, "Nothing was changed."])
    return "\n".join([*lines, f"Dead letter {letter.id} is fixed: `clearwell dead replay {letter.id}` sends it."])


def _text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _sets(given: Sequence[str]) -> dict[str, bytes]:
    """Field → JSON. Raises ConfigError without quoting a value, which may be personal (invariant 9)."""
    found: dict[str, bytes] = {}
    for one in given:
        name, equals, value = one.partition("=")
        if not equals or not name:
            raise ConfigError("--set takes FIELD=JSON, such as --set distance=1400.")
        if not is_json(value.encode(errors="surrogateescape")):
            raise ConfigError(f"The value of --set {name}=… is no JSON: a text needs quotes, as in '{name}=\"EWR\"'.")
        found[name] = value.encode()
    return found


def _read(path: Path | None) -> bytes | None:
    if path is None:
        return None
    try:
        return sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path} can't be read: {error.strerror}.") from None
