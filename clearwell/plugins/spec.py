"""A connector's specification: one YAML file with `name`, `source`, `stream` and the source's own `config`."""

from __future__ import annotations

import json
import re
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec
import yaml

from clearwell.errors import ConfigError, nearest
from clearwell.plugins.annotations import absolute_paths, require_references
from clearwell.plugins.kinds import source_class
from clearwell.references import resolve
from clearwell.registry.connectors import Limits
from clearwell.source import Source

T = typing.TypeVar("T", bound=msgspec.Struct)
MAX_BYTES = 1_048_576
_UNKNOWN = re.compile(r"unknown field `(?P<name>[^`]*)`(?: - at `\$(?P<place>[^`]*)`)?")
_QUOTED = re.compile(r"Invalid (enum )?value .*(?= - at `\$)|Invalid (enum )?value .*", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(\w+)`")

Name = Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9_-]{0,62}\Z")]
Stream = Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9_]{0,62}\Z")]


class ConnectorSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a person registers; `config` may hold references (`clearwell.references`).

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


def make_spec(written: Any, where: str, folder: Path) -> ConnectorSpec:
    """A specification, its paths made absolute from `folder`; references stay references.

    Raises ConfigError with `where`, the place in it and the nearest right spelling, and for secrets in the clear.
    """
    spec = decode(written, ConnectorSpec, where)
    try:
        json.dumps(spec.config, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        raise ConfigError(f"{where}: config holds what JSON can't (binary, a set, .nan): write it as text.") from None
    shape = source_class(spec.source).Config
    require_references(shape, spec.config, where, spec.plain)
    return msgspec.structs.replace(spec, config=absolute_paths(shape, spec.config, folder))


def read_yaml(text: str | bytes) -> Any:
    """Plain YAML; dates stay text, as their sources and JSON want them. Raises yaml.YAMLError, for aliases too."""
    if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, _Loader)):
        raise yaml.MarkedYAMLError(problem="aliases (*name) are not taken: write the value out")
    return yaml.load(text, _Loader)  # noqa: S506 (a SafeLoader)


class _Loader(yaml.SafeLoader):
    """The safe part of YAML, without its guess at dates."""

    yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in found if tag != "tag:yaml.org,2002:timestamp"]
        for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def open_source(kind: str, config: Mapping[str, Any]) -> tuple[Source, list[str]]:
    """A source made of a stored configuration, and the values its references stand for (to be hidden in messages).

    Raises ConfigError when the kind is unknown, a reference leads nowhere, or the configuration does not fit.
    """
    made = source_class(kind)
    resolved, values = resolve(config)
    return made(decode(resolved, made.Config, "config", referred=bool(values))), values


def differences(place: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What differs between two configurations, a line a key: 'config.path: "a" → "b"'."""
    return [
        f"{place}.{key}: {_as_json(old, key)} → {_as_json(new, key)}"
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key)
    ]


def _as_json(config: Mapping[str, Any], key: str) -> str:
    return msgspec.json.encode(config[key]).decode() if key in config else "(not set)"


def decode(value: Any, shape: type[T], where: str, *, referred: bool = False) -> T:
    """`value` as a `shape`. Raises ConfigError with place and nearest spelling; where values are `referred` to,
    it quotes none, as it might be a secret.
    """
    try:
        return msgspec.convert(value, shape)
    except msgspec.ValidationError as error:
        message = str(error)
    if referred:
        message = _QUOTED.sub("There is a word that it can't be", message)
    unknown = _UNKNOWN.search(message)
    if unknown:
        known = [field.encode_name for field in msgspec.structs.fields(shape)]
        hint = nearest(unknown["name"], known) or f" There are: {', '.join(known)}."
        raise ConfigError(f'{where}: there is no key "{unknown["name"]}".{hint}')
    message = _MISSING.sub(r"`\1` is missing", message)
    raise ConfigError(f"{where}: {message.replace('`$.', '`').replace('`$`', 'the top')}.")


def load_yaml(path: Path) -> Any:
    """What a YAML file holds. Raises ConfigError when it can't be read, is too large or no YAML."""
    try:
        text = path.read_bytes()[: MAX_BYTES + 1]
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror}): name a YAML file.") from None
    if len(text) > MAX_BYTES:
        raise ConfigError(f"{path} is larger than {MAX_BYTES} bytes: that is no specification.")
    try:
        return read_yaml(text)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{path}:{mark.line + 1}" if mark else str(path)
        raise ConfigError(f"{place}: this is not YAML ({getattr(error, 'problem', None) or 'not text'}).") from None
