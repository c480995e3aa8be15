"""`clearwell destination add | check | remove`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from clearwell import settings
from clearwell.cli.connector.open import open_registry, open_session
from clearwell.cli.connector.register import config_of
from clearwell.cli.output import dry_run_option, emit, home_option, json_option
from clearwell.contract.load import newest_contracts
from clearwell.control import destination_registration
from clearwell.control.destination_registration import Addition, StoreSpec
from clearwell.errors import ConfigError
from clearwell.plugins.spec import load_yaml
from clearwell.registry import destinations


@click.command()
@click.argument("to", metavar="KIND.NAME")
@click.argument("file", type=click.Path(path_type=Path), required=False)
@click.option("--set", "settings_", multiple=True, metavar="KEY=VALUE", help="Without FILE: an option, as in YAML.")
@dry_run_option
@home_option
@json_option
def add(to: str, file: Path | None, settings_: Sequence[str], dry_run: bool, as_json: bool) -> None:
    """Add a store, or change it.

    The YAML FILE holds the options of its kind, as --set does. The store is reached before it is kept. Doing it again
    changes nothing; with other options the old ones are replaced, and deliverers take them with their next start.
    What is secret is a reference: ${env:NAME} or ${file:/path}, which each deliverer must be able to follow.

    \b
      clearwell destination add postgres.warehouse warehouse.yaml
      clearwell destination add postgres.warehouse --set 'url=postgresql://me:${env:CLEARWELL_SECRET_DB}@db.example.com/shop'
      clearwell destination add mongo.orders orders.yaml --dry-run
    """
    spec = _wanted(to, file, settings_)
    with open_registry() as registry:
        done = destination_registration.add(settings.load(), registry, spec, dry_run=dry_run)
    shown = {"to": done.to, "outcome": done.outcome, "dry_run": dry_run, "differences": done.differences}
    emit(as_json, shown | {"config": spec.config}, lambda: "\n".join(_told(done, dry_run)))


@click.command()
@click.argument("to", metavar="KIND.NAME|KIND")
@home_option
@json_option
def check(to: str, as_json: bool) -> None:
    """Prove that a store can be reached, and written to.

    Each route of a contract that leads to it is opened as its deliverer opens it: its table is made, or widened, where
    that is due. Where no route leads to it, it is asked a question that changes nothing.

    \b
      clearwell destination check postgres.warehouse
      clearwell destination check mongo
    """
    where = settings.load()
    streams = destination_registration.check(where, _known(to), newest_contracts(where.schemas))
    what = f"for {', '.join(streams)}" if streams else "; no route leads to it"
    emit(as_json, {"to": to, "streams": streams, "ok": True}, lambda: f"{to} can be reached {what}.".replace(" ;", ";"))


@click.command()
@click.argument("to", metavar="KIND.NAME")
@dry_run_option
@home_option
@json_option
def remove(to: str, dry_run: bool, as_json: bool) -> None:
    """Forget a store that no route leads to.

    What is in it stays. Added again, and routed to again, it goes on from the place that it was at.

    \b
      clearwell destination remove postgres.warehouse --dry-run
    """
    kind, name = destination_registration.split(to)
    users = destination_registration.users_of(newest_contracts(settings.schemas_folder()), to)
    with open_session() as session:
        destinations.get(session, kind, name)
        if users:
            files = ", ".join(contract.location.file for contract, _ in users)
            raise ConfigError(f"{to} is in use: take its route out of {files} first.")
        if not dry_run:
            destinations.remove(session, kind, name)
    will = "would be" if dry_run else "is"
    emit(as_json, {"to": to, "removed": not dry_run, "dry_run": dry_run}, lambda: f"{to} {will} removed.")


def _wanted(to: str, file: Path | None, options: Sequence[str]) -> StoreSpec:
    if file is not None:
        if options:
            raise ConfigError("Give a FILE, or --set: not both.")
        return destination_registration.make_store(to, load_yaml(file), str(file), file.absolute().parent)
    return destination_registration.make_store(to, config_of(options), "the command line", Path.cwd())


def _known(to: str) -> StoreSpec:
    """A registered store, or the platform's own of a kind."""
    if "." not in to:
        return StoreSpec(to, None, {})
    kind, name = destination_registration.split(to)
    with open_session() as session:
        return StoreSpec(kind, name, destinations.get(session, kind, name).config)


def _told(done: Addition, dry_run: bool) -> Iterator[str]:
    yield f"{done.to} {'would be' if dry_run and done.outcome != 'unchanged' else 'is'} {done.outcome}."
    yield from (f"  {line}" for line in done.differences)
    if done.outcome == "added" and not dry_run:
        yield f"Write `to: {done.to}` in the routes of a contract, then `clearwell up`."
    if done.outcome == "changed" and not dry_run:
        yield "Deliverers take it with their next start."
