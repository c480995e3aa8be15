"""`clearwell destination register | check`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from clearwell.cli.output import change_options, common_options, emit
from clearwell.cli.platform import open_platform, plan_and_apply
from clearwell.cli.set_option import config_of
from clearwell.control.destination_registration import DestinationRegistration, check_destination, plan_registration
from clearwell.control.destination_registration import register as register_destination
from clearwell.control.destination_spec import DestinationSpec, load_spec, make_spec
from clearwell.errors import ConfigError


@click.command()
@click.argument("destination", metavar="KIND.NAME")
@click.argument("file", type=click.Path(path_type=Path), required=False)
@click.option("--set", "options", multiple=True, metavar="KEY=VALUE", help="Without FILE: an option, as in YAML.")
@change_options
def register(destination: str, file: Path | None, options: Sequence[str], dry_run: bool, as_json: bool) -> None:
    """Register a destination, or change it.

    The YAML FILE holds the options of its kind, as --set does. The destination is reached before it is stored. Doing it
    again changes nothing; with other options the old ones are replaced, and deliverers take them with their next start.
    What is secret is a reference: ${env:NAME} or ${file:/path}, which each deliverer must be able to follow.

    \b
      clearwell destination register postgres.warehouse warehouse.yaml
      clearwell destination register postgres.warehouse --set 'url=postgresql://me:${env:CLEARWELL_SECRET_DB}@db/shop'
      clearwell destination register mongo.orders orders.yaml --dry-run
    """
    spec = _spec(destination, file, options)
    plan = plan_and_apply(lambda platform: plan_registration(platform, spec), register_destination, dry_run)
    shown = {
        "destination": destination,
        "outcome": plan.outcome,
        "dry_run": dry_run,
        "differences": plan.differences,
        "config": spec.config,
    }
    emit(as_json, shown, lambda: "\n".join(_render(plan, dry_run)))


@click.command()
@click.argument("destination", metavar="KIND.NAME|KIND")
@common_options
def check(destination: str, as_json: bool) -> None:
    """Prove that a destination can be reached, and written to.

    Each route of a contract that leads to it is opened as its deliverer opens it: its table is made, or widened, where
    that is due. Where no route leads to it, it is asked a question that changes nothing.

    \b
      clearwell destination check postgres.warehouse
      clearwell destination check mongo
    """
    with open_platform() as platform:
        streams = check_destination(platform, destination)
    what = f" for {', '.join(streams)}" if streams else "; no route leads to it"
    shown = {"destination": destination, "streams": streams, "ok": True}
    emit(as_json, shown, lambda: f"{destination} can be reached{what}.")


def _spec(destination: str, file: Path | None, options: Sequence[str]) -> DestinationSpec:
    if file is None:
        return make_spec(destination, config_of(options), "the command line", Path.cwd())
    if options:
        raise ConfigError("Give a FILE, or --set: not both.")
    return load_spec(destination, file)


def _render(plan: DestinationRegistration, dry_run: bool) -> Iterator[str]:
    name = plan.spec.destination
    yield f"{name} {'would be' if dry_run and plan.outcome != 'unchanged' else 'is'} {plan.outcome}."
    yield from (f"  {line}" for line in plan.differences)
    if plan.outcome == "registered" and not dry_run:
        yield f"Write `to: {name}` in the routes of a contract, then `clearwell contract publish`."
    if plan.outcome == "changed" and not dry_run:
        yield "Deliverers take it with their next start."
