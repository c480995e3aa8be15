"""A connector's specification: one YAML file with `name`, `source`, `stream` and the source's own `config`."""

from __future__ import annotations

import re
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec
import yaml

from clearwell.errors import ConfigError, nearest
from clearwell.registry.kinds import source_class
from clearwell.registry.references import has_reference, resolve
from clearwell.source import PATH, SECRET, Source, SourceConfig

T = typing.TypeVar("T", bound=msgspec.Struct)
MAX_BYTES = 1_048_576
_UNKNOWN = re.compile(r"unknown field `(?P<name>[^`]*)`(?: - at `\$(?P<place>[^`]*)`)?")

Name = Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9_-]{0,62}\Z")]
Stream = Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9_]{0,62}\Z")]


class ConnectorSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a person registers. `config` may hold references (`clearwell.registry.references`)."""

    name: Name
    source: str
    stream: Stream
    config: dict[str, Any] = {}


def load_spec(path: Path) -> ConnectorSpec:
    """The specification in a YAML file, its paths made absolute; references stay references.

    Raises ConfigError with the file, the place in it and the nearest right spelling.
    """
    spec = decode(_read(path), ConnectorSpec, str(path))
    kind = source_class(spec.source)
    config = _absolute_paths(kind.Config, spec.config, path.absolute().parent)
    for key in _marked(kind.Config, SECRET):
        if key in config and not has_reference(config[key]):
            raise ConfigError(f"{path}: config.{key} is a secret: write a reference such as ${{env:{key.upper()}}}.")
    return msgspec.structs.replace(spec, config=config)


def open_source(kind: str, config: Mapping[str, Any]) -> tuple[Source, list[str]]:
    """A source made of a stored configuration, and the values its references stand for (to be hidden in messages).

    Raises ConfigError when the kind is unknown, a reference leads nowhere, or the configuration does not fit.
    """
    made = source_class(kind)
    resolved, values = resolve(config)
    return made(decode(resolved, made.Config, "config")), values


def decode(value: Any, shape: type[T], where: str) -> T:
    """`value` as a `shape`. Raises ConfigError with place and nearest spelling; it never quotes values."""
    try:
        return msgspec.convert(value, shape)
    except msgspec.ValidationError as error:
        message = str(error)
    unknown = _UNKNOWN.search(message)
    if unknown:
        known = [field.encode_name for field in msgspec.structs.fields(shape)]
        hint = nearest(unknown["name"], known) or f" There are: {', '.join(known)}."
        raise ConfigError(f'{where}: there is no key "{unknown["name"]}".{hint}')
    raise ConfigError(f"{where}: {message.replace('`$.', '`').replace('`$`', 'the top')}.")


def _read(path: Path) -> Any:
    try:
        text = path.read_bytes()[: MAX_BYTES + 1]
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror}): name a connector's YAML file.") from None
    if len(text) > MAX_BYTES:
        raise ConfigError(f"{path} is larger than {MAX_BYTES} bytes: that is no connector's YAML file.")
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{path}:{mark.line + 1}" if mark else str(path)
        raise ConfigError(f"{place}: this is not YAML ({getattr(error, 'problem', None) or 'not text'}).") from None


def _absolute_paths(shape: type[SourceConfig], config: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Paths are meant from the spec file's folder; one that begins with a reference is left to the reader."""
    made = dict(config)
    for key in _marked(shape, PATH):
        value = made.get(key)
        if isinstance(value, str) and not value.startswith("${"):
            made[key] = str(folder / value)
    return made


def _marked(shape: type[SourceConfig], mark: msgspec.Meta) -> Iterator[str]:
    """The keys of a configuration whose type carries `mark`."""
    for key, hint in typing.get_type_hints(shape, include_extras=True).items():
        if mark in getattr(hint, "__metadata__", ()):
            yield key
