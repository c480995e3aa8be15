"""`--set KEY=VALUE`: options of a kind on the command line, as its YAML file would hold them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml

from clearwell.errors import ConfigError
from clearwell.plain_yaml import read_yaml


def config_of(options: Sequence[str]) -> dict[str, Any]:
    """`["path=x", "auth.user=me"]` → `{"path": "x", "auth": {"user": "me"}}`; values are YAML.

    Raises ConfigError for what is no KEY=VALUE or no YAML, and for a key that is there twice.
    """
    config: dict[str, Any] = {}
    for option in options:
        path, equals, text = option.partition("=")
        if not equals or not all(path.split(".")):
            raise ConfigError("--set takes KEY=VALUE, such as --set path=flights.ndjson.")
        try:
            value = read_yaml(text)
        except (yaml.YAMLError, ValueError, RecursionError):
            raise ConfigError(f"--set {path}: the value is no YAML; write text with odd signs in quotes.") from None
        *above, last = path.split(".")
        inside = config
        for key in above:
            inside = inside.setdefault(key, {})
            if not isinstance(inside, dict):
                raise ConfigError(f"--set {path}: {key} has a value already.")
        if last in inside:
            raise ConfigError(f"--set {path} is there twice.")
        inside[last] = value
    return config
