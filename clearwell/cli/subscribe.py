"""`clearwell subscribe`."""

from __future__ import annotations

import click
from rich.console import RenderableType

from clearwell.cli.output import emit, home_option, json_option, table
from clearwell.registry.subscriptions import Subscription
from clearwell.subscriptions.begin import Start
from clearwell.subscriptions.registered import Registered, register, registered


@click.command()
@click.argument("name", required=False)
@click.option("--stream", help="The stream to follow.")
@click.option("--version", type=click.IntRange(1), help="Of its contract; the highest by default.")
@click.option("--fields", default="", help="Clean fields, with commas between; all of them by default.")
@click.option("--purpose", default="", help="What the data is for; needed for protected fields.")
@click.option(
    "--from", "start", type=click.Choice(["earliest", "latest"]), help="Where to begin; the earliest event by default."
)
@click.option("--replace", is_flag=True, help="Change the subscription of this name.")
@click.option("--dry-run", is_flag=True, help="Only check, store nothing.")
@click.option("--list", "listing", is_flag=True, help="Show the subscriptions there are.")
@home_option
@json_option
def subscribe(
    name: str | None,
    stream: str | None,
    version: int | None,
    fields: str,
    purpose: str,
    start: Start | None,
    replace: bool,
    dry_run: bool,
    listing: bool,
    as_json: bool,
) -> None:
    """Give the model NAME the clean events of a stream, as a consumer group of its own.

    Protected fields come as protected values: a pseudonym joins, an encrypted value stays sealed.

    \b
      clearwell subscribe delay-model --stream flights --fields origin,dest,dep_delay,distance
      clearwell subscribe fleet-model --stream flights --fields aircraft,speed --purpose "predict maintenance"
      clearwell subscribe --list

    \b
    Then, in Python:
      for batch in clearwell.subscription("delay-model"):
          learn(batch.dicts())        # or batch.arrow()
          batch.commit()
    """
    if listing:
        found = registered()
        emit(as_json, {"subscriptions": found}, lambda: _table(found))
        return
    if name is None or stream is None:
        raise click.UsageError("Say which: clearwell subscribe NAME --stream STREAM.")
    names = [one.strip() for one in fields.split(",") if one.strip()]
    done = register(name, stream, version, names, purpose, start, replace=replace, dry_run=dry_run)
    emit(as_json, done, lambda: _sentence(done, dry_run))


def _sentence(done: Registered, dry_run: bool) -> str:
    verb = {"made": "follows", "unchanged": "already follows", "replaced": "now follows"}[done.outcome]
    verb = f"would follow ({done.outcome})" if dry_run else verb
    lines = [f"{done.name} {verb} {done.topic} with {', '.join(done.fields)}."]
    if done.protected:
        lines.append(f"Protected values: {', '.join(done.protected)}.")
    if done.begins:
        places = ", ".join(f"partition {partition} at {offset:,}" for partition, offset in done.begins.items())
        lines.append(f"It begins with {places}.")
    if not dry_run:
        lines.append(f'In Python: for batch in clearwell.subscription("{done.name}"): …; batch.commit()')
    return "\n".join(lines)


def _table(found: list[Subscription]) -> RenderableType:
    if not found:
        return "There are no subscriptions yet: clearwell subscribe NAME --stream STREAM."
    rows = [(one.name, f"{one.stream} v{one.version}", ", ".join(one.fields), one.purpose, _day(one)) for one in found]
    return table(("name", "stream", "fields", "purpose", "since"), rows)


def _day(one: Subscription) -> str:
    return f"{one.created_at:%Y-%m-%d %H:%M}" if one.created_at else ""
