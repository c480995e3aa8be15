"""Which files of this machine a configuration may have read: who registers a source isn't always who owns the machine.

CLEARWELL_FILE_ROOTS is a list of folders, parted by colons. Set, nothing outside of them is read. Unset, all is but
what belongs to the system (/etc, /proc, /sys, /dev, /run, /boot) and what is in a hidden folder (~/.ssh, ~/.aws). The
data folder is never read: it holds keys, passwords and every stream's events. A path is judged by where it leads.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from clearwell.errors import ConfigError
from clearwell.settings import home_folder

VARIABLE = "CLEARWELL_FILE_ROOTS"
DEMO = "demo"
"""In the data folder, what `clearwell demo` makes and reads: the one exception."""

SYSTEM = tuple(Path(folder) for folder in ("/etc", "/proc", "/sys", "/dev", "/run", "/var/run", "/boot"))


def require_readable(path: Path, env: Mapping[str, str] = os.environ) -> None:
    """Raises ConfigError when a source may not read `path`, which need not be there."""
    resolved = path.resolve()
    home = home_folder(env).resolve()
    if resolved.is_relative_to(home / DEMO):
        return
    if resolved.is_relative_to(home):
        raise ConfigError(f"{path} is in the data folder, where no source may read: name another file.")
    roots = [Path(root).resolve() for root in env.get(VARIABLE, "").split(":") if root]
    if roots:
        allowed = any(resolved.is_relative_to(root) for root in roots)
    else:
        hidden = any(part.startswith(".") for part in resolved.parts)
        allowed = not hidden and not any(resolved.is_relative_to(folder) for folder in SYSTEM)
    if not allowed:
        raise ConfigError(
            f"{path} may not be read by sources: add its folder to {VARIABLE}, and run `clearwell down` and "
            "`clearwell up`."
        )
