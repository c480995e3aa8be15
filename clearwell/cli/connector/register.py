"""`clearwell connector register`: from a YAML file, or from what is written on the command line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from clearwell.cli.contract.publish import render_contracts, say_refusals, to_json
from clearwell.cli.output import change_options, emit
from clearwell.cli.platform import plan_and_apply
from clearwell.cli.set_option import config_of
from clearwell.control.connector_registration import Registration, plan_registration
from clearwell.control.connector_registration import register as register_connector
from clearwell.control.connector_spec import ConnectorSpec, load_spec, make_spec
from clearwell.errors import ConfigError
from clearwell.terminal import printable


@click.command()
@click.argument("file", type=click.Path(path_type=Path), required=False)
@click.option("--name", help="Without FILE: the connector's name.")
@click.option("--source", help="Without FILE: the kind of source; `clearwell connector spec` lists them.")
@click.option("--stream", help="Without FILE: the stream that its events go to.")
@click.option("--set", "settings_", multiple=True, metavar="KEY=VALUE", help="Without FILE: an option, as in YAML.")
@click.option("--events-per-second", type=float, help="Without FILE: read no faster than this.")
@change_options
def register(
    file: Path | None,
    name: str | None,
    source: str | None,
    stream: str | None,
    settings_: Sequence[str],
    events_per_second: float | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Register a connector, or change it.

    The YAML FILE or the options describe it; a collector starts it within a second. The specification, the contract
    and the connection are checked first. Doing it again changes nothing; with a changed configuration the connector
    goes on from where it was. A key with dots is one inside another: auth.user.

    \b
      clearwell connector register deploy/connectors/flights.yaml
      clearwell connector register flights.yaml --dry-run
      clearwell connector register --name flights --source file --stream flights --set path=flights.ndjson
    """
    written = {"name": name, "source": source, "stream": stream}
    written = {key: value for key, value in written.items() if value is not None}
    limits = {} if events_per_second is None else {"limits": {"events_per_second": events_per_second}}
    spec = _spec(file, written | limits, settings_)
    plan = plan_and_apply(lambda platform: plan_registration(platform, spec), register_connector, dry_run)
    shown = {
        "name": spec.name,
        "outcome": plan.outcome,
        "dry_run": dry_run,
        "differences": plan.differences,
        "warnings": plan.warnings,
        "contracts": to_json(plan.publication, dry_run)["contracts"],
        "streams": [{"name": stream.name, "fields": dict(stream.fields)} for stream in plan.streams],
    }
    emit(as_json, shown, lambda: "\n".join(_render(plan, dry_run)))
    if not as_json:
        say_refusals(plan.publication)


def _spec(file: Path | None, written: dict[str, Any], options: Sequence[str]) -> ConnectorSpec:
    """The specification in the file, or of the options; not of both."""
    if file is not None:
        if written or options:
            raise ConfigError("Give a FILE, or --name, --source, --stream and --set: not both.")
        return load_spec(file)
    for needed in ("name", "source", "stream"):
        if needed not in written:
            raise ConfigError(f"Give a FILE, or --name, --source and --stream: --{needed} is missing.")
    return make_spec(written | {"config": config_of(options)}, "the command line", Path.cwd())


def _render(plan: Registration, dry_run: bool) -> Iterator[str]:
    will = "would be " if dry_run else ""
    into = f" ({plan.spec.source} into {plan.spec.stream})" if plan.outcome == "registered" else ""
    yield f'Connector "{plan.spec.name}" {will}{plan.outcome}{into}.'
    yield from (f"  {line}" for line in plan.differences)
    yield from (f"  warning: {line}" for line in plan.warnings)
    yield from (f"  {line}" for line in render_contracts(plan.publication.contracts, dry_run))
    for stream in plan.streams:
        fields = ", ".join(f"{name} {kind}" for name, kind in stream.fields.items())
        yield printable(f"  found {stream.name}: {fields}")
    if not dry_run and plan.outcome != "unchanged":
        yield f"`clearwell connector show {plan.spec.name}` shows how far it is."
