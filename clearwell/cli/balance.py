"""`clearwell balance`: do the accounts of a stream add up?"""

from __future__ import annotations

from typing import Any

import click
from rich.console import Group, RenderableType
from rich.text import Text

from clearwell.cli.output import common_options, counted, emit, table
from clearwell.cli.platform import open_platform
from clearwell.control.balance import TOTALS, StreamBalance, take_balance

DESTINATION_COLUMNS = (
    "name",
    "expected",
    "older",
    "delivered",
    "refused",
    "filtered",
    "keys",
    "row_count",
    "waiting",
    "lost",
    "late",
)


@click.command()
@click.argument("stream")
@click.option("--version", type=int, default=None, help="Contract version; default: the highest.")
@common_options
@click.pass_context
def balance(ctx: click.Context, stream: str, version: int | None, as_json: bool) -> None:
    """Prove that every raw event of STREAM ended in exactly one place.

    Reads all that the topics still hold. For each source: what it counted itself, and what was accepted and refused of
    it. For each partition: raw = clean + dropped + dead + expired, by offset. For each destination: expected + older =
    delivered + refused, and what it holds. Exit code 1 where it does not add up. What a destination refused waits in
    `clearwell dead-letter list --destination …`, and is delivered when it is replayed.

    Each topic is kept for a time of its own. Expired: a raw event is there, the record that tells what became of it is
    not any more. Older: it was delivered, and its clean record is gone. Lost: retention removed it before it was read.

    Late: it was delivered to a feature view, and came too late for its windows.

    Events that are still on their way are shown as waiting; they are in nobody's accounts yet.
    """
    with open_platform() as platform:
        result = take_balance(platform, stream, version)
    emit(as_json, result, lambda: _render(result))
    ctx.exit(0 if result.balanced else 1)


def _render(balance: StreamBalance) -> RenderableType:
    rows: list[list[object]] = [
        [
            str(partition.partition),
            f"{partition.first:,}–{partition.next:,}",
            *(getattr(partition, column) for column in TOTALS),
            _mark(partition),
        ]
        for partition in balance.partitions
    ]
    rows.append(["all", "", *(getattr(balance, column) for column in TOTALS), ""])
    destinations: list[list[object]] = [
        [*(getattr(destination, column) for column in DESTINATION_COLUMNS), _mark(destination)]
        for destination in balance.destinations
    ]
    return Group(
        *_sources(balance),
        table(["partition", "offsets", *TOTALS, ""], rows),
        "",
        table(["destination", *(column.replace("_", " ") for column in DESTINATION_COLUMNS[1:]), ""], destinations),
        "",
        table(["dead letters", "reason"], _reasons(balance)) if balance.reasons else "no dead letters",
        "",
        _outcome(balance),
        *_losses(balance),
        *_advice(balance),
    )


def _sources(balance: StreamBalance) -> list[RenderableType]:
    if not balance.sources:
        return []
    rows: list[list[object]] = []
    for source in balance.sources:
        figures = [source.read, source.accepted, source.refused, source.at_source, source.passed_over]
        rows.append(
            [source.name, source.state, *("" if figure is None else figure for figure in figures), _mark(source)]
        )
    heads = ["source", "state", "read", "accepted", "refused", "at source", "passed over", ""]
    return [table(heads, rows), ""]


def _reasons(balance: StreamBalance) -> list[list[object]]:
    return [[count, reason] for reason, count in sorted(balance.reasons.items(), key=lambda pair: -pair[1])]


def _mark(account: Any) -> str:
    return "OK" if account.balanced else "DOES NOT ADD UP"


def _outcome(balance: StreamBalance) -> Text:
    if not balance.balanced:
        return Text(f"{balance.stream} does not add up.", style="bold red")
    rest = "" if balance.settled else " Some events are still on their way."
    if not balance.cleaned and balance.waiting:
        rest = (
            f" No cleaner has read {balance.stream} v{balance.version} yet: `clearwell up` starts one a contract, and "
            "`clearwell status` shows it."
        )
    known = " + expired" if balance.expired else ""
    return Text(f"{balance.stream} is balanced: raw = clean + dropped + dead{known}.{rest}", style="bold green")


def _losses(balance: StreamBalance) -> list[str]:
    """What nobody has read: told in any case, for no sum shows it."""
    lines = []
    if balance.lost:
        lines.append(
            f"{counted(balance.lost, 'raw event')} of {balance.stream} were removed by retention before they were "
            "cleaned: they are lost. Keep the raw topic longer (retention.ms), or find out why its cleaner was late."
        )
    for account in balance.destinations:
        if account.lost:
            lines.append(
                f"{counted(account.lost, 'clean event')} were removed by retention before {account.name} had them. "
                "Keep the clean topic longer, or find out why the deliverer was late."
            )
    for account in balance.destinations:
        if account.late:
            lines.append(
                f"{counted(account.late, 'event')} came too late for the windows of {account.name}: "
                f"`clearwell feature show {account.name.partition('.')[2]}` says more."
            )
    for account in balance.destinations:
        if account.outlived:
            lines.append(
                f"{account.name} holds {counted(account.outlived, 'row')} more, of events that Kafka lost after they "
                "were delivered."
            )
    return lines


def _advice(balance: StreamBalance) -> list[str]:
    """What to do where a source or a destination has lost something."""
    lines = [
        f"{unread.name} does not take v{balance.version}, and its accounts can't be read. {unread.error}"
        for unread in balance.unread
    ]
    lines += [f"{source.name}: {source.difference}" for source in balance.sources if source.difference is not None]
    lines += [
        f"{account.name} holds {account.row_count:,} of {account.keys:,}: `clearwell destination replay {account.name} "
        f"--stream {balance.stream} --from earliest` brings back what is missing."
        for account in balance.destinations
        if not account.balanced and account.row_count is not None and account.row_count < account.keys
    ]
    return lines
