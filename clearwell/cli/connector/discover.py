"""`clearwell connector check` and `discover`: can a source be read, what does it offer, and a contract for it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import msgspec

from clearwell import settings
from clearwell.cli.connector.open import spec_of
from clearwell.cli.output import dry_run_option, emit, home_option, json_option
from clearwell.control.connector_registration import probe
from clearwell.control.contract_drafts import ContractDraft, apply, plan_draft
from clearwell.source import DiscoveredStream
from clearwell.terminal import printable


@click.command()
@click.argument("target", metavar="FILE|NAME")
@home_option
@json_option
def check(target: str, as_json: bool) -> None:
    """Prove that a source can be read.

    As a YAML FILE describes it, or as the connector NAME is registered.

    \b
      clearwell connector check flights.yaml
    """
    spec = spec_of(target)
    probe(spec, discover=False)
    shown = {"name": spec.name, "source": spec.source, "stream": spec.stream, "ok": True}
    emit(as_json, shown, lambda: f'Connector "{spec.name}" ({spec.source}) is right: its source can be read.')


@click.command()
@click.argument("target", metavar="FILE|NAME")
@click.option("--samples", is_flag=True, help="Show sample rows too: they may be personal.")
@click.option("--write-contract", is_flag=True, help="Draft <schemas>/<stream>/v1.yaml from the samples.")
@click.option("--into", type=click.Path(path_type=Path), help="The schemas folder; default: CLEARWELL_SCHEMAS.")
@click.option("--from", "offered", metavar="STREAM", help="Draft from this one, where the source offers several.")
@click.option("--owner", default="unknown", help="Who answers for the stream, as the draft says it.")
@dry_run_option
@home_option
@json_option
def discover(
    target: str,
    samples: bool,
    write_contract: bool,
    into: Path | None,
    offered: str | None,
    owner: str,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Show what a source offers; draft a contract.

    Streams, fields and types; with --write-contract the contract of the connector's stream is drafted. The draft
    holds types, null rates, likely roles of fields, and protects what looks personal; it passes `clearwell contract
    check` as it is. --dry-run prints it instead of writing it.

    \b
      clearwell connector discover flights.yaml
      clearwell connector discover orders.yaml --write-contract --dry-run
    """
    spec = spec_of(target)
    streams = probe(spec)
    if not write_contract:
        found = {"streams": [_stream(one, samples) for one in streams]}
        emit(as_json, found, lambda: "\n".join(_told(streams, samples)))
        return
    folder = settings.schemas_folder() if into is None else into
    plan = plan_draft(folder, spec.stream, streams, offered, owner)
    if not dry_run:
        apply(plan)
    draft = plan.draft
    shown = {
        "file": str(plan.file),
        "dry_run": dry_run,
        "contract": draft.text,
        "personal": draft.personal,
        "undeclared": draft.undeclared,
        "to_choose": draft.missing,
    }
    emit(as_json, shown, lambda: draft.text.rstrip() if dry_run else "\n".join(_render_draft(plan)))


def _stream(one: DiscoveredStream, samples: bool) -> dict[str, Any]:
    rows = {"samples": msgspec.to_builtins(one.sample, enc_hook=str, str_keys=True)} if samples else {}
    return {"name": one.name, "fields": dict(one.fields), "sampled": len(one.sample), **rows}


def _told(streams: Sequence[DiscoveredStream], samples: bool) -> Iterator[str]:
    if not streams:
        yield "The source can't say what it offers before it was sent something."
    for one in streams:
        yield printable(f"{one.name}: {len(one.fields)} fields, {len(one.sample)} sample rows")
        width = max(map(len, one.fields), default=0)
        yield from (printable(f"  {name:<{width}}  {kind}") for name, kind in one.fields.items())
        if samples:
            yield from (printable(f"  {msgspec.json.encode(row, enc_hook=str).decode()}") for row in one.sample)


def _render_draft(plan: ContractDraft) -> Iterator[str]:
    draft = plan.draft
    yield f"Wrote {plan.file}."
    if draft.missing:
        yield f"Choose {', '.join(draft.missing)}: no field of the samples is fit; until then every event is rejected."
    for name, why in draft.personal.items():
        yield f"  {name} {why}: protected."
    if draft.undeclared:
        yield f"  {draft.undeclared} fields can't be declared by their names and are dropped."
    yield f"Look it over, then `clearwell contract check {draft.stream}` and `clearwell connector register`."
