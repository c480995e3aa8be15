"""Plain YAML, as people write it in files and on command lines: no tags, no aliases, and dates stay text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from clearwell.errors import ConfigError

MAX_BYTES = 1_048_576


def read_yaml(text: str | bytes) -> Any:
    """What a text holds; dates stay text, as sources and JSON want them. Raises yaml.YAMLError, for aliases too."""
    if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, _Loader)):
        raise yaml.MarkedYAMLError(problem="aliases (*name) are not taken: write the value out")
    return yaml.load(text, _Loader)  # noqa: S506 (a SafeLoader)


def load_yaml(path: Path) -> Any:
    """What a file holds. Raises ConfigError when it can't be read, is too large or no YAML."""
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
        location = f"{path}:{mark.line + 1}" if mark else str(path)
        raise ConfigError(f"{location}: this is not YAML ({getattr(error, 'problem', None) or 'not text'}).") from None


class _Loader(yaml.SafeLoader):
    """The safe part of YAML, without its guess at dates."""

    yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
