"""What a person wrote as a kind's own configuration: decoded, compared, and a source opened with it."""

from __future__ import annotations

import json
import re
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from clearwell.errors import ConfigError, nearest
from clearwell.plugins.annotations import absolute_paths, require_references
from clearwell.plugins.kinds import source_class
from clearwell.secret_references import resolve
from clearwell.source import Source

T = typing.TypeVar("T", bound=msgspec.Struct)
_UNKNOWN = re.compile(r"unknown field `(?P<name>[^`]*)`(?: - at `\$(?P<place>[^`]*)`)?")
_QUOTED = re.compile(r"Invalid (enum )?value .*(?= - at `\$)|Invalid (enum )?value .*", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(\w+)`")


def stored_config(
    shape: type[msgspec.Struct], config: dict[str, Any], source: str, plain: Sequence[str], folder: Path
) -> dict[str, Any]:
    """A configuration as the registry stores it: its paths absolute from `folder`, references left as they are.

    plain: names of options that look like secrets and are none. Raises ConfigError with `source`, the place in it and
    the nearest right spelling, for what JSON can't hold, and for secrets in the clear (invariant 10).
    """
    try:
        json.dumps(config, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        raise ConfigError(f"{source} holds what JSON can't (binary, a set, .nan): write it as text.") from None
    require_references(shape, config, source, plain)
    return absolute_paths(shape, config, folder)


def open_source(kind: str, config: Mapping[str, Any]) -> tuple[Source, list[str]]:
    """A source made of a stored configuration, and the values its references stand for (to be hidden in messages).

    Raises ConfigError when the kind is unknown, a reference leads nowhere, or the configuration does not fit.
    """
    made = source_class(kind)
    resolved, values = resolve(config)
    return made(decode(resolved, made.Config, "config", referred=bool(values))), values


def differences(path: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What differs between two configurations, a line a key: 'config.path: "a" → "b"'."""
    return [
        f"{path}.{key}: {_as_json(old, key)} → {_as_json(new, key)}"
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key)
    ]


def _as_json(config: Mapping[str, Any], key: str) -> str:
    return msgspec.json.encode(config[key]).decode() if key in config else "(not set)"


def decode(value: Any, shape: type[T], source: str, *, referred: bool = False) -> T:
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
        raise ConfigError(f'{source}: there is no key "{unknown["name"]}".{hint}')
    message = _MISSING.sub(r"`\1` is missing", message)
    raise ConfigError(f"{source}: {message.replace('`$.', '`').replace('`$`', 'the top')}.")
