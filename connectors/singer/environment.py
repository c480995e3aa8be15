"""Where a tap's command is: on the PATH, or installed by pip into a virtual environment of its own."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from clearwell.errors import ConfigError, Retryable

ALLOWED = "CLEARWELL_TAPS"
INSTALL_SECONDS = 600
_COMMAND = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\Z")
_REQUIREMENT = re.compile(
    r"([A-Za-z0-9][A-Za-z0-9._-]*)(\[[A-Za-z0-9,._-]+\])?\s*((==|>=|<=|~=|!=|<|>)[A-Za-z0-9.*+!,<>=~ ]+)?\Z"
)


def executable(tap: str, requirement: str | None, home: Path, env: Mapping[str, str] = os.environ) -> Path:
    """The path of a tap's command, installed first where `requirement` asks for it. Blocks.

    Raises ConfigError when it is not allowed, not found or can't be installed, Retryable when pip fails otherwise.
    """
    _require_allowed(tap, requirement, env)
    if requirement is None:
        path = shutil.which(tap, path=env.get("PATH"))
        if path is None:
            raise ConfigError(f"There is no command {tap} on the PATH: install it, or name its package in `pip`.")
        return Path(path)
    folder = home / "taps" / f"{tap}-{hashlib.blake2b(requirement.encode(), digest_size=6).hexdigest()}"
    command = folder / "bin" / tap
    if not command.exists():
        _install(requirement, folder)
    if not command.exists():
        raise ConfigError(f"The package {requirement} has no command {tap}: set `tap` to the one it has.")
    return command


def _require_allowed(tap: str, requirement: str | None, env: Mapping[str, str]) -> None:
    """A tap is a program: whoever may register connectors must not thereby choose what runs here."""
    if not _COMMAND.match(tap):
        raise ConfigError(f'"{tap}" is no name of a command: write the tap\'s, such as tap-github.')
    package = None
    if requirement is not None:
        parsed = _REQUIREMENT.match(requirement)
        if parsed is None:
            raise ConfigError(f'"{requirement}" is no pip requirement: write name==version.')
        package = parsed[1]
    allowed = {allowed_name.strip() for allowed_name in env.get(ALLOWED, "").split(",")}
    for name in (tap, package):
        if name is not None and name not in allowed:
            raise ConfigError(
                f"The tap {name} is not allowed to run here: add it to {ALLOWED} (names parted by commas)."
            )


def _install(requirement: str, folder: Path) -> None:
    """Make the virtual environment; one process does it while others wait."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (folder / "installed").exists():
            return
        shutil.rmtree(folder, ignore_errors=True)  # what a killed installation left
        _run([sys.executable, "-m", "venv", str(folder)], requirement)
        pip = [str(folder / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "--quiet"]
        _run([*pip, "install", requirement], requirement)
        (folder / "installed").touch()


def _run(argv: list[str], requirement: str) -> None:
    try:
        done = subprocess.run(argv, capture_output=True, timeout=INSTALL_SECONDS, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        raise Retryable(f"Installing {requirement} took longer than {INSTALL_SECONDS} s.") from None
    if done.returncode:
        said = done.stderr.decode(errors="replace")
        if "No matching distribution" in said and "connection" not in said.lower():
            raise ConfigError(f"pip finds no {requirement}: check its name and version.")
        raise Retryable(f"pip could not install {requirement} (exit code {done.returncode}).")
