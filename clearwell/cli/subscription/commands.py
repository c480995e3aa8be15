"""`clearwell subscription`: what models read. `clearwell subscribe` is the short form of its `register`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import copy
from typing import Literal

import click
import msgspec

from clearwell.cli.group import Group
from clearwell.cli.output import change_options, common_options, emit, table
from clearwell.cli.platform import actor, open_platform, plan_and_apply
from clearwell.cli.results import render_facts
from clearwell.control import subscriptions
from clearwell.control.subscriptions import SubscriptionDetails, SubscriptionPlan


@click.group(cls=Group)
def subscription() -> None:
    """Give models the clean events of streams.

    \b
      clearwell subscription register delay-model --stream flights --from earliest
      clearwell subscription show delay-model
    """


@subscription.command("list")
@common_options
def list_command(as_json: bool) -> None:
    """Show what all models read."""
    with open_platform() as platform:
        listed = subscriptions.list_subscriptions(platform)
    rows = [
        (
            row.name,
            f"{row.stream} v{row.version}",
            ", ".join(row.fields),
            row.purpose,
            f"{row.created_at:%Y-%m-%d %H:%M}",
        )
        for row in listed
    ]
    nothing = "There are no subscriptions yet: clearwell subscribe NAME --stream STREAM."
    heads = ("name", "stream", "fields", "purpose", "since")
    emit(as_json, {"subscriptions": listed}, lambda: table(heads, rows) if rows else nothing)


@subscription.command()
@click.argument("name")
@common_options
def show(name: str, as_json: bool) -> None:
    """Show one subscription, and how far its model is."""
    with open_platform() as platform:
        details = subscriptions.show_subscription(platform, name)
    emit(as_json, details, lambda: _render_facts(details))


@subscription.command()
@click.argument("name", required=False)
@click.option("--stream", help="The stream to follow.")
@click.option("--version", type=click.IntRange(1), help="Of its contract; the highest by default.")
@click.option("--fields", default="", help="Clean fields, with commas between; all of them by default.")
@click.option("--purpose", default="", help="What the data is for; needed for protected fields.")
@click.option(
    "--from", "start", type=click.Choice(["earliest", "latest"]), help="Where to begin; the earliest event by default."
)
@click.option("--replace", is_flag=True, help="Change the subscription of this name.")
@click.option("--list", "listing", is_flag=True, hidden=True)
@change_options
@click.pass_context
def register(
    context: click.Context,
    name: str | None,
    stream: str | None,
    version: int | None,
    fields: str,
    purpose: str,
    start: Literal["earliest", "latest"] | None,
    replace: bool,
    listing: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Give the model NAME the clean events of a stream, as a consumer group of its own.

    Protected fields come as protected values: a pseudonym joins, an encrypted value stays sealed.

    \b
      clearwell subscribe delay-model --stream flights --fields origin,dest,dep_delay,distance
      clearwell subscribe fleet-model --stream flights --fields aircraft,speed --purpose "predict maintenance"
      clearwell subscription list

    \b
    Then, in Python:
      for batch in clearwell.subscription("delay-model"):
          learn(batch.dicts())        # or batch.arrow()
          batch.commit()
    """
    if listing:
        context.invoke(list_command, as_json=as_json)
        return
    if name is None or stream is None:
        raise click.UsageError("Say which: clearwell subscribe NAME --stream STREAM.")
    names = [field.strip() for field in fields.split(",") if field.strip()]
    with open_platform() as platform:
        plan = subscriptions.plan_subscription(platform, name, stream, version, names, purpose, start, replace=replace)
        begins = {} if dry_run else subscriptions.subscribe(platform, actor(), plan)
    outcome = {
        "name": name,
        "stream": stream,
        "version": plan.subscription.version,
        "topic": plan.topic,
        "fields": plan.subscription.fields,
        "protected": plan.protected,
        "purpose": purpose,
        "outcome": plan.outcome,
        "begins": begins,
        "dry_run": dry_run,
    }
    emit(as_json, outcome, lambda: "\n".join(_lines(plan, begins, dry_run)))


subscribe = copy(register)
subscribe.name = "subscribe"


@subscription.command()
@click.argument("name")
@change_options
def remove(name: str, dry_run: bool, as_json: bool) -> None:
    """Forget a subscription, and where its model is.

    Only while no model follows it. One that is registered under the name again begins anew.
    """
    plan = plan_and_apply(lambda platform: subscriptions.plan_removal(platform, name), subscriptions.remove, dry_run)
    will = "would be" if dry_run else "is"
    emit(
        as_json,
        {"name": name, "removed": not dry_run, "dry_run": dry_run},
        lambda: f'Subscription "{name}" {will} removed, with its position in {plan.stream}.',
    )


def _lines(plan: SubscriptionPlan, begins: Mapping[int, int], dry_run: bool) -> Iterator[str]:
    verb = {"made": "follows", "unchanged": "already follows", "replaced": "now follows"}[plan.outcome]
    verb = f"would follow ({plan.outcome})" if dry_run else verb
    name = plan.subscription.name
    yield f"{name} {verb} {plan.topic} with {', '.join(plan.subscription.fields)}."
    if plan.protected:
        yield f"Protected values: {', '.join(plan.protected)}."
    if begins:
        yield f"It begins with {', '.join(f'partition {at} at {offset:,}' for at, offset in begins.items())}."
    if not dry_run:
        yield f'In Python: for batch in clearwell.subscription("{name}"): …; batch.commit()'


def _render_facts(details: SubscriptionDetails) -> str:
    positions = {
        f"partition {at.partition}": f"next offset {at.next_offset or 0:,}, lag {at.lag:,}" for at in details.positions
    }
    facts = msgspec.structs.asdict(details) | {"fields": ", ".join(details.fields)}
    del facts["positions"]
    return render_facts(facts | positions)
