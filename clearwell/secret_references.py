"""References in configurations and settings: `${env:NAME}` and `${file:path}`, alone or inside a text.

The registry stores the reference; only the process that reads the source sees the value (invariant 10).

Who registers a connector chooses where its values are sent. So a configuration may name no more than these lists say,
which belong to whoever runs the platform, and never a file in the data folder:

    CLEARWELL_REFERENCE_ENV    names of variables, parted by commas, * for any letters; by default CLEARWELL_SECRET_*
    CLEARWELL_REFERENCE_FILES  folders, parted by colons; by default /run/secrets
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from clearwell.errors import ConfigError
from clearwell.settings import home_folder

NAMES, FOLDERS = "CLEARWELL_REFERENCE_ENV", "CLEARWELL_REFERENCE_FILES"
USUAL_NAMES, USUAL_FOLDERS = "CLEARWELL_SECRET_*", "/run/secrets"

_REFERENCE = re.compile(r"\$\{(env|file):([^{}]+)\}")


def has_reference(value: object) -> bool:
    """Whether a value is nothing but one reference."""
    return isinstance(value, str) and _REFERENCE.fullmatch(value) is not None


def without_references(text: str, stand_in: str) -> str:
    """`text` with `stand_in` for every reference, and nowhere else."""
    return _REFERENCE.sub(stand_in, text.replace(stand_in, "") if stand_in else text)


def readable_names(env: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """Patterns of the variables that a configuration may name."""
    return tuple(name.strip() for name in env.get(NAMES, USUAL_NAMES).split(",") if name.strip())


def resolve(
    config: Mapping[str, Any],
    env: Mapping[str, str] = os.environ,
    who: str = "The configuration",
    *,
    trusted: bool = False,
) -> tuple[dict[str, Any], list[str]]:
    """The configuration with its references replaced, and the values that were put in, longest first.

    `trusted`: what runs the platform wrote it (a setting), so the lists above don't bind it.
    Raises ConfigError, naming `who` refers and the reference, never a value, when one leads nowhere or may not be read.
    """
    values: set[str] = set()

    def look_up(match: re.Match[str]) -> str:
        kind, name = match[1], match[2]
        if not trusted:
            _require_readable(kind, name, env, who)
        value = _from_environment(name, env, who) if kind == "env" else _from_file(name, who)
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


def _require_readable(kind: str, name: str, env: Mapping[str, str], who: str) -> None:
    if kind == "env":
        if not any(fnmatchcase(name, pattern) for pattern in readable_names(env)):
            raise ConfigError(
                f"{who} refers to ${{env:{name}}}, which configurations may not read: call it CLEARWELL_SECRET_{name}, "
                f"or add {name} to {NAMES}, and run `clearwell down` and `clearwell up`."
            )
        return
    path = Path(name).resolve()
    home = home_folder(env).resolve()
    if path.is_relative_to(home):
        raise ConfigError(f"{who} refers to ${{file:{name}}}, which is in the data folder: nothing may be read there.")
    folders = [Path(folder).resolve() for folder in env.get(FOLDERS, USUAL_FOLDERS).split(":") if folder]
    if not any(path.is_relative_to(folder) for folder in folders):
        raise ConfigError(
            f"{who} refers to ${{file:{name}}}, which configurations may not read: add its folder to {FOLDERS}, and "
            "run `clearwell down` and `clearwell up`."
        )


def _from_environment(name: str, env: Mapping[str, str], who: str) -> str:
    if name not in env:
        raise ConfigError(f"{who} refers to ${{env:{name}}}, but {name} is not set for this process.")
    return env[name]


def _from_file(path: str, who: str) -> str:
    try:
        return Path(path).read_text().removesuffix("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{who} refers to ${{file:{path}}}, which cannot be read ({type(error).__name__}).") from None
