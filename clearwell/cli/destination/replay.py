"""`clearwell destination replay`: deliver again what a destination has had."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime

import click

from clearwell import settings
from clearwell.accounts.replay import Replay, carry_out, plan
from clearwell.cli.connector.open import open_session
from clearwell.cli.destination.life import chosen
from clearwell.cli.output import counted, dry_run_option, emit, home_option, json_option, progress
from clearwell.contract.model import Contract
from clearwell.control.times import parse_time
from clearwell.errors import ConfigError
from clearwell.kafka import admin
from clearwell.kafka.names import clean_topic
from clearwell.registry import audit, deliveries
from clearwell.registry.deliveries import Delivery

_OFFSETS = re.compile(r"[0-9]{1,9}:[0-9]{1,18}(,[0-9]{1,9}:[0-9]{1,18})*\Z")


@click.command()
@click.argument("to", metavar="DESTINATION")
@click.option("--stream", help="Whose events; needed where several streams are delivered to it.")
@click.option("--from", "since", required=True, metavar="WHEN", help="earliest, a time, 2h or 7d, or 0:1200,1:900.")
@click.option("--yes", is_flag=True, help="Do it where events are given away, and go out a second time.")
@dry_run_option
@home_option
@json_option
def replay(to: str, stream: str | None, since: str, yes: bool, dry_run: bool, as_json: bool) -> None:
    """Deliver again from an earlier place, while paused.

    A time, or an age such as 2h, means when events were cleaned. Offsets are those of the clean topic, by partition.

    In a store, what is there already does not change: a row is replaced only by a newer one, an event is kept once.
    What is missing, or was spoilt, comes back once it was deleted. The windows and the history of a feature view hold
    each event for good, so that only its newest values come back. A webhook or a topic gets each event again, with the
    id that it had: that needs --yes.

    \b
      clearwell destination pause postgres --stream flights
      clearwell destination replay postgres --stream flights --from earliest --dry-run
      clearwell destination replay postgres --stream flights --from 2026-11-01T00:00:00Z
      clearwell destination resume postgres --stream flights
      clearwell destination replay http.partner --from 2h --yes
    """
    where = settings.load()
    place = _place(since)
    contract, delivery = _one(to, stream)
    wanted = _offsets(where.kafka, clean_topic(delivery.stream, delivery.version), place)
    route = contract.route(to)
    with open_session() as session:
        if not dry_run and not deliveries.is_paused(session, delivery.group):
            command = f"clearwell destination pause {to} --stream {delivery.stream}"
            raise ConfigError(f"{delivery.stream} to {to} is not paused: `{command}`.")
    with progress() as report:
        planned = plan(where, contract, route, wanted, report)
    if not dry_run:
        _require_yes(planned, to, yes)
        carry_out(where, contract, route, planned)
        with open_session() as session:
            detail = {"events": planned.events, "to": _texts(planned.new)}
            audit.record(session, "replay", f"delivery/{delivery.stream}.v{delivery.version}.{to}", detail)
    shown = {"to": to, "stream": delivery.stream, "dry_run": dry_run, "events": planned.events}
    places = {"sent_again": planned.sends_again, "old": _texts(planned.old), "new": _texts(planned.new)}
    emit(as_json, shown | places, lambda: _told(planned, to, delivery.stream, dry_run))


def _place(since: str) -> dict[int, int] | datetime | None:
    """What --from means: offsets by partition, a time, or the oldest record (None)."""
    if since == "earliest":
        return None
    if _OFFSETS.match(since):
        pairs = (pair.split(":") for pair in since.split(","))
        return {int(partition): int(offset) for partition, offset in pairs}
    return parse_time(since, "--from", alternative="`earliest`, nor offsets such as 0:1200,1:900")


def _one(to: str, stream: str | None) -> tuple[Contract, Delivery]:
    found = chosen(to, stream)
    if len(found) > 1:
        streams = ", ".join(delivery.stream for _, delivery in found)
        raise ConfigError(f"Several streams are delivered to {to}: name one by --stream, of {streams}.")
    return found[0]


def _require_yes(planned: Replay, to: str, yes: bool) -> None:
    if planned.sends_again and planned.starts and not yes:
        raise ConfigError(
            f"{counted(planned.events, 'event')} would be sent to {to} a second time, with the same ids: whoever "
            "receives them must drop what they have. Nothing was changed: do it with --yes."
        )


def _offsets(bootstrap: str, topic: str, place: dict[int, int] | datetime | None) -> Mapping[int, int]:
    begins = admin.begin_offsets(bootstrap, topic)
    if place is None:
        return begins
    if isinstance(place, datetime):
        later = admin.offsets_at(bootstrap, topic, int(place.timestamp() * 1000))
        return {partition: offset for partition, offset in later.items() if offset is not None}
    unknown = place.keys() - begins.keys()
    if unknown:
        raise ConfigError(f"{topic} has no partition {min(unknown)}: there are 0 to {len(begins) - 1}.")
    return {partition: max(offset, begins[partition]) for partition, offset in place.items()}


def _texts(offsets: Mapping[int, int]) -> dict[str, int]:
    return {str(partition): offset for partition, offset in offsets.items()}


def _told(done: Replay, to: str, stream: str, dry_run: bool) -> str:
    if done.old == done.new:
        return f"{stream} to {to} is not beyond that place: there is nothing to deliver again."
    will, verb = "would be" if dry_run else "are to be", "sent" if done.sends_again else "delivered"
    lines = [f"{done.events:,} events of {stream} {will} {verb} to {to} again:"]
    lines += [
        f"  partition {partition}: from offset {offset:,}, it is at {done.old[partition]:,}"
        for partition, offset in done.new.items()
        if offset != done.old[partition]
    ]
    if dry_run:
        return "\n".join([*lines, *(["Whoever receives them gets them a second time."] if done.sends_again else [])])
    return "\n".join([*lines, f"`clearwell destination resume {to} --stream {stream}` begins."])
