"""`clearwell destination replay`: deliver again what a destination has had."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

import click

from clearwell import settings
from clearwell.accounts.replay import Replay
from clearwell.accounts.replay import replay as set_back
from clearwell.cli.connector_open import open_session
from clearwell.cli.destination_life import chosen
from clearwell.cli.output import dry_run_option, emit, home_option, json_option
from clearwell.errors import ConfigError
from clearwell.kafka import admin
from clearwell.kafka.names import clean_topic
from clearwell.registry import audit, deliveries


@click.command()
@click.argument("to", metavar="DESTINATION")
@click.option("--stream", required=True, help="Whose events.")
@click.option(
    "--from", "since", required=True, metavar="WHEN", help="earliest, an ISO time, or offsets as 0:1200,1:900."
)
@dry_run_option
@home_option
@json_option
def replay(to: str, stream: str, since: str, dry_run: bool, as_json: bool) -> None:
    """Deliver again from an earlier place, while paused.

    A row is replaced only by a newer one, so what is there already does not change; what is missing, or was spoilt,
    comes back once it was deleted. A time means when events were cleaned. Offsets are those of the clean topic.

    \b
      clearwell destination pause postgres --stream flights
      clearwell destination replay postgres --stream flights --from earliest --dry-run
      clearwell destination replay postgres --stream flights --from 2026-11-01T00:00:00Z
      clearwell destination resume postgres --stream flights
    """
    where = settings.load()
    ((contract, delivery),) = chosen(to, stream)
    wanted = _offsets(where.kafka, clean_topic(delivery.stream, delivery.version), since)
    route = next(route for route in contract.routes if route.to == to)
    with open_session() as session:
        if not dry_run and not deliveries.is_paused(session, delivery.group):
            raise ConfigError(f"{stream} to {to} is not paused: `clearwell destination pause {to} --stream {stream}`.")
    done = set_back(where, contract, route, wanted, dry_run=dry_run)
    if not dry_run:
        with open_session() as session:
            detail = {"events": done.events, "to": {str(at): offset for at, offset in done.new.items()}}
            audit.record(session, "replay", f"delivery/{delivery.stream}.v{delivery.version}.{to}", detail)
    shown = {"to": to, "stream": stream, "dry_run": dry_run, "events": done.events}
    places = {"old": _texts(done.old), "new": _texts(done.new)}
    emit(as_json, shown | places, lambda: _told(done, to, stream, dry_run))


def _offsets(bootstrap: str, topic: str, since: str) -> Mapping[int, int]:
    begins = admin.begin_offsets(bootstrap, topic)
    if since == "earliest":
        return begins
    if ":" in since and "-" not in since:
        try:
            pairs = (part.split(":") for part in since.split(","))
            found = {int(partition): int(offset) for partition, offset in pairs}
        except ValueError:
            raise ConfigError("--from takes offsets as PARTITION:OFFSET,… such as 0:1200,1:900.") from None
        unknown = found.keys() - begins.keys()
        if unknown:
            raise ConfigError(f"{topic} has no partition {min(unknown)}: there are 0 to {len(begins) - 1}.")
        return {partition: max(offset, begins[partition]) for partition, offset in found.items()}
    try:
        time = datetime.fromisoformat(since)
    except ValueError:
        raise ConfigError("--from takes earliest, an ISO time such as 2026-11-01T00:00:00Z, or 0:1200,1:900.") from None
    at = int(time.replace(tzinfo=time.tzinfo or UTC).timestamp() * 1000)
    return {
        partition: offset for partition, offset in admin.offsets_at(bootstrap, topic, at).items() if offset is not None
    }


def _texts(offsets: Mapping[int, int]) -> dict[str, int]:
    return {str(partition): offset for partition, offset in offsets.items()}


def _told(done: Replay, to: str, stream: str, dry_run: bool) -> str:
    if done.old == done.new:
        return f"{stream} to {to} is not beyond that place: there is nothing to deliver again."
    lines = [f"{done.events:,} events of {stream} {'would be' if dry_run else 'are to be'} delivered to {to} again:"]
    lines += [
        f"  partition {partition}: from offset {offset:,}, it is at {done.old[partition]:,}"
        for partition, offset in done.new.items()
        if offset != done.old[partition]
    ]
    return "\n".join([*lines, *([] if dry_run else [f"`clearwell destination resume {to} --stream {stream}` begins."])])
