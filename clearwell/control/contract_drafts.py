"""A first contract of a stream, drafted from what a source offers: planned as text, applied as a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from clearwell.contract.draft import Draft, draft, stream_name
from clearwell.errors import ConfigError, Hint, nearest
from clearwell.source import DiscoveredStream
from clearwell.terminal import printable


@dataclass(frozen=True, slots=True)
class ContractDraft:
    """A draft, and the file that it is for."""

    file: Path
    draft: Draft


def plan_draft(
    schemas: Path, stream: str, offered: Sequence[DiscoveredStream], name: str | None = None, owner: str = "unknown"
) -> ContractDraft:
    """Draft version 1 of `stream` from the stream that the source calls `name`.

    name: None for the only one, or the one called as the stream. owner: who answers for it. Raises ConfigError when the
    file is there already, or the source shows nothing to draft from.
    """
    selected = _select(stream, offered, name)
    if not selected.fields and not selected.sample:
        raise ConfigError(f"{selected.name} has no events yet: there is nothing to draft a contract from.")
    file = schemas / stream / "v1.yaml"
    if file.exists():
        raise _exists(file)
    rows = msgspec.to_builtins(selected.sample, enc_hook=str, str_keys=True)
    return ContractDraft(file, draft(stream, rows, selected.fields, owner))


def apply(plan: ContractDraft) -> None:
    """Write the file, and its folders. Raises ConfigError when it is there meanwhile, or can't be written."""
    try:
        plan.file.parent.mkdir(parents=True, exist_ok=True)
        with plan.file.open("x") as file:
            file.write(plan.draft.text)
    except FileExistsError:
        raise _exists(plan.file) from None
    except OSError as error:
        raise ConfigError(f"{plan.file} can't be written: {error.strerror}.") from None


def _exists(file: Path) -> ConfigError:
    return ConfigError(f"{file} is there already.", code="contract_exists", hint=Hint("contracts.draft_elsewhere"))


def _select(stream: str, offered: Sequence[DiscoveredStream], name: str | None) -> DiscoveredStream:
    names = [offer.name for offer in offered]
    if not offered:
        raise ConfigError("The source can't say what it offers before it was sent something: write the contract.")
    if name is not None:
        for candidate in offered:
            if candidate.name == name:
                return candidate
        raise ConfigError(f'The source offers no "{name}".{nearest(name, names) or " " + _offers(names)}')
    alike = [candidate for candidate in offered if stream_name(candidate.name) == stream]
    if len(offered) > 1 and len(alike) != 1:
        raise ConfigError(_offers(names), code="several_streams", hint=Hint("contracts.draft_from"))
    return offered[0] if len(offered) == 1 else alike[0]


def _offers(names: Sequence[str]) -> str:
    more = f" and {len(names) - 20} more" if len(names) > 20 else ""
    return printable(f"It offers {', '.join(names[:20])}{more}.")
