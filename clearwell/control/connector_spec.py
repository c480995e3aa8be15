"""A connector's specification: one YAML file with `name`, `source`, `stream` and the source's own `config`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import msgspec

from clearwell.plain_yaml import load_yaml
from clearwell.plugins.kinds import source_class
from clearwell.plugins.spec import decode, stored_config
from clearwell.registry.connectors import Limits

Name = Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9_-]{0,62}\Z")]
Stream = Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9_]{0,62}\Z")]


class ConnectorSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a person registers; `config` may hold references (`clearwell.secret_references`).

    plain: names of options that look like secrets and are none.
    """

    name: Name
    source: str
    stream: Stream
    config: dict[str, Any] = {}
    limits: Limits = Limits()
    plain: list[str] = []


def load_spec(path: Path) -> ConnectorSpec:
    """The specification in a YAML file; raises as `make_spec` does, and when the file is no YAML."""
    return make_spec(load_yaml(path), str(path), path.absolute().parent)


def make_spec(written: Any, source_name: str, folder: Path) -> ConnectorSpec:
    """A specification, its paths made absolute from `folder`; references stay references.

    Raises ConfigError with `source_name`, the place in it and the nearest right spelling, and for secrets in the clear.
    """
    spec = decode(written, ConnectorSpec, source_name)
    config = stored_config(source_class(spec.source).Config, spec.config, source_name, spec.plain, folder)
    return msgspec.structs.replace(spec, config=config)
