"""`clearwell stream list | show`: what streams there are, what they hold, and who reads them."""

from __future__ import annotations

import click
from rich.console import Group, RenderableType

from clearwell.cli.output import common_options, emit, table
from clearwell.cli.platform import open_platform
from clearwell.control.streams import StreamDetails, list_streams, show_stream


@click.command("list")
@common_options
def list_command(as_json: bool) -> None:
    """Show all streams, and how each is doing.

    A stream is there as soon as a contract of it is published, or a connector brings events for it. Its state is the
    worst of its jobs and connectors.
    """
    with open_platform() as platform:
        streams = list_streams(platform)
    rows = [
        (
            row.name,
            row.state,
            ", ".join(f"v{version}" for version in row.versions),
            row.owner,
            "" if row.partitions is None else row.partitions,
            row.jobs,
            row.connectors,
        )
        for row in streams
    ]
    heads = ("name", "state", "versions", "owner", "partitions", "jobs", "connectors")
    nothing = "There is no stream yet: publish a contract, or register a connector."
    emit(as_json, {"streams": streams}, lambda: table(heads, rows) if rows else nothing)


@click.command()
@click.argument("stream")
@common_options
def show(stream: str, as_json: bool) -> None:
    """Show what a stream's topics hold, and how far their readers are.

    Cleaners, archives, the copier of dead letters and models read them, each as a consumer group. How far a
    destination is stands in `clearwell destination list`.
    """
    with open_platform() as platform:
        details = show_stream(platform, stream)
    emit(as_json, details, lambda: _sheet(details))


def _sheet(details: StreamDetails) -> RenderableType:
    versions = ", ".join(f"v{version}" for version in details.versions) or "without a published contract"
    topics = [(row.topic, row.partitions, row.offsets) for row in details.topics]
    readers = [(row.group, row.topic, row.read, row.lag) for row in details.readers]
    return Group(
        f"{details.name} {versions}, of {details.owner}: {details.state}.",
        "",
        table(("topic", "partitions", "offsets"), topics) if topics else "It has no topics yet.",
        "",
        table(("reader", "topic", "read", "lag"), readers) if readers else "Nobody reads it.",
    )
