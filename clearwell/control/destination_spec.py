"""A destination's specification: its name, which begins with its kind, and the kind's own `config`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from clearwell.errors import ConfigError, Hint
from clearwell.plain_yaml import load_yaml
from clearwell.plugins.kinds import destination_class
from clearwell.plugins.spec import decode, stored_config

_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")


@dataclass(frozen=True, slots=True)
class DestinationSpec:
    """A destination as a person describes it; `config` holds references, never secrets (invariant 10).

    `name` is None for the platform's own of a kind, which is not registered.
    """

    kind: str
    name: str | None
    config: Mapping[str, Any]

    @property
    def destination(self) -> str:
        """As a contract's route names it."""
        return self.kind if self.name is None else f"{self.kind}.{self.name}"


class _Plain(msgspec.Struct):
    """Names of options that look like secrets and are none, beside the options themselves."""

    plain: list[str] = []


def split_name(destination: str) -> tuple[str, str]:
    """Kind and name of "kind.name". Raises ConfigError when it is none, or the kind can't be registered."""
    kind, _, name = destination.partition(".")
    if not destination_class(kind).registered:
        raise ConfigError(f"A destination {kind} is not registered: a route `to: {kind}.<name>` is all it needs.")
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"Write KIND.NAME, such as {kind}.warehouse; a name has small letters, digits and _, and begins with a "
            "letter."
        )
    return kind, name


def load_spec(destination: str, path: Path) -> DestinationSpec:
    """The specification whose options a YAML file holds; raises as `make_spec` does, and when it is no YAML."""
    return make_spec(destination, load_yaml(path), str(path), path.absolute().parent)


def make_spec(destination: str, written: Any, source_name: str, folder: Path) -> DestinationSpec:
    """A specification, its paths made absolute from `folder`; references stay references.

    Raises ConfigError with `source_name`, the place in it and the nearest right spelling, and for secrets in the clear.
    """
    kind, name = split_name(destination)
    if not isinstance(written, dict):
        raise ConfigError(
            f"{source_name} holds no options: write KEY: VALUE lines.", hint=Hint("destinations.show_kind", kind)
        )
    written = dict(written)
    plain = decode({"plain": written.pop("plain", [])}, _Plain, source_name).plain
    config = stored_config(destination_class(kind).Config, written, source_name, plain, folder)
    return DestinationSpec(kind, name, config)
