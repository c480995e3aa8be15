"""References in configurations and settings: `${env:NAME}` and `${file:path}`, alone or inside a text.

The registry stores the reference; only the process that reads the source sees the value (invariant 10).
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clearwell.errors import ConfigError

_REFERENCE = re.compile(r"\$\{(env|file):([^{}]+)\}")


def has_reference(value: object) -> bool:
    """Whether a value is nothing but one reference."""
    return isinstance(value, str) and _REFERENCE.fullmatch(value) is not None


def without_references(text: str, stand_in: str) -> str:
    """`text` with `stand_in` for every reference, and nowhere else."""
    return _REFERENCE.sub(stand_in, text.replace(stand_in, "") if stand_in else text)


def resolve(
    config: Mapping[str, Any], env: Mapping[str, str] = os.environ, who: str = "The configuration"
) -> tuple[dict[str, Any], list[str]]:
    """The configuration with its references replaced, and the values that were put in, longest first.

    Raises ConfigError, naming `who` refers and the reference, never a value, when one leads nowhere.
    """
    values: set[str] = set()

    def look_up(found: re.Match[str]) -> str:
        value = _from_environment(found[2], env, who) if found[1] == "env" else _from_file(found[2], who)
        values.add(value)
        return value

    def walk(value: Any) -> Any:
        if isinstance(value, str):
            return _REFERENCE.sub(look_up, value)
        if isinstance(value, Mapping):
            return {key: walk(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [walk(inner) for inner in value]
        return value

    return {key: walk(value) for key, value in config.items()}, sorted(values, key=len, reverse=True)


def hide(text: str, values: list[str]) -> str:
    """`text` with every resolved value replaced by ***, whatever a source put into its message."""
    for value in values:
        if len(value) >= 4:  # a shorter one hides nothing and would blacken half of the text
            text = text.replace(value, "***")
    return text


def _from_environment(name: str, env: Mapping[str, str], who: str) -> str:
    if name not in env:
        raise ConfigError(f"{who} refers to ${{env:{name}}}, but {name} is not set for this process.")
    return env[name]


def _from_file(path: str, who: str) -> str:
    try:
        return Path(path).read_text().removesuffix("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{who} refers to ${{file:{path}}}, which cannot be read ({type(error).__name__}).") from None
