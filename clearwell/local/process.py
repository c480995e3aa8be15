"""What the supervisor needs to know about one process, as data."""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path


def unknown() -> None:
    """Nobody can tell of a process whether it takes part."""


def nothing() -> None:
    """For a process that needs no set-up."""


@dataclass(frozen=True, slots=True)
class Process:
    """One process of the stack.

    setup: runs once before the first start; blocks; raises ClearwellError.
    ready: asks the process itself; blocks for a few seconds at most; raises any exception while it is not ready.
    alive: asks, once it is ready, whether it takes part; None: nobody can tell. Blocks and raises as `ready`.
    endpoint: what `status` shows, without secrets. stop_signal: asks it to end in an orderly way.
    owner: a folder; the process runs in it, as its owner where root has started us (see `clearwell.local.child`).
    """

    name: str
    argv: tuple[str, ...]
    ready: Callable[[], None]
    env: Mapping[str, str] = field(default_factory=dict)
    setup: Callable[[], None] = nothing
    alive: Callable[[], bool | None] = unknown
    endpoint: str = ""
    stop_signal: int = signal.SIGTERM
    owner: Path | None = None
