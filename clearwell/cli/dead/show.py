"""`clearwell dead show`: one dead letter, its event's shape, and what became of it so far."""

from __future__ import annotations

from collections.abc import Sequence

import click
import msgspec
from rich.console import Group, RenderableType

from clearwell import settings
from clearwell.cli.dead.look import as_object
from clearwell.cli.output import emit, home_option, json_option, table
from clearwell.cli.results import format_time
from clearwell.cli.session import open_registry
from clearwell.dead_letters.preview import DROPPED, KEPT, Outcome
from clearwell.dead_letters.repair import Mender, Opened
from clearwell.dead_letters.shape import Shape, shape_of
from clearwell.errors import ClearwellError
from clearwell.privacy.open import open_keyring
from clearwell.registry import Registry, audit, dead_letters, dead_replays
from clearwell.registry.dead_letters import Letter
from clearwell.registry.dead_replays import Replay


@click.command()
@click.argument("letter", metavar="ID", type=int)
@click.option("--reveal", is_flag=True, help="Show the event itself, protected fields included; this is audited.")
@home_option
@json_option
def show(letter: int, reveal: bool, as_json: bool) -> None:
    """Show one dead letter.

    Where it is from, why it is dead, its replays, and the shape of its event: kinds and lengths of the declared fields.
    "now" says what would become of it if it were replayed now, by the newest contract.

    \b
      clearwell dead show 17
      clearwell dead show 17 --reveal
    """
    with open_registry() as registry:
        with registry.session() as session:
            found = dead_letters.get(session, letter)
            replays = dead_replays.history(session, letter)
        opened, trouble = _opened(registry, found)
        if reveal and opened is not None:
            with registry.session() as session:  # before anybody sees it
                audit.record(session, "reveal", f"dead/{found.stream}/{letter}")
    shape = None if opened is None else shape_of(opened.event, opened.judge.fields)
    event = opened.event.decode(errors="backslashreplace") if reveal and opened is not None else None
    value = as_object(found) | {
        "replays": replays,
        "shape": shape,
        "now": None if opened is None else {**msgspec.to_builtins(opened.outcome), "clean": None},
        "trouble": trouble,
        **({"event": event} if reveal else {}),
    }
    emit(as_json, value, lambda: _sheet(found, replays, shape, opened, trouble, event))


def said(outcome: Outcome) -> str:
    """A verdict in words."""
    if outcome.verdict == KEPT:
        return "kept"
    if outcome.verdict == DROPPED:
        return f"dropped by {outcome.step}"
    return f"rejected by {outcome.step}: {outcome.reason}"


def _opened(registry: Registry, letter: Letter) -> tuple[Opened | None, str | None]:
    """The event, or why it can't be looked into: the rest is shown all the same."""
    if not letter.has_event:
        return None, "it was dropped" if letter.ours else "the record is no dead letter of ours; nothing of it is kept"
    where = settings.load()
    try:
        return Mender(where, registry, open_keyring(where)).open(letter), None
    except ClearwellError as error:
        return None, str(error)


def _sheet(
    letter: Letter,
    replays: Sequence[Replay],
    shape: Shape | None,
    opened: Opened | None,
    trouble: str | None,
    event: str | None,
) -> RenderableType:
    parts: list[RenderableType] = ["\n".join(f"{name:<12}{value}" for name, value in _facts(letter))]
    if opened is not None:
        parts.append(f"{'now':<12}{said(opened.outcome)} (v{opened.judge.version})")
    if replays:
        heads = ("replayed at", "to topic", "partition", "offset", "came back at")
        rows = [
            (*(format_time(one.started_at), one.topic_id, str(one.partition)),
             *("broken off" if one.offset is None and one.sent_at is None else str(one.offset or ""),
               format_time(one.refused_at) or ""))
            for one in replays
        ]  # fmt: skip
        parts += ["", table(heads, rows)]
    parts += ["", _form(shape)] if shape is not None else [f"{'event':<12}can't be shown: {trouble}"]
    if event is not None:
        parts += ["", event]
    return Group(*parts)


def _facts(letter: Letter) -> list[tuple[str, object]]:
    raw = f"partition {letter.raw_partition}, offset {letter.raw_offset:,} of topic {letter.raw_topic}"
    facts: list[tuple[str, object]] = [("letter", letter.id), ("stream", f"{letter.stream} v{letter.version}")]
    facts += [("refused by", letter.destination)] if letter.destination else []
    facts += [
        ("reason", letter.reason),
        ("step", letter.step + (f", field {letter.field}" if letter.field else "")),
        ("state", f"{letter.state}{' (with a fixed event)' if letter.is_fixed else ''}"),
        ("tries", f"{letter.attempts} of {letter.most_attempts} replays came back"),
        ("rejected at", format_time(letter.rejected_at)),
        ("raw", raw if letter.ours else "unknown"),
    ]
    if letter.clean_topic:
        place = f"partition {letter.clean_partition}, offset {letter.clean_offset:,} of topic {letter.clean_topic}"
        facts.append(("clean", place))
    dead = f"partition {letter.dead_partition}, offset {letter.dead_offset:,} of topic {letter.dead_topic}"
    return [*facts, ("dead", dead)]


def _form(shape: Shape) -> RenderableType:
    head = f"The event is {shape.form}, {shape.size:,} bytes"
    head += f", with {shape.undeclared} fields that the contract does not declare." if shape.undeclared else "."
    if not shape.parts:
        return head
    return Group(head, table(("field", "value", "protection"), [(p.field, p.found, p.protection) for p in shape.parts]))
