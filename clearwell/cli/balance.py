"""`clearwell balance`: do the accounts of a stream add up?"""

from __future__ import annotations

from typing import Any

import click
from rich.console import Group, RenderableType
from rich.text import Text

from clearwell import settings
from clearwell.accounts import Balance
from clearwell.accounts import balance as take_balance
from clearwell.cli.output import counted, emit, home_option, json_option, table
from clearwell.contract.load import find

COLUMNS = ("raw", "clean", "dropped", "dead", "expired", "missing", "doubled", "forged", "repeats", "waiting", "lost")
STORE_COLUMNS = (
    "name",
    "expected",
    "older",
    "delivered",
    "refused",
    "unrouted",
    "keys",
    "held",
    "waiting",
    "lost",
    "late",
)


@click.command()
@click.argument("stream")
@click.option("--version", type=int, default=None, help="Contract version; default: the highest.")
@home_option
@json_option
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
    where = settings.load()
    found = take_balance(where, find(where.schemas, stream, version))
    emit(as_json, as_object(found), lambda: _render(found))
    ctx.exit(0 if found.balanced else 1)


def as_object(found: Balance) -> dict[str, Any]:
    """The balance as one JSON object."""
    return {
        "stream": found.stream,
        "version": found.version,
        "balanced": found.balanced,
        "settled": found.settled,
        **{column: found.total(column) for column in COLUMNS},
        "reasons": found.reasons,
        "sources": [
            {"name": one.name, "state": one.state, "balanced": one.balanced, "read": one.counts.read,
             "accepted": one.counts.accepted, "refused": one.counts.refused, "at_source": one.counts.held,
             "passed_over": one.counts.passed_over,
             "difference": one.difference}
            for one in found.sources
        ],
        "partitions": found.partitions,
        "destinations": [
            {"name": one.name, "balanced": one.balanced, "expected": one.expected, "delivered": one.delivered,
             "refused": one.refused, "refused_without_letter": one.unknown,
             "unrouted": one.unrouted, "keys": one.keys, "held": one.held,
             "waiting": one.waiting, "older": one.older, "lost": one.lost, "late": one.late,
             "outlived": one.outlived}
            for one in found.destinations
        ],
        "unread": [{"name": name, "error": error} for name, error in found.unread],
    }  # fmt: skip


def _render(found: Balance) -> RenderableType:
    rows: list[list[object]] = [
        [str(one.partition), f"{one.first:,}–{one.next:,}", *(getattr(one, column) for column in COLUMNS), _mark(one)]
        for one in found.partitions
    ]
    rows.append(["all", "", *(found.total(column) for column in COLUMNS), ""])
    stores: list[list[object]] = [
        [*(getattr(one, column) for column in STORE_COLUMNS), _mark(one)] for one in found.destinations
    ]
    return Group(
        *_sources(found),
        table(["partition", "offsets", *COLUMNS, ""], rows),
        "",
        table(["destination", *STORE_COLUMNS[1:], ""], stores),
        "",
        table(["dead letters", "reason"], _reasons(found)) if found.reasons else "no dead letters",
        "",
        _verdict(found),
        *_losses(found),
        *_advice(found),
    )


def _sources(found: Balance) -> list[RenderableType]:
    if not found.sources:
        return []
    rows: list[list[object]] = []
    for one in found.sources:
        counts = one.counts
        figures = [counts.read, counts.accepted, counts.refused, counts.held, counts.passed_over]
        rows.append([one.name, one.state, *("" if figure is None else figure for figure in figures), _mark(one)])
    heads = ["source", "state", "read", "accepted", "refused", "at source", "passed over", ""]
    return [table(heads, rows), ""]


def _reasons(found: Balance) -> list[list[object]]:
    return [[count, reason] for reason, count in sorted(found.reasons.items(), key=lambda pair: -pair[1])]


def _mark(one: Any) -> str:
    return "ok" if one.balanced else "DOES NOT ADD UP"


def _verdict(found: Balance) -> Text:
    if not found.balanced:
        return Text(f"{found.stream} does not add up.", style="bold red")
    rest = "" if found.settled else " Some events are still on their way."
    if not found.cleaned and found.total("waiting"):
        rest = (
            f" No cleaner has read {found.stream} v{found.version} yet: `clearwell up` starts one a contract, and "
            "`clearwell status` shows it."
        )
    known = " + expired" if found.total("expired") else ""
    return Text(f"{found.stream} is balanced: raw = clean + dropped + dead{known}.{rest}", style="bold green")


def _losses(found: Balance) -> list[str]:
    """What nobody has read: told in any case, for no sum shows it."""
    lines = []
    if lost := found.total("lost"):
        lines.append(
            f"{counted(lost, 'raw event')} of {found.stream} were removed by retention before they were cleaned: they "
            "are lost. Keep the raw topic longer (retention.ms), or find out why its cleaner was late."
        )
    lines += [
        f"{counted(one.lost, 'clean event')} were removed by retention before {one.name} had them. Keep the clean "
        "topic longer, or find out why the deliverer was late."
        for one in found.destinations
        if one.lost
    ]
    lines += [
        f"{counted(one.late, 'event')} came too late for the windows of {one.name}: "
        f"`clearwell features show {one.name.partition('.')[2]}` says more."
        for one in found.destinations
        if one.late
    ]
    lines += [
        f"{one.name} holds {counted(one.outlived, 'row')} more, of events that Kafka lost after they were delivered."
        for one in found.destinations
        if one.outlived
    ]
    return lines


def _advice(found: Balance) -> list[str]:
    """What to do where a source or a destination has lost something."""
    unread = [
        f"{name} does not take v{found.version}, and its accounts can't be read. {why}" for name, why in found.unread
    ]
    return (
        unread
        + [f"{one.name}: {one.difference}" for one in found.sources if one.difference is not None]
        + [
            f"{one.name} holds {one.held:,} of {one.keys:,}: `clearwell destination replay {one.name} --stream "
            f"{found.stream} --from earliest` brings back what is missing."
            for one in found.destinations
            if not one.balanced and one.held is not None and one.held < one.keys
        ]
    )
