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
from clearwell.contract.draft import Draft, draft, stream_name
from clearwell.control.connector_registration import probe
from clearwell.errors import ConfigError, nearest
from clearwell.plugins.spec import ConnectorSpec
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
    made = drafted(spec, _chosen(streams, spec, offered), owner)
    path = (settings.schemas_folder() if into is None else into) / made.stream / "v1.yaml"
    if path.exists() or not dry_run:
        write(path, made.text, dry_run)
    shown = {
        "file": str(path),
        "dry_run": dry_run,
        "contract": made.text,
        "personal": made.personal,
        "undeclared": made.undeclared,
        "to_choose": made.missing,
    }
    emit(as_json, shown, lambda: made.text.rstrip() if dry_run else "\n".join(_written(path, made)))


def drafted(spec: ConnectorSpec, stream: DiscoveredStream, owner: str) -> Draft:
    """The contract of the specification's stream. Raises ConfigError when the source shows neither fields nor rows."""
    if not stream.fields and not stream.sample:
        raise ConfigError(f"{stream.name} has no events yet: there is nothing to draft a contract from.")
    rows = msgspec.to_builtins(stream.sample, enc_hook=str, str_keys=True)
    return draft(spec.stream, rows, stream.fields, owner)


def write(path: Path, text: str, dry_run: bool) -> None:
    """Write a new file and its folders. Raises ConfigError when it is there already, also in a dry run."""
    try:
        if dry_run or path.exists():
            raise FileExistsError
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x") as file:
            file.write(text)
    except FileExistsError:
        raise ConfigError(f"{path} is there already: remove it, or write elsewhere by --into.") from None
    except OSError as error:
        raise ConfigError(f"{path} can't be written: {error.strerror}.") from None


def _chosen(streams: Sequence[DiscoveredStream], spec: ConnectorSpec, offered: str | None) -> DiscoveredStream:
    """The stream to draft from: the only one, the one named, or the one called as the connector's stream."""
    names = [one.name for one in streams]
    if not streams:
        raise ConfigError("The source can't say what it offers before it was sent something: write the contract.")
    if offered is not None:
        for one in streams:
            if one.name == offered:
                return one
        raise ConfigError(f'The source offers no "{offered}".{nearest(offered, names) or " " + _offers(names)}')
    alike = [one for one in streams if stream_name(one.name) == spec.stream]
    if len(streams) > 1 and len(alike) != 1:
        raise ConfigError(f"{_offers(names)} Choose one by --from.")
    return streams[0] if len(streams) == 1 else alike[0]


def _offers(names: Sequence[str]) -> str:
    more = f" and {len(names) - 20} more" if len(names) > 20 else ""
    return printable(f"It offers {', '.join(names[:20])}{more}.")


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


def _written(path: Path, made: Draft) -> Iterator[str]:
    yield f"Wrote {path}."
    if made.missing:
        yield f"Choose {', '.join(made.missing)}: no field of the samples is fit; until then every event is rejected."
    for name, why in made.personal.items():
        yield f"  {name} {why}: protected."
    if made.undeclared:
        yield f"  {made.undeclared} fields can't be declared by their names and are dropped."
    yield f"Look it over, then `clearwell contract check {made.stream}` and `clearwell connector register`."
