"""`clearwell dead-letter show`: one dead letter, its event's shape, and what became of it so far."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click
from rich.console import Group, RenderableType

from clearwell.cli.dead_letters.views import letter_to_json
from clearwell.cli.output import common_options, emit, table
from clearwell.cli.platform import actor, open_platform
from clearwell.cli.results import format_time
from clearwell.control.dead_letters import (
    DeadLetterDetails,
    DeadLetterReplay,
    RegisteredDeadLetter,
    reveal_dead_letter,
    show_dead_letter,
)
from clearwell.dead_letters.preview import DROPPED, KEPT, Preview
from clearwell.dead_letters.shape import EventShape


@click.command()
@click.argument("id_", metavar="ID", type=int)
@click.option("--reveal", is_flag=True, help="Show the event itself, protected fields included; this is audited.")
@click.option("--why", default="", help="With --reveal: the reason, for the audit.")
@common_options
def show(id_: int, reveal: bool, why: str, as_json: bool) -> None:
    """Show one dead letter.

    Where it is from, why it is dead, its replays, and the shape of its event: kinds and lengths of the declared fields.
    "now" says what would become of it if it were replayed now, by the newest contract.

    \b
      clearwell dead-letter show 17
      clearwell dead-letter show 17 --reveal --why "support case 4711"
    """
    event = None
    with open_platform() as platform:
        details = show_dead_letter(platform, id_)
        if reveal and details.shape is not None:
            event = reveal_dead_letter(platform, actor(why), id_).decode(errors="backslashreplace")
    value: dict[str, Any] = letter_to_json(details.letter) | {
        "replays": details.replays,
        "shape": details.shape,
        "now": details.preview,
        "trouble": details.trouble,
        **({"event": event} if reveal else {}),
    }
    emit(as_json, value, lambda: _render(details, event))


def describe_outcome(preview: Preview) -> str:
    """An outcome in words."""
    if preview.outcome == KEPT:
        return "kept"
    if preview.outcome == DROPPED:
        return f"dropped by {preview.step}"
    return f"rejected by {preview.step}: {preview.reason}"


def _render(details: DeadLetterDetails, event: str | None) -> RenderableType:
    parts: list[RenderableType] = ["\n".join(f"{name:<12}{value}" for name, value in _facts(details.letter))]
    if details.preview is not None:
        parts.append(f"{'now':<12}{describe_outcome(details.preview)} (v{details.version})")
    if details.replays:
        parts += ["", _render_replays(details.replays)]
    if details.shape is not None:
        parts += ["", _render_shape(details.shape)]
    else:
        parts.append(f"{'event':<12}can't be shown: {details.trouble}")
    if event is not None:
        parts += ["", event]
    return Group(*parts)


def _render_replays(replays: Sequence[DeadLetterReplay]) -> RenderableType:
    heads = ("replayed at", "to topic", "partition", "offset", "came back at")
    rows = [
        (*(format_time(replay.started_at), replay.topic_id, str(replay.partition)),
         *("broken off" if replay.offset is None and replay.sent_at is None else str(replay.offset or ""),
           format_time(replay.refused_at) or ""))
        for replay in replays
    ]  # fmt: skip
    return table(heads, rows)


def _facts(letter: RegisteredDeadLetter) -> list[tuple[str, object]]:
    facts: list[tuple[str, object]] = [("dead letter", letter.id), ("stream", f"{letter.stream} v{letter.version}")]
    facts += [("refused by", letter.destination)] if letter.destination else []
    facts += [("sent by", letter.connector)] if letter.connector else []
    partition = letter.raw_partition
    return [
        *facts,
        ("reason", letter.reason),
        ("step", letter.step + (f", field {letter.field}" if letter.field else "")),
        ("state", f"{letter.state}{' (with a fixed event)' if letter.is_fixed else ''}"),
        ("attempts", f"{letter.attempts} of {letter.most_attempts} replays came back"),
        ("rejected at", format_time(letter.rejected_at)),
        ("raw", _place(partition, letter.raw_offset, letter.origin_topic_id) if letter.ours else "unknown"),
        *([("clean", _place(partition, letter.clean_offset, letter.clean_topic_id))] if letter.clean_topic_id else []),
        ("dead", _place(partition, letter.dead_offset, letter.dead_topic_id)),
    ]


def _place(partition: int, offset: int | None, topic_id: str | None) -> str:
    return f"partition {partition}, offset {offset:,} of topic {topic_id}"


def _render_shape(shape: EventShape) -> RenderableType:
    head = f"The event is {shape.form}, {shape.size:,} bytes"
    head += f", with {shape.undeclared} fields that the contract does not declare." if shape.undeclared else "."
    if not shape.parts:
        return head
    rows = [(part.field, part.found, part.protection) for part in shape.parts]
    return Group(head, table(("field", "value", "protection"), rows))
