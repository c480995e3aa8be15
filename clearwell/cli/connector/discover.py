"""`clearwell connector check` and `discover`: can a source be read, what does it offer, and a contract for it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import msgspec

from clearwell import settings
from clearwell.cli.output import change_options, common_options, emit
from clearwell.cli.platform import actor, open_platform
from clearwell.control.connector_registration import probe, reveal_samples
from clearwell.control.connector_spec import ConnectorSpec, load_spec
from clearwell.control.connectors import registered_spec
from clearwell.control.contract_drafts import ContractDraft, apply, plan_draft
from clearwell.source import DiscoveredStream
from clearwell.terminal import printable


@click.command()
@click.argument("target", metavar="FILE|NAME")
@common_options
def check(target: str, as_json: bool) -> None:
    """Prove that a source can be read.

    As a YAML FILE describes it, or as the connector NAME is registered.

    \b
      clearwell connector check flights.yaml
    """
    spec = _spec(target)
    probe(spec, discover=False)
    shown = {"name": spec.name, "source": spec.source, "stream": spec.stream, "ok": True}
    emit(as_json, shown, lambda: f'Connector "{spec.name}" ({spec.source}) is OK: its source can be read.')


@click.command()
@click.argument("target", metavar="FILE|NAME")
@click.option(
    "--samples",
    is_flag=True,
    help="Show sample rows too, which may be personal; of a NAME, audited.",
)
@click.option("--write-contract", is_flag=True, help="Draft <schemas>/<stream>/v1.yaml from the samples.")
@click.option("--into", type=click.Path(path_type=Path), help="The schemas folder; default: CLEARWELL_SCHEMAS.")
@click.option("--from", "offered", metavar="STREAM", help="Draft from this one, where the source offers several.")
@click.option("--owner", default="unknown", help="Who answers for the stream, as the draft says it.")
@change_options
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
    if not write_contract:
        streams = _offers(target, samples)
        offers = {"streams": [_stream(stream, samples) for stream in streams]}
        emit(as_json, offers, lambda: "\n".join(_render_streams(streams, samples)))
        return
    schemas = settings.schemas_folder() if into is None else into
    spec = _spec(target)
    plan = plan_draft(schemas, spec.stream, probe(spec), offered, owner)
    if not dry_run:
        apply(plan)
    shown = {
        "file": str(plan.file),
        "dry_run": dry_run,
        "contract": plan.draft.text,
        "personal": plan.draft.personal,
        "undeclared": plan.draft.undeclared,
        "to_choose": plan.draft.missing,
    }
    emit(as_json, shown, lambda: plan.draft.text.rstrip() if dry_run else "\n".join(_render_draft(plan)))


def _offers(target: str, samples: bool) -> Sequence[DiscoveredStream]:
    """Sample rows of a registered connector are handed out by the control plane, which audits it."""
    if samples and not _is_file(target):
        with open_platform() as platform:
            return reveal_samples(platform, actor(), target)
    return probe(_spec(target))


def _spec(target: str) -> ConnectorSpec:
    """The specification in a file, which needs no stack, or of a registered connector."""
    if _is_file(target):
        return load_spec(Path(target))
    with open_platform() as platform:
        return registered_spec(platform, target)


def _is_file(target: str) -> bool:
    """A target that ends in .yaml or .yml, holds a slash or is there as a file means a file."""
    path = Path(target)
    return path.suffix in (".yaml", ".yml") or "/" in target or path.is_file()


def _stream(stream: DiscoveredStream, samples: bool) -> dict[str, Any]:
    rows = {"samples": msgspec.to_builtins(stream.sample, enc_hook=str, str_keys=True)} if samples else {}
    return {"name": stream.name, "fields": dict(stream.fields), "sampled": len(stream.sample), **rows}


def _render_streams(streams: Sequence[DiscoveredStream], samples: bool) -> Iterator[str]:
    if not streams:
        yield "The source can't say what it offers before it was sent something."
    for stream in streams:
        yield printable(f"{stream.name}: {len(stream.fields)} fields, {len(stream.sample)} sample rows")
        width = max(map(len, stream.fields), default=0)
        yield from (printable(f"  {name:<{width}}  {kind}") for name, kind in stream.fields.items())
        if samples:
            yield from (printable(f"  {msgspec.json.encode(row, enc_hook=str).decode()}") for row in stream.sample)


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
